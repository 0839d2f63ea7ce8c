//! What takes a session of its own under `foster run` is still of its tree.

use std::process::Command as StdCommand;

use foster::{Input, Signal, Status};
use puppet::{Feature, NOBODY, Programs, Stage, alive, long_enough, needs};

use crate::common::{foster, foster_run, run, said, seconds, send, stage};

const DAEMON: &str =
    "fork middle [ quiet setsid fork daemon [ setsid ignore TERM wait ] exit 0 ] trap-exit TERM 3 wait";

#[test]
fn d14_f09_a_stop_ends_it() {
    let stage = stage("--grace 0.1", DAEMON);
    let daemon = stage.ready("daemon");
    stage.leader();
    send(&stage, Signal::TERM);
    stage.exit();
    assert!(!daemon.alive());
    stage.curtain();
}

#[test]
fn d14_f02_a_timeout_ends_it() {
    let daemon = long_enough(|timeout| {
        let stage = stage(&format!("--timeout {} --grace 0.1", seconds(timeout)), DAEMON);
        let daemon = stage.says("daemon: ready ").then(|| stage.ready("daemon"));
        assert_eq!(stage.exit().status, Status::Exited(124));
        stage.curtain();
        daemon
    });
    assert!(!daemon.alive());
}

#[test]
fn f15_f16_a_success_is_told_at_once_and_it_is_killed_and_told() {
    // It says its number, and lets go of the pipe that the shell reads.
    let line = "pid=$(setsid sh -c 'echo $$; exec >/dev/null 2>&1; exec sleep 50' &); echo $pid";
    let output = run(["run", "--", "sh", "-c", line]);
    let pid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a pid");
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains(&pid.to_string()), "{}", said(&output));
    assert!(!alive(pid));
}

#[test]
fn f16_a_daemon_that_holds_the_pipe_does_not_hold_up_foster() {
    let stage =
        Stage::start(&foster_run("", "fork daemon [ setsid wait ] trap-exit USR1 4 wait").stdin(Input::Null));
    let daemon = stage.ready("daemon");
    stage.leader().signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(4));
    assert!(!daemon.alive());
}

#[test]
fn f31_what_is_required_and_not_there_is_125_and_the_reasons() {
    if !needs(Feature::Root) || !needs(Feature::Program("setpriv")) {
        return;
    }
    // Where somebody else may run it.
    let place = Programs::copy();
    let ours = place.filtered().with_file_name("foster");
    std::fs::copy(foster(), &ours).expect("there is space");
    let id = NOBODY.to_string();
    let mut command = StdCommand::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(&ours).current_dir("/");
    let output = command.args(["run", "--require", "grouped", "--", "true"]).output().expect("it runs");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(125), "{told}");
    for reason in ["cgroup: ", "freezer: ", "landlock: ", "Permission denied"] {
        assert!(told.contains(reason), "{reason:?} is not in: {told}");
    }
    assert_eq!(told.trim_end().lines().count(), 1, "{told}");
}

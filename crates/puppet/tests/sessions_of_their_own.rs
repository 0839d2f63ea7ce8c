//! Who takes a session of its own, or a parent that dies, is still of the tree: it ends with it, and is told.

use std::fs;
use std::time::Duration;

use foster::{Cause, Command, Containment, Leftovers, Mechanism, Signal, Status};
use puppet::{Feature, Stage, eventually, needs, puppet, within};

/// Each that has a guard.
const GUARDED: [Mechanism; 5] = [
    Mechanism::Cgroup,
    Mechanism::Freezer,
    Mechanism::Landlock,
    Mechanism::Subreaper,
    Mechanism::PidNamespace,
];

fn held(command: &Command, mechanism: Mechanism) -> Command {
    command.clone().containment(Containment::Exactly(mechanism))
}

/// Those and the default, as far as this machine has them.
fn each(command: &Command, test: impl Fn(&str, &Command)) {
    test("by default", command);
    if !needs(Feature::Root) {
        return;
    }
    for mechanism in GUARDED {
        let command = held(command, mechanism);
        match command.clone().stdout(foster::Sink::Null).spawn() {
            Ok(child) => _ = within(&child.kill()),
            Err(error) => {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{error}");
                eprintln!("not run: {error}");
                continue;
            }
        }
        test(mechanism.name(), &command);
    }
}

/// One in a session of its own, and one whose parent is dead besides.
const ESCAPED: &str = "fork middle [ quiet setsid fork orphan [ setsid ignore TERM wait ] exit 0 ] \
                       fork daemon [ setsid ignore TERM wait ]";

/// All three are there, and nobody has got out of the way by dying.
#[track_caller]
fn ready(stage: &Stage) {
    for name in ["daemon", "orphan", "leader"] {
        stage.ready(name);
    }
}

/// The name of its parent.
fn adopted_by(pid: u32) -> String {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let status = read(format!("/proc/{pid}/status"));
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
    read(format!("/proc/{parent}/comm")).trim_end().to_string()
}

#[test]
fn d14_f09_a_stop_ends_them() {
    let command = puppet(&format!("{ESCAPED} wait")).grace(Duration::from_millis(50));
    each(&command, |how, command| {
        let stage = Stage::start(command);
        ready(&stage);
        let exit = within(&stage.child().stop());
        assert_eq!(exit.cause, Cause::Stopped, "{how}");
        // Their output ends with the last of them.
        stage.curtain();
    });
}

#[test]
fn d14_f02_a_timeout_ends_them() {
    let command = puppet(&format!("{ESCAPED} wait")).grace(Duration::from_millis(50));
    each(&command, |how, command| {
        let stage = Stage::start(&command.clone().timeout(Duration::from_secs(2)));
        ready(&stage);
        assert_eq!(within(&stage.child().gone()).cause, Cause::TimedOut, "{how}");
        stage.curtain();
    });
}

#[test]
fn d14_f02_a_kill_ends_them_when_the_leader_has_gone() {
    let command =
        puppet(&format!("{ESCAPED} trap-exit USR1 0 wait")).leftovers(Leftovers::Wait { max: None });
    each(&command, |how, command| {
        let stage = Stage::start(command);
        ready(&stage);
        stage.child().signal(Signal::USR1).expect("it is ours");
        assert_eq!(stage.exit().status, Status::Exited(0), "{how}");
        within(&stage.child().kill());
        stage.curtain();
    });
}

#[test]
fn d14_f15_they_are_told_and_killed_when_the_leader_ends_by_itself() {
    let command = puppet(&format!("{ESCAPED} trap-exit USR1 0 wait"));
    each(&command, |how, command| {
        let stage = Stage::start(command);
        let (daemon, orphan) = (stage.ready("daemon"), stage.ready("orphan"));
        stage.ready("leader");
        // Whoever made the orphan may still be about to die. In a namespace it has a number that is not ours.
        let is_one = |name: &String| how == "pid-namespace" || name == "foster-guard";
        eventually("it is one", || adopted_by(orphan.pid()), is_one);
        stage.child().signal(Signal::USR1).expect("it is ours");
        let mut told = stage.exit().leftovers;
        told.sort_unstable();
        if how == "pid-namespace" {
            // They know themselves by other numbers.
            assert_eq!(told.len(), 2, "{how}: {told:?}");
        } else {
            let mut both = [daemon.pid(), orphan.pid()];
            both.sort_unstable();
            assert_eq!(told, both, "{how}");
        }
        within(&stage.child().gone());
        stage.curtain();
    });
}

#[test]
fn d14_they_die_when_the_last_handle_is_dropped() {
    each(&puppet(&format!("{ESCAPED} wait")), |_, command| {
        let mut stage = Stage::start(command);
        ready(&stage);
        stage.let_go();
        stage.curtain();
    });
}

#[test]
fn f16_a_success_is_not_held_up_by_a_daemon_that_holds_the_pipe() {
    let command = puppet("fork daemon [ setsid trap USR2 here trap-exit USR1 0 wait ] trap-exit USR1 0 wait");
    each(&command.leftovers(Leftovers::Wait { max: None }), |how, command| {
        let stage = Stage::start(command);
        let daemon = stage.ready("daemon");
        stage.ready("leader");
        stage.child().signal(Signal::USR1).expect("it is ours");
        // It comes although the daemon, which lives a minute, holds the output; `curtain` comes later.
        let exit = stage.exit();
        assert_eq!((exit.status, exit.cause), (Status::Exited(0), Cause::Own), "{how}");
        assert!(stage.child().gone().wait_timeout(Duration::ZERO).is_none(), "{how}: the daemon lives");
        if how == "pid-namespace" {
            within(&stage.child().kill());
        } else {
            assert!(daemon.alive(), "{how}");
            daemon.signal(Signal::USR1);
            within(&stage.child().gone());
        }
        stage.curtain();
    });
}

#[test]
fn f09_shells_that_make_daemons() {
    let lines = [
        ("sh", "setsid sh -c 'echo out; exec sleep 50' & wait"),
        ("sh", "(setsid sh -c 'echo out; exec sleep 50' &); sleep 50"),
        ("bash", "set -m; (echo out; exec sleep 50) & wait"),
        ("sh", "nohup setsid sh -c 'trap \"\" TERM HUP; echo out; while :; do sleep 1; done' & sleep 50"),
    ];
    if !needs(Feature::Program("setsid")) || !needs(Feature::Program("bash")) {
        return;
    }
    for (shell, line) in lines {
        let command = Command::new(shell).args(["-c", line]).stdin(foster::Input::Null);
        let stage = Stage::start(&command.grace(Duration::from_millis(50)));
        stage.expect("out");
        within(&stage.child().stop());
        stage.curtain();
    }
}

//! F19: `foster run` as PID 1 of a pid namespace, as in a container.

use foster::{Command, Input, Signal, Status};
use puppet::{Actor, Feature, Stage, eventually, needs, program};

use crate::common::foster;

/// `foster run OPTIONS` as PID 1, and the pid it has for us.
#[track_caller]
fn first(options: &str, script: &str) -> (Stage, Actor) {
    let unshare = ["-p", "-f", "--mount-proc", "--kill-child"];
    let command = Command::new("unshare").args(unshare).arg(foster()).arg("run");
    let command = command.args(options.split_whitespace()).arg("--").arg(program());
    let stage = Stage::start(&command.args(script.split_whitespace()).stdin(Input::Null));
    stage.ready("leader");
    let pid = stage.child().pid().expect("it runs");
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it lives");
    let foster = Actor::of(children.trim().parse().expect("it has one child"));
    (stage, foster)
}

#[test]
fn f19_term_from_outside_ends_it_and_the_code_tells() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    for options in ["", "--init"] {
        let (stage, foster) = first(options, "wait");
        foster.signal(Signal::TERM);
        assert_eq!(stage.exit().status, Status::Exited(143), "{options}");
        stage.curtain();
    }
}

#[test]
fn f19_the_program_is_asked_and_its_code_is_ours() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    let (stage, foster) = first("", "on TERM [ say bye exit 7 ] wait");
    foster.signal(Signal::TERM);
    stage.expect("leader: bye");
    assert_eq!(stage.exit().status, Status::Exited(7));
}

#[test]
fn f19_what_is_left_is_asked_and_has_its_grace() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    let rest = "fork middle [ quiet setsid fork rest [ setsid on TERM [ say bye exit 0 ] wait ] exit 0 ]";
    let (stage, foster) = first("", &format!("{rest} on TERM [ exit 7 ] wait"));
    stage.ready("rest");
    foster.signal(Signal::TERM);
    stage.expect("rest: bye");
    assert_eq!(stage.exit().status, Status::Exited(7));
    stage.curtain();
}

#[test]
fn f19_orphans_are_reaped_while_the_program_runs() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    let orphans = "fork middle [ quiet fork orphan [ setsid trap-exit TERM 0 wait ] exit 0 ]";
    let (stage, foster) = first("", &format!("{orphans} wait"));
    stage.ready("orphan");
    let children = || {
        let (pid, mut all) = (foster.pid(), Vec::new());
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(list.split_whitespace().map(|pid| pid.parse::<u32>().expect("a pid")));
        }
        all
    };
    // The words of those above it hold its name too.
    let is_orphan =
        |pid: &u32| puppet::command_line(*pid).unwrap_or_default().join(" ").contains(" name orphan ");
    eventually("it is adopted", children, |all| all.iter().any(is_orphan));
    let orphan = *children().iter().find(|pid| is_orphan(pid)).expect("adopted");
    Actor::of(orphan).signal(Signal::TERM);
    // Not even a zombie.
    eventually("it is reaped", || puppet::state(orphan), Option::is_none);
    foster.signal(Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(143));
}

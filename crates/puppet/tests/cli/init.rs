//! `--init`: reap strangers, and give what is left its grace.

use foster::{Signal, Status};
use puppet::{alive, eventually, state};

use crate::common::{send, stage};

#[test]
fn orphans_are_adopted_and_reaped() {
    // `middle` dies and leaves `orphan` to the guard, which tells it apart from the program. (As PID 1 foster itself
    // adopts it: see containers.rs.)
    let stage = stage(
        "--init",
        "fork middle [ fork orphan [ trap-exit USR1 9 wait ] sleep 0.2 exit 0 ] trap-exit TERM 3 wait",
    );
    let leader = stage.leader();
    let orphan = stage.ready("orphan");
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
    };
    let guard = parent(leader.pid());
    eventually("the guard has adopted the orphan", || parent(orphan.pid()), |parent| *parent == guard);
    orphan.signal(Signal::USR1);
    eventually("the orphan is reaped", || state(orphan.pid()), Option::is_none);
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(3), "the program's own code, not a stranger's");
}

#[test]
fn leftovers_are_asked_and_have_their_grace() {
    let stage = stage("--init", "fork rest [ on TERM [ say bye exit 0 ] wait ] trap-exit USR1 4 wait");
    let rest = stage.ready("rest");
    stage.leader().signal(Signal::USR1);
    stage.expect("rest: bye");
    assert_eq!(stage.exit().status, Status::Exited(4));
    assert!(!alive(rest.pid()));
}

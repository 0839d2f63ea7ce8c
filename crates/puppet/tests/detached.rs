//! What is detached is left alone: it outlives its handles and its timeout, and is still reaped.

use std::time::Duration;

use foster::{Cause, EventKind, Signal, Status};
use puppet::{Stage, alone, children, eventually, puppet, within};

#[test]
fn it_outlives_its_handles_and_is_reaped_when_it_ends() {
    alone(|| {
        let mut stage = Stage::play("trap USR2 here trap-exit USR1 0 wait");
        let leader = stage.leader();
        stage.child().detach();
        drop(stage.child().clone());
        stage.let_go();
        leader.signal(Signal::USR2);
        stage.expect("leader: here");
        leader.signal(Signal::USR1);
        leader.dies();
        eventually("it is reaped", children, Vec::is_empty);
    });
}

#[test]
fn it_has_no_timeout_any_more() {
    let stage = Stage::start(&puppet("trap-exit USR1 4 wait").timeout(Duration::from_secs(2)));
    stage.child().detach();
    let leader = stage.leader();
    // The time is the promise here.
    std::thread::sleep(Duration::from_secs(3));
    leader.signal(Signal::USR1);
    let exit = within(&stage.child().gone());
    assert_eq!((exit.status, exit.cause), (Status::Exited(4), Cause::Own));
    assert!(!stage.child().events().any(|event| event.kind == EventKind::TimedOut));
}

#[test]
fn a_handle_can_still_wait_and_give_orders() {
    let stage = Stage::play("trap-exit TERM 5 wait");
    stage.leader();
    stage.child().detach();
    let exit = within(&stage.child().stop());
    assert_eq!((exit.status, exit.cause), (Status::Exited(5), Cause::Stopped));
}

#[test]
fn its_leftovers_stay() {
    let stage = Stage::play("fork worker [ trap USR1 here trap TERM asked wait ] trap-exit USR1 0 wait");
    let worker = stage.ready("worker");
    let leader = stage.leader();
    stage.child().detach();
    leader.signal(Signal::USR1);
    assert_eq!(within(&stage.child().gone()).leftovers, [worker.pid()]);
    worker.signal(Signal::USR1);
    stage.expect("worker: here");
    assert_eq!(stage.said("worker: asked"), 0);
    worker.signal(Signal::KILL);
    stage.curtain();
}

#[test]
fn an_order_given_before_stands() {
    let mut stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(200)));
    let leader = stage.leader();
    stage.child().stop();
    stage.child().detach();
    stage.let_go();
    leader.dies();
}

//! What is detached is left alone: it outlives its handles and its timeout, and is still reaped.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use foster::{Cause, Child, Command, EventKind, Signal, Status, Stdio};
use puppet::{Actor, Stage, alone, children, eventually, puppet, within};

/// Starts a puppet without a stage, which would hold a handle, and waits until it is ready.
fn start(command: &Command) -> (Child, Actor) {
    let child = command.clone().stdout(Stdio::Piped).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.take_stdout().expect("piped")).read_line(&mut line).expect("UTF-8");
    let actor = Actor::of(child.pid().expect("it runs"));
    assert_eq!(line, format!("leader: ready {}\n", actor.pid()));
    (child, actor)
}

#[test]
fn it_outlives_its_handles_and_is_reaped_when_it_ends() {
    alone(|| {
        let (child, actor) = start(&puppet("trap-exit USR1 0 wait"));
        child.detach();
        drop(child.clone());
        drop(child);
        // A dropped handle kills before the drop returns; a zombie would not be alive.
        assert!(actor.alive());
        actor.signal(Signal::USR1);
        actor.dies();
        eventually("it is reaped", children, Vec::is_empty);
    });
}

#[test]
fn it_has_no_timeout_any_more() {
    let (child, actor) = start(&puppet("trap-exit USR1 4 wait").timeout(Duration::from_secs(2)));
    child.detach();
    // The time is the promise here.
    std::thread::sleep(Duration::from_secs(3));
    assert!(actor.alive());
    actor.signal(Signal::USR1);
    let exit = within(&child.gone());
    assert_eq!((exit.status, exit.cause), (Status::Exited(4), Cause::Own));
    assert!(!child.events().any(|event| event.kind == EventKind::TimedOut));
}

#[test]
fn a_handle_can_still_wait_and_give_orders() {
    let (child, _) = start(&puppet("trap-exit TERM 5 wait"));
    child.detach();
    let exit = within(&child.stop());
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
    let (child, actor) = start(&puppet("ignore TERM wait").grace(Duration::from_millis(200)));
    child.stop();
    child.detach();
    drop(child);
    actor.dies();
}

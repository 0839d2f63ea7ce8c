//! What of the tree still lives when the leader has ended by itself is reported, and becomes what the policy says.
//! A run is over for its waiters at the exit, not when the last of the tree is gone.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use foster::{Cause, EventKind, Leftovers, Signal, Sink, Status};
use puppet::{Actor, DEADLINE, Stage, puppet, within};

const LONG: Duration = Duration::from_secs(3600);

/// A leader that ends by itself as soon as it is told to, and what it leaves.
fn leave(worker: &str, leftovers: Leftovers, grace: Duration) -> (Stage, Actor) {
    let script = format!("fork worker [ {worker} wait ] trap-exit USR1 0 wait");
    let stage = Stage::start(&puppet(&script).leftovers(leftovers).grace(grace));
    let worker = stage.ready("worker");
    stage.leader().signal(Signal::USR1);
    let exit = stage.exit();
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(0), Cause::Own, false));
    assert_eq!(exit.leftovers, [worker.pid()]);
    (stage, worker)
}

/// The events behind the start, by their kind alone.
fn story(stage: &Stage) -> Vec<&'static str> {
    let name = |kind: EventKind| match kind {
        EventKind::Started { .. } => "started",
        EventKind::Asked(_) => "asked",
        EventKind::Forced => "forced",
        EventKind::Exited(_) => "exited",
        EventKind::Gone(_) => "gone",
        _ => "something else",
    };
    stage.child().events().map(|event| name(event.kind)).collect()
}

#[test]
fn by_default_they_are_killed_at_once() {
    assert_eq!(foster::Policy::default().leftovers, Leftovers::Kill);
    let (stage, worker) = leave("trap TERM asked", Leftovers::Kill, LONG);
    within(&stage.child().gone());
    assert!(!worker.alive());
    assert_eq!(story(&stage), ["started", "exited", "forced", "gone"]);
    assert!(!stage.curtain().contains(&"worker: asked".to_string()));
}

#[test]
fn f15_they_can_be_asked_and_have_their_grace() {
    let (stage, worker) = leave("on TERM [ say bye exit 0 ]", Leftovers::Stop, LONG);
    within(&stage.child().gone());
    stage.expect("worker: bye");
    assert!(!worker.alive());
    assert_eq!(story(&stage), ["started", "exited", "asked", "gone"]);
}

#[test]
fn f15_those_that_do_not_obey_are_killed_when_the_grace_is_over() {
    let (stage, worker) = leave("ignore TERM", Leftovers::Stop, Duration::from_millis(200));
    within(&stage.child().gone());
    assert!(!worker.alive());
    assert_eq!(story(&stage), ["started", "exited", "asked", "forced", "gone"]);
}

#[test]
fn f16_they_can_be_waited_for_and_hold_up_nobody() {
    let script = "trap-exit USR2 0";
    let (stage, worker) = leave(script, Leftovers::Wait { max: None }, LONG);
    // The exit is told already; the tree is not gone.
    assert!(stage.child().gone().wait_timeout(Duration::ZERO).is_none());
    assert!(worker.alive());
    worker.signal(Signal::USR2);
    within(&stage.child().gone());
    assert_eq!(story(&stage), ["started", "exited", "gone"]);
}

#[test]
fn the_wait_for_them_has_an_end() {
    let max = Some(Duration::from_millis(200));
    let (stage, worker) = leave("trap TERM asked", Leftovers::Wait { max }, LONG);
    within(&stage.child().gone());
    assert!(!worker.alive());
    assert_eq!(story(&stage), ["started", "exited", "forced", "gone"]);
}

#[test]
fn the_wait_for_them_is_ended_by_an_order() {
    let (stage, worker) = leave("on TERM [ say bye exit 0 ]", Leftovers::Wait { max: None }, LONG);
    within(&stage.child().stop());
    stage.expect("worker: bye");
    assert!(!worker.alive());

    let (stage, worker) = leave("ignore TERM", Leftovers::Wait { max: None }, LONG);
    within(&stage.child().kill());
    assert!(!worker.alive());
}

#[test]
fn f16_they_can_be_left_alone() {
    let (stage, worker) = leave("trap TERM asked trap USR1 here", Leftovers::Leave, LONG);
    within(&stage.child().gone());
    assert_eq!(story(&stage), ["started", "exited", "gone"]);
    // An order comes too late: the run is over.
    within(&stage.child().kill());
    within(&stage.child().stop());
    worker.signal(Signal::USR1);
    stage.expect("worker: here");
    assert_eq!(stage.said("worker: asked"), 0);
    worker.signal(Signal::KILL);
    stage.curtain();
}

#[test]
fn who_is_stopped_with_its_leader_is_no_leftover() {
    let stage = Stage::play("fork worker [ wait ] wait");
    stage.ready("worker");
    stage.leader();
    assert_eq!(within(&stage.child().stop()).cause, Cause::Stopped);
    assert!(Stage::play("exit 0").exit().leftovers.is_empty());
}

#[test]
fn many_are_all_listed_and_all_killed() {
    let workers: Vec<String> = (0..10).map(|i| format!("fork w{i} [ wait ]")).collect();
    let stage = Stage::play(&format!("{} trap-exit USR1 0 wait", workers.join(" ")));
    let mut workers: Vec<Actor> = (0..10).map(|i| stage.ready(&format!("w{i}"))).collect();
    stage.leader().signal(Signal::USR1);
    let mut listed = stage.exit().leftovers;
    listed.sort_unstable();
    workers.sort_by_key(Actor::pid);
    assert_eq!(listed, workers.iter().map(Actor::pid).collect::<Vec<_>>());
    within(&stage.child().gone());
    assert!(workers.iter().all(|worker| !worker.alive()));
}

#[test]
fn a_dropped_handle_leaves_the_leftovers_to_the_policy() {
    let script = "fork worker [ on TERM [ say bye exit 0 ] wait ] trap-exit USR1 0 wait";
    let command = puppet(script).leftovers(Leftovers::Stop).grace(LONG).stdout(Sink::Piped);
    let child = command.spawn().expect("it starts");
    let mut output =
        BufReader::new(child.take_stdout().expect("piped")).lines().map(|line| line.expect("UTF-8"));
    let mut pids = [(); 2].map(|()| {
        let line = output.next().expect("both are ready");
        line.split(": ready ").map(str::to_string).collect::<Vec<_>>()
    });
    pids.sort();
    let [leader, worker] = pids.map(|words| Actor::of(words[1].parse().expect("a pid")));
    leader.signal(Signal::USR1);
    assert!(child.wait_timeout(DEADLINE).is_some());
    drop(child);
    // It was asked, not killed, though nobody holds a handle.
    assert_eq!(output.next().as_deref(), Some("worker: bye"));
    worker.dies();
}

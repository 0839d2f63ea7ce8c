//! A timeout ends the tree when its time has come, whether or not anybody waits, and never before, and never after
//! the leader has ended.

use std::time::Duration;

use foster::{Cause, Command, EventKind, Signal, Status};
use puppet::{Actor, Before, Stage, long_enough, puppet, within};

const KILLED: Status = Status::Signaled { signal: Signal::KILL, core_dumped: false };

/// Starts a play whose timeout stands still until the puppets are ready, so that a busy machine does not matter.
fn held(command: &Command) -> Stage {
    long_enough(|timeout| {
        let before = Before::begins(timeout);
        let stage = Stage::start(&command.clone().timeout(timeout));
        stage.child().pause();
        before.still()?;
        stage.leader();
        Some(stage)
    })
}

#[test]
fn d04_timeout_ends_the_whole_group() {
    let (worker, exit) = long_enough(|grace| {
        let stage = held(&puppet("fork worker [ ignore TERM wait ] trap-exit TERM 0 wait").grace(grace));
        let worker = stage.ready("worker");
        stage.child().resume();
        let exit = within(&stage.child().gone());
        let when = |is: fn(&EventKind) -> bool| {
            stage.child().events().find(|event| is(&event.kind)).expect("it is told").elapsed
        };
        let timed_out = when(|kind| *kind == EventKind::TimedOut);
        let exited = when(|kind| matches!(kind, EventKind::Exited(_)));
        (exited < timed_out + grace).then_some((worker, exit))
    });
    assert!(!worker.alive());
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(0), Cause::TimedOut, false));
    assert_eq!(exit.leftovers, [worker.pid()]);
}

#[test]
fn d05_a_command_that_ends_in_time_does_not_time_out() {
    const AMPLE: Duration = Duration::from_secs(25);
    let begun = std::time::Instant::now();
    let stage = Stage::start(&puppet("exit 0").timeout(AMPLE));
    let exit = stage.exit();
    within(&stage.child().gone());
    assert!(begun.elapsed() < AMPLE, "the exit was told when the timeout was over");
    assert!(exit.success());
    assert_eq!(exit.cause, Cause::Own);
    // The last is the end: nothing is left that could time out.
    let kinds: Vec<EventKind> = stage.child().events().map(|event| event.kind).collect();
    assert!(
        matches!(&kinds[..], [EventKind::Started { .. }, EventKind::Exited(_), EventKind::Gone(_)]),
        "{kinds:?}"
    );
}

#[test]
fn f30_a_timeout_acts_though_nobody_waits() {
    let child =
        Command::new("sleep").arg("49").timeout(Duration::from_millis(200)).spawn().expect("it starts");
    let actor = Actor::of(child.pid().expect("it runs"));
    // Nobody waits, polls, or has a runtime.
    actor.dies();
    assert_eq!(child.wait().cause, Cause::TimedOut);
}

#[test]
fn a_timeout_asks_first_and_tells_so() {
    let stage = held(&puppet("on TERM [ say bye exit 8 ] wait").splay(Duration::from_secs(3600)));
    stage.child().resume();
    let exit = within(&stage.child().gone());
    stage.expect("leader: bye");
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(8), Cause::TimedOut, false));
    let kinds: Vec<EventKind> = stage.child().events().map(|event| event.kind).collect();
    let [_, EventKind::TimedOut, EventKind::Asked(Signal::TERM), EventKind::Exited(_), EventKind::Gone(_)] =
        &kinds[..]
    else {
        panic!("{kinds:?}")
    };
}

#[test]
fn a_timeout_kills_at_once_when_it_is_told_to() {
    let stage = held(&puppet("trap TERM asked wait").timeout_kills(true));
    stage.child().resume();
    let exit = within(&stage.child().gone());
    // No grace ran out: there was none.
    assert_eq!((exit.status, exit.cause, exit.forced), (KILLED, Cause::TimedOut, false));
    stage.curtain();
    assert_eq!(stage.said("leader: asked"), 0);
}

#[test]
fn a_timeout_that_is_not_obeyed_is_forced() {
    let stage = held(&puppet("ignore TERM wait").grace(Duration::from_millis(100)));
    stage.child().resume();
    let exit = within(&stage.child().gone());
    assert_eq!((exit.status, exit.cause, exit.forced), (KILLED, Cause::TimedOut, true));
}

#[test]
fn a_timeout_of_nothing_has_passed_and_one_for_ever_never_does() {
    let exit = within(&puppet("quiet wait").timeout(Duration::ZERO).spawn().expect("it starts").gone());
    assert_eq!(exit.cause, Cause::TimedOut);
    let exit = puppet("quiet exit 1").timeout(Duration::MAX).spawn().expect("it starts").wait();
    assert_eq!((exit.status, exit.cause), (Status::Exited(1), Cause::Own));
}

#[test]
fn a_timeout_during_a_splay_does_not_wait_for_it() {
    let command = puppet("trap-exit TERM 1 wait").splay(Duration::from_secs(360_000));
    let command = command.timeout(Duration::from_secs(2));
    let stage = Stage::start(&command);
    let exit = within(&stage.child().stop());
    assert_eq!(exit.cause, Cause::TimedOut);
}

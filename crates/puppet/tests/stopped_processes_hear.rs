//! A process that is stopped, as by Ctrl-Z, hears a stop; and the time it stands still is not held against it.

use std::time::{Duration, Instant};

use foster::{Cause, EventKind, Signal, Status};
use puppet::{Actor, Before, Stage, eventually, long_enough, puppet, state, within};

fn is_stopped(actor: &Actor) {
    eventually("it is stopped", || state(actor.pid()), |state| *state == Some('T'));
}

#[test]
fn d12_a_stopped_child_hears_the_soft_signal() {
    let stage = Stage::start(&puppet("trap-exit TERM 5 say now stop wait").grace(Duration::from_secs(50)));
    let leader = stage.leader();
    is_stopped(&leader);
    // A guard tells it a moment after it is so.
    eventually("it is known", || stage.child().stopped(), |stopped| *stopped == Some(Signal::STOP));
    let exit = within(&stage.child().stop());
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(5), Cause::Stopped, false));
}

#[test]
fn f40_a_stopped_worker_is_woken_as_well() {
    // The kernel sends HUP to a stopped process whose group is orphaned, as this one is when the leader goes first.
    let script = "fork worker [ ignore HUP on TERM [ say bye exit 0 ] stop wait ] trap-exit TERM 0 wait";
    let stage = Stage::start(&puppet(script).grace(Duration::from_secs(50)));
    let worker = stage.ready("worker");
    stage.leader();
    is_stopped(&worker);
    within(&stage.child().stop());
    stage.expect("worker: bye");
    assert!(!worker.alive());
}

#[test]
fn f40_the_waking_can_be_switched_off() {
    let command = puppet("trap-exit TERM 5 stop wait").wake_stopped(false).grace(Duration::from_millis(200));
    let stage = Stage::start(&command);
    is_stopped(&stage.leader());
    let exit = within(&stage.child().stop());
    let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
    assert_eq!((exit.status, exit.cause, exit.forced), (killed, Cause::Stopped, true));
}

#[test]
fn f40_who_is_not_stopped_is_not_called_stopped() {
    let stage = Stage::play("stop trap-exit USR1 0 say on wait");
    let leader = stage.leader();
    is_stopped(&leader);
    // A guard tells it a moment after it is so.
    eventually("it is known", || stage.child().stopped(), |stopped| *stopped == Some(Signal::STOP));
    stage.child().signal(Signal::CONT).expect("it is ours");
    stage.expect("leader: on");
    assert_eq!(stage.child().stopped(), None);
    leader.signal(Signal::USR1);
    stage.exit();
    assert_eq!(stage.child().stopped(), None);
}

#[test]
fn f40_a_paused_run_does_not_time_out() {
    let (stage, started, timeout) = long_enough(|timeout| {
        let started = Instant::now();
        let before = Before::begins(timeout);
        let stage = Stage::start(&puppet("wait").timeout(timeout));
        stage.child().pause();
        before.still()?;
        Some((stage, started, timeout))
    });
    let paused = Instant::now();
    stage.leader();
    // The time itself is the promise here: longer than the timeout, in which nothing must happen.
    let pause = timeout + Duration::from_secs(1);
    std::thread::sleep(pause);
    assert!(stage.child().try_wait().is_none());
    stage.child().resume();
    let stood = paused.elapsed();
    let exit = within(&stage.child().gone());
    assert_eq!(exit.cause, Cause::TimedOut);
    // All but what lies between the two clocks' starts.
    assert!(started.elapsed() >= timeout + pause, "{:?} {stood:?}", started.elapsed());
}

#[test]
fn f40_a_grace_stands_still_and_goes_on() {
    let (stage, gone, grace) = long_enough(|grace| {
        let stage = Stage::start(&puppet("trap TERM heard wait").grace(grace));
        stage.leader();
        let before = Before::begins(grace);
        let gone = stage.child().stop();
        stage.child().pause();
        before.still()?;
        Some((stage, gone, grace))
    });
    stage.expect("leader: heard");
    // The time itself is the promise here: longer than the grace, in which nothing must happen.
    std::thread::sleep(grace + Duration::from_secs(1));
    assert!(gone.wait_timeout(Duration::ZERO).is_none(), "the grace stood still");
    stage.child().resume();
    let exit = within(&gone);
    assert!(exit.forced, "{exit}");
}

#[test]
fn f40_an_order_to_end_lets_a_paused_run_go_on() {
    let stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(200)));
    stage.leader();
    stage.child().pause();
    stage.child().pause();
    let exit = within(&stage.child().stop());
    assert_eq!((exit.cause, exit.forced), (Cause::Stopped, true));
    assert!(stage.child().events().any(|event| event.kind == EventKind::Forced));
}

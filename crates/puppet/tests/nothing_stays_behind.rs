//! Whatever becomes of a handle or of a future, the process dies and is reaped, and no descriptor stays.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foster::{Command, Input, Signal, Sink, Status, Supervisor};
use puppet::{Actor, Stage, alone, children, descriptors, eventually, puppet, within};

/// No child of this process is left, dead or alive.
#[track_caller]
fn all_are_reaped() {
    eventually("no child is left", children, Vec::is_empty);
}

fn sleeper() -> Command {
    Command::new("sleep").arg("50").stdin(Input::Null)
}

#[test]
fn f17_dropped_handles_leave_no_zombie() {
    alone(|| {
        for _ in 0..250 {
            drop(Command::new("true").spawn().expect("it starts"));
            drop(sleeper().spawn().expect("it starts"));
        }
        all_are_reaped();
    });
}

#[test]
fn f17_a_handle_dropped_after_an_order_leaves_no_zombie() {
    alone(|| {
        for round in 0..60 {
            let child = sleeper().grace(Duration::from_secs(50)).spawn().expect("it starts");
            match round % 3 {
                0 => drop(child.stop()),
                1 => drop(child.kill()),
                _ => drop(child.exited()),
            }
        }
        all_are_reaped();
    });
}

#[test]
fn f17_the_last_handle_kills_and_no_other() {
    let mut stage = Stage::play("fork worker [ wait ] trap USR2 here wait");
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let last = stage.child().gone();
    drop(stage.child().clone());
    stage.let_go();
    // What waits for the end is a handle too, though it has not been polled.
    leader.signal(Signal::USR2);
    stage.expect("leader: here");
    drop(last);
    leader.dies();
    worker.dies();
}

#[test]
fn f17_a_death_while_nobody_waits_is_reaped() {
    alone(|| {
        let command = Command::new("true");
        let kept: Vec<_> = (0..50).map(|_| command.spawn().expect("it starts")).collect();
        all_are_reaped();
        for child in kept {
            assert_eq!(child.wait().status, Status::Exited(0));
        }
    });
}

#[test]
fn f30_a_future_dropped_at_its_await_point_leaves_nothing() {
    alone(|| {
        let stopped = sleeper().grace(Duration::from_secs(50));
        for _ in 0..10 {
            drop_after_one_poll(async { sleeper().spawn().expect("it starts").exited().await });
            drop_after_one_poll(async { sleeper().spawn().expect("it starts").gone().await });
            drop_after_one_poll(async {
                let child = stopped.spawn().expect("it starts");
                child.events().next_event().await;
                child.exited().await
            });
            drop_after_one_poll(async { Supervisor::new().run_async(&sleeper()).await });
            // Not polled at all.
            drop(async { sleeper().spawn() });
        }
        all_are_reaped();
    });
}

#[test]
fn f30_dropping_a_future_does_not_harm_those_who_hold_a_handle() {
    let stage = Stage::play("trap-exit USR1 3 wait");
    let leader = stage.leader();
    drop_after_one_poll(stage.child().exited());
    drop_after_one_poll(stage.child().gone());
    assert!(leader.alive());
    leader.signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(3));
}

#[test]
fn f30_a_stop_needs_no_future_to_be_polled() {
    let stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(100)));
    let leader = stage.leader();
    drop_after_one_poll(stage.child().stop());
    leader.dies();
}

#[test]
fn f30_a_runtime_that_is_shut_down_leaves_nothing() {
    alone(|| {
        for _ in 0..5 {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
            let runtime = runtime.expect("a runtime");
            let (tell, told) = std::sync::mpsc::channel();
            runtime.spawn(async move {
                let child = sleeper().spawn().expect("it starts");
                tell.send(child.pid().expect("it runs")).expect("it is awaited");
                child.exited().await
            });
            let actor = Actor::of(told.recv().expect("it tells"));
            drop(runtime);
            actor.dies();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let late = async { sleeper().spawn().expect("it starts").exited().await };
            assert!(tokio::time::timeout(Duration::from_millis(20), late).await.is_err());
        });
        all_are_reaped();
    });
}

#[test]
fn runs_of_every_kind_give_their_descriptors_back() {
    alone(|| {
        let round = || {
            let piped = puppet("quiet wait").stdin(Input::Piped).stdout(Sink::Piped).stderr(Sink::Piped);
            within(&piped.spawn().expect("it starts").kill());
            within(&sleeper().spawn().expect("it starts").stop());
            within(&Command::new("true").spawn().expect("it starts").gone());
            Command::new("/no/such/program").stdout(Sink::Piped).spawn().expect_err("there is none");
            Command::new("true").current_dir("/no/such/directory").spawn().expect_err("there is none");
        };
        round();
        let before = descriptors();
        for _ in 0..50 {
            round();
        }
        // The engine closes the last of a run a moment after it has told its end: so there may be fewer. Of what a round
        // leaks there would be fifty.
        eventually("as many descriptors as before", descriptors, |now| now.len() <= before.len());
        all_are_reaped();
    });
}

/// Polls once, finds it pending, and drops it.
fn drop_after_one_poll<F: Future>(future: F) {
    let mut future = pin!(future);
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
}

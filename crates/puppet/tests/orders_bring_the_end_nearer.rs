//! Orders only ever bring the end nearer, are kept whenever they come, and hold up nobody who asks something else.

use std::thread;
use std::time::{Duration, Instant};

use foster::{Cause, EventKind, Signal, Status};
use puppet::{DEADLINE, Stage, puppet, within};

/// Longer than any test waits: whatever ends, ends for another reason.
const LONG: Duration = Duration::from_secs(3600);

const KILLED: Status = Status::Signaled { signal: Signal::KILL, core_dumped: false };

#[test]
fn d06_stop_now_cuts_short_a_splay_that_is_running() {
    let stage = Stage::start(&puppet("trap-exit TERM 2 wait").splay(LONG));
    stage.leader();
    let child = stage.child().clone();
    // Somebody sits out the splay meanwhile.
    let waiter = thread::spawn(move || within(&child.stop()));
    let splaying = stage.child().events().any(|event| matches!(event.kind, EventKind::Splaying(_)));
    assert!(splaying);
    let exit = within(&stage.child().stop_now());
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(2), Cause::Stopped, false));
    assert_eq!(waiter.join().expect("a wait does not panic"), exit);
}

#[test]
fn d07_looks_answer_at_once_while_a_stop_sits_out_its_grace() {
    let stage = Stage::start(&puppet("ignore TERM trap USR1 heard wait").grace(LONG));
    let leader = stage.leader();
    let waiter = thread::spawn({
        let child = stage.child().clone();
        move || within(&child.stop())
    });
    assert!(stage.child().events().any(|event| event.kind == EventKind::Asked(Signal::TERM)));
    // The best of several, since the machine may be busy; and no one as bad as having waited.
    let answers_at_once = |what: &str, look: &dyn Fn()| {
        let times: Vec<Duration> = (0..20)
            .map(|_| {
                let asked = Instant::now();
                look();
                asked.elapsed()
            })
            .collect();
        assert!(times.iter().min() <= Some(&Duration::from_millis(10)), "{what}: {times:?}");
        assert!(times.iter().max() <= Some(&DEADLINE), "{what}: {times:?}");
    };
    let child = stage.child();
    answers_at_once("pid", &|| assert_eq!(child.pid(), Some(leader.pid())));
    answers_at_once("try_wait", &|| assert_eq!(child.try_wait(), None));
    answers_at_once("signal", &|| child.signal(Signal::USR1).expect("it is ours"));
    answers_at_once("stopped", &|| assert_eq!(child.stopped(), None));
    answers_at_once("stop", &|| drop(child.stop()));
    stage.expect("leader: heard");
    let exit = within(&child.kill());
    assert_eq!((exit.status, exit.cause, exit.forced), (KILLED, Cause::Killed, false));
    assert_eq!(waiter.join().expect("a wait does not panic"), exit);
}

#[test]
fn f26_a_second_order_a_millisecond_after_the_first_is_not_lost() {
    for round in 0..200 {
        // It obeys nobody: only the second order can end it in time.
        let command = puppet("ignore INT wait").stop_signal(Signal::INT).grace(LONG);
        let stage = Stage::start(&command);
        stage.leader();
        let first = stage.child().stop();
        match round % 3 {
            0 => {}
            1 => thread::yield_now(),
            _ => thread::sleep(Duration::from_millis(1)),
        }
        // From elsewhere, and before anybody waits for the first; nobody waits for the second.
        let child = stage.child().clone();
        thread::spawn(move || drop(child.kill())).join().expect("an order does not panic");
        let exit = within(&first);
        assert_eq!((exit.status, exit.cause), (KILLED, Cause::Killed), "round {round}");
    }
}

#[test]
fn f26_a_stop_now_a_millisecond_after_a_splayed_stop_is_not_lost() {
    for round in 0..200 {
        let stage =
            Stage::start(&puppet("trap-exit INT 9 wait").stop_signal(Signal::INT).splay(LONG).grace(LONG));
        stage.leader();
        // Futures that nobody polls are orders all the same.
        let first = stage.child().stop();
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(stage.child().stop_now());
        let exit = within(&first);
        assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(9), Cause::Stopped, false));
    }
}

#[test]
fn f26_a_weaker_order_after_a_stronger_one_joins_it() {
    let stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(200)).splay(LONG));
    stage.leader();
    let now = stage.child().stop_now();
    // The splay of this one must not begin.
    let late = stage.child().stop();
    assert_eq!(within(&now), within(&late));
    assert!(!stage.child().events().any(|event| matches!(event.kind, EventKind::Splaying(_))));

    let stage = Stage::start(&puppet("wait").splay(LONG));
    stage.leader();
    let kill = stage.child().kill();
    let stop = stage.child().stop();
    assert_eq!(within(&kill).cause, Cause::Killed);
    assert_eq!(within(&stop).cause, Cause::Killed);
}

#[test]
fn f26_a_grace_is_not_begun_anew_by_another_stop() {
    let stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_secs(2)));
    stage.leader();
    let gone = stage.child().stop();
    let end = Instant::now() + DEADLINE;
    // Orders keep coming, closer together than the grace is long.
    while gone.wait_timeout(Duration::from_millis(100)).is_none() {
        assert!(Instant::now() < end, "the grace never ends");
        stage.child().stop();
    }
    assert!(within(&gone).forced);
}

#[test]
fn f36_a_splay_ends_with_the_child() {
    let stage = Stage::start(&puppet("trap-exit USR1 4 wait").splay(LONG));
    let leader = stage.leader();
    let gone = stage.child().stop();
    assert!(gone.wait_timeout(Duration::ZERO).is_none());
    leader.signal(Signal::USR1);
    let exit = within(&gone);
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(4), Cause::Own, false));
}

#[test]
fn f36_a_dead_child_is_not_waited_for() {
    let stage = Stage::start(&puppet("exit 5").splay(LONG).grace(LONG));
    stage.exit();
    for _ in 0..3 {
        assert_eq!(within(&stage.child().stop()).status, Status::Exited(5));
    }
    let kinds: Vec<EventKind> = stage.child().events().map(|event| event.kind).collect();
    assert!(
        matches!(&kinds[..], [EventKind::Started { .. }, EventKind::Exited(_), EventKind::Gone(_)]),
        "{kinds:?}"
    );
}

#[test]
fn an_order_to_what_is_gone_is_ok_and_does_nothing() {
    let stage = Stage::play("exit 6");
    let exit = within(&stage.child().gone());
    let events = stage.child().events().count();
    for _ in 0..3 {
        stage.child().signal(Signal::TERM).expect("nobody is left");
        for gone in
            [stage.child().stop(), stage.child().stop_now(), stage.child().kill(), stage.child().gone()]
        {
            assert_eq!(within(&gone), exit);
        }
    }
    assert_eq!(stage.child().events().count(), events);
}

#[test]
fn a_stop_can_ask_with_another_signal() {
    let stage = Stage::play("trap-exit TERM 1 trap-exit QUIT 2 wait");
    stage.leader();
    let exit = within(&stage.child().stop_with(Signal::QUIT));
    assert_eq!((exit.status, exit.cause), (Status::Exited(2), Cause::Stopped));
    assert!(stage.child().events().any(|event| event.kind == EventKind::Asked(Signal::QUIT)));
}

#[test]
fn orders_from_many_threads_end_it_once() {
    for _ in 0..20 {
        let stage =
            Stage::start(&puppet("fork worker [ wait ] trap-exit TERM 3 wait").splay(LONG).grace(LONG));
        stage.ready("worker");
        stage.leader();
        let exits: Vec<_> = (0..12)
            .map(|i| {
                let child = stage.child().clone();
                thread::spawn(move || match i % 4 {
                    0 => within(&child.stop()),
                    1 => within(&child.stop_now()),
                    2 => {
                        _ = child.signal(Signal::CONT);
                        within(&child.stop_with(Signal::TERM))
                    }
                    _ => child.wait_timeout(DEADLINE).expect("it ends"),
                })
            })
            .collect();
        for exit in exits {
            assert_eq!(exit.join().expect("no order panics").status, Status::Exited(3));
        }
        let exited =
            stage.child().events().filter(|event| matches!(event.kind, EventKind::Exited(_))).count();
        assert_eq!(exited, 1);
    }
}

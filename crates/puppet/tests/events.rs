//! Everything that happens to a run is told in order, from the start, to whoever asks and whenever; and nobody who
//! listens can do the library harm.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use foster::{Child, Containment, Event, EventKind, Leftovers, Proof, Signal, Status};
use puppet::{DEADLINE, Stage, alone, puppet, within};

#[test]
fn early_and_late_readers_hear_the_same() {
    let command = puppet("ignore TERM trap USR1 heard wait").grace(Duration::from_millis(200));
    let stage = Stage::start(&command.splay(Duration::from_secs(3600)));
    let leader = stage.leader();
    let early = [stage.child().events(), stage.child().events()];
    let early = early.map(|events| thread::spawn(move || events.collect::<Vec<Event>>()));
    stage.child().signal(Signal::USR1).expect("it is ours");
    stage.child().stop();
    let exit = within(&stage.child().stop_now());

    let late: Vec<Event> = stage.child().events().collect();
    let mut events = stage.child().events();
    let asynchronous: Vec<Event> = smol::block_on(async {
        let mut all = Vec::new();
        while let Some(event) = events.next_event().await {
            all.push(event);
        }
        all
    });
    assert_eq!(asynchronous, late);
    for reader in early {
        assert_eq!(reader.join().expect("reading does not panic"), late);
    }

    let kinds: Vec<EventKind> = late.iter().map(|event| event.kind.clone()).collect();
    let EventKind::Splaying(splay) = kinds[2] else { panic!("{kinds:?}") };
    assert!(splay < Duration::from_secs(3600));
    let story = [
        EventKind::Started { pid: leader.pid() },
        EventKind::Signalled(Signal::USR1),
        EventKind::Splaying(splay),
        EventKind::Asked(Signal::TERM),
        EventKind::Forced,
        EventKind::Exited(exit),
        kinds.last().expect("it is gone").clone(),
    ];
    assert_eq!(kinds, story);
    assert!(matches!(story[6], EventKind::Gone(_)));
    assert!(late.is_sorted_by_key(|event| event.elapsed));
    // The end stays the end.
    let mut ended = stage.child().events();
    assert_eq!(ended.by_ref().count(), 7);
    assert_eq!(ended.next(), None);
    assert_eq!(smol::block_on(ended.next_event()), None);
}

#[test]
fn listening_does_not_keep_a_run_alive() {
    let stage = Stage::play("wait");
    let leader = stage.leader();
    let mut events = stage.child().events();
    drop(stage);
    leader.dies();
    assert!(events.any(|event| matches!(event.kind, EventKind::Gone(_))));
}

#[test]
fn the_end_says_by_what_it_is_known() {
    let leaves = "fork worker [ wait ] trap-exit TERM 0 wait";
    for (containment, leftovers, proof) in [
        // A plain group has no other.
        (Containment::Group, Leftovers::Kill, Proof::GroupEmpty),
        (Containment::Group, Leftovers::Leave, Proof::Left),
        (Containment::Auto, Leftovers::Leave, Proof::Left),
    ] {
        let stage = Stage::start(&puppet(leaves).containment(containment).leftovers(leftovers));
        let worker = stage.ready("worker");
        stage.leader().signal(Signal::TERM);
        let end = stage.child().gone().wait_timeout(DEADLINE).expect("in time").expect("nobody is stuck");
        assert_eq!((end.exit, end.proof), (stage.exit(), proof));
        let last = stage.child().events().last().map(|event| event.kind);
        assert_eq!(last, Some(EventKind::Gone(proof)));
        assert_eq!(worker.alive(), leftovers == Leftovers::Leave);
        worker.signal(Signal::KILL);
    }
    // What was to be left and is not there is no such thing.
    let command = puppet("quiet").leftovers(Leftovers::Leave).containment(Containment::Group);
    let end = command.spawn().expect("it starts").gone().wait().expect("nobody is stuck");
    assert_eq!(end.proof, Proof::GroupEmpty);
}

#[test]
fn a_flood_of_signals_leaves_the_end_in_the_log() {
    let stage = Stage::play("ignore USR1 wait");
    stage.leader();
    for _ in 0..5000 {
        stage.child().signal(Signal::USR1).expect("it is ours");
    }
    within(&stage.child().stop());
    let kinds: Vec<EventKind> = stage.child().events().map(|event| event.kind).collect();
    let [first, .., EventKind::Asked(_), EventKind::Exited(_), EventKind::Gone(_)] = &kinds[..] else {
        panic!("{:?}", kinds.last())
    };
    assert!(matches!(first, EventKind::Started { .. }));
}

/// Polls once with this waker, which the library then has.
fn leave<F: Future>(future: F, waker: &Waker) {
    let mut future = Box::pin(future);
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(waker)), Poll::Pending));
    // A future that is dropped takes its waker back; this one stays until the process ends.
    std::mem::forget(future);
}

#[test]
fn a_waker_that_panics_takes_nobody_with_it() {
    struct Panics(AtomicUsize);

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("on purpose, by a waker");
        }
    }

    // Should it take the engine with it, then only this process's.
    alone(|| {
        let panics = Arc::new(Panics(AtomicUsize::new(0)));
        for _ in 0..3 {
            let stage = Stage::play("trap-exit USR1 3 wait");
            let other = Stage::play("trap-exit USR1 4 wait");
            let (leader, other_leader) = (stage.leader(), other.leader());
            leave(stage.child().exited(), &panics.clone().into());
            leave(stage.child().gone(), &panics.clone().into());
            let waiter = thread::spawn({
                let child = stage.child().clone();
                move || smol::block_on(child.exited())
            });
            // It is the engine's thread that learns of this, and wakes.
            leader.signal(Signal::USR1);
            assert_eq!(stage.exit().status, Status::Exited(3));
            assert_eq!(waiter.join().expect("it is woken").status, Status::Exited(3));
            other_leader.signal(Signal::USR1);
            assert_eq!(other.exit().status, Status::Exited(4));
        }
        assert!(panics.0.load(Ordering::Relaxed) >= 3);
    });
}

#[test]
fn a_waker_may_use_the_child_while_it_wakes() {
    struct Asks(Child, mpsc::Sender<Status>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            // Every door at once, from inside the wake-up.
            _ = self.0.pid();
            _ = self.0.signal(Signal::USR1);
            drop(self.0.kill());
            drop(self.0.exited());
            _ = self.0.events().next();
            self.1.send(self.0.wait().status).expect("somebody listens");
        }
    }

    let stage = Stage::play("trap-exit USR1 3 wait");
    let leader = stage.leader();
    let (tell, told) = mpsc::channel();
    leave(stage.child().exited(), &Arc::new(Asks(stage.child().clone(), tell)).into());
    leader.signal(Signal::USR1);
    assert_eq!(told.recv_timeout(DEADLINE), Ok(Status::Exited(3)));
    within(&stage.child().gone());
}

#[test]
fn a_waker_may_use_the_child_when_it_is_dropped() {
    struct Asks(Child, mpsc::Sender<Option<u32>>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Asks {
        fn drop(&mut self) {
            self.1.send(self.0.pid()).expect("somebody listens");
        }
    }

    let stage = Stage::play("wait");
    let pid = stage.leader().pid();
    let child = stage.child().clone();
    let (tell, told) = mpsc::channel();
    // Elsewhere, since it may hang.
    thread::spawn(move || {
        let mut exited = pin!(child.exited());
        let first = Waker::from(Arc::new(Asks(child.clone(), tell)));
        assert!(exited.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
        // Now the library alone has it; the next poll puts another in its place.
        drop(first);
        assert!(exited.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    assert_eq!(told.recv_timeout(DEADLINE), Ok(Some(pid)), "dropping a waker is somebody else's code");
}

#[test]
fn a_task_may_run_inside_its_wake_up() {
    /// A task that its waker runs on the spot, on the library's own thread, handles and all.
    struct Task(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let waker = self.clone().into();
            let mut place = self.0.lock().expect("no panic");
            let task = place.as_mut().expect("it is woken until it is done");
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *place = None;
            }
        }
    }

    let script = "fork worker [ ignore TERM wait ] trap-exit USR1 0 wait";
    let command = puppet(script).leftovers(Leftovers::Wait { max: None });
    let stage = Stage::start(&command);
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let (tell, told) = mpsc::channel();
    let child = stage.child().clone();
    // Now the task has the last handle.
    drop(stage);
    let task = async move {
        let exit = child.exited().await;
        let gone = child.kill().await;
        drop(child);
        tell.send((exit, gone)).expect("somebody listens");
    };
    Arc::new(Task(Mutex::new(Some(Box::pin(task))))).wake();
    leader.signal(Signal::USR1);
    let (exit, gone) = told.recv_timeout(DEADLINE).expect("it is woken, twice");
    assert_eq!(gone.map(|end| end.exit), Ok(exit));
    assert!(!worker.alive());
}

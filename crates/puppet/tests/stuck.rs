//! What cannot be killed is named after a bounded wait, holds up nobody, and is reaped when it dies after all.
//!
//! A process in the freezer of cgroup v1 does not die of KILL before it is thawed, like one in state `D`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use foster::{
    Cause, Containment, Error, ErrorKind, EventKind, Mechanism, Signal, Sink, Status, Stuck, Supervisor,
};
use puppet::{Actor, DEADLINE, Feature, Stage, eventually, needs, program, puppet, unique, within};

/// A cgroup of our own, thawed and removed in the end, whatever happens: not even the end of its life frees what is
/// frozen, so if this process is killed, a janitor does it.
struct Freezer(PathBuf, std::process::Child);

impl Freezer {
    fn with(actors: &[&Actor]) -> Freezer {
        let path = PathBuf::from("/sys/fs/cgroup/freezer").join(unique("test"));
        let janitor = format!(
            "quiet setsid sleep 45 append {0}/freezer.state THAWED sleep 5 rmdir {0}",
            path.display()
        );
        let janitor =
            std::process::Command::new(program()).args(janitor.split(' ')).spawn().expect("a puppet");
        let freezer = Freezer(path, janitor);
        fs::create_dir(&freezer.0).expect("we are root");
        for actor in actors {
            fs::write(freezer.0.join("cgroup.procs"), actor.pid().to_string()).expect("it lives");
        }
        fs::write(freezer.state(), "FROZEN").expect("a state");
        eventually(
            "it is frozen",
            || fs::read_to_string(freezer.state()).ok(),
            |state| state.as_deref() == Some("FROZEN\n"),
        );
        freezer
    }

    fn state(&self) -> PathBuf {
        self.0.join("freezer.state")
    }

    fn thaw(&self) {
        fs::write(self.state(), "THAWED").expect("a state");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        _ = fs::write(self.state(), "THAWED");
        // It can be removed once nobody is in it.
        for _ in 0..2000 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) => break,
                Ok(()) => {
                    _ = self.1.kill();
                    break;
                }
            }
        }
        // Killed, or done in a minute.
        _ = self.1.wait();
    }
}

fn impatient(script: &str) -> foster::Command {
    puppet(script).grace(Duration::from_millis(100)).patience(Duration::from_millis(200))
}

#[track_caller]
fn stuck(end: Option<Result<foster::End, Stuck>>) -> Stuck {
    end.expect("the wait is bounded").expect_err("it is frozen")
}

#[test]
fn f43_the_frozen_are_named_and_reaped_when_they_thaw() {
    if !needs(Feature::Freezer) {
        return;
    }
    let stage = Stage::start(&impatient("wait").label("the frozen"));
    let leader = stage.leader();
    let freezer = Freezer::with(&[&leader]);
    let child = stage.child();
    let told = stuck(child.stop().wait_timeout(DEADLINE));
    assert_eq!(told.pids(), [leader.pid()]);
    let [state] = told.states() else { panic!("{told:?}") };
    let named = format!("the frozen: killed, and still there: pid {} ({state})", leader.pid());
    assert_eq!(told.to_string(), named);
    assert_eq!(Error::from(told.clone()).kind(), ErrorKind::Stuck);
    assert_eq!(io::Error::from(told.clone()).kind(), io::ErrorKind::TimedOut);

    // Everything else answers, and tells the same.
    assert_eq!(child.pid(), Some(leader.pid()));
    assert_eq!(child.try_wait(), None);
    assert_eq!(child.wait_timeout(Duration::ZERO), None);
    child.signal(Signal::USR1).expect("it is ours");
    for gone in [child.stop(), child.stop_now(), child.kill(), child.gone()] {
        assert_eq!(stuck(gone.wait_timeout(DEADLINE)), told);
    }
    assert_eq!(smol::block_on(child.gone()), Err(told.clone()));

    freezer.thaw();
    let exit = stage.exit();
    let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
    assert_eq!((exit.status, exit.cause, exit.forced), (killed, Cause::Stopped, true));
    // The events end when it is gone.
    let kinds: Vec<EventKind> = child.events().map(|event| event.kind).collect();
    let place = kinds.iter().position(|kind| *kind == EventKind::Stuck(told.clone())).expect("it is told");
    let [EventKind::Exited(last), EventKind::Gone(_)] = &kinds[place + 1..] else { panic!("{kinds:?}") };
    assert_eq!(*last, exit);
    assert_eq!(within(&child.gone()), exit);
    assert!(!leader.alive());
}

#[test]
fn f43_a_frozen_worker_does_not_hold_up_the_exit() {
    if !needs(Feature::Freezer) {
        return;
    }
    let stage = Stage::start(&impatient("fork worker [ wait ] trap-exit TERM 0 wait"));
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let freezer = Freezer::with(&[&worker]);
    let gone = stage.child().stop();
    assert_eq!(stage.exit().status, Status::Exited(0));
    assert!(!leader.alive() && worker.alive());
    assert_eq!(stuck(gone.wait_timeout(DEADLINE)).pids(), [worker.pid()]);
    freezer.thaw();
    let last = stage.child().events().last().map(|event| event.kind);
    assert!(matches!(last, Some(EventKind::Gone(_))), "{last:?}");
    assert!(!worker.alive());
}

#[test]
fn f43_a_close_names_the_stuck_and_ends_the_others() {
    if !needs(Feature::Freezer) {
        return;
    }
    let supervisor = Supervisor::new();
    let command = impatient("wait").stdout(Sink::Piped);
    let [frozen, other] = [(), ()].map(|()| Stage::listen(supervisor.spawn(&command).expect("it starts")));
    let (leader, other_leader) = (frozen.leader(), other.leader());
    let freezer = Freezer::with(&[&leader]);
    let named = supervisor.close().expect_err("one is frozen");
    assert_eq!(named.iter().map(Stuck::pids).collect::<Vec<_>>(), [[leader.pid()]]);
    assert!(!other_leader.alive());
    freezer.thaw();
    leader.dies();
    eventually("it is gone", || supervisor.children().len(), |left| *left == 0);
    supervisor.close().expect("nobody is stuck any more");
}

#[test]
fn f43_dropping_the_handle_of_the_frozen_does_not_hang() {
    if !needs(Feature::Freezer) {
        return;
    }
    let stage = Stage::start(&impatient("wait"));
    let leader = stage.leader();
    let freezer = Freezer::with(&[&leader]);
    drop(stage);
    assert!(leader.alive());
    freezer.thaw();
    leader.dies();
}

/// Whatever holds it: who is stuck has its number, as we see it, and its state, and the end still comes.
#[test]
fn f43_with_each_guard_the_frozen_are_named_and_gone_in_the_end() {
    if !needs(Feature::Freezer) {
        return;
    }
    let guarded = [
        Mechanism::Cgroup,
        Mechanism::Freezer,
        Mechanism::Landlock,
        Mechanism::Subreaper,
        Mechanism::PidNamespace,
    ];
    for mechanism in guarded {
        let command = impatient("fork worker [ setsid wait ] wait");
        let stage = Stage::start(&command.containment(Containment::Exactly(mechanism)));
        stage.ready("worker");
        stage.ready("leader");
        let leader = Actor::of(stage.child().pid().expect("it runs"));
        let freezer = Freezer::with(&[&leader]);
        let told = stuck(stage.child().stop().wait_timeout(DEADLINE));
        assert!(told.pids().contains(&leader.pid()), "{mechanism}: {told:?}");
        assert_eq!(told.states().len(), told.pids().len(), "{mechanism}: {told:?}");
        assert_eq!(told.pids().len(), 1, "{mechanism}: {told:?}");
        assert!(stage.child().try_wait().is_none());
        freezer.thaw();
        let exit = stage.exit();
        let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
        assert_eq!((exit.status, exit.forced), (killed, true), "{mechanism}");
        // The events end when it is gone; before, who asks is told who is stuck.
        let last = stage.child().events().last().map(|event| event.kind);
        assert!(matches!(last, Some(EventKind::Gone(_))), "{mechanism}: {last:?}");
        assert_eq!(within(&stage.child().gone()), exit);
        stage.curtain();
    }
}

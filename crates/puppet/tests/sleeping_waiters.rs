//! A thread that waits may sleep in the kernel until the leader is dead, and then does the engine's work itself. It is
//! never the only one that can: whatever becomes of it, and whoever else waits, takes the status, or asks.
#![expect(unsafe_code, reason = "a handler that does not return, in one thread of ours")]

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use foster::{Cause, Child, Command, Containment, Exit, Leftovers, Mechanism, Status};
use puppet::{DEADLINE, Stage, alone, eventually, ignore_signal, puppet, status_field};
use rustix::thread::gettid;

/// Our own child, for whom a thread can sleep.
fn ours(script: &str) -> Command {
    puppet(script).containment(Containment::Group)
}

/// Waits without an end, in a thread of its own.
fn waiter<T: Send + 'static>(child: &Child, wait: impl FnOnce(&Child) -> T + Send + 'static) -> Receiver<T> {
    let (told, hear) = channel();
    let child = child.clone();
    thread::spawn(move || _ = told.send(wait(&child)));
    hear
}

#[track_caller]
fn told<T>(hear: &Receiver<T>) -> T {
    hear.recv_timeout(DEADLINE).expect("no waiter is forgotten")
}

/// An exit, whoever may have taken the status where the kernel does not remember it.
#[track_caller]
fn is_true(exit: &Exit, code: u8) {
    assert!([Status::Exited(code), Status::Unknown].contains(&exit.status), "{exit}");
}

/// All ways to wait at once, with the leader's end before, between and after.
fn everybody_waits(rounds: u32) {
    for round in 0..rounds {
        let child = ours("quiet exit 7").spawn().expect("it starts");
        let waits = [
            waiter(&child, Child::wait),
            waiter(&child, |child| child.gone().wait().expect("nothing is stuck").exit),
            waiter(&child, |child| child.output().wait().exit),
            waiter(&child, |child| smol::block_on(child.exited())),
            waiter(&child, |child| child.wait_timeout(DEADLINE).expect("in time")),
        ];
        // Alone in every sixth round: then it is the sleeper that takes in the end.
        for wait in waits.iter().skip(usize::try_from(round % 6).expect("it is small")) {
            is_true(&told(wait), 7);
        }
        is_true(&child.wait(), 7);
    }
}

#[test]
fn any_number_of_any_kind_may_wait() {
    everybody_waits(200);
    for _ in 0..200 {
        is_true(&told(&waiter(&ours("quiet exit 7").spawn().expect("it starts"), Child::wait)), 7);
    }
}

#[test]
fn f18_a_thief_of_statuses_wakes_the_sleeper_too() {
    alone(|| {
        // It ends with this process.
        thread::spawn(|| {
            loop {
                if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
                    thread::yield_now();
                }
            }
        });
        everybody_waits(60);
    });
}

#[test]
fn f18_where_the_kernel_reaps_the_sleeper_wakes() {
    alone(|| {
        ignore_signal(foster::Signal::CHLD);
        everybody_waits(60);
    });
}

/// The end of a guarded program is news that is read once, by whoever comes first: also who waits alone is told.
#[test]
fn who_waits_for_a_guarded_program_is_not_kept_by_what_it_leaves() {
    for containment in [Containment::Auto, Containment::Exactly(Mechanism::Subreaper), Containment::Group] {
        for _ in 0..20 {
            let command = puppet("quiet fork worker [ quiet wait ] exit 3").containment(containment);
            let child = command.leftovers(Leftovers::Wait { max: None }).spawn().expect("it starts");
            assert_eq!(told(&waiter(&child, Child::wait)).status, Status::Exited(3), "{containment:?}");
            child.kill().wait().expect("nothing is stuck");
        }
    }
}

/// On a full machine each turn of a thread is one that somebody else waits for, who may be the guard that tells the end.
#[test]
fn who_waits_for_the_end_is_not_woken_by_the_exit() {
    for containment in [Containment::Auto, Containment::Group] {
        let command = puppet("quiet fork worker [ quiet wait ] exit 3").containment(containment);
        let child = command.leftovers(Leftovers::Wait { max: None }).spawn().expect("it starts");
        let (says, who) = channel();
        let end = waiter(&child, move |child| {
            says.send(gettid().as_raw_nonzero()).expect("somebody hears it");
            child.gone().wait().expect("nothing is stuck").exit
        });
        let thread = format!("/proc/self/task/{}", told(&who));
        let of_thread = |file| std::fs::read_to_string(format!("{thread}/{file}")).expect("it is there");
        let sleeps = || {
            let futex = format!("{} ", libc::SYS_futex);
            eventually("it sleeps", || of_thread("syscall"), |call| call.starts_with(&futex));
            status_field(&of_thread("status"), "voluntary_ctxt_switches")
        };
        let times = sleeps();
        // As a task: threads that sleep are woken together where one of them must be.
        is_true(&smol::block_on(child.exited()), 3);
        // Woken, it would have slept once more.
        assert_eq!(sleeps(), times, "{containment:?}");
        drop(child.kill());
        is_true(&told(&end), 3);
    }
}

#[test]
fn deadlines_pass_while_a_thread_sleeps() {
    let child = ours("ignore TERM wait")
        .timeout(Duration::from_millis(20))
        .grace(Duration::from_millis(20))
        .spawn()
        .expect("it starts");
    let exit = told(&waiter(&child, Child::wait));
    assert_eq!((exit.cause, exit.forced), (Cause::TimedOut, true));
}

#[test]
fn an_order_reaches_whom_a_thread_sleeps_for() {
    let stage = Stage::start(&ours("trap-exit TERM 3 wait"));
    stage.leader();
    let wait = waiter(stage.child(), Child::wait);
    sleeps_in_the_kernel();
    assert_eq!(stage.child().try_wait(), None);
    drop(stage.child().stop());
    assert_eq!(told(&wait).status, Status::Exited(3));
}

/// Some thread of ours is in `waitid(2)`.
fn sleeps_in_the_kernel() {
    let calls = || -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").expect("it is ours").flatten();
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("syscall")).ok()).collect()
    };
    let waitid = format!("{} ", libc::SYS_waitid);
    eventually("a thread sleeps", calls, |calls| calls.iter().any(|call| call.starts_with(&waitid)));
}

/// Where the handler says that it has begun, and what it waits for.
static HANDLER: OnceLock<(PipeWriter, PipeReader)> = OnceLock::new();

extern "C" fn hold(_: libc::c_int) {
    let (begun, go) = HANDLER.get().expect("it is set before the handler");
    _ = (&*begun).write(b".");
    _ = (&*go).read(&mut [0]);
}

/// A handler of the host's holds the thread that sleeps. Whoever asks after that depends on it no more.
#[test]
fn a_sleeper_that_is_held_holds_nobody() {
    alone(|| {
        let ((mut begun, begins), (goes, go)) =
            (std::io::pipe().expect("a pipe"), std::io::pipe().expect("a pipe"));
        HANDLER.set((begins, goes)).expect("once");
        let stage = Stage::start(&ours("trap-exit TERM 3 wait"));
        stage.leader();
        let child = stage.child().clone();
        let sleeper = thread::spawn(move || child.wait());
        sleeps_in_the_kernel();
        // SAFETY: the handler makes two system calls, on descriptors that stay open; the thread is there.
        unsafe {
            let handler: extern "C" fn(libc::c_int) = hold;
            libc::signal(libc::SIGUSR1, handler as libc::sighandler_t);
            assert_eq!(libc::pthread_kill(sleeper.as_pthread_t(), libc::SIGUSR1), 0);
        }
        begun.read_exact(&mut [0]).expect("the handler begins");
        let others = [
            waiter(stage.child(), |child| smol::block_on(child.exited())),
            waiter(stage.child(), |child| child.wait_timeout(DEADLINE).expect("in time")),
            waiter(stage.child(), Child::wait),
        ];
        drop(stage.child().stop());
        for other in &others {
            assert_eq!(told(other).status, Status::Exited(3));
        }
        assert!(!sleeper.is_finished());
        drop(go);
        assert_eq!(sleeper.join().expect("it does not panic").status, Status::Exited(3));
    });
}

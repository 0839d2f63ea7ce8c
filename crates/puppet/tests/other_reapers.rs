//! Whatever the host does with SIGCHLD and with `waitpid(-1)`, no exit is lost, and no status invented.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use foster::{Command, Containment, ErrorKind, Input, Signal, Sink, Status};
use puppet::{DEADLINE, Stage, alone, ignore_signal, puppet, within};

/// Its own status, or an honest «unknown», which kernels before 6.15 leave us.
#[track_caller]
fn is_true(status: Status, code: u8) {
    assert!(matches!(status, Status::Unknown) || status == Status::Exited(code), "{status}");
}

/// What must hold whoever takes the statuses. The leaders are children of ours, so that there are statuses to take.
fn everything_ends() {
    for round in 0..100 {
        let child = puppet("quiet exit 7").containment(Containment::Group).spawn().expect("it starts");
        is_true(child.wait_timeout(DEADLINE).expect("no hang").status, 7);
        is_true(within(&child.gone()).status, 7);
        let error = Command::new("/no/such/program").spawn().expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error} in round {round}");
    }
    for _ in 0..20 {
        let script = "fork worker [ ignore TERM wait ] trap-exit TERM 7 wait";
        let command = puppet(script).grace(Duration::from_millis(50)).containment(Containment::Group);
        let stage = Stage::start(&command);
        let worker = stage.ready("worker");
        stage.leader();
        is_true(within(&stage.child().stop()).status, 7);
        assert!(!worker.alive());
    }
    for _ in 0..20 {
        let stage = Stage::start(&puppet("wait").containment(Containment::Group));
        let leader = stage.leader();
        let exit = within(&stage.child().kill());
        let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
        assert!(matches!(exit.status, Status::Unknown) || exit.status == killed, "{exit}");
        assert!(!leader.alive());
    }
}

#[test]
fn f18_a_thief_of_statuses_makes_nobody_lie() {
    alone(|| {
        let stolen = Arc::new(AtomicUsize::new(0));
        let thief = stolen.clone();
        // It ends with this process.
        thread::spawn(move || {
            loop {
                match rustix::process::wait(rustix::process::WaitOptions::empty()) {
                    Ok(_) => _ = thief.fetch_add(1, Ordering::Relaxed),
                    Err(_) => thread::yield_now(),
                }
            }
        });
        everything_ends();
        println!("{} were stolen", stolen.load(Ordering::Relaxed));
    });
}

#[test]
fn f18_a_host_that_ignores_sigchld_makes_nobody_lie() {
    alone(|| {
        ignore_signal(Signal::CHLD);
        everything_ends();
    });
}

#[test]
fn f39_five_hundred_that_exit_together_are_all_told() {
    alone(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let handler = calls.clone();
        // Somebody else's handler, which the library neither needs nor replaces.
        let mut foreign = signal_hook::iterator::Signals::new([Signal::CHLD.number()]).expect("a handler");
        thread::spawn(move || {
            for _ in foreign.forever() {
                handler.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let stdin = Input::from(read);
        let children: Vec<_> = (0..500)
            .map(|i| {
                let command = puppet(&format!("quiet read exit {}", i % 256)).stdin(stdin.clone());
                // Children of ours, whose exits are our SIGCHLD, and their zombies ours.
                let command = command.stdout(Sink::Null).containment(Containment::Group);
                command.spawn().expect("it starts")
            })
            .collect();
        drop(stdin);
        // All read the end of input at the same time.
        drop(write);
        for (i, child) in children.iter().enumerate() {
            let exit = child.wait_timeout(DEADLINE).expect("its wake-up is not lost");
            assert_eq!(exit.status, Status::Exited(u8::try_from(i % 256).expect("a byte")));
        }
        assert!(calls.load(Ordering::Relaxed) > 0, "the host's handler is still the host's");
        assert_eq!(puppet::zombies(), [0; 0]);
    });
}

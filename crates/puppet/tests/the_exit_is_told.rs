//! The exit is told to everybody who waits, whole and unchanged, as soon as the leader is dead.

use std::thread;
use std::time::Duration;

use foster::{Cause, Containment, EventKind, Exit, Leftovers, Signal, Status};
use puppet::{DEADLINE, Stage, puppet, within};

fn signaled(signal: Signal) -> Status {
    Status::Signaled { signal, core_dumped: false }
}

/// How everybody who can ask sees the end, with a late comer of each kind.
#[track_caller]
fn told(stage: &Stage) -> (Status, Cause, bool) {
    let exit = stage.exit();
    let child = stage.child();
    let everybody: [Exit; 6] = [
        child.wait(),
        child.clone().wait(),
        child.try_wait().expect("it is dead"),
        smol::block_on(child.exited()),
        within(&child.gone()),
        child
            .events()
            .find_map(|event| match event.kind {
                EventKind::Exited(exit) => Some(exit),
                _ => None,
            })
            .expect("it is an event"),
    ];
    for one in everybody {
        assert_eq!(one, exit);
    }
    (exit.status, exit.cause, exit.forced)
}

#[test]
fn d01_asking_for_the_pid_after_the_exit_keeps_the_exit_code() {
    let stage = Stage::play("trap-exit USR1 7 wait");
    let leader = stage.leader();
    assert_eq!(stage.child().pid(), Some(leader.pid()));
    leader.signal(Signal::USR1);
    leader.dies();
    // The number may be told until the death is known; asking must not take the exit from those who wait.
    let waiter = thread::spawn({
        let child = stage.child().clone();
        move || child.wait_timeout(DEADLINE)
    });
    for _ in 0..100 {
        _ = stage.child().pid();
    }
    assert_eq!(stage.exit().status, Status::Exited(7));
    for _ in 0..3 {
        assert_eq!(stage.child().pid(), None);
        assert_eq!(stage.child().try_wait().map(|exit| exit.status), Some(Status::Exited(7)));
    }
    let exit = waiter.join().expect("a wait does not panic");
    assert_eq!(exit.map(|exit| exit.status), Some(Status::Exited(7)));
    assert_eq!(told(&stage), (Status::Exited(7), Cause::Own, false));
}

#[test]
fn d08_the_code_of_a_polite_end_is_never_lost_in_a_stop() {
    for round in 0..60 {
        let code = 1 + round;
        let stage = Stage::play(&format!("trap-exit TERM {code} wait"));
        stage.leader();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let child = stage.child().clone();
                thread::spawn(move || child.wait_timeout(DEADLINE))
            })
            .collect();
        let exit = within(&stage.child().stop());
        assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(code), Cause::Stopped, false));
        for waiter in waiters {
            assert_eq!(waiter.join().expect("a wait does not panic"), Some(exit.clone()));
        }
    }
}

#[test]
fn d09_death_by_a_signal_is_told_as_that_signal() {
    let stage = Stage::play("wait");
    stage.leader().signal(Signal::KILL);
    assert_eq!(told(&stage), (signaled(Signal::KILL), Cause::Own, false));
    assert_eq!(stage.exit().shell_code(), Some(137));
    assert!(!stage.exit().success());
}

#[test]
fn d10_the_exit_is_told_although_somebody_holds_the_output_pipe() {
    let command = puppet("fork worker [ wait ] on USR1 [ exit 3 ] wait").leftovers(Leftovers::Leave);
    let stage = Stage::start(&command);
    let worker = stage.ready("worker");
    stage.leader().signal(Signal::USR1);
    // Told while the worker lives, and the worker is the one who holds the pipe.
    let exit = stage.exit();
    assert!(worker.alive());
    assert_eq!((exit.status, exit.cause), (Status::Exited(3), Cause::Own));
    assert_eq!(exit.leftovers, [worker.pid()]);
    worker.signal(Signal::KILL);
    stage.curtain();
}

#[test]
fn f27_every_code_is_told() {
    for code in 0..=255_u8 {
        let exit = puppet(&format!("quiet exit {code}")).spawn().expect("it starts").wait();
        assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(code), Cause::Own, false));
        assert_eq!(exit.shell_code(), Some(code));
        assert_eq!(exit.success(), code == 0);
    }
}

#[test]
fn f27_every_signal_that_kills_is_told() {
    use Signal as S;
    // 32 and 33 are the C library's own.
    let real_time = Signal::all().filter(|signal| signal.number() > 33);
    let classic = [
        S::HUP,
        S::INT,
        S::QUIT,
        S::ILL,
        S::TRAP,
        S::ABRT,
        S::BUS,
        S::FPE,
        S::KILL,
        S::USR1,
        S::SEGV,
        S::USR2,
        S::PIPE,
        S::ALRM,
        S::TERM,
        S::STKFLT,
        S::XCPU,
        S::XFSZ,
        S::VTALRM,
        S::PROF,
        S::IO,
        S::PWR,
        S::SYS,
    ];
    for signal in classic.into_iter().chain(real_time) {
        let exit = puppet(&format!("quiet raise {}", signal.name())).spawn().expect("it starts").wait();
        // Whether a core is dumped is the machine's business.
        let Status::Signaled { signal: by, .. } = exit.status else { panic!("{signal}: {exit}") };
        assert_eq!((by, exit.cause, exit.forced), (signal, Cause::Own, false));
        assert_eq!(exit.shell_code().map(i32::from), Some(128 + signal.number()));
    }
}

#[test]
fn f28_an_end_that_we_asked_for_is_told_from_one_that_just_came() {
    let polite = Stage::play("trap-exit TERM 0 wait");
    polite.leader();
    polite.child().stop();
    assert_eq!(told(&polite), (Status::Exited(0), Cause::Stopped, false));

    let plain = Stage::play("wait");
    plain.leader();
    plain.child().stop();
    assert_eq!(told(&plain), (signaled(Signal::TERM), Cause::Stopped, false));

    let shot = Stage::play("wait");
    shot.leader().signal(Signal::TERM);
    assert_eq!(told(&shot), (signaled(Signal::TERM), Cause::Own, false));

    let killed = Stage::play("wait");
    killed.leader();
    killed.child().kill();
    assert_eq!(told(&killed), (signaled(Signal::KILL), Cause::Killed, false));

    let stubborn = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(100)));
    stubborn.leader();
    stubborn.child().stop();
    assert_eq!(told(&stubborn), (signaled(Signal::KILL), Cause::Stopped, true));

    let late = Stage::start(&puppet("wait").timeout(Duration::from_millis(1)));
    assert_eq!(told(&late), (signaled(Signal::TERM), Cause::TimedOut, false));
}

#[test]
fn a_wait_that_times_out_harms_nobody() {
    let stage = Stage::play("trap-exit USR1 2 wait");
    let leader = stage.leader();
    assert_eq!(stage.child().wait_timeout(Duration::ZERO), None);
    assert_eq!(stage.child().wait_timeout(Duration::from_millis(20)), None);
    assert!(stage.child().gone().wait_timeout(Duration::from_millis(20)).is_none());
    assert!(leader.alive());
    leader.signal(Signal::USR1);
    assert_eq!(told(&stage), (Status::Exited(2), Cause::Own, false));
}

#[test]
fn the_exit_tells_what_the_leader_used_and_how_long_it_took() {
    // We reap it ourselves, and so learn what it used.
    let stage = Stage::start(&puppet("sleep 0.2 exit 0").containment(Containment::Group));
    let exit = stage.exit();
    let usage = exit.usage.expect("nobody else took the status");
    assert!(exit.elapsed >= Duration::from_millis(200), "{exit}");
    assert!(usage.peak_memory > 100_000, "{usage:?}");
    assert!(usage.user + usage.system < exit.elapsed, "{usage:?} {exit}");
    assert!(exit.started.elapsed().expect("it is past") >= exit.elapsed);
}

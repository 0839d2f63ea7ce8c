//! Signals that reach foster reach the program, once each: scenarios F7, F12, F26 and the rules.

use foster::{Cause, Signal, Status};
use puppet::{Stage, scratch};

use crate::common::{foster_run, send, stage};

/// Everything that can be caught and has no meaning for foster itself.
fn passed_on() -> Vec<Signal> {
    let special = [Signal::TERM, Signal::INT, Signal::CHLD, Signal::KILL, Signal::STOP];
    // The terminal's stops stop the program, and with it foster: see terminal.rs. The C library keeps 32 and 33.
    let stops = [Signal::TSTP, Signal::TTIN, Signal::TTOU];
    Signal::all()
        .filter(|signal| {
            !special.contains(signal) && !stops.contains(signal) && ![32, 33].contains(&signal.number())
        })
        .collect()
}

#[test]
fn f12_every_signal_that_can_be_caught_reaches_the_program() {
    let traps: Vec<String> =
        passed_on().iter().map(|signal| format!("trap {0} heard-{0}", signal.name())).collect();
    let stage = stage("", &format!("{} trap-exit TERM 0 wait", traps.join(" ")));
    stage.leader();
    for signal in passed_on() {
        send(&stage, signal);
        stage.expect(&format!("leader: heard-{}", signal.name()));
    }
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(0));
    for signal in passed_on() {
        let times = stage.said(&format!("leader: heard-{}", signal.name()));
        // A stop's signal is followed by another CONT, which the program may have lived to hear.
        let once = if signal == Signal::CONT { 1..=2 } else { 1..=1 };
        assert!(once.contains(&times), "{signal}: {times}");
    }
}

#[test]
fn f12_a_signal_that_comes_before_the_program_runs_is_not_lost() {
    // foster's own start is the window: the signal is sent as soon as its pid is known, 50 times.
    for _ in 0..50 {
        let stage = stage("", "trap USR1 heard trap-exit TERM 0 wait");
        // Blocked as foster's first act; before that it would die of it, as any program.
        let blocks_it = |status: String| {
            let blocked = puppet::status_field(&status, "SigBlk");
            u64::from_str_radix(&blocked, 16).is_ok_and(|mask| mask & (1 << 9) != 0)
        };
        let pid = stage.child().pid().expect("it runs");
        puppet::eventually(
            "foster has begun",
            || std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(blocks_it),
            |blocked| *blocked,
        );
        send(&stage, Signal::HUP);
        send(&stage, Signal::TERM);
        let exit = stage.exit();
        // Either its handler was there, or TERM or HUP ended it; but it did end, and nothing was left running.
        assert!(matches!(exit.status, Status::Exited(0 | 129 | 143)), "{exit}");
    }
}

#[test]
fn f07_a_stop_is_delivered_once_to_each() {
    let stage = stage("-k 30", "fork worker [ trap TERM worker-heard wait ] trap TERM leader-heard wait");
    stage.leader();
    let worker = stage.ready("worker");
    send(&stage, Signal::TERM);
    stage.expect("leader: leader-heard");
    stage.expect("worker: worker-heard");
    // Two more: passed on once, then killed.
    send(&stage, Signal::TERM);
    stage.expect("leader: leader-heard");
    stage.expect("worker: worker-heard");
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(137));
    worker.dies();
    let all = stage.curtain();
    let heard = |line: &str| all.iter().filter(|said| *said == line).count();
    assert_eq!((heard("leader: leader-heard"), heard("worker: worker-heard")), (2, 2));
}

#[test]
fn f26_the_first_asks_the_second_asks_again_the_third_kills() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = stage("-k infinity", &format!("trap {} heard wait", signal.name()));
        stage.leader();
        send(&stage, signal);
        stage.expect("leader: heard");
        send(&stage, signal);
        stage.expect("leader: heard");
        send(&stage, signal);
        let exit = stage.exit();
        assert_eq!((exit.status, exit.cause), (Status::Exited(137), Cause::Own), "{signal}");
    }
}

#[test]
fn f26_orders_in_quick_succession_are_all_kept() {
    for _ in 0..50 {
        let stage = stage("-k infinity", "ignore TERM ignore INT wait");
        let leader = stage.leader();
        // Two different ones cannot merge in the kernel as two of the same can.
        send(&stage, Signal::INT);
        send(&stage, Signal::TERM);
        // The third can merge with the first only while foster has not read that.
        while stage.child().try_wait().is_none() {
            send(&stage, Signal::TERM);
            std::thread::yield_now();
        }
        assert_eq!(stage.exit().status, Status::Exited(137));
        leader.dies();
    }
}

#[test]
fn a_second_term_cuts_a_splay_short() {
    let events = scratch("second").join("events");
    let stage = stage(&format!("--splay 1h --events {}", events.display()), "trap-exit TERM 4 wait");
    stage.leader();
    send(&stage, Signal::TERM);
    let told = || std::fs::read_to_string(&events).unwrap_or_default();
    puppet::eventually("the splay has begun", told, |events| events.contains("splaying"));
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(4));
}

#[test]
fn int_from_a_process_asks_with_int_and_term_with_term() {
    for signal in [Signal::INT, Signal::TERM] {
        let stage = stage("", "trap-exit INT 11 trap-exit TERM 12 wait");
        stage.leader();
        send(&stage, signal);
        let code = if signal == Signal::INT { 11 } else { 12 };
        assert_eq!(stage.exit().status, Status::Exited(code));
    }
}

#[test]
fn a_stop_signal_that_was_given_is_what_a_stop_sends() {
    for option in ["-s QUIT", "--stop-signal=quit", "--signal 3", "--kill-signal SIGQUIT"] {
        let stage = stage(option, "trap-exit QUIT 9 trap-exit TERM 8 wait");
        stage.leader();
        send(&stage, Signal::TERM);
        assert_eq!(stage.exit().status, Status::Exited(9), "{option}");
    }
}

#[test]
fn a_rewritten_signal_arrives_as_the_other() {
    let stage = stage(
        "--rewrite TERM:QUIT --rewrite USR1:USR2 --rewrite HUP:none",
        "trap-exit QUIT 9 trap USR2 two trap USR1 one trap HUP hup wait",
    );
    stage.leader();
    send(&stage, Signal::HUP);
    send(&stage, Signal::USR1);
    stage.expect("leader: two");
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(9));
    assert_eq!((stage.said("leader: one"), stage.said("leader: hup")), (0, 0));
}

#[test]
fn a_rewritten_term_still_escalates() {
    let stage = stage("--rewrite TERM:QUIT -k 0.1", "ignore QUIT ignore TERM wait");
    let leader = stage.leader();
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(137));
    leader.dies();
}

#[test]
fn hup_from_a_process_is_passed_on_and_stops_nothing() {
    let stage = stage("", "trap HUP reloaded trap-exit TERM 0 wait");
    stage.leader();
    for _ in 0..3 {
        send(&stage, Signal::HUP);
        stage.expect("leader: reloaded");
    }
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(0));
}

#[test]
fn f32_a_master_hears_it_first_and_its_worker_once() {
    let script = "forward TERM trap TERM heard fork worker [ trap-exit TERM 0 on TERM [ say got ] wait ] wait-children";
    let stage = stage("--signal-to leader", script);
    stage.leader();
    let worker = stage.ready("worker");
    send(&stage, Signal::TERM);
    worker.dies();
    assert_eq!(stage.exit().status, Status::Exited(0));
}

#[test]
fn a_stranger_in_our_group_hears_nothing_with_same_group() {
    // The program shares foster's group, so that foster signals the program alone.
    let stage = stage("--same-group", "trap-exit TERM 6 ids wait");
    stage.leader();
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(6));
    let all = stage.curtain();
    let foster = stage.child().events().next().expect("it was started");
    let foster::EventKind::Started { pid } = foster.kind else { panic!("{foster:?}") };
    assert!(all.iter().any(|line| line.contains(&format!("group {pid} "))), "{all:?}");
}

#[test]
fn events_tell_each_step() {
    let folder = scratch("events");
    let file = folder.join("events");
    let command =
        foster_run(&format!("--events {}", file.display()), "trap USR1 heard trap-exit TERM 0 wait");
    let stage = Stage::start(&command);
    stage.leader();
    send(&stage, Signal::USR1);
    stage.expect("leader: heard");
    send(&stage, Signal::TERM);
    stage.exit();
    let text = std::fs::read_to_string(file).expect("the events are there");
    let names: Vec<&str> = text
        .lines()
        .map(|line| line.split("\"event\":\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    assert_eq!(names, ["started", "signalled", "asked", "exited", "gone"], "{text}");
}

//! What ends, when, and what becomes of the rest.

use std::io::Write;
use std::process::{Command as StdCommand, Stdio as StdStdio};
use std::time::{Duration, Instant};

use foster::{Signal, Status};
use puppet::{Actor, Before, Stage, alive, eventually, long_enough, program, scratch};

use crate::common::{foster, foster_run, run, said, seconds, send, stage};

#[test]
fn f01_a_leader_that_leaves_does_not_cancel_the_grace_of_the_rest() {
    let (stage, deaf) = long_enough(|grace| {
        let options = format!("-k {}", seconds(grace));
        let stage = stage(&options, "fork deaf [ ignore TERM wait ] trap-exit TERM 0 wait");
        let (leader, deaf) = (stage.leader(), stage.ready("deaf"));
        let grace = Before::begins(grace);
        send(&stage, Signal::TERM);
        leader.dies();
        grace.still()?;
        Some((stage, deaf))
    });
    assert_eq!(stage.exit().status, Status::Exited(0), "the leader's own code");
    assert!(!deaf.alive(), "foster was there until the rest was gone");
}

#[test]
fn f02_a_timeout_ends_the_whole_tree() {
    let worker = long_enough(|timeout| {
        let stage = stage(&format!("-t {}", seconds(timeout)), "fork worker [ wait ] wait");
        let worker = stage.says("worker: ready ").then(|| stage.ready("worker"));
        assert_eq!(stage.exit().status, Status::Exited(124));
        worker
    });
    assert!(!worker.alive());
}

#[test]
fn f10_who_ignores_the_stop_is_killed_when_the_grace_is_over() {
    let stage = stage("-k 0.2", "ignore TERM wait");
    let leader = stage.leader();
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(137));
    leader.dies();
}

#[test]
fn f11_a_program_gets_its_grace_to_clean_up() {
    let folder = scratch("cleanup");
    let file = folder.join("done");
    let stage = stage("", &format!("on TERM [ sleep 0.5 append {} cleaned exit 3 ] wait", file.display()));
    stage.leader();
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(3));
    assert_eq!(std::fs::read_to_string(file).expect("it cleaned up"), "cleaned\n");
}

#[test]
fn f16_what_a_successful_program_leaves_is_killed_and_told() {
    let shell = "sleep 1000 >/dev/null 2>&1 & echo $!";
    let output = run(["run", "--", "sh", "-c", shell]);
    let pid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a pid");
    assert_eq!(output.status.code(), Some(0));
    assert!(said(&output).contains(&format!("killing: pid {pid}")), "{}", said(&output));
    assert!(!alive(pid));
}

#[test]
fn leftovers_may_finish_or_be_asked_or_stay() {
    let stage = stage("--leftovers wait", "fork rest [ trap-exit USR1 0 wait ] exit 2");
    let rest = stage.ready("rest");
    rest.signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(2));

    let leaver = "trap-exit USR1 2 wait";
    let stage = crate::common::stage("--leftovers wait:0.2", &format!("fork rest [ wait ] {leaver}"));
    let rest = stage.ready("rest");
    stage.leader().signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(2));
    assert!(!rest.alive());

    let script = format!("fork rest [ on TERM [ say bye exit 0 ] wait ] {leaver}");
    let stage = crate::common::stage("--leftovers stop", &script);
    stage.ready("rest");
    stage.leader().signal(Signal::USR1);
    stage.expect("rest: bye");
    assert_eq!(stage.exit().status, Status::Exited(2));

    // Foster itself is in a tree of the test's, which must not end what it leaves.
    let leave = crate::common::foster_run("--leftovers leave", &format!("fork rest [ wait ] {leaver}"));
    let stage = puppet::Stage::start(&leave.leftovers(foster::Leftovers::Leave));
    let rest = stage.ready("rest");
    stage.leader().signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(2));
    assert!(rest.alive());
    rest.signal(Signal::KILL);
}

#[test]
fn f36_a_splay_delays_no_program_that_ends_by_itself() {
    let stage = stage("--splay 1h", "trap USR1 heard on USR2 [ exit 5 ] wait");
    stage.leader();
    send(&stage, Signal::TERM);
    send(&stage, Signal::USR2);
    assert_eq!(stage.exit().status, Status::Exited(5));
}

#[test]
fn a_timeout_of_0_is_none_and_infinity_too() {
    for none in ["0", "infinity"] {
        assert_eq!(run(["run", "-t", none, "--", "sh", "-c", "sleep 0.2; exit 6"]).status.code(), Some(6));
    }
}

#[test]
fn a_closed_stdin_stops_the_program_if_asked_to() {
    let mut child = StdCommand::new(foster())
        .args(["run", "--stop-on-stdin-eof", "--"])
        .arg(program())
        .args("trap-exit TERM 7 wait".split(' '))
        .stdin(StdStdio::piped())
        .stdout(StdStdio::piped())
        .spawn()
        .expect("foster starts");
    let mut stdin = child.stdin.take().expect("piped");
    // What is written is the program's; it stops nothing.
    stdin.write_all(b"hello\n").expect("written");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().expect("piped")), &mut line)
        .expect("it speaks");
    assert!(child.try_wait().expect("waitable").is_none());
    drop(stdin);
    assert_eq!(child.wait().expect("waitable").code(), Some(7));
}

#[test]
fn a_parents_death_is_told_to_foster_if_asked_for() {
    // A shell starts foster and dies; foster gets TERM, and the program with it.
    let stage = Stage::start(
        &foster::Command::shell(format!(
            "{} run --parent-death-signal TERM -- {} {} & wait",
            foster().display(),
            program().display(),
            "on TERM [ say orphaned exit 0 ] wait"
        ))
        .group(foster::Group::Session)
        .leftovers(foster::Leftovers::Leave),
    );
    let leader = stage.leader();
    Actor::of(stage.child().pid().expect("it waits")).signal(Signal::KILL);
    stage.expect("leader: orphaned");
    leader.dies();
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let folder = scratch("env");
    let file = folder.join("env");
    std::fs::write(&file, "A=file\nB='from the file'\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let output = StdCommand::new(foster())
        .args(["run", "--clear-env", "--env-file", file, "-e", "A=flag", "-e", "KEPT", "--", "/usr/bin/env"])
        .env("KEPT", "yes")
        .env("LOST", "yes")
        .output()
        .expect("foster starts");
    let mut lines: Vec<_> = std::str::from_utf8(&output.stdout).expect("UTF-8").lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=flag", "B=from the file", "KEPT=yes"]);
}

#[test]
fn the_working_directory_is_what_was_asked_for() {
    let output = run(["run", "-C", "/", "--", "pwd"]);
    assert_eq!(output.stdout, b"/\n");
}

#[test]
fn d11_when_foster_returns_the_program_is_dead() {
    for _ in 0..20 {
        let stage = Stage::start(&foster_run("-k 0", "ignore TERM fork rest [ ignore TERM wait ] wait"));
        let (leader, rest) = (stage.leader(), stage.ready("rest"));
        send(&stage, Signal::TERM);
        assert_eq!(stage.exit().status, Status::Exited(137));
        assert!(!leader.alive() && !rest.alive());
    }
}

#[test]
fn waiting_costs_no_processor_time() {
    let stage = stage("", "trap-exit TERM 0 wait");
    stage.leader();
    let pid = stage.child().pid().expect("it runs");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().expect("a number"))
            .collect();
        fields.iter().sum::<u64>()
    };
    let before = ticks();
    let end = Instant::now() + Duration::from_secs(1);
    eventually("a second", Instant::now, |now| *now >= end);
    // A tick is 10 ms; a loop that spins takes a hundred.
    assert!(ticks() - before < 20);
    send(&stage, Signal::TERM);
    stage.exit();
}

/// Nothing is left then that could be asked to end, so it is foster that is meant.
#[test]
fn a_tail_that_nobody_reads_does_not_keep_foster_from_ending() {
    let mut foster = StdCommand::new(foster())
        .args(["run", "--capture-tail", "100000", "--", "sh", "-c", "seq 50000; exit 3"])
        .stdin(StdStdio::null())
        .stderr(StdStdio::piped())
        .spawn()
        .expect("foster starts");
    let unread = foster.stderr.take();
    let pid = foster.id();
    // It is in the middle of its write, and the pipe is full.
    let place = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    eventually("it waits for its reader", place, |place| place.contains("pipe_write"));
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
    let status = foster.wait().expect("it is ours");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    drop(unread);
}

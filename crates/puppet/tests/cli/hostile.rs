//! Surroundings that mean no good: what nobody reads, what is closed, what somebody laid there. Foster neither hangs
//! nor writes where it should not.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Command as StdCommand, Stdio as StdStdio};

use foster::{Signal, Status};
use puppet::{Actor, Stage, eventually, long_enough, program, scratch, state, within};
use serde_json::Value;

use crate::common::{Terminal, foster, foster_run, seconds, send, stage};

#[test]
fn a_stderr_that_nobody_reads_holds_up_nothing() {
    // A pipe that is full before foster says anything, and a label that would not fit one anyway.
    let mut child = StdCommand::new("sh")
        .args(["-c", "dd if=/dev/zero bs=65536 count=1 status=none >&2; exec \"$@\"", "sh"])
        .arg(foster())
        .args(["run", "-v", "--"])
        .arg(program())
        .args("trap-exit TERM 4 wait".split(' '))
        .arg("x".repeat(100_000))
        .stdout(StdStdio::piped())
        .stderr(StdStdio::piped())
        .spawn()
        .expect("sh starts");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("it speaks");
    let actor = Actor::of(child.id());
    actor.signal(Signal::TERM);
    actor.dies();
    assert_eq!(child.wait().expect("waitable").code(), Some(4));
}

#[test]
fn closed_streams_get_none_of_fosters_files() {
    let folder = scratch("closed");
    let events = folder.join("events");
    let status = StdCommand::new("sh")
        .args(["-c", "exec \"$0\" run -v --events \"$1\" -- true 0<&- 1>&- 2>&-"])
        .arg(foster())
        .arg(&events)
        .status()
        .expect("sh starts");
    assert_eq!(status.code(), Some(0));
    let text = fs::read_to_string(events).expect("the events are there");
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    // And the program finds them closed too.
    let script =
        "exec \"$0\" run -- sh -c 'if [ -e /proc/$$/fd/2 ]; then echo open; else echo closed; fi' 2>&-";
    let output = StdCommand::new("sh").args(["-c", script]).arg(foster()).output().expect("sh starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "closed\n");
}

#[test]
fn a_report_follows_a_link_and_overwrites_nobody_else() {
    let folder = scratch("link");
    let run = |report: &str| {
        let status = StdCommand::new(foster())
            .args(["run", "--report", report, "true"])
            .current_dir(&folder)
            .status()
            .expect("foster starts");
        assert_eq!(status.code(), Some(0));
    };
    fs::write(folder.join("target"), "old").expect("written");
    symlink("target", folder.join("link")).expect("linked");
    run("link");
    assert!(folder.join("link").is_symlink());
    assert!(fs::read_to_string(folder.join("target")).expect("there").contains("exit_code"));
    symlink("new", folder.join("dangling")).expect("linked");
    run("dangling");
    assert!(folder.join("dangling").is_symlink());
    assert!(fs::read_to_string(folder.join("new")).expect("there").contains("exit_code"));
    assert_eq!(fs::read_dir(&folder).expect("there").count(), 4, "nothing else was left");
}

#[test]
fn events_that_cannot_be_written_are_said_to_be() {
    let output = StdCommand::new(foster())
        .args(["run", "--events", "/dev/full", "true"])
        .output()
        .expect("foster starts");
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write the events") && said.contains("No space left"), "{said}");
}

#[test]
fn a_report_to_a_pipe_that_is_full_ends_in_time() {
    let folder = scratch("full-pipe");
    let fifo = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a fifo");
    let both_ends = File::options().read(true).write(true).open(&fifo).expect("it opens");
    rustix::io::ioctl_fionbio(&both_ends, true).expect("it is a pipe");
    while rustix::io::write(&both_ends, &[0; 4096]).is_ok() {}
    let stage = Stage::start(&foster_run(&format!("--report {}", fifo.display()), "exit 3"));
    assert_eq!(stage.exit().status, Status::Exited(3));
}

#[test]
fn the_signals_that_the_c_library_keeps_for_itself_are_passed_on_too() {
    // No program can catch them by its C library, so that they end it; and not foster.
    for number in [32_u8, 33] {
        let stage = stage("", "wait");
        let leader = stage.leader();
        send(&stage, Signal::from_number(number.into()).expect("a number of Linux"));
        assert_eq!(stage.exit().status, Status::Exited(128 + number));
        leader.dies();
    }
}

#[test]
fn the_signal_that_cuts_a_splay_short_is_the_one_that_asks() {
    let events = scratch("splay").join("events");
    let stage = stage(
        &format!("--splay 1h --events {}", events.display()),
        "trap-exit INT 11 trap-exit TERM 12 wait",
    );
    stage.leader();
    send(&stage, Signal::TERM);
    let told = || fs::read_to_string(&events).unwrap_or_default();
    eventually("the splay has begun", told, |events| events.contains("splaying"));
    send(&stage, Signal::INT);
    // Of all splays below an hour, one in millions is over by now.
    assert_eq!(stage.exit().status, Status::Exited(11));
}

#[test]
fn a_program_that_a_person_stopped_stays_stopped() {
    // Foster leads a session, so that nobody is above it who could continue what it stops.
    let command = foster_run("", "trap CONT continued trap-exit TERM 6 wait").group(foster::Group::Session);
    let stage = Stage::start(&command);
    let leader = stage.leader();
    leader.signal(Signal::STOP);
    eventually("it is stopped", || state(leader.pid()), |state| *state == Some('T'));
    // What foster did about it, it has done when it has handled a signal that came later.
    send(&stage, Signal::USR2);
    let pending = |pid: u32| {
        puppet::status_field(&fs::read_to_string(format!("/proc/{pid}/status")).expect("runs"), "ShdPnd")
    };
    eventually("the program has the later signal", || pending(leader.pid()), |mask| !mask.ends_with("000"));
    assert_eq!(state(leader.pid()), Some('T'));
    assert_eq!(stage.said("leader: continued"), 0);
    leader.signal(Signal::KILL);
    within(&stage.child().gone());
}

#[test]
fn a_timeout_is_124_on_a_terminal_too() {
    for signal in ["INT", "QUIT"] {
        let foster = foster();
        let words = [foster.to_str().expect("UTF-8"), "run", "-t", "0.2", "-s", signal, "--", "sleep", "60"];
        let mut terminal = Terminal::start(&words);
        assert_eq!(terminal.program.wait().expect("waitable").code(), Some(124), "{signal}");
    }
}

#[test]
fn the_environment_is_handed_on_in_its_order() {
    let output = StdCommand::new("env")
        .args(["-i", "Z=1", "A=2", "M=3"])
        .arg(foster())
        .args(["run", "/usr/bin/env"])
        .output()
        .expect("env starts");
    assert_eq!(output.stdout, b"Z=1\nA=2\nM=3\n");
}

#[test]
fn f40_a_program_that_stops_itself_does_not_outlive_its_time() {
    for contain in ["auto", "group", "sealed"] {
        let stops = |timeout| {
            let options = format!("-t {} -k 5 --contain {contain}", seconds(timeout));
            let command = foster_run(&options, "trap-exit TERM 0 stop wait").group(foster::Group::Session);
            let stage = Stage::start(&command);
            // It stops right after this.
            let begun = stage.says("leader: ready ");
            assert_eq!(stage.exit().status, Status::Exited(124), "{contain}");
            begun.then_some(())
        };
        long_enough(stops);
    }
}

#[test]
fn what_cannot_be_kept_is_refused_and_not_passed_over() {
    let folder = scratch("refused");
    let refused = |guard: Option<&str>, options: &[&str], why: &str| {
        let mut command = StdCommand::new(foster());
        command.arg("run").args(options).args(["--", "sh", "-c", "echo started"]).current_dir(&folder);
        if let Some(guard) = guard {
            command.env("FOSTER_GUARD", guard);
        }
        let output = command.output().expect("foster starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(125), &b""[..]), "{said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{said}");
    };
    refused(None, &["--twin", "--contain", "group"], "--twin");
    refused(None, &["--report", "one", "--events", "./one"], "the same file");
    refused(Some("magic"), &[], "FOSTER_GUARD=magic");
    refused(None, &["--contain", "init"], "PID 1");
}

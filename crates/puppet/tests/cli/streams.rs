//! `--stdin`, `--stdout`, `--stderr`, `--append`, `--rotate` and `--capture-tail`: where the streams go, and the last
//! lines of a program that fails.
//!
//! Nothing here rotates what is not in a folder of its own: a test must not be able to rename a device.

use std::fs;
use std::path::Path;
use std::process::{Command as StdCommand, Output, Stdio as StdStdio};
use std::time::{Duration, Instant};

use foster::{Signal, Status};
use puppet::{Actor, DEADLINE, Stage, eventually, long_enough, program, scratch};

use crate::common::{foster, foster_run, said, seconds, send};

/// `foster run OPTIONS -- sh -c SCRIPT` in this folder, to its end.
#[track_caller]
fn sh(folder: &Path, options: &str, script: &str) -> Output {
    let mut command = StdCommand::new(foster());
    command.arg("run").args(options.split_whitespace()).args(["--", "sh", "-c", script]);
    command.current_dir(folder).stdin(StdStdio::null()).output().expect("foster starts")
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What it said and its exit code; nothing went to stdout.
#[track_caller]
fn tail(options: &str, script: &str) -> (String, Option<i32>) {
    let output = sh(&scratch("tail"), options, script);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{options} {script}");
    (said(&output), output.status.code())
}

fn ends_with(text: &str, code: i32) -> (String, Option<i32>) {
    (text.to_string(), Some(code))
}

#[test]
fn input_comes_from_where_it_is_said() {
    let folder = scratch("input");
    fs::write(folder.join("asked"), "from the file\n").expect("written");
    let ask = "read answer && echo got-$answer || echo nothing";
    let with = |options: &str| {
        let mut command = StdCommand::new("sh");
        command.args(["-c", "echo from the pipe | \"$@\"", "sh"]).arg(foster()).arg("run");
        command.args(options.split_whitespace()).args(["--", "sh", "-c", ask]).current_dir(&folder);
        let output = command.output().expect("sh starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(with(""), "got-from the pipe\n");
    assert_eq!(with("--stdin inherit"), "got-from the pipe\n");
    assert_eq!(with("--stdin null"), "nothing\n");
    assert_eq!(with("--stdin asked"), "got-from the file\n");
    fs::write(folder.join("null"), "of that name\n").expect("written");
    assert_eq!(with("--stdin ./null"), "got-of that name\n");
}

#[test]
fn a_pipe_without_a_writer_is_waited_for_and_foster_can_be_ended_meanwhile() {
    let folder = scratch("input-fifo");
    let fifo = folder.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a fifo");
    let stage = Stage::start(&foster_run("--stdin fifo", "read").current_dir(&folder));
    let pid = stage.child().pid().expect("it runs");
    // Where it waits, its signals are not blocked.
    eventually(
        "it waits for a writer",
        || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(),
        |status| {
            puppet::status_field(status, "SigBlk").trim_start_matches('0').is_empty()
                && status.contains("foster")
        },
    );
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status.shell_code(), Some(143));

    let stage = Stage::start(&foster_run("--stdin fifo", "read").current_dir(&folder));
    fs::write(&fifo, "from the pipe\n").expect("it is read");
    stage.expect("leader: from the pipe");
    assert_eq!(stage.exit().status, Status::Exited(0));
}

#[test]
fn both_streams_to_one_file_stay_in_order() {
    let folder = scratch("one-file");
    let lines: Vec<String> = (1..=200).map(|n| format!("out {n}\nerr {n}\n")).collect();
    let lines = lines.concat();
    let script = format!("{} quiet alternate 200", program().display());
    for options in ["--stdout log --stderr log", "--stdout log --stderr log --rotate 1M"] {
        let output = sh(&folder, options, &script);
        assert_eq!((said(&output), output.status.code()), ends_with("", 0), "{options}");
        assert!(output.stdout.is_empty());
        assert_eq!(read(&folder, "log"), lines, "{options}");
    }
}

#[test]
fn each_stream_to_its_own_file_and_the_other_where_it_was() {
    let folder = scratch("two-files");
    let script = "echo out; echo err >&2; exit 3";
    let both = sh(&folder, "--stdout o --stderr e", script);
    assert_eq!((both.stdout, both.stderr, both.status.code()), (vec![], vec![], Some(3)));
    assert_eq!((read(&folder, "o"), read(&folder, "e")), ("out\n".to_string(), "err\n".to_string()));
    let out = sh(&folder, "--stdout o2", script);
    assert_eq!((read(&folder, "o2"), said(&out)), ("out\n".to_string(), "err\n".to_string()));
    let err = sh(&folder, "--stderr e2", script);
    assert_eq!((read(&folder, "e2"), err.stdout), ("err\n".to_string(), b"out\n".to_vec()));
}

#[test]
fn a_file_is_begun_anew_or_gone_on_with() {
    let folder = scratch("append");
    let log = |options: &str, word: &str| {
        assert!(sh(&folder, options, &format!("echo {word}")).status.success());
        read(&folder, "log")
    };
    assert_eq!(log("--stdout log", "one"), "one\n");
    assert_eq!(log("--stdout log --append", "two"), "one\ntwo\n");
    assert_eq!(log("--stdout log --append --rotate 1M", "three"), "one\ntwo\nthree\n");
    assert_eq!(log("--stdout log", "four"), "four\n");
    assert_eq!(log("--stdout log --rotate 1M", "five"), "five\n");
    assert_eq!(log("--stdout new --append", "six"), "five\n");
    assert_eq!(read(&folder, "new"), "six\n");
}

#[test]
fn files_are_opened_from_fosters_own_directory() {
    let folder = scratch("relative");
    fs::create_dir(folder.join("below")).expect("a folder");
    fs::write(folder.join("in"), "asked\n").expect("written");
    let options = "--cwd below --stdin in --stdout out --stderr err --rotate 6:1";
    let output = sh(&folder, options, "cat; seq 4; pwd >&2");
    assert_eq!((said(&output), output.status.code()), ends_with("", 0));
    assert_eq!((read(&folder, "out.1"), read(&folder, "out")), ("1\n2\n3\n".to_string(), "4\n".to_string()));
    assert_eq!(names(&folder.join("below")), Vec::<String>::new());
}

#[test]
fn a_file_is_rotated_between_lines() {
    let folder = scratch("rotate");
    let output = sh(&folder, "--stdout log --rotate 20:2", "seq 100 130");
    assert_eq!((said(&output), output.status.code()), ends_with("", 0));
    assert_eq!(names(&folder), ["log", "log.1", "log.2"]);
    assert_eq!(read(&folder, "log"), "130\n");
    assert_eq!(read(&folder, "log.1"), "125\n126\n127\n128\n129\n");
    assert_eq!(read(&folder, "log.2"), "120\n121\n122\n123\n124\n");
    // Without a number, three.
    let folder = scratch("rotate-default");
    sh(&folder, "--stderr log --rotate 20", "seq 100 150 >&2");
    assert_eq!(names(&folder), ["log", "log.1", "log.2", "log.3"]);
}

#[test]
fn what_is_no_file_is_not_renamed() {
    // As root, `--stdout /dev/null --rotate 100` once left the machine without its /dev/null. A pipe stands for it.
    let folder = scratch("rotate-device");
    let fifo = folder.join("device");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).expect("a fifo");
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&fifo).expect("a reader");
    let output = sh(&folder, "--stdout device --rotate 100", "seq 500; exit 4");
    assert_eq!((said(&output), output.status.code()), ends_with("", 4));
    assert_eq!(names(&folder), ["device"]);
    assert!(!fs::metadata(&fifo).expect("it is there").is_file());
}

#[test]
fn a_rotating_file_that_cannot_be_written_harms_neither_foster_nor_the_program() {
    let script = "seq 20000; echo done >&2; exit 5";
    // Its folder goes away; an old one cannot be replaced; no file may be so large.
    let folder = scratch("rotate-fails");
    fs::create_dir(folder.join("gone")).expect("a folder");
    let gone = sh(&folder, "--stdout gone/log --rotate 100", &format!("seq 20; rm -r gone; {script}"));
    assert_eq!((said(&gone), gone.status.code()), ends_with("done\n", 5));
    fs::create_dir_all(folder.join("log.1/in-the-way")).expect("a folder");
    let blocked = sh(&folder, "--stdout log --rotate 100:1", script);
    assert_eq!((said(&blocked), blocked.status.code()), ends_with("done\n", 5));
    let mut limited = StdCommand::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$@\"", "sh"]).arg(foster()).current_dir(&folder);
    limited.args(["run", "--stdout", "full", "--rotate", "1M", "--", "sh", "-c", script]);
    let limited = limited.stdin(StdStdio::null()).output().expect("sh starts");
    assert_eq!((said(&limited), limited.status.code()), ends_with("done\n", 5));
}

#[test]
fn the_tail_is_quiet_on_success_and_shown_on_failure() {
    assert_eq!(tail("--capture-tail 2", "seq 5; echo err >&2"), ends_with("", 0));
    assert_eq!(tail("--capture-tail 2 --ok-code 3", "seq 5; exit 3"), ends_with("", 0));
    let left_out = "foster: 6 bytes of its output left out before these\n4\n5\n";
    assert_eq!(tail("--capture-tail 2", "seq 5; exit 3"), ends_with(left_out, 3));
    assert_eq!(tail("--capture-tail 2", "seq 5; kill -9 $$"), ends_with(left_out, 137));
    assert_eq!(tail("-q --capture-tail 2", "seq 5; exit 3"), ends_with("4\n5\n", 3));
    // In order, from both streams, and as many as there are.
    assert_eq!(tail("--capture-tail 9", "echo a; echo b >&2; echo c; exit 1"), ends_with("a\nb\nc\n", 1));
    assert_eq!(tail("-q --capture-tail 9", "printf 'a\\nb'; exit 1"), ends_with("a\nb\n", 1));
    assert_eq!(tail("-q --capture-tail 1", "printf '\\n\\n'; exit 1"), ends_with("\n", 1));
    assert_eq!(tail("--capture-tail 9", "exit 1"), ends_with("", 1));
    assert_eq!(tail("-q --capture-tail 0", "seq 5; exit 1"), ends_with("", 1));
    let nothing = "foster: 10 bytes of its output left out before these\n";
    assert_eq!(tail("--capture-tail 0", "seq 5; exit 1"), ends_with(nothing, 1));
}

#[test]
fn the_tail_of_a_program_that_timed_out_is_shown() {
    let (said, code) = long_enough(|timeout| {
        let folder = scratch("tail-timeout");
        let options = format!("--capture-tail 1 -t {}", seconds(timeout));
        let output = sh(&folder, &options, "echo a; echo b; : >written; sleep 60");
        folder.join("written").exists().then(|| (said(&output), output.status.code()))
    });
    assert_eq!(code, Some(124));
    assert!(said.starts_with("foster: timed out: ") && said.ends_with("these\nb\n"), "{said}");
}

#[test]
fn more_than_is_kept_is_cut_at_its_beginning() {
    let script = "yes 0123456 | head -c 4000000; echo end; exit 1";
    let left_out = "foster: 3999992 bytes of its output left out before these\n0123456\nend\n";
    assert_eq!(tail("--capture-tail 2", script), ends_with(left_out, 1));
    let (all, code) = tail("-q --capture-tail 99999999", script);
    assert_eq!((all.len(), code), (1 << 20, Some(1)));
    assert!(all.ends_with("0123456\nend\n"));
}

#[test]
fn the_tail_is_kept_beside_the_files() {
    let folder = scratch("tail-and-file");
    let script = "seq 3; echo err >&2; exit 2";
    let output = sh(&folder, "-q --capture-tail 2 --stdout log", script);
    // Two streams, two tails: their order is not known.
    assert_eq!((said(&output), output.status.code()), ends_with("2\n3\nerr\n", 2));
    assert_eq!(read(&folder, "log"), "1\n2\n3\n");
    let output = sh(&folder, "-q --capture-tail 2 --stdout both --stderr both --rotate 6:1", script);
    assert_eq!((said(&output), output.status.code()), ends_with("3\nerr\n", 2));
    assert_eq!(read(&folder, "both.1") + &read(&folder, "both"), "1\n2\n3\nerr\n");
}

#[test]
fn who_is_left_behind_with_the_pipe_does_not_hold_foster() {
    let before = Instant::now();
    let script = "quiet fork worker [ ignore TERM wait ] exit 3";
    let stage = Stage::start(
        &foster_run("--capture-tail 5 --leftovers leave --stderr log", script).current_dir(scratch("held")),
    );
    assert_eq!(stage.exit().status, Status::Exited(3));
    // The drain is half a second of silence, and five seconds at most.
    assert!(before.elapsed() < DEADLINE, "{:?}", before.elapsed());

    let folder = scratch("held-and-loud");
    let before = Instant::now();
    // When foster has gone, nobody reads what it says, and it says it all the same.
    let loud = "trap '' PIPE; note() { read now _ </proc/uptime; echo $now >>times; echo loud; }; note; \
                (while sleep 0.1; do note; done) & echo $! >loud; exit 3";
    let output = sh(&folder, "-q --capture-tail 1 --leftovers leave", loud);
    let time = before.elapsed();
    let loud = Actor::of(read(&folder, "loud").trim().parse().expect("a pid"));
    assert!(loud.alive());
    let times = || -> Vec<f64> { read(&folder, "times").lines().flat_map(str::parse).collect() };
    let so_far = times().len();
    let times = eventually("it goes on", times, |times| times.len() > so_far + 1);
    loud.signal(Signal::KILL);
    loud.dies();
    assert_eq!((said(&output), output.status.code()), ends_with("loud\n", 3));
    // On a busy machine it may have been silent for half a second, whatever it wanted.
    let spoke = times.windows(2).all(|pair| pair[1] - pair[0] < 0.4);
    assert!((!spoke || time > Duration::from_secs(4)) && time < DEADLINE, "{time:?} {times:?}");
}

#[test]
fn a_foster_that_is_asked_to_end_shows_what_it_has() {
    let folder = scratch("tail-term");
    let err = fs::File::create(folder.join("said")).expect("a file");
    let mut foster = StdCommand::new(foster())
        .args(["run", "--capture-tail", "5", "--", "sh", "-c", "echo first; echo second; : >ready; sleep 60"])
        .current_dir(&folder)
        .stdin(StdStdio::null())
        .stderr(err)
        .spawn()
        .expect("foster starts");
    eventually("it is ready", || folder.join("ready").exists(), |ready| *ready);
    Actor::of(foster.id()).signal(Signal::TERM);
    assert_eq!(foster.wait().expect("waitable").code(), Some(143));
    assert_eq!(read(&folder, "said"), "first\nsecond\n");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

//! Running a program and taking what it wrote is one call, which tells the truth also when it goes wrong, and leaves
//! nothing behind.

use std::fs;
use std::future::Future;
use std::io::Read;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use foster::{Cause, Child, Command, Error, ErrorKind, Input, LogFile, Output, Signal, Sink, Status, Stream};
use puppet::{
    Actor, DEADLINE, alone, alone_under, children, descriptors, eventually, puppet, scratch, within,
};

/// The same from a thread and from tasks of two runtimes.
fn each_way<T, F: Future<Output = T>>(blocking: impl FnOnce() -> T, task: impl Fn() -> F) -> [T; 3] {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    [blocking(), runtime.block_on(task()), smol::block_on(task())]
}

#[test]
fn output_is_the_exit_and_both_streams() {
    let command = Command::shell("echo out; echo err >&2; exit 3");
    for output in each_way(|| command.output(), || command.output_async()) {
        let output = output.expect("it starts");
        assert_eq!((output.exit.status, output.exit.cause), (Status::Exited(3), Cause::Own));
        assert_eq!((output.stdout.bytes(), output.stderr.bytes()), (&b"out\n"[..], &b"err\n"[..]));
        assert!(!output.success() && output.stdout.drained() && output.stderr.drained());
        assert_eq!(output.stdout.clone().into_bytes(), b"out\n");
        assert_eq!(output.stderr.to_string(), "err\n");
    }
}

#[test]
fn a_status_is_the_exit() {
    let command = Command::shell("exit 4");
    for exit in each_way(|| command.status(), || command.status_async()) {
        assert_eq!(exit.expect("it starts").status, Status::Exited(4));
    }
}

#[test]
fn what_nobody_can_take_holds_nobody_up() {
    let command = puppet("quiet pattern 2000000").stdout(Sink::Streamed).timeout(DEADLINE);
    for exit in each_way(|| command.status(), || command.status_async()) {
        assert_eq!(exit.expect("it starts").status, Status::Exited(0));
    }
    for output in each_way(|| command.output(), || command.output_async()) {
        assert_eq!(output.expect("it starts").exit.status, Status::Exited(0));
    }
}

#[test]
fn a_string_is_the_output_of_who_ended_well() {
    let command = Command::shell("printf '\\303\\251t\\303\\251'; echo; [ -z \"$(cat)\" ]");
    for text in each_way(|| command.read_to_string(), || command.read_to_string_async()) {
        assert_eq!(text.expect("it ends well"), "\u{e9}t\u{e9}\n");
    }
}

#[test]
fn their_errors_say_what_and_who() {
    let missing = Command::new("/no/such/program");
    let kinds =
        each_way(|| missing.output(), || missing.output_async()).map(|result| kind(result, "/no/such"));
    assert_eq!(kinds, [ErrorKind::NotFound; 3]);
    let kinds =
        each_way(|| missing.status(), || missing.status_async()).map(|result| kind(result, "/no/such"));
    assert_eq!(kinds, [ErrorKind::NotFound; 3]);

    let cases = [
        (missing, ErrorKind::NotFound, "/no/such/program"),
        (Command::shell("exit 3"), ErrorKind::Unsuccessful, "exited with code 3"),
        (Command::shell("kill -KILL $$"), ErrorKind::Unsuccessful, "SIGKILL"),
        (
            Command::shell("exit 0").label("who is\ncalled so").stdin(Input::file("/no/file")),
            ErrorKind::BadFile,
            "called so",
        ),
        (Command::new("printf").arg(r"good \377"), ErrorKind::BadOutput, "byte 5"),
        (
            puppet("quiet pattern 5000").stdout(Sink::captured_within(100, 100)),
            ErrorKind::BadOutput,
            "5000 bytes",
        ),
        (Command::new("sleep").arg("50").timeout(Duration::ZERO), ErrorKind::Unsuccessful, "timed out"),
    ];
    for (command, expected, says) in cases {
        let kinds = each_way(|| command.read_to_string(), || command.read_to_string_async());
        assert_eq!(kinds.map(|result| kind(result, says)), [expected; 3]);
    }
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, Error>, says: &str) -> ErrorKind {
    let error = result.expect_err("it goes wrong");
    let text = error.to_string();
    assert!(text.contains(says) && text.lines().count() == 1, "{text}");
    error.kind()
}

#[test]
fn what_was_written_before_a_timeout_is_there() {
    let command = Command::shell("echo before; echo too >&2; sleep 50").timeout(Duration::from_secs(1));
    for output in each_way(|| command.output(), || command.output_async()) {
        let output = output.expect("it starts");
        assert_eq!(output.exit.cause, Cause::TimedOut);
        assert_eq!((output.stdout.bytes(), output.stderr.bytes()), (&b"before\n"[..], &b"too\n"[..]));
    }
}

#[test]
fn a_future_that_is_dropped_takes_the_tree_with_it() {
    alone(|| {
        let said = scratch("dropped").join("pids");
        let line = "sleep 50 & echo $$ $! >\"$SAID\"; wait";
        let command = Command::shell(line).env("SAID", &said);
        let pids = || -> Vec<u32> {
            let text = fs::read_to_string(&said).unwrap_or_default();
            if text.ends_with('\n') {
                text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
            } else {
                Vec::new()
            }
        };
        for way in 0..3 {
            let actors: Vec<Actor> = {
                let look = || {
                    eventually("they are there", pids, |pids| pids.len() == 2)
                        .into_iter()
                        .map(Actor::of)
                        .collect()
                };
                match way {
                    0 => after_one_poll(command.output_async(), look),
                    1 => after_one_poll(command.read_to_string_async(), look),
                    _ => after_one_poll(command.status_async(), look),
                }
            };
            actors.iter().for_each(Actor::dies);
            fs::remove_file(&said).expect("it is ours");
        }
        eventually("all are reaped", children, Vec::is_empty);
    });
}

/// Polls once, looks, and drops it.
fn after_one_poll<F: Future, T>(future: F, look: impl FnOnce() -> T) -> T {
    let mut future = pin!(future);
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    look()
}

#[test]
fn input_is_empty_unless_something_else_is_said() {
    alone_under(&["sh", "-c", "echo from the host | \"$0\" \"$@\""], || {
        assert_eq!(Command::new("cat").output().expect("it starts").stdout.bytes(), b"");
        assert_eq!(Command::new("cat").read_to_string().expect("it ends well"), "");
        let fed = Command::new("cat").stdin(Input::bytes("fed"));
        assert_eq!(fed.read_to_string().expect("it ends well"), "fed");
        // Where nothing is captured it is the host's.
        let inherited = Command::shell("read line && [ \"$line\" = 'from the host' ]");
        assert!(inherited.status().expect("it starts").success());
    });
}

#[test]
fn every_waiter_gets_the_same_output_early_or_late() {
    let stage_script = "quiet trap-exit USR1 5 print first wait";
    let child =
        puppet(stage_script).stdout(Sink::captured()).stderr(Sink::captured()).spawn().expect("it starts");
    let (tell, told) = channel();
    let early: Vec<_> = (0..4)
        .map(|i| {
            let (collected, tell) = (child.output(), tell.clone());
            thread::spawn(move || {
                tell.send(()).expect("it is awaited");
                if i % 2 == 0 { collected.wait() } else { smol::block_on(collected) }
            })
        })
        .collect();
    (0..4).for_each(|_| told.recv().expect("they wait"));
    assert!(child.output().wait_timeout(Duration::ZERO).is_none());
    eventually("it has written", || so_far(&child, Stream::Stdout), |text| text == "first");
    child.signal(Signal::USR1).expect("it is ours");
    let first: Output = child.output().wait_timeout(DEADLINE).expect("it ends");
    assert_eq!((first.exit.status, first.stdout.bytes()), (Status::Exited(5), &b"first"[..]));
    for waiter in early {
        assert_eq!(waiter.join().expect("it waits"), first);
    }
    within(&child.gone());
    assert_eq!(child.output().wait(), first);
    assert_eq!(smol::block_on(child.clone().output()), first);
    // A stream that is no more is told by its output.
    assert_eq!(child.captured(Stream::Stdout), None);
}

#[test]
fn what_was_captured_is_seen_while_it_runs() {
    let command = puppet("quiet print one on USR1 [ err two ] on USR2 [ exit 0 ] wait");
    let child = command.stdout(Sink::captured()).stderr(Sink::captured()).spawn().expect("it starts");
    eventually("the first word", || so_far(&child, Stream::Stdout), |text| text == "one");
    assert_eq!(so_far(&child, Stream::Stderr), "");
    child.signal(Signal::USR1).expect("it is ours");
    eventually("the second", || so_far(&child, Stream::Stderr), |text| text == "leader: two\n");
    child.signal(Signal::USR2).expect("it is ours");
    assert_eq!(child.output().wait().stderr.bytes(), b"leader: two\n");
    // What is not captured is not there.
    let other = Command::new("true").stdout(Sink::Null).spawn().expect("it starts");
    assert_eq!((other.captured(Stream::Stdout), other.captured(Stream::Stderr)), (None, None));
    assert_eq!(other.output().wait().stdout.total(), 0);
}

fn so_far(child: &Child, stream: Stream) -> String {
    child.captured(stream).map(|captured| captured.to_string()).unwrap_or_default()
}

#[test]
fn output_can_be_shown_and_kept_at_once() {
    alone(|| {
        let (mut shown, ours) = std::io::pipe().expect("a pipe");
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor");
        rustix::stdio::dup2_stdout(ours).expect("a descriptor");
        let command =
            Command::shell("echo shown; echo apart >&2").stdout(Sink::Inherit.and(Sink::captured()));
        let merged = command.clone().stderr_to_stdout(true).output();
        let output = command.output();
        rustix::stdio::dup2_stdout(stdout).expect("a descriptor");
        let (merged, output) = (merged.expect("it starts"), output.expect("it starts"));
        assert_eq!((output.stdout.bytes(), output.stderr.bytes()), (&b"shown\n"[..], &b"apart\n"[..]));
        assert_eq!((merged.stdout.bytes(), merged.stderr.total()), (&b"shown\napart\n"[..], 0));
        let mut text = String::new();
        shown.read_to_string(&mut text).expect("UTF-8");
        assert_eq!(text, "shown\napart\nshown\n");
    });
}

#[test]
fn both_streams_go_to_one_file_that_rotates() {
    let path = scratch("rotating").join("log");
    let log = LogFile::append(&path).rotate(20_000, 100);
    let command = puppet("quiet alternate 10000").stdout(log.clone()).stderr(log);
    assert!(command.status().expect("it starts").success());
    let part = |n: usize| path.with_file_name(if n == 0 { "log".to_string() } else { format!("log.{n}") });
    let parts = (0..1000).take_while(|n| part(*n).exists()).count();
    assert!(parts > 5, "{parts}");
    let mut all = Vec::new();
    for n in (0..parts).rev() {
        let text = fs::read(part(n)).expect("it is there");
        assert!(text.len() <= 20_000, "{} bytes in {n}", text.len());
        all.extend(text);
    }
    // Not a byte is lost or doubled; what was read in one piece stays together.
    let expected: usize = (1..=10_000).map(|n: usize| 2 * format!("out {n}\n").len()).sum();
    assert_eq!(all.len(), expected);
}

#[test]
fn so_many_old_files_are_kept_and_no_more() {
    let path = scratch("rotating").join("log");
    let log = LogFile::truncate(&path).rotate(1000, 2);
    assert!(
        puppet("quiet alternate 1000").stdout(log).stderr(Sink::Null).status().expect("it starts").success()
    );
    let mut names: Vec<String> = fs::read_dir(path.parent().expect("it has one"))
        .expect("it is there")
        .map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1", "log.2"]);
    let text = |name: &str| fs::read_to_string(path.with_file_name(name)).expect("UTF-8");
    let last = format!("{}{}{}", text("log.2"), text("log.1"), text("log"));
    assert!(last.ends_with("out 999\nout 1000\n") && last.starts_with("out "), "{last}");
}

#[test]
fn a_file_goes_on_or_begins_anew() {
    let path = scratch("log").join("log");
    let run = |log: LogFile, word: &str| {
        assert!(Command::new("echo").arg(word).stdout(log).status().expect("it starts").success());
        fs::read_to_string(&path).expect("it is there")
    };
    assert_eq!(run(LogFile::append(&path), "one"), "one\n");
    assert_eq!(run(LogFile::append(&path), "two"), "one\ntwo\n");
    assert_eq!(run(LogFile::truncate(&path), "three"), "three\n");
    assert_eq!(run(LogFile::append(&path).rotate(1 << 20, 1), "four"), "three\nfour\n");
    assert_eq!(run(LogFile::truncate(&path).rotate(1 << 20, 1), "five"), "five\n");

    // Both streams, each its own open file, do not overwrite each other.
    let both = Command::shell("for i in 1 2 3; do echo out; echo err >&2; done");
    let log = LogFile::truncate(&path);
    assert!(both.stdout(log.clone()).stderr(log).status().expect("it starts").success());
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "out\nerr\n".repeat(3));
}

#[test]
fn nothing_of_it_stays() {
    alone(|| {
        let log = scratch("log").join("log");
        let round = || {
            let plain = Command::shell("echo out; echo err >&2");
            plain.output().expect("it starts");
            smol::block_on(plain.output_async()).expect("it starts");
            let all = Sink::captured().and(Sink::lines(|_| ())).and(Sink::chunks(|_| ()));
            let all =
                all.and(LogFile::append(&log).rotate(100, 2)).and(LogFile::append(&log)).and(Sink::Null);
            let fed = plain.clone().stdin(Input::bytes(vec![0; 1 << 20])).stdout(all.clone()).stderr(all);
            fed.output().expect("it starts");
            // A stream that has proven big has a thread.
            puppet("quiet pattern 5000000").output().expect("it starts");
            let held = plain.clone().stdin(Input::HeldOpen).stdout(Sink::Streamed).stderr(Sink::Streamed);
            let child = held.spawn().expect("it starts");
            assert_eq!(child.take_lines().expect("streamed").count(), 2);
            // Not taken, not waited for.
            held.spawn().expect("it starts").wait();
            drop(puppet("quiet pattern 5000000").stdout(Sink::Streamed).spawn().expect("it starts"));
            drop(
                puppet("wait")
                    .stdout(Sink::captured())
                    .stderr(Sink::lines(|_| ()))
                    .spawn()
                    .expect("it starts"),
            );
            plain.clone().stdin(Input::file("/no/such/file")).output().expect_err("there is none");
            Command::new("/no/such/program").output().expect_err("there is none");
            let bad = plain.clone().stdout(Sink::captured().and(LogFile::append("/no/such/file")));
            bad.output().expect_err("there is none");
        };
        round();
        eventually("all are reaped", children, Vec::is_empty);
        eventually("no thread of a stream", stream_threads, Vec::is_empty);
        let before = descriptors();
        for _ in 0..10 {
            round();
        }
        eventually("all are reaped", children, Vec::is_empty);
        eventually("no thread of a stream", stream_threads, Vec::is_empty);
        eventually("as many descriptors as before", descriptors, |now| now.len() <= before.len());
    });
}

#[test]
fn a_handle_that_is_kept_keeps_no_descriptor() {
    alone(|| {
        let run = || {
            let sink = Sink::captured().and(Sink::lines(|_| ()));
            let child = puppet("quiet pattern 3000000 err x").stdin(Input::bytes("x"));
            let child = child.stdout(Sink::captured()).stderr(sink).spawn().expect("it starts");
            within(&child.gone());
            child.output().wait();
            child
        };
        drop(run());
        eventually("no thread of a stream", stream_threads, Vec::is_empty);
        let before = descriptors();
        let kept: Vec<Child> = (0..10).map(|_| run()).collect();
        eventually("no thread of a stream", stream_threads, Vec::is_empty);
        eventually("as many descriptors as before", descriptors, |now| now.len() <= before.len());
        assert!(kept.iter().all(|child| child.wait().success()));
    });
}

/// The names of the threads that are there for streams.
fn stream_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("foster-") && !name.starts_with("foster-bell")).collect()
}

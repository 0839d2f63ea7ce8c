//! F35: of many that are started at the same time, none holds a pipe of another: each end comes when its own program
//! ends, and an input that is closed is closed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use foster::{Child, Command, Input, Sink};
use puppet::{DEADLINE, alone};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MANY: usize = 200;
const THREADS: usize = 8;

struct Run {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// Echoes its input, until that ends.
fn cat() -> Run {
    // Whoever held the pipe of its error output would hold up that for longer than this test waits.
    let command = Command::new("cat").stdin(Input::Piped).stdout(Sink::Piped).stderr(Sink::captured());
    let child = command.drain(2 * DEADLINE).drain_max(2 * DEADLINE).spawn().expect("it starts");
    let (stdin, stdout) = (child.take_stdin().expect("piped"), child.take_stdout().expect("piped"));
    Run { child, stdin, stdout }
}

/// What each has open: the three that it was given, all of them pipes.
#[track_caller]
fn descriptors_of(pid: u32) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives and is ours").flatten();
    let link =
        |entry: fs::DirEntry| fs::read_link(entry.path()).expect("it has it open").display().to_string();
    folder.map(link).collect()
}

fn many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .expect("up to the maximum one may");
}

#[test]
fn f35_each_end_comes_while_all_the_others_run() {
    alone(|| {
        many_descriptors();
        let start = || (0..MANY / THREADS).map(|_| cat()).collect::<Vec<_>>();
        let runs: Vec<Run> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(start)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("all start")).collect()
        });

        // Each has its three pipes and nothing else, and no other has one of them.
        let mut holders = BTreeMap::new();
        for run in &runs {
            let pid = run.child.pid().expect("it waits for its input");
            let open = descriptors_of(pid);
            assert_eq!(open.len(), 3, "{pid} has {open:?}");
            for pipe in open {
                assert!(pipe.starts_with("pipe:"), "{pid} has {pipe}");
                let other = holders.insert(pipe.clone(), pid);
                assert_eq!(other, None, "{pipe} is also {pid}'s");
            }
        }

        // One ends after the other, in an order that is not that of their start; each is only told to when the end of
        // the one before it has been seen.
        let mut runs: Vec<Option<Run>> = runs.into_iter().map(Some).collect();
        let mut took: Vec<Duration> =
            (0..MANY).map(|i| end(runs[i * 77 % MANY].take().expect("each once"))).collect();
        took.sort();
        println!(
            "the end of the output, after that of the input: median {:?}, worst {:?}",
            took[MANY / 2],
            took[MANY - 1]
        );
    });
}

/// Ends its input; its output must end, and what was captured must be whole.
fn end(mut run: Run) -> Duration {
    run.stdin.write_all(b"the last word").expect("it reads");
    let began = Instant::now();
    drop(run.stdin);
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = run.stdout.read_to_string(&mut text).map(|_| text);
        tell.send((read, Instant::now()))
    });
    let (text, at) = told.recv_timeout(DEADLINE).expect("its end comes while the others run");
    assert_eq!(text.expect("UTF-8"), "the last word");
    let output = run.child.output().wait_timeout(DEADLINE).expect("nobody else holds its error output");
    assert!(output.success() && output.stderr.drained(), "{output:?}");
    at - began
}

#[test]
fn f35_captures_end_while_children_of_the_standard_library_are_started() {
    alone(|| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let mut theirs = std::process::Command::new("sleep");
                        let mut theirs = theirs.arg("0.2").spawn().expect("it starts");
                        thread::sleep(Duration::from_millis(5));
                        scope.spawn(move || theirs.wait());
                    }
                });
            }
            for _ in 0..100 {
                let command = Command::new("echo").arg("word").drain(2 * DEADLINE).drain_max(2 * DEADLINE);
                let child =
                    command.stdout(Sink::captured()).stderr(Sink::Streamed).spawn().expect("it starts");
                let output = child.output().wait_timeout(DEADLINE).expect("nobody else holds it");
                assert_eq!(output.stdout.bytes(), b"word\n");
                assert!(output.stdout.drained());
                assert_eq!(child.take_lines().expect("streamed").next(), None);
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

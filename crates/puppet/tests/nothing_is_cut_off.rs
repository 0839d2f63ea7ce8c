//! F4: everything that was written before the exit is delivered before the exit is told, however slowly it is taken.
//! What hangs or panics harms nobody else.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use foster::{Child, Chunk, Command, Leftovers, Signal, Sink, Status, Stream};
use puppet::{Actor, DEADLINE, Pattern, eventually, puppet};

const RUNS: usize = 200;

/// What `seq 1 20000; echo END` writes: more than a pipe holds.
fn numbers() -> Command {
    Command::shell("seq 1 20000; echo END")
}

fn expected() -> Vec<u8> {
    let numbers = (1..=20_000).map(|n: u32| n.to_string());
    numbers.chain(["END".to_string()]).flat_map(|line| (line + "\n").into_bytes()).collect()
}

/// Runs it so often, some at the same time.
fn often(runs: usize, run: impl Fn() + Sync) {
    const THREADS: usize = 4;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..runs / THREADS).for_each(|_| run()));
        }
    });
}

/// A sink that keeps what it is given, and takes its time.
fn kept(pause: Duration) -> (Sink, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let ours = kept.clone();
    let sink = Sink::chunks(move |bytes| {
        ours.lock().expect("no panic").extend_from_slice(bytes);
        thread::sleep(pause);
    });
    (sink, kept)
}

#[test]
fn f4_what_is_captured_is_whole_in_200_runs() {
    let expected = expected();
    often(RUNS, || {
        let output = numbers().output().expect("it starts");
        assert!(output.success() && output.stdout.drained());
        assert!(output.stdout.bytes() == expected);
    });
}

#[test]
fn f4_functions_have_been_called_before_the_exit_is_told_in_200_runs() {
    let expected = expected();
    often(RUNS, || {
        let (sink, chunks) = kept(Duration::ZERO);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let ours = lines.clone();
        let sink = sink.and(Sink::lines(move |line| ours.lock().expect("no panic").push(line.to_string())));
        let child = numbers().stdout(sink).spawn().expect("it starts");
        assert!(child.wait().success());
        assert!(*chunks.lock().expect("no panic") == expected);
        let lines = lines.lock().expect("no panic");
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (20_001, Some("END")));
    });
}

#[test]
fn f4_what_is_streamed_is_whole_in_200_runs() {
    let expected = expected();
    often(RUNS, || {
        let child = numbers().stdout(Sink::Streamed).spawn().expect("it starts");
        let chunks = child.take_chunks().expect("streamed");
        assert!(chunks.flat_map(|chunk: Chunk| chunk.bytes).eq(expected.iter().copied()));
        assert!(child.wait().success());
    });
}

#[test]
fn f4_a_descriptor_has_it_all_before_the_exit_is_told_in_200_runs() {
    let expected = expected();
    often(RUNS, || {
        let (mut read, write) = std::io::pipe().expect("a pipe");
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            read.read_to_end(&mut all).expect("a pipe");
            all
        });
        // Two at once, and one that is captured.
        let to = std::os::fd::OwnedFd::from(write);
        let command = numbers().stdout(Sink::from(to).and(Sink::captured()));
        let child = command.spawn().expect("it starts");
        drop(command);
        let output = child.output().wait();
        assert!(output.stdout.bytes() == expected);
        // The end of the pipe comes by itself: nobody else has it.
        assert!(reader.join().expect("it reads") == expected);
    });
}

#[test]
fn f4_the_exit_waits_for_a_slow_function() {
    for pause in [1, 5] {
        let (sink, kept) = kept(Duration::from_millis(pause));
        // More than `drain_max` in all, and less for each piece.
        let command = puppet("quiet pattern 4000000").drain_max(DEADLINE).drain(Duration::ZERO);
        let child = command.stdout(sink).spawn().expect("it starts");
        assert!(child.wait_timeout(DEADLINE).expect("it gets on").success());
        let mut pattern = Pattern::default();
        pattern.check(&kept.lock().expect("no panic"));
        assert_eq!(pattern.total(), 4_000_000);
    }
}

#[test]
fn f4_each_piece_may_take_its_time_and_all_together_longer_than_the_drain() {
    // Eight lines in the pipe when it exits, each of which takes a while; all of them longer than `drain_max`.
    let taken = Arc::new(AtomicUsize::new(0));
    let ours = taken.clone();
    let sink = Sink::chunks(move |bytes| {
        thread::sleep(Duration::from_millis(400));
        ours.fetch_add(bytes.len(), Ordering::Relaxed);
    });
    let command = puppet("quiet pattern 500000").drain(Duration::ZERO).drain_max(Duration::from_secs(2));
    let child = command.stdout(sink).spawn().expect("it starts");
    assert!(child.wait_timeout(2 * DEADLINE).expect("it gets on").success());
    assert_eq!(taken.load(Ordering::Relaxed), 500_000);
}

#[test]
fn f4_each_line_may_take_its_time_and_all_that_come_at_once_longer_than_the_drain() {
    // All in the pipe, and read at once, when it exits.
    let taken = Arc::new(AtomicUsize::new(0));
    let ours = taken.clone();
    let sink = Sink::lines(move |_| {
        thread::sleep(Duration::from_millis(40));
        ours.fetch_add(1, Ordering::Relaxed);
    });
    let command = puppet("quiet lines 100").drain(Duration::ZERO).drain_max(Duration::from_secs(2));
    let child = command.stdout(sink).spawn().expect("it starts");
    assert!(child.wait_timeout(DEADLINE).expect("it gets on").success());
    assert_eq!(taken.load(Ordering::Relaxed), 100);
}

#[test]
fn f4_a_slow_reader_gets_it_all() {
    let child = puppet("quiet pattern 3000000").stdout(Sink::Streamed).spawn().expect("it starts");
    let mut pattern = Pattern::default();
    for chunk in child.take_chunks().expect("streamed") {
        pattern.check(&chunk.bytes);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pattern.total(), 3_000_000);
    assert!(child.wait().success());

    // One who does not even begin before the exit.
    let child = puppet("quiet pattern 200000").stdout(Sink::Streamed).spawn().expect("it starts");
    assert!(child.wait().success());
    let mut pattern = Pattern::default();
    child.take_chunks().expect("streamed").for_each(|chunk| pattern.check(&chunk.bytes));
    assert_eq!(pattern.total(), 200_000);
}

/// A function that says that it was called, and returns when it is told to.
fn hanging() -> (Sink, Receiver<()>, Sender<()>) {
    let (called, hears) = channel();
    let (tells, told) = channel::<()>();
    let sink = Sink::chunks(move |_| {
        _ = called.send(());
        _ = told.recv();
    });
    (sink, hears, tells)
}

#[test]
fn f4_a_function_that_hangs_hangs_nobody() {
    let (sink, hears, tells) = hanging();
    let command =
        puppet("quiet print x err heard").drain(Duration::ZERO).drain_max(Duration::from_millis(200));
    let child =
        command.stdout(sink.and(Sink::captured())).stderr(Sink::captured()).spawn().expect("it starts");
    hears.recv_timeout(DEADLINE).expect("it is called");
    // Others have their exits and their output meanwhile, and this one too.
    assert_eq!(numbers().output().expect("it starts").stdout.bytes(), expected());
    let output = child.output().wait_timeout(DEADLINE).expect("it is left behind");
    assert!(output.success());
    assert_eq!((output.stdout.bytes(), output.stdout.drained()), (&b"x"[..], false));
    assert_eq!(output.stderr.bytes(), b"leader: heard\n");
    assert_eq!(child.wait(), output.exit);
    // It did not take part in anything that would wait for it.
    drop(tells);
}

#[test]
fn f4_a_function_that_panics_is_left_out_and_the_run_goes_on() {
    // It would write the panic to our stderr, which is no concern of anybody's.
    let (good, kept) = kept(Duration::ZERO);
    let calls = Arc::new(AtomicUsize::new(0));
    let ours = calls.clone();
    let bad = Sink::lines(move |_| {
        ours.fetch_add(1, Ordering::Relaxed);
        panic!("a user's bug, as this test wants it");
    });
    let sink = bad.and(good).and(Sink::captured());
    let child = numbers().stdout(sink).spawn().expect("it starts");
    let output = child.output().wait_timeout(DEADLINE).expect("it goes on");
    assert!(output.success() && output.stdout.drained());
    assert!(output.stdout.bytes() == expected());
    assert!(*kept.lock().expect("no panic") == expected());
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    // The only one there is: the program is not ended by that either.
    let alone = Sink::chunks(|_| panic!("a user's bug, as this test wants it"));
    let child = puppet("quiet pattern 2000000").stdout(alone).spawn().expect("it starts");
    assert_eq!(child.wait_timeout(DEADLINE).expect("it runs on").status, Status::Exited(0));
}

#[test]
fn f4_what_a_function_owns_or_panics_with_may_panic_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(thread::panicking(), "dropped");
        }
    }
    let (owned, owned_by_who_panics) = (Bomb, Bomb);
    let sinks = [
        Sink::chunks(move |_| _ = &owned),
        Sink::chunks(move |_| {
            _ = &owned_by_who_panics;
            panic!("on purpose");
        }),
        Sink::chunks(|_| std::panic::panic_any(Bomb)),
    ];
    for sink in sinks {
        let command = puppet("quiet pattern 1000000").stdout(sink.and(Sink::captured()));
        let child = command.spawn().expect("it starts");
        // So that the run has the last of it.
        drop(command);
        let output = child.output().wait_timeout(DEADLINE).expect("it is read to its end");
        assert!(output.success() && output.stdout.drained() && output.stdout.total() == 1_000_000);
    }
}

#[test]
fn f4_a_program_does_not_stall_because_nobody_asks() {
    // Much more than any pipe holds, and nobody waits or reads; only the process is looked at.
    let sinks: [fn() -> Sink; 4] = [
        Sink::captured,
        || Sink::captured_within(0, 0),
        || Sink::chunks(|_| ()),
        || Sink::captured().and(Sink::Null),
    ];
    for sink in sinks {
        let command = puppet("quiet pattern 20000000").stdout(sink());
        let child = command.spawn().expect("it starts");
        if let Some(pid) = child.pid() {
            Actor::of(pid).dies();
        }
        assert!(child.wait().success());
    }
    // Whoever has said that he reads no more does not stall it either.
    let child = puppet("quiet pattern 20000000").stdout(Sink::Streamed).spawn().expect("it starts");
    let mut lines = child.take_lines().expect("streamed");
    assert!(lines.next().is_some());
    drop(lines);
    assert_eq!(child.wait_timeout(DEADLINE).expect("it runs on").status, Status::Exited(0));
}

#[test]
fn f4_what_is_streamed_and_not_taken_makes_the_program_wait_and_no_other() {
    let child = puppet("quiet pattern 20000000").stdout(Sink::Streamed).spawn().expect("it starts");
    // It cannot have ended: 256 KiB wait, and what the pipe holds.
    assert_eq!(numbers().output().expect("it starts").stdout.bytes(), expected());
    assert!(child.try_wait().is_none());
    // A stop is heard all the same.
    assert_eq!(puppet::within(&child.stop()).status, killed(Signal::TERM));
    let lines = child.take_chunks().expect("streamed");
    assert!(lines.map(|chunk| chunk.bytes.len()).sum::<usize>() < 20_000_000);
}

#[test]
fn f4_a_last_line_without_an_end_is_told_before_the_exit() {
    often(40, || {
        let (send, lines) = channel();
        // It comes, with the exit, while the first is still being taken.
        let sink = Sink::lines(move |line| {
            thread::sleep(Duration::from_millis(20));
            send.send(line.to_string()).expect("it is heard");
            thread::sleep(Duration::from_millis(20));
        });
        let command = Command::shell("echo one; sleep 0.005; echo two; printf three").stdout(sink);
        assert!(command.spawn().expect("it starts").wait().success());
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["one", "two", "three"]);
    });
}

#[test]
fn f4_a_last_line_without_an_end_is_told_though_somebody_holds_the_pipe() {
    let (send, lines) = channel();
    let sink = Sink::lines(move |line| _ = send.send(line.to_string()));
    let command = Command::shell("echo one; sleep 50 & printf two").leftovers(Leftovers::Leave);
    let command = command.drain(Duration::from_millis(50)).stdout(sink);
    let exit = command.spawn().expect("it starts").wait();
    assert_eq!(
        [(); 2].map(|()| lines.recv_timeout(DEADLINE)),
        [Ok("one".to_string()), Ok("two".to_string())]
    );
    exit.leftovers.iter().for_each(|pid| Actor::of(*pid).signal(Signal::KILL));
    // It was told once, and with the pipe the function has gone.
    drop(command);
    assert_eq!(lines.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn f4_what_nobody_takes_keeps_nobody_from_seeing_the_end() {
    // More than waits for its reader, and no more than the pipe holds besides.
    let command = puppet("quiet pattern 300000").drain(2 * DEADLINE).drain_max(2 * DEADLINE);
    let sink = Sink::Streamed.and(Sink::captured());
    for sink in [sink.clone(), sink.and(Sink::chunks(|_| ()))] {
        let child = command.clone().stdout(sink).spawn().expect("it starts");
        let output = child.output().wait_timeout(DEADLINE).expect("nobody holds the pipe");
        assert_eq!((output.stdout.total(), output.stdout.drained()), (300_000, true));
        let mut pattern = Pattern::default();
        child.take_chunks().expect("streamed").for_each(|chunk| pattern.check(&chunk.bytes));
        assert_eq!(pattern.total(), 300_000);
    }
}

#[test]
fn f4_a_pipe_that_nobody_reads_stalls_its_own_program_until_it_is_stopped() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let sink = Sink::from(std::os::fd::OwnedFd::from(write)).and(Sink::captured());
    let command = puppet("quiet pattern 5000000").drain_max(Duration::from_millis(200));
    let child = command.stdout(sink).spawn().expect("it starts");
    let came = || child.captured(Stream::Stdout).map_or(0, |captured| captured.total());
    eventually("more than the pipe holds", came, |came| *came > 64 << 10);
    assert_eq!(numbers().output().expect("it starts").stdout.bytes(), expected());
    puppet::within(&child.stop());
    let output = child.output().wait_timeout(DEADLINE).expect("it is left behind");
    assert_eq!((output.exit.status, output.stdout.drained()), (killed(Signal::TERM), false));
    assert!(output.stdout.total() < 5_000_000);
    drop(read);
}

#[test]
fn f4_both_streams_are_whole() {
    let child: Child = Command::shell("seq 1 20000 & seq 1 20000 >&2; wait; echo END; echo END >&2")
        .stdout(Sink::captured())
        .stderr(Sink::captured())
        .spawn()
        .expect("it starts");
    let output = child.output().wait();
    assert!(output.stdout.bytes() == expected() && output.stderr.bytes() == expected());
}

fn killed(signal: Signal) -> Status {
    Status::Signaled { signal, core_dumped: false }
}

//! A gibibyte arrives whole by each way out.
//!
//! One after the other: each has the memory, the disk and both processors for itself.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use foster::{Child, Command, Exit, Input, LogFile, Sink};
use puppet::{Pattern, puppet, scratch};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// Whose turn it is, and since when.
struct Turn {
    name: &'static str,
    since: Instant,
    _alone: MutexGuard<'static, ()>,
}

impl Turn {
    fn of(name: &'static str) -> Turn {
        static TURN: Mutex<()> = Mutex::new(());
        let alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { name, since: Instant::now(), _alone: alone }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        println!("{}: {:.1?}", self.name, self.since.elapsed());
    }
}

fn gibibyte() -> Command {
    puppet(&format!("quiet pattern {GIB}"))
}

fn spawn(sink: impl Into<Sink>) -> Child {
    gibibyte().stdout(sink).spawn().expect("it starts")
}

/// Checks what comes out of it, to its end.
#[track_caller]
fn read(mut source: impl Read) -> u64 {
    let (mut pattern, mut block) = (Pattern::default(), vec![0; 1 << 20]);
    loop {
        match source.read(&mut block).expect("it can be read") {
            0 => return pattern.total(),
            n => pattern.check(&block[..n]),
        }
    }
}

#[track_caller]
fn ended(child: &Child) {
    let exit: Exit = child.wait();
    assert!(exit.success(), "{exit}");
}

/// A function that checks what it is given, and how far it came.
fn checked() -> (Sink, Arc<Mutex<Pattern>>) {
    let pattern = Arc::new(Mutex::new(Pattern::default()));
    let ours = pattern.clone();
    (Sink::chunks(move |bytes| ours.lock().expect("no panic").check(bytes)), pattern)
}

#[test]
fn captured() {
    let _turn = Turn::of("captured");
    let output = gibibyte().stdout(Sink::captured_within(1 << 30, 0)).output().expect("it starts");
    assert_eq!((output.stdout.total(), output.stdout.omitted()), (GIB, 0));
    assert!(output.stdout.drained() && output.success());
    Pattern::default().check(output.stdout.bytes());
}

#[test]
fn streamed_chunks() {
    let _turn = Turn::of("streamed chunks");
    let child = spawn(Sink::Streamed);
    let mut pattern = Pattern::default();
    child.take_chunks().expect("streamed").for_each(|chunk| pattern.check(&chunk.bytes));
    assert_eq!(pattern.total(), GIB);
    ended(&child);
}

#[test]
fn streamed_lines() {
    let _turn = Turn::of("streamed lines");
    let child = spawn(Sink::Streamed);
    let mut pattern = Pattern::default();
    for line in child.take_lines().expect("streamed") {
        if pattern.total() > 0 {
            pattern.check(b"\n");
        }
        pattern.check(&line);
    }
    assert_eq!(pattern.total(), GIB);
    ended(&child);
}

#[test]
fn lines_to_a_function() {
    let _turn = Turn::of("lines to a function");
    let pattern = Arc::new(Mutex::new(Pattern::default()));
    let ours = pattern.clone();
    let sink = Sink::lines(move |line| {
        let mut pattern = ours.lock().expect("no panic");
        if pattern.total() > 0 {
            pattern.check(b"\n");
        }
        pattern.check(&line);
    });
    ended(&spawn(sink));
    assert_eq!(pattern.lock().expect("no panic").total(), GIB);
}

#[test]
fn chunks_to_a_function() {
    let _turn = Turn::of("chunks to a function");
    let (sink, pattern) = checked();
    ended(&spawn(sink));
    assert_eq!(pattern.lock().expect("no panic").total(), GIB);
}

#[test]
fn a_file() {
    let _turn = Turn::of("a file");
    let path = scratch("gibibyte").join("log");
    ended(&spawn(LogFile::truncate(&path)));
    assert_eq!(read(File::open(&path).expect("it is there")), GIB);
    fs::remove_file(path).expect("it is ours");
}

#[test]
fn a_file_that_rotates() {
    const MOST: u64 = 128 * MIB - 77;
    let _turn = Turn::of("a file that rotates");
    let path = scratch("gibibyte").join("log");
    ended(&spawn(LogFile::truncate(&path).rotate(MOST, 100)));
    // The oldest first.
    let part = |n: usize| path.with_file_name(if n == 0 { "log".to_string() } else { format!("log.{n}") });
    let parts = (0..1000).take_while(|n| part(*n).exists()).count();
    assert_eq!(parts as u64, GIB.div_ceil(MOST));
    let mut all: Box<dyn Read> = Box::new(std::io::empty());
    for n in (0..parts).rev() {
        assert!(length(&part(n)) <= MOST);
        all = Box::new(all.chain(File::open(part(n)).expect("it is there")));
    }
    assert_eq!(read(all), GIB);
    fs::remove_dir_all(path.parent().expect("it has one")).expect("it is ours");
}

#[test]
fn piped() {
    let _turn = Turn::of("piped");
    let child = spawn(Sink::Piped);
    assert_eq!(read(child.take_stdout().expect("piped")), GIB);
    ended(&child);
}

#[test]
fn a_descriptor() {
    let _turn = Turn::of("a descriptor");
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    let child = spawn(OwnedFd::from(theirs));
    assert_eq!(read(ours), GIB);
    ended(&child);
}

#[test]
fn two_at_once() {
    let _turn = Turn::of("two at once");
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    let (sink, pattern) = checked();
    let child = spawn(sink.and(OwnedFd::from(theirs)));
    let reader = thread::spawn(move || read(ours));
    ended(&child);
    assert_eq!((reader.join().expect("it is whole"), pattern.lock().expect("no panic").total()), (GIB, GIB));
}

#[test]
fn two_pipes_of_which_one_is_the_callers() {
    let _turn = Turn::of("piped and counted");
    let child = spawn(Sink::Piped.and(Sink::captured_within(1000, 1000)));
    assert_eq!(read(child.take_stdout().expect("piped")), GIB);
    let captured = child.output().wait().stdout;
    assert_eq!(captured.total(), GIB);
    Pattern::from(GIB - 1000).check(captured.tail());
}

#[test]
fn in_and_out_again() {
    let _turn = Turn::of("in and out again");
    let mut pattern = Pattern::default();
    let mut bytes = Vec::with_capacity(256 << 20);
    while pattern.total() < 256 * MIB {
        bytes.extend_from_slice(pattern.next(256 * MIB - pattern.total()));
    }
    let input = Input::Bytes(bytes.into());
    let (sink, pattern) = checked();
    let child = Command::new("cat").stdin(input).stdout(sink).spawn().expect("it starts");
    ended(&child);
    assert_eq!(pattern.lock().expect("no panic").total(), 256 * MIB);
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").len()
}

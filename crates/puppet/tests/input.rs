//! F25: a program's input is what was said, whole, and ends when it was said to end; nothing of ours stays behind, and
//! nobody is killed by a pipe that is not read.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use foster::{Capture, Command, ErrorKind, Input, Leftovers, Signal, Sink, Status};
use puppet::{
    Actor, DEADLINE, Pattern, Stage, alone, alone_under, children, default_signal, descriptors, eventually,
    puppet, scratch, within,
};

const MIB: u64 = 1 << 20;

fn pattern(bytes: u64) -> Vec<u8> {
    let mut pattern = Pattern::default();
    let mut all = Vec::new();
    while pattern.total() < bytes {
        all.extend_from_slice(pattern.next(bytes - pattern.total()));
    }
    all
}

#[test]
fn f25_null_is_an_end_at_once() {
    let stage = Stage::start(&puppet("read read").stdin(Input::Null));
    stage.expect("leader: end of input");
    stage.expect("leader: end of input");
    assert_eq!(
        Command::shell("read answer").stdin(Input::Null).status().expect("it starts").shell_code(),
        Some(1)
    );
    // It is the default where output is captured, so that a question is not asked of a terminal.
    assert_eq!(Command::new("cat").output().expect("it starts").stdout.bytes(), b"");
    assert_eq!(Command::new("cat").read_to_string().expect("it ends well"), "");
}

#[test]
fn f25_held_open_neither_ends_nor_says_anything_while_the_leader_lives() {
    let stage = Stage::start(&Command::new("cat").stdin(Input::HeldOpen));
    // It would have ended by now.
    assert_eq!(Command::new("cat").output().expect("it starts").stdout.bytes(), b"");
    assert!(stage.child().wait_timeout(Duration::from_millis(100)).is_none());
    assert_eq!(within(&stage.child().stop()).status, killed(Signal::TERM));
}

#[test]
fn f25_what_was_held_open_ends_with_the_leader() {
    let script = "fork reader [ read ] trap-exit USR1 0 wait";
    let command = puppet(script).stdin(Input::HeldOpen).leftovers(Leftovers::Wait { max: None });
    let stage = Stage::start(&command);
    stage.ready("reader");
    stage.leader().signal(Signal::USR1);
    assert!(stage.exit().success());
    stage.expect("reader: end of input");
    within(&stage.child().gone());
}

#[test]
fn f25_64_mib_go_both_ways_at_once() {
    let bytes = pattern(64 * MIB);
    let input = Input::bytes(&bytes);
    let whole = Sink::Captured(Capture { head: usize::MAX, tail: 0 });
    let output = Command::new("cat").stdin(input.clone()).stdout(whole).output().expect("it starts");
    assert!(output.success() && output.stdout.drained());
    assert!(output.stdout.bytes() == bytes);

    let count = Command::new("wc").arg("-c").stdin(input.clone()).read_to_string().expect("it ends well");
    assert_eq!(count.trim(), bytes.len().to_string());

    let file = scratch("sum").join("bytes");
    fs::write(&file, &bytes).expect("there is space");
    let theirs = Command::new("sha256sum").stdin(Input::file(&file)).read_to_string();
    let ours = Command::new("sha256sum").stdin(input).read_to_string();
    assert_eq!(ours.expect("it ends well"), theirs.expect("it ends well"));
}

#[test]
fn f25_it_is_fed_while_its_output_is_streamed_handed_on_or_piped() {
    let input = Input::bytes(pattern(8 * MIB));
    let child = Command::new("cat").stdin(input.clone()).stdout(Sink::Streamed).spawn().expect("it starts");
    let mut came = Pattern::default();
    child.take_chunks().expect("streamed").for_each(|chunk| came.check(&chunk.bytes));
    assert_eq!(came.total(), 8 * MIB);

    let child = Command::new("cat").stdin(input).stdout(Sink::Piped).spawn().expect("it starts");
    let mut all = Vec::new();
    child.take_stdout().expect("piped").read_to_end(&mut all).expect("a pipe");
    let mut came = Pattern::default();
    came.check(&all);
    assert_eq!(came.total(), 8 * MIB);
}

#[test]
fn f25_bytes_of_every_size_arrive_whole() {
    for bytes in [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 131_072, 1_000_000] {
        let output = Command::new("cat").stdin(Input::bytes(pattern(bytes))).output().expect("it starts");
        let mut came = Pattern::default();
        came.check(output.stdout.bytes());
        assert_eq!((came.total(), output.success()), (bytes, true));
    }
}

#[test]
fn f25_who_does_not_read_harms_nobody_and_leaves_nothing() {
    alone(|| {
        // As in a host that is not written in Rust: a broken pipe would be its death.
        default_signal(Signal::PIPE);
        let input = Input::bytes(pattern(4 * MIB));
        let lines = [
            // It exits early, having read nothing, or some; it closes its input and lives on; it never reads.
            ("exit 0", 0),
            ("head -c 100000 >/dev/null", 0),
            ("exec 0<&-; sleep 0.05; exit 3", 3),
            ("exec 0</dev/null; sleep 0.05; exit 4", 4),
        ];
        let round = || {
            for (line, code) in lines {
                let child = Command::shell(line).stdin(input.clone()).spawn().expect("it starts");
                assert_eq!(
                    child.wait_timeout(DEADLINE).expect("nobody waits for it").status,
                    Status::Exited(code)
                );
                let output = Command::shell(line).stdin(input.clone()).output().expect("it starts");
                assert_eq!(output.exit.status, Status::Exited(code));
            }
            let never = puppet("quiet wait").stdin(input.clone()).spawn().expect("it starts");
            within(&never.stop());
            let dropped = puppet("quiet wait").stdin(input.clone()).spawn().expect("it starts");
            drop(dropped);
            let refused = Command::new("/no/such/program").stdin(input.clone());
            assert_eq!(refused.spawn().expect_err("there is none").kind(), ErrorKind::NotFound);
        };
        round();
        eventually("all are reaped", children, Vec::is_empty);
        let before = descriptors().len();
        for _ in 0..5 {
            round();
        }
        eventually("no descriptor more than before", descriptors, |now| now.len() <= before);
        eventually("all are reaped", children, Vec::is_empty);
    });
}

#[test]
fn f25_nobody_who_reads_our_other_ends_is_our_death() {
    alone(|| {
        default_signal(Signal::PIPE);
        let (read, write) = std::io::pipe().expect("a pipe");
        drop(read);
        let broken = OwnedFd::from(write);
        // Of two, one is broken: the other goes on.
        let sink = Sink::from(broken).and(Sink::captured());
        let output = puppet("quiet pattern 1000000").stdout(sink).output().expect("it starts");
        assert!(output.success());
        assert_eq!(output.stdout.total(), 1_000_000);
    });
}

#[test]
fn f25_a_file_is_read_from_its_beginning_by_each_run() {
    let file = scratch("file").join("words");
    fs::write(&file, "one\ntwo\n").expect("it is ours");
    let command = Command::new("cat").stdin(Input::file(&file));
    for _ in 0..2 {
        assert_eq!(command.read_to_string().expect("it ends well"), "one\ntwo\n");
    }
}

#[test]
fn f25_a_file_that_cannot_be_opened_is_named_and_nothing_is_started() {
    let directory = scratch("bad-file");
    let (missing, witness) = (directory.join("no such\nfile"), directory.join("witness"));
    let touch = Command::new("touch").arg(&witness);
    let bad = [
        touch.clone().stdin(Input::file(&missing)),
        touch.clone().stdout(foster::LogFile::append(missing.join("below"))),
        touch.clone().stderr(foster::LogFile::append(&directory)),
        touch.clone().stdout(foster::LogFile::append(&directory).rotate(1000, 3)),
        touch.clone().stdout(Sink::captured().and(foster::LogFile::truncate(missing.join("below")))),
    ];
    for command in bad {
        let error = command.spawn().expect_err("it cannot be opened");
        assert_eq!(error.kind(), ErrorKind::BadFile, "{error}");
        let text = error.to_string();
        assert!(text.contains(&*directory.to_string_lossy()) && text.lines().count() == 1, "{text}");
        assert_ne!(error.raw_os_error(), None);
    }
    assert!(!witness.exists());
    // A directory can be opened for reading, and cannot be read.
    let output = Command::new("cat").stdin(Input::file(&directory)).output().expect("it starts");
    assert_eq!(output.exit.shell_code(), Some(1));
}

#[test]
fn f25_piped_input_ends_when_it_is_dropped_or_the_last_handle_is() {
    let child = Command::new("cat").stdin(Input::Piped).stdout(Sink::captured()).spawn().expect("it starts");
    let mut stdin = child.take_stdin().expect("piped");
    stdin.write_all(b"one\n").expect("it reads");
    stdin.write_all(b"two").expect("it reads");
    assert!(child.try_wait().is_none());
    drop(stdin);
    let output = child.output().wait_timeout(DEADLINE).expect("its input has ended");
    assert_eq!((output.success(), output.stdout.bytes()), (true, &b"one\ntwo"[..]));

    // Nobody took it: it ends with the handle, and the detached program with it.
    let child = Command::new("cat").stdin(Input::Piped).stdout(Sink::Null).spawn().expect("it starts");
    let actor = Actor::of(child.pid().expect("it runs"));
    child.detach();
    drop(child);
    actor.dies();
}

#[test]
fn f25_a_descriptor_is_shared_and_not_taken() {
    let (read, write) = std::io::pipe().expect("a pipe");
    let read = Arc::new(OwnedFd::from(read));
    let command = Command::new("head").args(["-c", "4"]).stdin(Input::Descriptor(read));
    (&write).write_all(b"one\ntwo\n").expect("it is read");
    for word in ["one\n", "two\n"] {
        assert_eq!(command.read_to_string().expect("it ends well"), word);
    }
}

#[test]
fn f25_inherited_input_is_the_hosts() {
    alone_under(&["sh", "-c", "echo from the host | \"$0\" \"$@\""], || {
        assert_eq!(
            Command::new("cat").stdin(Input::Inherit).read_to_string().expect("it ends well"),
            "from the host\n"
        );
    });
}

fn killed(signal: Signal) -> Status {
    Status::Signaled { signal, core_dumped: false }
}

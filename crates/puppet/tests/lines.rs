//! Lines are the program's bytes, split at line feeds and nowhere else, whoever takes them.

use std::future::Future;
use std::sync::{Arc, Mutex};

use foster::{Command, Line, Lines, Sink, Stream};
use puppet::puppet;

/// What is compared of a line.
type Told = (Stream, Vec<u8>, bool);

fn told(line: &Line<'_>) -> Told {
    (line.stream, line.bytes.to_vec(), line.cut)
}

fn to_a_function(command: &Command) -> Vec<Told> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let ours = all.clone();
    let sink = Sink::lines(move |line| ours.lock().expect("no panic").push(told(&line)));
    command.clone().stdout(sink).spawn().expect("it starts").wait();
    let all = all.lock().expect("no panic");
    all.clone()
}

fn streamed(command: &Command) -> Lines {
    let child = command.clone().stdout(Sink::Streamed).spawn().expect("it starts");
    let lines = child.take_lines().expect("streamed");
    // The lines are no handle; without one it would be killed.
    child.detach();
    lines
}

async fn awaited(mut lines: Lines) -> Vec<Told> {
    let mut all = Vec::new();
    while let Some(line) = lines.next_line().await {
        all.push(told(&line));
    }
    assert!(lines.next_line().await.is_none(), "the end stays the end");
    all
}

fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// The same lines by each way.
#[track_caller]
fn each_way(command: &Command, expected: &[Told]) {
    // They can be large, and a difference is seen by its place.
    let same = |way: &str, lines: Vec<Told>| {
        let differs = lines.iter().zip(expected).position(|(line, expected)| line != expected);
        assert_eq!((differs, lines.len()), (None, expected.len()), "{way}");
    };
    same("to a function", to_a_function(command));
    same("by an iterator", streamed(command).map(|line| told(&line)).collect());
    same("in a task of tokio", on_tokio(awaited(streamed(command))));
    same("in a task of smol", smol::block_on(awaited(streamed(command))));
}

fn whole(lines: &[&[u8]]) -> Vec<Told> {
    lines.iter().map(|line| (Stream::Stdout, line.to_vec(), false)).collect()
}

#[test]
fn they_are_split_at_line_feeds_and_nowhere_else() {
    let cases: [(&str, &[&[u8]]); 10] = [
        ("", &[]),
        (r"\n", &[b""]),
        (r"\n\n\n", &[b"", b"", b""]),
        (r"one\ntwo\n", &[b"one", b"two"]),
        (r"no end", &[b"no end"]),
        (r"one\nno end", &[b"one", b"no end"]),
        (r"dos\r\n\r\nlone\rreturn\n\r", &[b"dos\r", b"\r", b"lone\rreturn", b"\r"]),
        (r"nul\000in it\n\000\n", &[b"nul\0in it", b"\0"]),
        (r"\377\376\n\303\nno \303\050 text", &[b"\xff\xfe", b"\xc3", b"no \xc3( text"]),
        (r"\342\200\250 is\013no\014end\n", &[b"\xe2\x80\xa8 is\x0bno\x0cend"]),
    ];
    for (format, expected) in cases {
        each_way(&Command::new("printf").arg(format), &whole(expected));
    }
}

#[test]
fn one_that_comes_in_pieces_is_one() {
    let line =
        r"printf 'in '; sleep 0.05; printf 'three '; sleep 0.05; printf 'pieces\nan'; sleep 0.05; printf d";
    each_way(&Command::shell(line), &whole(&[b"in three pieces", b"and"]));
}

#[test]
fn ten_megabytes_without_a_line_feed_are_cut_and_marked_and_no_byte_is_lost() {
    const ALL: usize = 10_000_000;
    for end in ["", "; echo; echo next"] {
        let command = Command::shell(format!("head -c {ALL} /dev/zero | tr '\\0' x{end}"));
        let mut expected: Vec<Told> = Vec::new();
        let mut left = ALL;
        while left > 0 {
            let n = left.min(Line::MOST);
            left -= n;
            expected.push((Stream::Stdout, vec![b'x'; n], left > 0));
        }
        if !end.is_empty() {
            expected.push((Stream::Stdout, b"next".to_vec(), false));
        }
        each_way(&command, &expected);
    }
}

#[test]
fn both_streams_in_one_pipe_are_in_the_order_in_which_they_were_written() {
    const EACH: usize = 10_000;
    let command = puppet(&format!("quiet alternate {EACH}")).stderr_to_stdout(true);
    let line = |n: usize| [format!("out {n}"), format!("err {n}")];
    let lines: Vec<String> = (1..=EACH).flat_map(line).collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    each_way(&command, &whole(&lines));
    // What is said of the error output counts for nothing then.
    each_way(&command.stderr(Sink::Null), &whole(&lines));
}

#[test]
fn streams_apart_keep_their_own_order_and_their_own_partial_lines() {
    let command = puppet("quiet alternate 10000").stderr(Sink::Streamed);
    let lines: Vec<Told> = streamed(&command).map(|line| told(&line)).collect();
    for (stream, word) in [(Stream::Stdout, "out"), (Stream::Stderr, "err")] {
        let of = lines.iter().filter(|line| line.0 == stream).map(|line| line.1.clone());
        assert!(of.eq((1..=10_000).map(|n| format!("{word} {n}").into_bytes())), "{word}");
    }
    // Neither ends with a line feed, and they are written in turns.
    let line = "printf a; printf b >&2; sleep 0.05; printf c; printf d >&2";
    let command = Command::shell(line).stderr(Sink::Streamed);
    let mut lines: Vec<Told> = streamed(&command).map(|line| told(&line)).collect();
    lines.sort_by_key(|line| line.1.clone());
    assert_eq!(lines, [(Stream::Stdout, b"ac".to_vec(), false), (Stream::Stderr, b"bd".to_vec(), false)]);
}

#[test]
fn they_are_shown_as_text_and_are_their_bytes() {
    let mut lines = streamed(&Command::new("printf").arg(r"\303\251t\303\251 \377\n"));
    let line = lines.next().expect("one");
    assert_eq!(line.to_string(), "\u{e9}t\u{e9} \u{fffd}");
    assert_eq!(&*line, b"\xc3\xa9t\xc3\xa9 \xff");
    assert!(line.starts_with("\u{e9}".as_bytes()));
    assert!(lines.next().is_none() && lines.next().is_none());
}

#[test]
fn they_are_taken_once() {
    let child = Command::new("true").stdout(Sink::Streamed).spawn().expect("it starts");
    assert!(child.clone().take_lines().is_some());
    assert!(child.take_lines().is_none() && child.take_chunks().is_none());
    let child = Command::new("true").stdout(Sink::captured()).spawn().expect("it starts");
    assert!(child.take_lines().is_none() && child.take_stdout().is_none());
}

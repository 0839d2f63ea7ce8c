//! Where the program's streams go, and the tail of its output that is shown if it fails.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use foster::{Command, Input, LogFile, Output, Sink};
use rustix::fs::{FileType, fstat};

use crate::args::Run;
use crate::forward::Start;
use crate::say::{Volume, plain};
use crate::terminal::Terminal;
use crate::typist;
use crate::values::{Rotation, Source};

/// How much of the output is kept for its last lines, in bytes.
const TAIL: usize = 1 << 20;

/// What the options say of the streams.
pub(crate) fn direct(
    mut command: Command,
    args: &Run,
    start: &Start,
    terminal: Option<&Terminal>,
) -> Result<Command, String> {
    let files = args.stdout.is_some() || args.stderr.is_some();
    if !files && (args.append || args.rotate.is_some()) {
        let option = if args.append { "--append" } else { "--rotate" };
        return Err(format!("{option} is for the files of --stdout and --stderr; name one of them"));
    }
    if args.pty && matches!(args.stdin, Source::File(_)) {
        return Err(
            "--stdin: with --pty the input is typed; let foster read the file, as in `< FILE`".to_string()
        );
    }
    command = match &args.stdin {
        // Of a terminal of ours the program gets what is typed; what is none stays what it is.
        Source::Inherit if args.pty && !io::stdin().is_terminal() => command.stdin(Input::Inherit),
        Source::Inherit => command,
        Source::Null => command.stdin(Input::Null),
        // Here, and not by the library: a pipe without a writer is waited for, as a shell does.
        Source::File(path) => {
            let file = start.interruptibly(|| File::open(path)).map_err(|error| {
                let (path, why) = (path.display(), plain(&error));
                format!("--stdin: cannot open `{path}`; name a file that can be read, inherit or null: {why}")
            })?;
            command.stdin(Input::Descriptor(Arc::new(file.into())))
        }
    };
    let tail = args.capture_tail.map(|_| Sink::captured_within(0, TAIL));
    let file = |path| match log_file(path, args) {
        file if tail.is_some() => tail.clone().unwrap_or_default().and(file),
        file => Sink::from(file),
    };
    if let Some(sink) = args.stdout.as_deref().map(file).or(tail.clone()) {
        command = command.stdout(sink);
    }
    if args.pty {
        return Ok(command.pty(typist::size(terminal)));
    }
    if args.stdout == args.stderr {
        // To one file, or to one tail, in the order in which it is written; to our own two otherwise.
        return Ok(command.stderr_to_stdout(files || tail.is_some()));
    }
    if let Some(sink) = args.stderr.as_deref().map(file).or(tail.clone()) {
        command = command.stderr(sink);
    }
    Ok(command)
}

/// Whether what the program shows in a terminal of its own goes to a pipe of ours, whose reader may go away.
pub(crate) fn shows_to_pipe(args: &Run) -> bool {
    let ours = args.pty && args.stdout.is_none() && args.capture_tail.is_none();
    ours && fstat(rustix::stdio::stdout()).is_ok_and(|stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        kind == FileType::Fifo || kind == FileType::Socket
    })
}

fn log_file(path: &Path, args: &Run) -> LogFile {
    let file = if args.append { LogFile::append(path) } else { LogFile::truncate(path) };
    match args.rotate {
        Some(Rotation { bytes, keep }) => file.rotate(bytes, keep),
        None => file,
    }
}

/// Shows the last lines of what a program wrote that has failed.
pub(crate) fn show_tail(args: &Run, code: u8, output: &Output) {
    let Some(most) = args.capture_tail.filter(|_| code != 0) else { return };
    for captured in [&output.stdout, &output.stderr] {
        let (lines, left_out) = last_lines(captured.bytes(), captured.omitted(), most);
        if left_out > 0 {
            let said = format_args!("{left_out} bytes of its output left out before these");
            args.volume().say(Volume::Normal, said);
        }
        // A reader that has gone away is no reason to fail.
        _ = io::stderr().lock().write_all(lines);
        if !lines.is_empty() && !lines.ends_with(b"\n") {
            _ = io::stderr().lock().write_all(b"\n");
        }
    }
}

/// The last lines, and how many bytes come before them, with those that are not there any more.
fn last_lines(bytes: &[u8], omitted: u64, most: usize) -> (&[u8], u64) {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let feeds = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let from = match most {
        0 => bytes.len(),
        _ => feeds.map(|(at, _)| at + 1).nth(most - 1).unwrap_or(0),
    };
    (&bytes[from..], omitted + from as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_as_many_and_the_rest_is_counted() {
        let cases: &[(&str, usize, &str, u64)] = &[
            ("", 0, "", 0),
            ("", 3, "", 0),
            ("a\nb\nc\n", 0, "", 6),
            ("a\nb\nc\n", 1, "c\n", 4),
            ("a\nb\nc\n", 2, "b\nc\n", 2),
            ("a\nb\nc\n", 3, "a\nb\nc\n", 0),
            ("a\nb\nc\n", usize::MAX, "a\nb\nc\n", 0),
            ("a\nb\nc", 1, "c", 4),
            ("a\nb\nc", 2, "b\nc", 2),
            ("\n", 1, "\n", 0),
            ("\n\n", 1, "\n", 1),
            ("a", 1, "a", 0),
        ];
        for (text, most, shown, before) in cases {
            let (lines, left_out) = last_lines(text.as_bytes(), 0, *most);
            assert_eq!((lines, left_out), (shown.as_bytes(), *before), "{text:?}, {most}");
            assert_eq!(last_lines(text.as_bytes(), 100, *most).1, 100 + before, "{text:?}, {most}");
        }
    }
}

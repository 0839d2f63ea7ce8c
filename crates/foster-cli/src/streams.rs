//! Where the program's streams go, and the tail of its output that is shown if it fails.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foster::{Command, Input, LogFile, Output, Sink};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use crate::args::Run;
use crate::forward::Start;
use crate::say::{Volume, plain};
use crate::terminal::Terminal;
use crate::typist;
use crate::values::{Rotation, Source};
use crate::watch::Bell;

/// How much of the output is kept for its last lines, in bytes.
const TAIL: usize = 1 << 20;

/// What the options say of the streams.
pub(crate) fn direct(
    mut command: Command,
    args: &Run,
    start: &Start,
    terminal: Option<&Terminal>,
    show: &Show,
) -> Result<Command, String> {
    let files = args.stdout.is_some() || args.stderr.is_some();
    if !files && (args.append || args.rotate.is_some()) {
        let option = if args.append { "--append" } else { "--rotate" };
        return Err(format!("{option} is for the files of --stdout and --stderr; name one of them"));
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
        let command = command.pty(typist::size(terminal));
        if args.stdout.is_some() || tail.is_some() {
            return Ok(command);
        }
        // Who reads what is shown may take his time, as in any pipeline.
        return Ok(command.stdout(show.sink()).drain_max(Duration::MAX));
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

/// What a program in a terminal of its own shows, on its way to our output.
#[derive(Clone, Debug)]
pub(crate) struct Show(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    bell: Bell,
    /// Nobody reads our output any more.
    unread: AtomicBool,
    /// Rung when nobody is to wait for who reads.
    enough: OwnedFd,
}

impl Show {
    pub(crate) fn new(bell: &Bell) -> io::Result<Show> {
        let enough = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Show(Arc::new(Shown { bell: bell.clone(), unread: AtomicBool::new(false), enough })))
    }

    fn sink(&self) -> Sink {
        let ours = self.0.clone();
        Sink::chunks(move |bytes| {
            if !ours.unread.load(Ordering::Relaxed) && ours.show(bytes).is_err() {
                ours.unread.store(true, Ordering::Relaxed);
                ours.bell.ring();
            }
        })
    }

    /// Whether nobody reads our output any more.
    pub(crate) fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// What has not been read by now is dropped.
    pub(crate) fn drop_the_rest(&self) {
        _ = rustix::io::write(&self.0.enough, &1_u64.to_ne_bytes());
    }
}

impl Shown {
    fn show(&self, bytes: &[u8]) -> io::Result<()> {
        // A pipe that is ready takes so much without waiting, pipe(7).
        const PIPE_BUF: usize = 4096;
        let stdout = rustix::stdio::stdout();
        for mut piece in bytes.chunks(PIPE_BUF) {
            while !piece.is_empty() {
                let mut watched =
                    [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(&self.enough, PollFlags::IN)];
                poll(&mut watched, None)?;
                if !watched[1].revents().is_empty() {
                    return Ok(());
                }
                match rustix::io::write(stdout, piece) {
                    Ok(n) => piece = &piece[n..],
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    // A disk that is full may have room again.
                    Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

fn log_file(path: &Path, args: &Run) -> LogFile {
    let file = if args.append { LogFile::append(path) } else { LogFile::truncate(path) };
    match args.rotate {
        Some(Rotation { bytes, keep }) => file.rotate(bytes, keep),
        None => file,
    }
}

/// Whether the last lines of what it wrote are to be shown.
pub(crate) fn has_tail(args: &Run, code: u8) -> bool {
    code != 0 && args.capture_tail.is_some()
}

/// Shows the last lines of what a program wrote that has failed.
pub(crate) fn show_tail(args: &Run, output: &Output) {
    let most = args.capture_tail.unwrap_or(0);
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

//! Where output goes: [`Sink`], and what comes of it: [`Line`], [`Chunk`], [`Captured`], [`Output`].

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::Exit;

pub(crate) mod capture;
pub(crate) mod drain;
pub(crate) mod lines;
pub(crate) mod log_file;
pub(crate) mod memory;

pub use capture::Captured;

/// Where one of the two output streams of the program goes.
///
/// `Inherit`, `Null`, `Piped`, a `Descriptor`, and a `File` that is not rotated are given to the program itself: nobody
/// stands between. What must be looked at is read by the library's own threads, whether or not anybody waits: a program
/// never stalls because nobody asked for its output, but for what is `Piped` or `Streamed`. What is slow, slows only its
/// own program.
///
/// ```
/// use foster::{Command, Sink};
///
/// // Shown while it runs, and kept: two at once.
/// let child = Command::shell("echo one; echo two").stdout(Sink::Inherit.and(Sink::captured())).spawn()?;
/// assert_eq!(child.output().wait().stdout.bytes(), b"one\ntwo\n");
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Sink {
    /// To where the host's goes.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// To the caller, by [`Child::take_stdout`](crate::Child::take_stdout) and
    /// [`take_stderr`](crate::Child::take_stderr): the bare pipe. Who takes it must read it, or the program stalls
    /// when the pipe is full, and reads until the last holder of the pipe has ended; the other sinks do that by
    /// themselves.
    Piped,
    /// To this descriptor: a file, a pipe, a socket. It stays open as long as the command is there.
    Descriptor(Arc<OwnedFd>),
    /// To a file.
    File(LogFile),
    /// Kept in memory, within bounds: [`Child::output`](crate::Child::output).
    Captured(Capture),
    /// To the caller, as it comes: [`Child::take_lines`](crate::Child::take_lines) or
    /// [`take_chunks`](crate::Child::take_chunks), to read in a thread or in a task. While nobody takes it, 256 KiB
    /// wait, and then the program; where nobody can, as in [`Command::status`](crate::Command::status), it is dropped.
    Streamed,
    /// To a function that is called with each line; [`Sink::lines`].
    Lines(OnLine),
    /// To a function that is called with what has come; [`Sink::chunks`].
    Chunks(OnChunk),
    /// To two; [`Sink::and`].
    Both(Box<(Sink, Sink)>),
}

impl Sink {
    /// Kept in memory: the first and the last 4 MiB, and how much was left out between them.
    pub fn captured() -> Sink {
        Sink::Captured(Capture::default())
    }

    /// Kept in memory: so many of the first bytes, and so many of the last.
    pub fn captured_within(head: usize, tail: usize) -> Sink {
        Sink::Captured(Capture { head, tail })
    }

    /// To this function, which is called with each [`Line`], in order, on a thread of the stream's own. It may take
    /// its time: then the program waits, when the pipe is full. The exit waits too, for what was written before it,
    /// as long as the function returns at least once in [`Policy::drain_max`](crate::Policy::drain_max). One that
    /// panics is not called again. A last line without a line feed is told at the end of the stream, or when the
    /// drain is over. What the function owns lives as long as the command, and each run of it.
    ///
    /// ```
    /// use foster::{Command, Sink};
    /// use std::sync::mpsc;
    ///
    /// let (send, lines) = mpsc::channel();
    /// let sink = Sink::lines(move |line| _ = send.send(line.to_string()));
    /// let exit = Command::shell("echo one; printf two").stdout(sink).spawn()?.wait();
    /// assert!(exit.success());
    /// assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["one", "two"]);
    /// # Ok::<(), foster::Error>(())
    /// ```
    pub fn lines(function: impl FnMut(Line<'_>) + Send + 'static) -> Sink {
        Sink::Lines(OnLine(Arc::new(Mutex::new(function))))
    }

    /// To this function, which is called with the bytes as they come. Otherwise as [`Sink::lines`].
    pub fn chunks(function: impl FnMut(&[u8]) + Send + 'static) -> Sink {
        Sink::Chunks(OnChunk(Arc::new(Mutex::new(function))))
    }

    /// To this one and to that one, as `tee(1)` does. The slower of them sets the pace; one that ends, such as a pipe
    /// that nobody reads any more, leaves the other going.
    pub fn and(self, other: impl Into<Sink>) -> Sink {
        Sink::Both(Box::new((self, other.into())))
    }
}

impl From<OwnedFd> for Sink {
    fn from(descriptor: OwnedFd) -> Sink {
        Sink::Descriptor(Arc::new(descriptor))
    }
}

impl From<File> for Sink {
    fn from(file: File) -> Sink {
        OwnedFd::from(file).into()
    }
}

impl From<LogFile> for Sink {
    fn from(file: LogFile) -> Sink {
        Sink::File(file)
    }
}

/// How much of a stream is kept, in bytes: all of it where it is no more than the two together.
///
/// ```
/// assert_eq!(foster::Capture::default(), foster::Capture { head: 4 << 20, tail: 4 << 20 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a head and a tail is all there is")]
pub struct Capture {
    /// Of its beginning.
    pub head: usize,
    /// Of its end.
    pub tail: usize,
}

impl Default for Capture {
    /// The first and the last 4 MiB: 8 MiB a stream.
    fn default() -> Capture {
        Capture { head: 4 << 20, tail: 4 << 20 }
    }
}

/// A file that output is written to, and when a new one is begun.
///
/// ```
/// use foster::{Command, LogFile};
///
/// let path = std::env::temp_dir().join(format!("foster-doc-{}", std::process::id()));
/// let log = LogFile::append(&path);
/// for word in ["one", "two"] {
///     Command::new("echo").arg(word).stdout(log.clone()).spawn()?.wait();
/// }
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) truncate: bool,
    /// At how many bytes a new one is begun, and how many old ones are kept.
    pub(crate) rotate: Option<(u64, u32)>,
}

impl LogFile {
    /// Goes on at the end of the file, which is made if it is not there, with the mode that the umask allows.
    pub fn append(path: impl AsRef<Path>) -> LogFile {
        LogFile { path: path.as_ref().to_owned(), truncate: false, rotate: None }
    }

    /// Begins the file anew, each time that a command is started.
    pub fn truncate(path: impl AsRef<Path>) -> LogFile {
        LogFile { truncate: true, ..LogFile::append(path) }
    }

    /// Begins a new file before this one grows over `bytes`, between two lines where that can be: `log` becomes `log.1`,
    /// `log.1` becomes `log.2`, and so on; `keep` old ones are kept. Such a file is written by the library and not by the
    /// program, so that the program never has to know. A link is followed to its file. What is no regular file, such as
    /// `/dev/null`, is written to and never renamed. By default a file is not rotated.
    pub fn rotate(mut self, bytes: u64, keep: u32) -> LogFile {
        self.rotate = Some((bytes.max(1), keep));
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are two")]
pub enum Stream {
    /// Standard output; of a program in a terminal of its own, all output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of output, without its line feed. Its bytes are the program's: a carriage return before the line feed, a NUL,
/// what is no UTF-8, all stay as they are. It dereferences to its bytes and is shown as text, with `U+FFFD` for what is
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line<'a> {
    /// Where it was written.
    pub stream: Stream,
    /// What was written, at most [`Line::MOST`] bytes.
    pub bytes: Cow<'a, [u8]>,
    /// It was longer than that: the next one goes on where this one was cut.
    pub cut: bool,
}

impl Line<'_> {
    /// The most bytes of a line: 1 MiB. A longer one is cut and marked, so that a program that writes no line feeds
    /// does not fill our memory; no byte of it is lost.
    pub const MOST: usize = 1 << 20;

    pub(crate) fn into_owned(self) -> Line<'static> {
        Line { stream: self.stream, bytes: Cow::Owned(self.bytes.into_owned()), cut: self.cut }
    }
}

impl Deref for Line<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

/// Some output, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chunk {
    /// Where it was written.
    pub stream: Stream,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// A function that takes lines: [`Sink::lines`].
#[derive(Clone)]
pub struct OnLine(pub(crate) Arc<Mutex<TakesLines>>);

/// A function that takes bytes: [`Sink::chunks`].
#[derive(Clone)]
pub struct OnChunk(pub(crate) Arc<Mutex<TakesBytes>>);

// Shared, since a command can be cloned, and run again while it runs.
type TakesLines = dyn FnMut(Line<'_>) + Send;
type TakesBytes = dyn FnMut(&[u8]) + Send;

impl fmt::Debug for OnLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnLine")
    }
}

impl fmt::Debug for OnChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnChunk")
    }
}

/// How a run ended, and what it wrote: [`Child::output`](crate::Child::output). A stream that was not captured is
/// empty; whether it was [drained](Captured::drained) is told of each that the library reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The leader's exit.
    pub exit: Exit,
    /// What was captured of its output.
    pub stdout: Captured,
    /// What was captured of its error output.
    pub stderr: Captured,
}

impl Output {
    /// Whether the leader ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.exit.success()
    }
}

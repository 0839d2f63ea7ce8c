//! [`Error`]: what could not be done, to whom, and while trying what.

use std::fmt;
use std::io;
use std::sync::Arc;

/// What could not be done. One line names the program, what was tried, and why it failed.
///
/// It is cheap to clone, so that every waiter can have it, and turns into an [`io::Error`] with the fitting
/// [`io::ErrorKind`].
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

/// What kind of thing went wrong, for a program to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such program.
    NotFound,
    /// The program is there and cannot be executed: no permission, a directory, no known format.
    NotExecutable,
    /// The working directory is not there or cannot be entered.
    BadDirectory,
    /// A file for the program's input or output cannot be opened.
    BadFile,
    /// The command makes no sense: it is empty, or there is a NUL in it.
    InvalidInput,
    /// Arguments and environment are too large: E2BIG, `execve(2)`.
    TooBig,
    /// No descriptors are left: EMFILE, ENFILE.
    NoDescriptors,
    /// No process or thread can be made: EAGAIN, ENOMEM.
    NoProcesses,
    /// Not permitted, as a signal to a process of another user.
    NotPermitted,
    /// The supervisor is closing and starts nothing more.
    Closing,
    /// Killed, and still there; see [`Stuck`].
    Stuck,
    /// This machine has not got the containment that was asked for, or required.
    NoContainment,
    /// It ran, and did not end by itself with code 0: [`Command::read_to_string`](crate::Command::read_to_string),
    /// which has no other way to say so.
    Unsuccessful,
    /// It ran, and what it wrote is not UTF-8, or more than is kept:
    /// [`Command::read_to_string`](crate::Command::read_to_string).
    BadOutput,
    /// Something else; the source says what.
    Other,
}

impl ErrorKind {
    /// What a system call's error means where no step gives it a better name.
    pub(crate) fn of(error: &io::Error) -> ErrorKind {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => ErrorKind::NoDescriptors,
            // ENOSPC: the user's share of epoll watches is used up, epoll_ctl(2).
            Some(libc::EAGAIN | libc::ENOMEM | libc::ENOSPC) => ErrorKind::NoProcesses,
            Some(libc::E2BIG) => ErrorKind::TooBig,
            Some(libc::EPERM | libc::EACCES) => ErrorKind::NotPermitted,
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: one_line(message.into()), source: None }))
    }

    /// `doing` is a fragment that names the thing: "start `sh`".
    pub(crate) fn os(kind: ErrorKind, doing: impl fmt::Display, source: io::Error) -> Error {
        let fix = match kind {
            ErrorKind::NoDescriptors => "; close some, or raise the limit on open files (ulimit -n)",
            ErrorKind::NoProcesses => "; end some, or raise the limit on processes (ulimit -u)",
            ErrorKind::BadFile => "; name a file that can be opened",
            _ => "",
        };
        Error(Arc::new(Inner { kind, message: one_line(format!("{doing}{fix}")), source: Some(source) }))
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    fn source_kind(&self) -> io::ErrorKind {
        self.0.source.as_ref().map_or(io::ErrorKind::Other, io::Error::kind)
    }

    /// The number the system gave, as in `errno(3)`, if it was the system that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }
}

/// A name with a line break in it must not make two lines of an error.
fn one_line(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    message.chars().map(escape).collect()
}

/// Names may be as long as the kernel allows; in a message their beginning says enough.
pub(crate) fn short(name: &str) -> String {
    const ENOUGH: usize = 300;
    match name.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {}", Plain(source)),
            None => Ok(()),
        }
    }
}

/// The system's own words, without the number that [`io::Error`] adds: it is in [`Error::raw_os_error`].
struct Plain<'a>(&'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// The words for an errno.
pub(crate) fn plain(errno: i32) -> String {
    Plain(&io::Error::from_raw_os_error(errno)).to_string()
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::NotExecutable | ErrorKind::NotPermitted => io::ErrorKind::PermissionDenied,
            ErrorKind::BadDirectory => io::ErrorKind::NotADirectory,
            ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::TooBig => io::ErrorKind::ArgumentListTooLong,
            ErrorKind::NoProcesses => io::ErrorKind::WouldBlock,
            ErrorKind::Stuck => io::ErrorKind::TimedOut,
            ErrorKind::NoContainment => io::ErrorKind::Unsupported,
            ErrorKind::BadOutput => io::ErrorKind::InvalidData,
            ErrorKind::BadFile => return io::Error::new(error.source_kind(), error),
            ErrorKind::NoDescriptors | ErrorKind::Closing | ErrorKind::Unsuccessful | ErrorKind::Other => {
                io::ErrorKind::Other
            }
        };
        io::Error::new(kind, error)
    }
}

/// Killed, and still there: a process the kernel cannot end now, such as one in uninterruptible sleep (state `D`
/// in `ps(1)`). The library goes on reaping in the background, and the run may still become gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub(crate) label: Arc<str>,
    pub(crate) pids: Vec<u32>,
    pub(crate) states: Vec<char>,
    /// What the system said to the kill, if it refused.
    pub(crate) why: Option<String>,
}

impl Stuck {
    /// Who is left.
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// In which state each of them is, by the letters of `ps(1)`: `D` cannot be killed now, `Z` was killed and waits
    /// for its parent or tracer; `?` where it is not known.
    pub fn states(&self) -> &[char] {
        &self.states
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: killed, and still there: ", short(&one_line(self.label.to_string())))?;
        for (i, (pid, state)) in self.pids.iter().zip(&self.states).enumerate() {
            write!(f, "{}pid {pid} ({state})", if i == 0 { "" } else { ", " })?;
        }
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Stuck {}

impl From<Stuck> for Error {
    fn from(stuck: Stuck) -> Error {
        Error::new(ErrorKind::Stuck, stuck.to_string())
    }
}

impl From<Stuck> for io::Error {
    fn from(stuck: Stuck) -> io::Error {
        Error::from(stuck).into()
    }
}

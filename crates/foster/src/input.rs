//! Where input comes from: [`Input`].

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the program's standard input comes from.
///
/// ```
/// use foster::{Command, Input};
///
/// let output = Command::new("sort").stdin(Input::bytes("pear\napple\n")).output()?;
/// assert_eq!(output.stdout.bytes(), b"apple\npear\n");
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Input {
    /// From where the host's comes. A program in a terminal of its own ([`Command::pty`](crate::Command::pty)) cannot
    /// have the host's terminal.
    #[default]
    Inherit,
    /// `/dev/null`: it ends at once, so that a question fails fast instead of waiting for an answer.
    Null,
    /// From the caller, by [`Child::take_stdin`](crate::Child::take_stdin); it ends when that is dropped, or the
    /// child's last handle. To a program in a terminal of its own one types by it, which has no end; `0x04` is
    /// Ctrl-D.
    Piped,
    /// These bytes, then the end. They are fed while the output is read, so that a program that answers before it has
    /// read everything does not stall. What the leader has not read when it ends, nobody gets.
    Bytes(Arc<[u8]>),
    /// An input that neither ends nor says anything as long as the leader lives: for programs that end with their
    /// input, as dev servers do. In a terminal of its own it is the terminal, at which nobody types.
    HeldOpen,
    /// This file, from its beginning.
    File(PathBuf),
    /// This descriptor: a file, a pipe, a socket.
    Descriptor(Arc<OwnedFd>),
}

impl Input {
    /// These bytes, then the end.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Input {
        Input::Bytes(bytes.as_ref().into())
    }

    /// This file, from its beginning.
    pub fn file(path: impl AsRef<Path>) -> Input {
        Input::File(path.as_ref().to_owned())
    }
}

impl From<OwnedFd> for Input {
    fn from(descriptor: OwnedFd) -> Input {
        Input::Descriptor(Arc::new(descriptor))
    }
}

impl From<File> for Input {
    fn from(file: File) -> Input {
        OwnedFd::from(file).into()
    }
}

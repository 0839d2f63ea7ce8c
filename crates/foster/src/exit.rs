//! [`Exit`]: how a run ended, the same for everybody who asks.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::Signal;

/// How the leader ended: the kernel's word, and ours.
///
/// An exit with a code other than zero is an `Exit`, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exit {
    /// What the kernel says.
    pub status: Status,
    /// Who wanted it.
    pub cause: Cause,
    /// It was asked, its grace ran out, and the kill ended it.
    #[doc(alias = "escalated")]
    pub forced: bool,
    /// What the leader used; `None` when somebody else in this process took the status.
    pub usage: Option<Usage>,
    /// When the leader was started.
    pub started: SystemTime,
    /// From then to its end, by a clock that nobody sets.
    pub elapsed: Duration,
    /// The pids of the tree that still lived when the leader ended; [`Leftovers`](crate::Leftovers) says what
    /// becomes of them. It is what the containment could see: at the level *group*, the process group.
    pub leftovers: Vec<u32>,
}

impl Exit {
    /// Whether it ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }

    /// The code a shell would show in `$?`: the program's own, or 128 + n for death by signal n.
    /// `None` where the status is unknown.
    ///
    /// ```
    /// use foster::{Signal, Status};
    ///
    /// assert_eq!(Status::Exited(3).shell_code(), Some(3));
    /// assert_eq!(Status::Signaled { signal: Signal::KILL, core_dumped: false }.shell_code(), Some(137));
    /// assert_eq!(Status::Unknown.shell_code(), None);
    /// ```
    pub fn shell_code(&self) -> Option<u8> {
        self.status.shell_code()
    }
}

impl fmt::Display for Exit {
    /// One line, such as `killed by SIGKILL (stopped, forced) after 5.01s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        let cause = match self.cause {
            Cause::Own => None,
            Cause::Stopped => Some("stopped"),
            Cause::TimedOut => Some("timed out"),
            Cause::Killed => Some("killed"),
        };
        match (cause, self.forced) {
            (Some(cause), true) => write!(f, " ({cause}, forced)")?,
            (Some(cause), false) => write!(f, " ({cause})")?,
            (None, _) => {}
        }
        write!(f, " after {:.2?}", self.elapsed)
    }
}

/// What the kernel says of the leader's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code, 0 to 255.
    Exited(u8),
    /// A signal killed it.
    Signaled {
        /// The signal.
        signal: Signal,
        /// Whether it left a core dump.
        core_dumped: bool,
    },
    /// It is dead, and somebody else in this process took its status: a `waitpid(-1)`, or `SIGCHLD` was ignored.
    /// From Linux 6.15 on the kernel still tells the status, so that this is not seen.
    Unknown,
}

impl Status {
    /// See [`Exit::shell_code`].
    pub fn shell_code(&self) -> Option<u8> {
        match *self {
            Status::Exited(code) => Some(code),
            Status::Signaled { signal, .. } => u8::try_from(128 + signal.number()).ok(),
            Status::Unknown => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exited with code {code}"),
            Status::Signaled { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            Status::Signaled { signal, core_dumped: true } => write!(f, "killed by {signal}, core dumped"),
            Status::Unknown => f.write_str("ended, status unknown"),
        }
    }
}

/// Who wanted the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It ended by itself, or a stranger ended it.
    Own,
    /// We asked.
    Stopped,
    /// The timeout asked.
    TimedOut,
    /// We ordered the kill.
    Killed,
}

/// What the leader, and the children it waited for, used until it ended: `getrusage(2)`. In a cgroup (v2) the times
/// are those of the whole tree until then, as `cpu.stat` counts them; the memory is of the largest process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in the program.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The most memory one of them held at a time, in bytes.
    pub peak_memory: u64,
}

//! The child, and how it speaks to us: through descriptor 0, which every contender lets it inherit. Other
//! descriptors would not do: foster hands on none, and some of the peers cannot.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::dup2_stdin;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// The program that is started, built by build.rs from child.c.
pub(crate) const CHILD: &str = env!("BENCH_CHILD");

/// How long a child that was asked may stay.
pub(crate) const GRACE: Duration = Duration::from_millis(50);

/// What the child does; its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Exits at once.
    Exit,
    /// Sleeps for half a millisecond, writes the time into the page, exits.
    Stamp,
    /// Says that it is ready, sleeps until a signal ends it.
    Pause,
    /// The same, but SIGTERM does not; whoever starts it gives it [`GRACE`].
    Deaf,
    /// Says nothing, sleeps until a signal, or the end of descriptor 0, ends it.
    Hold,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Exit => "exit",
            Mode::Stamp => "stamp",
            Mode::Pause => "pause",
            Mode::Deaf => "deaf",
            Mode::Hold => "hold",
        }
    }
}

/// A page that the children map: a store needs no system call, so it is the last thing but one that they do.
pub(crate) struct Page(File);

impl Page {
    /// Our standard input is this page from now on.
    pub(crate) fn as_stdin() -> Result<Page> {
        let memory = File::from(memfd_create("bench", MemfdFlags::CLOEXEC)?);
        memory.set_len(4096)?;
        dup2_stdin(&memory)?;
        Ok(Page(memory))
    }

    /// Takes the time away that a child wrote: on the clock of [`now`].
    pub(crate) fn take(&self) -> Result<Duration> {
        let mut stamp = [0; 8];
        self.0.read_exact_at(&mut stamp, 0)?;
        self.0.write_all_at(&[0; 8], 0)?;
        match u64::from_ne_bytes(stamp) {
            0 => Err("the child has left no time: was it started?".into()),
            nanoseconds => Ok(Duration::from_nanos(nanoseconds)),
        }
    }
}

/// The clock of the children's stamps.
pub(crate) fn now() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::Monotonic))?)
}

/// A pipe into which the children say that they are ready.
pub(crate) struct Ready(File);

impl Ready {
    /// Our standard input is the pipe's writing end from now on.
    pub(crate) fn as_stdin() -> Result<Ready> {
        let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
        dup2_stdin(&write)?;
        Ok(Ready(read.into()))
    }

    /// Returns when a child has been executed and sleeps.
    pub(crate) fn wait(&self) -> Result<()> {
        (&self.0).read_exact(&mut [0])?;
        // Between its word and its sleep is one system call more. That cannot be heard, only waited for; and what
        // a contender does in the background after a start is over by then too.
        std::thread::sleep(Duration::from_micros(300));
        Ok(())
    }
}

/// Our standard input is empty from now on.
pub(crate) fn nothing_as_stdin() -> Result<()> {
    Ok(dup2_stdin(File::open("/dev/null")?)?)
}

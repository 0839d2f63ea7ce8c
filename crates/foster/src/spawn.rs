//! The seam of spawning: start a leader in its own group, with these streams, and give back what pins it. Either it
//! runs when `start` returns, or nothing of it is left.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::process::Pid;

use crate::watch::Watch;

mod direct;

pub(crate) use direct::{start, with_signals_blocked};

/// A leader that was started, and our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) watch: Watch,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// The mask and the ignored signals of a process, which `execve(2)` hands on: what a wrapper reads when it starts,
/// before it changes its own, and gives to its child with
/// [`Command::start_signals`](crate::Command::start_signals).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalState {
    blocked: u64,
    ignored: u64,
}

impl SignalState {
    /// Nothing blocked, nothing ignored.
    pub fn clean() -> SignalState {
        SignalState::default()
    }

    /// What this thread blocks and this process ignores now.
    pub fn current() -> SignalState {
        direct::signal_state()
    }

    /// Whether the signal is blocked.
    pub fn blocks(&self, signal: crate::Signal) -> bool {
        self.blocked & bit(signal) != 0
    }

    /// Whether the signal is ignored.
    pub fn ignores(&self, signal: crate::Signal) -> bool {
        self.ignored & bit(signal) != 0
    }
}

fn bit(signal: crate::Signal) -> u64 {
    1 << (signal.number() - 1)
}

impl fmt::Debug for SignalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |bits: u64| {
            crate::Signal::all().filter(move |signal| bits & bit(*signal) != 0).collect::<Vec<_>>()
        };
        f.debug_struct("SignalState")
            .field("blocked", &list(self.blocked))
            .field("ignored", &list(self.ignored))
            .finish()
    }
}

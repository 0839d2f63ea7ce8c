//! [`Actor`]: one process, pinned, so that «it is dead» is never said of somebody who got its number.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use foster::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::DEADLINE;

/// One process, by a pidfd.
#[derive(Debug)]
pub struct Actor {
    pid: u32,
    /// `None`: it was dead and reaped before we looked.
    pidfd: Option<OwnedFd>,
}

impl Actor {
    /// Pins the process with this number.
    pub fn of(pid: u32) -> Actor {
        let raw = Pid::from_raw(pid.cast_signed()).expect("a pid is not zero");
        Actor { pid, pidfd: pidfd_open(raw, PidfdFlags::empty()).ok() }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs; a zombie does not.
    pub fn alive(&self) -> bool {
        !self.dead_within(Duration::ZERO)
    }

    /// Waits until it is dead.
    #[track_caller]
    pub fn dies(&self) {
        assert!(self.dead_within(DEADLINE), "pid {} still lives after {DEADLINE:?}", self.pid);
    }

    /// Sends it a signal that has a name, past the library.
    pub fn signal(&self, signal: Signal) {
        let named = rustix::process::Signal::from_named_raw(signal.number()).expect("a named signal");
        if let Some(pidfd) = &self.pidfd {
            // It may be gone: then there is nobody to harm.
            _ = pidfd_send_signal(pidfd, named);
        }
    }

    fn dead_within(&self, time: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return true };
        let end = Instant::now() + time;
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).expect("seconds");
            // A pidfd is readable when its process is dead. EINTR: the host's handlers, in some tests.
            match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(_) => {}
            }
        }
    }
}

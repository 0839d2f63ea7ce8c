//! The puppet's ear: handlers that write the signal's number into a pipe, so that the puppet, which has one thread,
//! hears one signal after the other and each as often as it came.
//!
//! By hand, because the crates of the field refuse to catch SEGV, ILL and FPE, and merge signals that come close
//! together, while the tests count them.
#![expect(unsafe_code, reason = "sigaction, raise and kill with any signal's number")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use foster::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

/// Where the handlers write.
static MOUTH: AtomicI32 = AtomicI32::new(-1);

/// What is heard and not yet taken.
pub(crate) struct Ear {
    read: OwnedFd,
    _write: OwnedFd,
}

impl Ear {
    pub(crate) fn new() -> io::Result<Ear> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        MOUTH.store(write.as_raw_fd(), Ordering::Relaxed);
        Ok(Ear { read, _write: write })
    }

    /// The next signal, or `None` when there was none in this time; without a time it waits for ever.
    pub(crate) fn next(&self, time: Option<Duration>) -> Option<Signal> {
        let end = time.map(|time| Instant::now() + time);
        loop {
            let mut number = [0];
            if rustix::io::read(&self.read, &mut number).is_ok() {
                return Signal::from_number(number[0].into());
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            // EINTR: then there is something to read.
            _ = poll(&mut [PollFd::new(&self.read, PollFlags::IN)], left.as_ref());
        }
    }
}

extern "C" fn heard(number: libc::c_int) {
    let byte = number.to_le_bytes();
    // SAFETY: write is async-signal-safe and reads one byte of ours. errno is put back, since the handler may run
    // between a failed call and its look at errno.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(MOUTH.load(Ordering::Relaxed), byte.as_ptr().cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Lets the ear hear this signal.
pub(crate) fn catch(signal: Signal) -> io::Result<()> {
    dispose(signal, heard as extern "C" fn(libc::c_int) as libc::sighandler_t)
}

pub(crate) fn ignore(signal: Signal) -> io::Result<()> {
    dispose(signal, libc::SIG_IGN)
}

/// Sends ourselves a signal as if nothing had been done about it.
pub(crate) fn raise(signal: Signal) -> io::Result<()> {
    // KILL and STOP cannot be disposed of, and need not be.
    if signal.is_catchable() {
        dispose(signal, libc::SIG_DFL)?;
    }
    send(std::process::id(), signal)
}

pub(crate) fn send(pid: u32, signal: Signal) -> io::Result<()> {
    // SAFETY: no memory is passed.
    result(unsafe { libc::kill(pid.cast_signed(), signal.number()) })
}

fn dispose(signal: Signal, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: the structure is plain C for which all zeros is a value; the handler is `SIG_DFL`, `SIG_IGN` or `heard`,
    // which is async-signal-safe.
    result(unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(signal.number(), &raw const action, ptr::null_mut())
    })
}

fn result(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! The descriptors that foster was started with and hands on: a jobserver's pipe, a socket of systemd's.
//!
//! `unsafe` because closing a number that somebody else gave us is taking it over.
#![expect(unsafe_code, reason = "taking over descriptors by number")]

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_getfd};

/// Holds the places of standard streams that are closed, so that no file of foster's gets one of their numbers. They
/// are close-on-exec: the program finds them closed, as foster did.
pub(crate) fn hold_closed_streams() {
    while let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > 2 {
            return;
        }
        _ = null.into_raw_fd();
    }
}

/// Those above stderr that a program would inherit. Asked before foster opens its own.
pub(crate) fn inherited() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|number| *number > 2 && is_handed_on(*number)).collect()
}

fn is_handed_on(number: RawFd) -> bool {
    // SAFETY: borrowed for one question; a number that is not open is answered with EBADF.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(descriptor).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Closes them here, once the program has them.
pub(crate) fn close(inherited: &[RawFd]) {
    for number in inherited {
        // SAFETY: it was open before foster opened anything, so that no part of foster owns it, and it is closed
        // once.
        drop(unsafe { OwnedFd::from_raw_fd(*number) });
    }
}

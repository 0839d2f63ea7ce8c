//! A child that borrows our memory: `clone(2)` with `CLONE_VM | CLONE_VFORK | CLONE_PIDFD`. The thread that makes it
//! sleeps until the child executes or exits, as in `posix_spawn(3)`. So the cost does not grow with our memory, and the
//! pidfd is there from the first moment. `fork(2)` would copy the page tables; `posix_spawn` gives no pidfd.
//!
//! `unsafe` because of that. What keeps it sound:
//!
//! - It runs on a stack of its own, and all signals are blocked from before the clone until its dispositions are
//!   its own (`CLONE_SIGHAND` is not set): no handler of the host can run in it.
//! - The descriptor table is copied, or, if the caller asks for `CLONE_FILES`, ours until the child has made one of its
//!   own: before that it closes and places nothing.
//! - What it may do is said by each caller.
#![expect(unsafe_code, reason = "clone with shared memory")]

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::process::Pid;

use super::with_signals_blocked;
use crate::watch::Watch;

/// Where the child begins. What it returns is its exit code; it should rather end by itself.
pub(super) type Entry = extern "C" fn(*mut c_void) -> c_int;

/// Clones a child in borrowed memory that calls `entry`. It has executed, or ended, when this returns.
///
/// # Safety
///
/// Until then `given` is valid for what `entry` does with it; and `entry` makes only system calls: no allocation, no
/// lock, no panic, no destructor. `flags` are namespaces, and `CLONE_FILES` for an `entry` that keeps to the above.
pub(super) unsafe fn vfork(flags: c_int, entry: Entry, given: *mut c_void) -> io::Result<(Pid, Watch)> {
    /// Enough for a handful of frames that call the kernel: a debug build needs 1.4 KiB. On our own stack, below which we
    /// sleep: to ask for memory takes longer.
    const STACK: usize = 8 * 1024;

    let mut stack = [const { MaybeUninit::<u128>::uninit() }; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    let flags = flags | libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let (pid, error) = with_signals_blocked(|| {
        // SAFETY: the stack outlives the child's use of it, since we sleep until then; the rest is the caller's.
        let pid = unsafe { libc::clone(entry, top.cast(), flags, given, &raw mut pidfd) };
        (pid, io::Error::last_os_error())
    });
    // -1 is a failure, and no pid that rustix would take.
    match Pid::from_raw(pid.max(0)) {
        Some(pid) => Ok((pid, Watch::from_clone(pidfd))),
        None => Err(error),
    }
}

/// A child that is dead and reaped, to see what the kernel still says of it.
pub(crate) fn stillborn() -> io::Result<Watch> {
    extern "C" fn end(_: *mut c_void) -> c_int {
        // SAFETY: ends the child without running anything of the host's, and reads nothing.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: `end` is given nothing, and makes one system call.
    let (_, watch) = unsafe { vfork(0, end, ptr::null_mut()) }?;
    watch.wait_dead();
    Ok(watch)
}

/// Clones a child with a copy of our memory, as `fork(2)` does, and calls `child` in it.
///
/// # Safety
///
/// `child` makes only system calls: other threads of ours may have held any lock.
pub(super) unsafe fn fork(flags: c_int, child: impl FnOnce() -> c_int) -> io::Result<(Pid, Watch)> {
    let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let (pid, error) = with_signals_blocked(|| {
        let none = ptr::null_mut::<c_void>();
        // SAFETY: without a stack and without CLONE_VM the child goes on here with a copy of everything.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
        if pid == 0 {
            let code = child();
            // SAFETY: ends this process without running anything of the host's.
            unsafe { libc::_exit(code) }
        }
        (pid, io::Error::last_os_error())
    });
    match i32::try_from(pid).ok().and_then(|pid| Pid::from_raw(pid.max(0))) {
        Some(pid) => Ok((pid, Watch::from_clone(pidfd))),
        None => Err(error),
    }
}

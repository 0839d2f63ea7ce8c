//! What a test or a puppet does to its own process.
#![expect(
    unsafe_code,
    reason = "timers, dispositions, masks and atexit, which no crate of the workspace wraps"
)]

use std::mem;
use std::ptr;
use std::time::Duration;

use foster::Signal;

/// Has the kernel kill this process after so long. An alarm would do no harm to a process that catches, blocks or
/// ignores it; this timer sends KILL.
pub fn limit_life(life: Duration) {
    // SAFETY: the structures are plain C for which all zeros is a value, and outlive the calls.
    let armed = unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::timer_t = mem::zeroed();
        let mut time: libc::itimerspec = mem::zeroed();
        time.it_value.tv_sec = life.as_secs().try_into().expect("a life of seconds");
        libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) == 0
            && libc::timer_settime(timer, 0, &raw const time, ptr::null_mut()) == 0
    };
    assert!(armed, "no timer: {}", std::io::Error::last_os_error());
}

/// Ignores a signal in this process: only in a test that runs alone.
pub fn ignore_signal(signal: Signal) {
    // SAFETY: no handler is installed.
    let before = unsafe { libc::signal(signal.number(), libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR, "{signal}: {}", std::io::Error::last_os_error());
}

/// Blocks a signal in this thread and those that it starts.
pub fn block_signal(signal: Signal) {
    // SAFETY: the set is plain C for which all zeros is a value, and outlives the calls.
    let failed = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut set, signal.number());
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
    };
    assert_eq!(failed, 0, "{signal}");
}

/// Has this called when the process exits of its own accord.
pub(crate) fn at_exit(act: extern "C" fn()) {
    // SAFETY: it is a function that lives as long as the process and does not unwind into C, where a panic aborts.
    unsafe { libc::atexit(act) };
}

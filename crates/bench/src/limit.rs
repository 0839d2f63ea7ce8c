//! The limit as a contender: `vfork`, `execve`, `waitid` and `kill`, in C; for a stop with a grace a timerfd and a
//! pidfd.
#![expect(unsafe_code, reason = "calls limit.c")]

use std::ffi::{CStr, c_char, c_int, c_long};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

use crate::Result;
use crate::contenders::{Contender, Running};
use crate::stage::{GRACE, Mode};

/// Its row in the tables, to which all others are compared.
pub(crate) const NAME: &str = "limit";

unsafe extern "C" {
    fn limit_start(program: *const c_char, mode: *const c_char) -> c_int;
    fn limit_wait(pid: c_int) -> c_int;
    fn limit_wait_any() -> c_int;
    fn limit_terminate(pid: c_int) -> c_int;
    fn limit_stop(pid: c_int, grace_ns: c_long) -> c_int;
}

const CHILD: &CStr = match CStr::from_bytes_with_nul(concat!(env!("BENCH_CHILD"), "\0").as_bytes()) {
    Ok(path) => path,
    Err(_) => panic!("a path without NUL"),
};

pub(crate) fn contender() -> Contender {
    Contender::new(NAME, "vfork, execve, waitid, kill: no group, no mask, no handle", start).with_grace()
}

/// Starts the child; it has been executed on return.
pub(crate) fn start(mode: Mode) -> Result<Limit> {
    let word = match mode {
        Mode::Exit => c"exit",
        Mode::Stamp => c"stamp",
        Mode::Pause => c"pause",
        Mode::Deaf => c"deaf",
        Mode::Hold => c"hold",
    };
    // SAFETY: both are NUL-terminated and outlive the call.
    let pid = unsafe { limit_start(CHILD.as_ptr(), word.as_ptr()) };
    if pid == -1 { Err(io::Error::last_os_error().into()) } else { Ok(Limit(pid)) }
}

/// Keeps so many in flight until then, by this thread, and reaps them all: how many there were.
pub(crate) fn many(in_flight: usize, until: Instant) -> Result<u64> {
    let (mut running, mut started) = (0, 0);
    loop {
        while running < in_flight && Instant::now() < until {
            start(Mode::Exit)?;
            (running, started) = (running + 1, started + 1);
        }
        if running == 0 {
            return Ok(started);
        }
        // SAFETY: no memory is passed.
        let ended = status(unsafe { limit_wait_any() })?;
        if !ended.success() {
            return Err(format!("a child: {ended}").into());
        }
        running -= 1;
    }
}

pub(crate) struct Limit(c_int);

impl Limit {
    pub(crate) fn pid(&self) -> c_int {
        self.0
    }
}

impl Running for Limit {
    fn terminate(&mut self) -> Result<()> {
        // SAFETY: no memory is passed; the child is not reaped, so the number is still its own.
        let sent = unsafe { limit_terminate(self.0) };
        if sent == -1 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        // SAFETY: no memory is passed.
        status(unsafe { limit_wait(self.0) })
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        let grace = c_long::try_from(GRACE.as_nanos())?;
        // SAFETY: no memory is passed; the child is not reaped, so the number is still its own.
        status(unsafe { limit_stop(self.0, grace) })
    }
}

fn status(raw: c_int) -> Result<ExitStatus> {
    if raw == -1 { Err(io::Error::last_os_error().into()) } else { Ok(ExitStatus::from_raw(raw)) }
}

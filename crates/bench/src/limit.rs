//! The limit as a contender: `vfork`, `execve`, `waitid` and `kill`, in C.
#![expect(unsafe_code, reason = "calls limit.c")]

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::Result;
use crate::contenders::{Contender, Running};
use crate::stage::Mode;

/// Its row in the tables, to which all others are compared.
pub(crate) const NAME: &str = "limit";

unsafe extern "C" {
    fn limit_start(program: *const c_char, mode: *const c_char) -> c_int;
    fn limit_wait(pid: c_int) -> c_int;
    fn limit_terminate(pid: c_int) -> c_int;
}

const CHILD: &CStr = match CStr::from_bytes_with_nul(concat!(env!("BENCH_CHILD"), "\0").as_bytes()) {
    Ok(path) => path,
    Err(_) => panic!("a path without NUL"),
};

pub(crate) fn contender() -> Contender {
    Contender::new(NAME, "vfork, execve, waitid, kill: no group, no mask, no handle", |mode| {
        let word = match mode {
            Mode::Exit => c"exit",
            Mode::Stamp => c"stamp",
            Mode::Pause => c"pause",
        };
        // SAFETY: both are NUL-terminated and outlive the call.
        let pid = unsafe { limit_start(CHILD.as_ptr(), word.as_ptr()) };
        if pid == -1 { Err(io::Error::last_os_error().into()) } else { Ok(Limit(pid)) }
    })
}

struct Limit(c_int);

impl Running for Limit {
    fn terminate(&mut self) -> Result<()> {
        // SAFETY: no memory is passed; the child is not reaped, so the number is still its own.
        let sent = unsafe { limit_terminate(self.0) };
        if sent == -1 { Err(io::Error::last_os_error().into()) } else { Ok(()) }
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        // SAFETY: no memory is passed.
        let status = unsafe { limit_wait(self.0) };
        if status == -1 { Err(io::Error::last_os_error().into()) } else { Ok(ExitStatus::from_raw(status)) }
    }
}

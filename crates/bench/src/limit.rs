//! The limit as a contender: `vfork`, `execve`, `waitid` and `kill`, in C; for a stop with a grace a timerfd and a
//! pidfd.
#![expect(unsafe_code, reason = "calls limit.c")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Instant;
use std::{fs, io, process};

use crate::Result;
use crate::contenders::{Contender, Running};
use crate::stage::{GRACE, Mode};

/// Its row in the tables, to which all others are compared.
pub(crate) const NAME: &str = "limit";

unsafe extern "C" {
    fn limit_start(program: *const c_char, mode: *const c_char) -> c_int;
    fn limit_start_guarded(program: *const c_char, leaf: *const c_char) -> c_int;
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

/// What a guard costs at least: the same with a process in between that does nothing else; and with a cgroup, where
/// we may make one.
pub(crate) fn guarded() -> Vec<Contender> {
    let started = |pid| if pid == -1 { Err(io::Error::last_os_error().into()) } else { Ok(Limit(pid)) };
    let bare = Contender::new("limit: two processes", "a guard that does nothing: vfork, vfork", move |_| {
        // SAFETY: a NUL-terminated string that outlives the call, and none.
        started(unsafe { limit_start_guarded(CHILD.as_ptr(), std::ptr::null()) })
    });
    let mut contenders = vec![bare.that_only_runs()];
    if let Some(leaf) = leaf() {
        let note = "the same; mkdir, clone into it, rmdir";
        let with_leaf = Contender::new("limit: two processes, a cgroup", note, move |_| {
            let path = CString::new(leaf.as_os_str().as_bytes())?;
            // SAFETY: both are NUL-terminated and outlive the call.
            let limit = started(unsafe { limit_start_guarded(CHILD.as_ptr(), path.as_ptr()) })?;
            Ok(InLeaf { limit, leaf: leaf.clone() })
        });
        contenders.push(with_leaf.that_only_runs());
    }
    contenders
}

/// A name in our own cgroup, if we may make one there.
fn leaf() -> Option<PathBuf> {
    let ours = fs::read_to_string("/proc/self/cgroup").ok()?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("0::/"))?.to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some(words.next()?).filter(|_| words.next() == Some("cgroup2"))
    })?;
    let leaf = PathBuf::from(mount).join(ours).join(format!("bench-{}", process::id()));
    fs::create_dir(&leaf).ok()?;
    fs::remove_dir(&leaf).ok()?;
    Some(leaf)
}

struct InLeaf {
    limit: Limit,
    leaf: PathBuf,
}

impl Running for InLeaf {
    fn terminate(&mut self) -> Result<()> {
        self.limit.terminate()
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.limit.wait();
        fs::remove_dir(&self.leaf)?;
        status
    }
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

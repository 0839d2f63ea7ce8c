//! For a program that is PID 1, of a container as a rule, and starts one program that is what the container is for.
//!
//! PID 1 inherits all orphans of its namespace and must reap them, and when it ends, the kernel ends everything else
//! there. [`Containment::Exactly(Mechanism::Init)`](crate::Mechanism::Init) makes a run's tree of that: all
//! descendants of this process. It is an explicit act of a whole process: every child that the process has is taken
//! for the tree's, and reaped. A program with other children of its own must not do it.
//!
//! `unsafe` because rustix's `waitid` does not tell whose end it saw.
#![expect(unsafe_code, reason = "waitid, for the pid in its siginfo")]

use std::io;
use std::mem;

/// Whether this process is PID 1 of its namespace.
pub fn is_pid_1() -> bool {
    std::process::id() == 1
}

/// Reaps every dead child but the leader, whose status belongs to its run. To be called when SIGCHLD has come, by a
/// process whose run is contained by [`Mechanism::Init`](crate::Mechanism::Init).
///
/// The kernel shows one dead child at a time, so a dead leader that is not reaped yet hides the others; there is one
/// more look when all is gone.
pub fn reap_strangers(leader: u32) {
    loop {
        match dead_child(libc::P_ALL, 0, libc::WNOWAIT) {
            Ok(Some(pid)) if pid != leader => _ = dead_child(libc::P_PID, pid, 0),
            Ok(_) | Err(_) => return,
        }
    }
}

/// Whether this process has no child, dead or alive: ECHILD, `waitid(2)`.
pub(crate) fn is_childless() -> bool {
    dead_child(libc::P_ALL, 0, libc::WNOWAIT).is_err_and(|error| error.raw_os_error() == Some(libc::ECHILD))
}

fn dead_child(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> io::Result<Option<u32>> {
    // SAFETY: the kernel writes into a siginfo on the stack, for which all zeros is a value, and of which it fills
    // the fields of a SIGCHLD or none.
    let (waited, pid) = unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::__WALL | options;
        (libc::waitid(which, id, &raw mut info, options), info.si_pid())
    };
    if waited != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

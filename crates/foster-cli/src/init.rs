//! What PID 1 must do besides: adopt and reap strangers.
//!
//! `unsafe` because rustix's `waitid` does not tell whose end it saw.
#![expect(unsafe_code, reason = "waitid, for the pid in its siginfo")]

use std::io;
use std::mem;

use rustix::process::{Pid, getpid, set_child_subreaper};

/// Whether we are PID 1 of our namespace.
pub(crate) fn is_pid_1() -> bool {
    getpid() == Pid::INIT
}

/// Has orphans of the tree come to us, where they would go past us. PID 1 has them anyway.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    if is_pid_1() { Ok(()) } else { Ok(set_child_subreaper(Some(getpid()))?) }
}

/// Reaps every dead child but the leader, whose status belongs to the engine.
///
/// The kernel shows one dead child at a time, so a dead leader hides the others; they are reaped at the next call,
/// of which there is one more when all is gone.
pub(crate) fn reap_strangers(leader: Option<u32>) {
    loop {
        match dead_child(libc::P_ALL, 0, libc::WNOWAIT) {
            Some(pid) if Some(pid) != leader => _ = dead_child(libc::P_PID, pid, 0),
            _ => return,
        }
    }
}

fn dead_child(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> Option<u32> {
    // SAFETY: the kernel writes into a siginfo on the stack, for which all zeros is a value, and of which it fills
    // the fields of a SIGCHLD or none.
    let pid = unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        let waited = libc::waitid(which, id, &raw mut info, libc::WEXITED | libc::WNOHANG | options);
        (waited == 0).then(|| info.si_pid())
    };
    pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)
}

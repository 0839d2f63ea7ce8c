//! The guard alone: whoever in the tree loses its parent becomes the guard's child (`PR_SET_CHILD_SUBREAPER`), so that
//! the guard can kill its children until it has none. For that it reads who they are in `/proc`.

use std::fs;

use super::leaf::Refused;
use crate::guard;
use crate::{Mechanism, Survives, Tried};

/// Whether `/proc` counts as we do. Whether it tells a process who its children are, the guard finds out.
pub(super) fn look() -> Result<(), Refused> {
    let tried = |step: &str, errno: Option<i32>| {
        let step = step.to_string();
        let tried = Tried { mechanism: Mechanism::Subreaper, step, errno, hint: hint(errno) };
        Err(Refused::NotHere { tried, lasting: true })
    };
    let lacking = |error: &std::io::Error| guard::may_pass(error.raw_os_error());
    match fs::read_link("/proc/self") {
        Ok(us) if us.to_str().and_then(|us| us.parse().ok()) == Some(std::process::id()) => Ok(()),
        Ok(_) => tried("read /proc, which shows another pid namespace", None),
        Err(error) if lacking(&error) => Err(Refused::Error(error)),
        Err(error) => tried("read /proc/self", error.raw_os_error()),
    }
}

/// Who forks faster than the guard can look, with sessions of its own, may outrun it.
pub(super) fn survives(all: Survives, twin: bool, nobody_else: bool) -> Survives {
    Survives { setuid_child: nobody_else, fork_bomb: false, guard_killed: twin, both_killed: twin, ..all }
}

/// What would help.
pub(super) fn hint(_: Option<i32>) -> &'static str {
    "mount /proc for this pid namespace; the kernel needs CONFIG_PROC_CHILDREN"
}

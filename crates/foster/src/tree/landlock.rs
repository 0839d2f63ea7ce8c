//! A Landlock domain that no signal leaves (Linux 6.12): inside it «kill everybody» means the tree and nobody else, and
//! it reaches all at once. It needs no privilege and no cgroup; but it needs `no_new_privs` for those who are not root,
//! and what is in it cannot signal what is not, which a program may notice. The guard does it; see `guard/start.rs`.

use crate::Survives;

/// A guard in the domain ends the tree; without one nobody is left who could. A process that became somebody else's is
/// not killed by those who are not root; with `no_new_privs` none does.
pub(super) fn survives(all: Survives, twin: bool, nobody_else: bool) -> Survives {
    Survives { setuid_child: nobody_else, guard_killed: twin, both_killed: twin, ..all }
}

/// What would help.
pub(super) fn hint(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::EPERM) => "allow no_new_privs, or run as root",
        Some(libc::ENOSYS) => "it needs Linux 6.12, and a filter that lets it through",
        Some(libc::EOPNOTSUPP) => "boot with landlock in the list lsm=",
        Some(libc::E2BIG) => "16 domains are in each other already",
        _ => "it needs Linux 6.12 with Landlock",
    }
}

//! A pid namespace whose init is the guard: when the guard ends, whoever ends it, the kernel ends everything in it.
//! Root makes one as it is; everybody else needs a user namespace around it.

use libc::{CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER};

/// A namespace to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespace {
    user: bool,
}

/// The one that changes less.
pub(super) fn first() -> Namespace {
    Namespace { user: !rustix::process::geteuid().is_root() }
}

impl Namespace {
    /// With a mount namespace, for a `/proc` that shows the right numbers.
    pub(super) fn flags(self) -> libc::c_int {
        CLONE_NEWPID | CLONE_NEWNS | if self.user { CLONE_NEWUSER } else { 0 }
    }

    /// A root without the capability, as in a container, may make a user namespace.
    pub(super) fn fall_back(&mut self) -> bool {
        !std::mem::replace(&mut self.user, true)
    }

    pub(super) fn doing(self) -> &'static str {
        if self.user { "make a pid namespace in a user namespace" } else { "make a pid namespace" }
    }
}

/// What would help.
pub(super) fn hint(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::EPERM | libc::EACCES) => {
            "it is forbidden here (Docker's seccomp profile, AppArmor, a sysctl); run as root with CAP_SYS_ADMIN"
        }
        Some(libc::ENOSPC | libc::EUSERS) => {
            "raise the sysctls user.max_pid_namespaces and user.max_user_namespaces"
        }
        _ => "it needs a kernel with pid and user namespaces",
    }
}

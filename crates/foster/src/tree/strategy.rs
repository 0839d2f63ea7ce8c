//! The mechanisms that help a guard: how each is had, what it withstands, and what to do where it is not.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::leaf::Leaf;
use super::{cgroup, freezer, init, landlock, namespace, subreaper};
use crate::guard::wire;
use crate::{Mechanism, Proof, Survives};

pub(crate) use super::leaf::Refused;

/// A child that was cloned into a cgroup was killed for it here, or that could not be done: it has to join.
static MUST_JOIN: AtomicBool = AtomicBool::new(false);

/// A mechanism, made ready for one tree.
#[derive(Debug)]
pub(crate) enum Strategy {
    Cgroup(Leaf),
    Freezer(Leaf),
    Landlock,
    Namespace(namespace::Namespace),
    Subreaper,
}

impl Strategy {
    pub(crate) fn prepare(mechanism: Mechanism) -> Result<Strategy, Refused> {
        match mechanism {
            Mechanism::Cgroup => cgroup::create().map(Strategy::Cgroup),
            Mechanism::Freezer => freezer::create().map(Strategy::Freezer),
            Mechanism::Landlock => Ok(Strategy::Landlock),
            Mechanism::PidNamespace => Ok(Strategy::Namespace(namespace::first())),
            Mechanism::Subreaper => subreaper::look().map(|()| Strategy::Subreaper),
            // They have no guard.
            Mechanism::ProcessGroup | Mechanism::Init => {
                Err(Refused::Error(io::ErrorKind::Unsupported.into()))
            }
        }
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        match self {
            Strategy::Cgroup(_) => Mechanism::Cgroup,
            Strategy::Freezer(_) => Mechanism::Freezer,
            Strategy::Landlock => Mechanism::Landlock,
            Strategy::Namespace(_) => Mechanism::PidNamespace,
            Strategy::Subreaper => Mechanism::Subreaper,
        }
    }

    pub(crate) fn leaf(&self) -> Option<&Leaf> {
        match self {
            Strategy::Cgroup(leaf) | Strategy::Freezer(leaf) => Some(leaf),
            Strategy::Landlock | Strategy::Namespace(_) | Strategy::Subreaper => None,
        }
    }

    /// What the guard is told.
    pub(crate) fn flags(&self) -> u64 {
        match self {
            Strategy::Cgroup(_) if MUST_JOIN.load(Ordering::Relaxed) => wire::CGROUP | wire::JOIN,
            Strategy::Cgroup(_) => wire::CGROUP,
            Strategy::Freezer(_) => wire::FREEZER,
            Strategy::Landlock => wire::LANDLOCK,
            Strategy::Namespace(_) => wire::PID_NAMESPACE,
            Strategy::Subreaper => 0,
        }
    }

    /// In which namespaces the guard is cloned.
    pub(crate) fn namespaces(&self) -> libc::c_int {
        match self {
            Strategy::Namespace(namespace) => namespace.flags(),
            Strategy::Cgroup(_) | Strategy::Freezer(_) | Strategy::Landlock | Strategy::Subreaper => 0,
        }
    }

    pub(crate) fn is_in_user_namespace(&self) -> bool {
        self.namespaces() & libc::CLONE_NEWUSER != 0
    }

    /// Makes of it what may be had where it was refused as it is. `false` if there is no such thing.
    pub(crate) fn fall_back(&mut self) -> bool {
        match self {
            Strategy::Namespace(namespace) => namespace.fall_back(),
            Strategy::Cgroup(_) | Strategy::Freezer(_) | Strategy::Landlock | Strategy::Subreaper => false,
        }
    }

    /// What the guard learned while it started the leader.
    pub(crate) fn note_start(&self, joined: bool) {
        if joined && matches!(self, Strategy::Cgroup(_)) {
            MUST_JOIN.store(true, Ordering::Relaxed);
        }
    }

    /// What it does when it is refused.
    pub(crate) fn doing(&self) -> String {
        match self {
            Strategy::Cgroup(leaf) | Strategy::Freezer(leaf) => {
                format!("start a process in {}", leaf.path().display())
            }
            Strategy::Landlock => "keep signals in a Landlock domain".to_string(),
            Strategy::Namespace(namespace) => namespace.doing().to_string(),
            Strategy::Subreaper => "read /proc/self/task/PID/children".to_string(),
        }
    }

    /// Whether an error like this stays, so that it need not be met again.
    pub(crate) fn is_lasting(&self, errno: i32) -> bool {
        match self {
            // Another command may bring the `no_new_privs` that this one lacked.
            Strategy::Landlock => errno != libc::EPERM,
            Strategy::Namespace(_) => {
                matches!(errno, libc::EACCES | libc::EPERM | libc::EINVAL | libc::ENOSYS)
            }
            Strategy::Cgroup(_) | Strategy::Freezer(_) => {
                matches!(errno, libc::EACCES | libc::EPERM | libc::EOPNOTSUPP)
            }
            Strategy::Subreaper => false,
        }
    }

    /// What it withstands, with these.
    pub(crate) fn survives(&self, twin: bool, no_new_privs: bool) -> Survives {
        survives(self.mechanism(), twin, no_new_privs)
    }

    /// By what it is known that its tree is empty, when the guard says so.
    pub(crate) fn proof(&self) -> Proof {
        match self {
            Strategy::Cgroup(_) => Proof::Populated0,
            Strategy::Namespace(_) => Proof::InitReaped,
            Strategy::Freezer(_) | Strategy::Landlock | Strategy::Subreaper => Proof::Echild,
        }
    }

    /// Gives back what was made for it. The tree is gone, or never was.
    pub(crate) fn discard(self) {
        match self {
            Strategy::Cgroup(leaf) | Strategy::Freezer(leaf) => _ = leaf.remove(),
            Strategy::Landlock | Strategy::Namespace(_) | Strategy::Subreaper => {}
        }
    }
}

/// What a mechanism withstands where it is to be had, with these.
pub(crate) fn survives(mechanism: Mechanism, twin: bool, no_new_privs: bool) -> Survives {
    let nobody_else = no_new_privs || rustix::process::geteuid().is_root();
    let all = Survives {
        setsid: true,
        double_fork: true,
        setuid_child: true,
        fork_bomb: true,
        supervisor_killed: true,
        guard_killed: true,
        both_killed: true,
    };
    match mechanism {
        Mechanism::PidNamespace => all,
        // We kill the cgroup when its guard is lost; but who has left it is then nobody's.
        Mechanism::Cgroup | Mechanism::Freezer => Survives { both_killed: twin, ..all },
        Mechanism::Landlock => landlock::survives(all, twin, nobody_else),
        Mechanism::Subreaper => subreaper::survives(all, twin, nobody_else),
        Mechanism::Init => init::survives(all),
        Mechanism::ProcessGroup => Survives::default(),
    }
}

//! What holds a tree together: what is asked for, and what was got.

use std::fmt;
use std::path::PathBuf;

/// What is to hold the tree. See [`Command::containment`](crate::Command::containment).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Containment {
    /// The strongest that this machine has and that *changes nothing the program can see*: a cgroup (v2) with a
    /// guard, the freezer (v1) with a guard, or a guard alone; where no guard can be started, the process group.
    #[default]
    Auto,
    /// A pid namespace, whose end the kernel makes the end of everything in it, also when we and the guard are
    /// killed together. The program sees that: its pid is 2 and that of its parent 1, and without root it runs in
    /// a user namespace too, in which `sudo` gives it nothing.
    Sealed,
    /// The process group and nothing more. No guard is started: it is the fastest, a descendant with a session or a
    /// group of its own escapes, and whoever is killed with SIGKILL leaves the tree running.
    Group,
    /// This mechanism and no other.
    Exactly(Mechanism),
}

/// How firmly a tree is held. Each level promises what the ones before it promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The process group: what leaves it with `setsid` or `setpgid` escapes.
    Group,
    /// Every descendant is found and proven gone, whatever it did, and also when we are killed. A program that
    /// forks without end in new sessions may delay that, and a setuid program may refuse.
    Tracked,
    /// The kernel knows the members: nobody leaves, and a kill reaches all at once, fork bombs too.
    Grouped,
    /// The tree also dies when we and its guard are killed together.
    Sealed,
}

/// What can hold a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// A process group; `setpgid(2)`. No guard.
    ProcessGroup,
    /// A guard to which the kernel gives all orphans of the tree; `PR_SET_CHILD_SUBREAPER` of `prctl(2)`, Linux 3.4.
    Subreaper,
    /// The freezer of cgroup v1, for root on older systems, and a guard; `cgroups(7)`.
    Freezer,
    /// A Landlock domain that no signal leaves, and a guard in it; `landlock(7)`, Linux 6.12. The tree cannot signal
    /// what is outside it, which a program notices: it is taken only where it is asked for by name, or where
    /// [`Level::Grouped`] is required and nothing else gives it.
    Landlock,
    /// A cgroup (v2) and a guard; `cgroups(7)`, Linux 5.14 for its kill.
    Cgroup,
    /// A pid namespace whose init is the guard; `pid_namespaces(7)`.
    PidNamespace,
    /// This process itself, which is PID 1 or does what PID 1 must; see [`crate::init`].
    Init,
}

impl Mechanism {
    /// All, the strongest first.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::PidNamespace,
        Mechanism::Cgroup,
        Mechanism::Freezer,
        Mechanism::Landlock,
        Mechanism::Subreaper,
        Mechanism::Init,
        Mechanism::ProcessGroup,
    ];

    /// How firmly it holds.
    pub fn level(self) -> Level {
        match self {
            Mechanism::ProcessGroup => Level::Group,
            Mechanism::Subreaper | Mechanism::Init => Level::Tracked,
            Mechanism::Freezer | Mechanism::Landlock | Mechanism::Cgroup => Level::Grouped,
            Mechanism::PidNamespace => Level::Sealed,
        }
    }

    /// Its name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ProcessGroup => "process-group",
            Mechanism::Subreaper => "subreaper",
            Mechanism::Freezer => "freezer",
            Mechanism::Landlock => "landlock",
            Mechanism::Cgroup => "cgroup",
            Mechanism::PidNamespace => "pid-namespace",
            Mechanism::Init => "init",
        }
    }
}

impl Level {
    /// Its name on the command line and in records.
    pub fn name(self) -> &'static str {
        match self {
            Level::Group => "group",
            Level::Tracked => "tracked",
            Level::Grouped => "grouped",
            Level::Sealed => "sealed",
        }
    }
}

impl Proof {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Proof::Echild => "echild",
            Proof::Populated0 => "populated-0",
            Proof::InitReaped => "init-reaped",
            Proof::GroupEmpty => "group-empty",
            Proof::Left => "left",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holds one tree: [`Child::containment`](crate::Child::containment).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contained {
    /// How firmly.
    pub level: Level,
    /// By what.
    pub mechanism: Mechanism,
    /// The process that guards it, and whether it has a twin.
    pub guard: Option<Guard>,
    /// What cannot break it.
    pub survives: Survives,
    /// What was tried before, in vain.
    pub tried: Vec<Tried>,
}

impl Contained {
    /// By the process group, and nothing else was tried.
    pub(crate) const PLAIN: Contained = Contained {
        level: Level::Group,
        mechanism: Mechanism::ProcessGroup,
        guard: None,
        survives: Survives::NOTHING,
        tried: Vec::new(),
    };
}

/// The process between us and the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guard {
    /// Its pid.
    pub pid: u32,
    /// A second one watches it, and ends the tree if it is killed.
    pub twin: bool,
}

/// What a containment withstands: `true` where nothing of the tree is left after a stop, or after that death.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own")]
#[non_exhaustive]
pub struct Survives {
    /// A descendant with a session of its own.
    pub setsid: bool,
    /// A descendant whose parent is dead, with a session of its own.
    pub double_fork: bool,
    /// A setuid program, such as `sudo`, in the tree.
    pub setuid_child: bool,
    /// A fork bomb, also one in which each process has a session of its own.
    pub fork_bomb: bool,
    /// SIGKILL of this process.
    pub supervisor_killed: bool,
    /// SIGKILL of the guard.
    pub guard_killed: bool,
    /// SIGKILL of both, in either order.
    pub both_killed: bool,
}

impl Survives {
    const NOTHING: Survives = Survives {
        setsid: false,
        double_fork: false,
        setuid_child: false,
        fork_bomb: false,
        supervisor_killed: false,
        guard_killed: false,
        both_killed: false,
    };
}

/// A mechanism that was tried and is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// Which.
    pub mechanism: Mechanism,
    /// What failed, such as `mkdir /sys/fs/cgroup/foster.1`.
    pub step: String,
    /// The number the system gave, as in `errno(3)`, if it was the system that refused.
    pub errno: Option<i32>,
    /// What would help.
    pub hint: &'static str,
}

impl fmt::Display for Tried {
    /// One line, such as `cgroup: mkdir /sys/fs/cgroup/foster.1: Read-only file system`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.mechanism, self.step)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", crate::error::plain(errno)),
            None => Ok(()),
        }
    }
}

/// By what it is known that nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The guard, to which every orphan of the tree comes, has no child left: `waitid(2)` says ECHILD.
    Echild,
    /// The same, and the kernel says that the cgroup is empty (`populated 0`).
    Populated0,
    /// The init of the pid namespace is reaped, which is when everything in it is dead.
    InitReaped,
    /// Nobody is in the process group. What has left the group is not seen.
    GroupEmpty,
    /// There is none: what the leader left was to be left.
    Left,
}

/// From where guards are run. The environment variable `FOSTER_GUARD` (`memory`, `file`, `host`, `copy`), where
/// it is not empty, leaves only one of these ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuardProgram {
    /// From memory, `memfd_create(2)`: no file need be anywhere.
    Memory,
    /// An installed `foster-guard`; see [`guard_program`](crate::guard_program).
    File,
    /// The host's own program, which called [`guard_main`](crate::guard_main).
    Host,
    /// A copy of the host's process, `fork(2)`: it costs as much as the host has memory, and keeps a copy of it.
    Copy,
}

impl GuardProgram {
    /// Its name in `FOSTER_GUARD` and in records.
    pub fn name(self) -> &'static str {
        match self {
            GuardProgram::Memory => "memory",
            GuardProgram::File => "file",
            GuardProgram::Host => "host",
            GuardProgram::Copy => "copy",
        }
    }
}

impl fmt::Display for GuardProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What [`sweep`](crate::sweep) found: a cgroup of a foster that was killed together with the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// The cgroup's directory.
    pub path: PathBuf,
    /// Who lived in it, by their pids in our pid namespace, and was killed. Empty where nobody did.
    pub killed: Vec<u32>,
    /// The cgroup is gone, and with it everybody who was in it. `false`: somebody is still there, killed or not.
    pub removed: bool,
}

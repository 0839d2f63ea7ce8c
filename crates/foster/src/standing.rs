//! As whom a program runs, and within which bounds: user, groups, limits, umask, niceness. Plain data, and the part of
//! [`Command`] that is about it.

use std::collections::BTreeMap;
use std::fmt;

use crate::Command;

/// What can be limited, by the names of `getrlimit(2)`: a program gets a soft limit, which holds and which it may
/// change, and a hard one, up to which it may. For [`Command::limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Address space, in bytes: beyond it there is no more memory, ENOMEM.
    #[doc(alias = "RLIMIT_AS")]
    As,
    /// The size of a core dump, in bytes; with 0 there is none.
    #[doc(alias = "RLIMIT_CORE")]
    Core,
    /// Processor time, in seconds. At the soft limit comes SIGXCPU each second, at the hard one SIGKILL.
    #[doc(alias = "RLIMIT_CPU")]
    Cpu,
    /// Data segment and heap, in bytes.
    #[doc(alias = "RLIMIT_DATA")]
    Data,
    /// The size to which a file may grow, in bytes; beyond it comes SIGXFSZ.
    #[doc(alias = "RLIMIT_FSIZE")]
    Fsize,
    /// File locks; without effect since Linux 2.4.25.
    #[doc(alias = "RLIMIT_LOCKS")]
    Locks,
    /// Memory that is locked, in bytes.
    #[doc(alias = "RLIMIT_MEMLOCK")]
    Memlock,
    /// POSIX message queues of the user, in bytes.
    #[doc(alias = "RLIMIT_MSGQUEUE")]
    Msgqueue,
    /// To which niceness it may raise itself: 20 less the limit.
    #[doc(alias = "RLIMIT_NICE")]
    Nice,
    /// One more than the highest descriptor.
    #[doc(alias = "RLIMIT_NOFILE")]
    Nofile,
    /// Processes and threads of the *user*, who may have others than this program's; not for root.
    #[doc(alias = "RLIMIT_NPROC")]
    Nproc,
    /// Resident memory, in bytes; without effect since Linux 2.4.30.
    #[doc(alias = "RLIMIT_RSS")]
    Rss,
    /// The highest real-time priority.
    #[doc(alias = "RLIMIT_RTPRIO")]
    Rtprio,
    /// How long it may run under a real-time policy without a blocking system call, in microseconds.
    #[doc(alias = "RLIMIT_RTTIME")]
    Rttime,
    /// Signals of the user that are queued.
    #[doc(alias = "RLIMIT_SIGPENDING")]
    Sigpending,
    /// The stack of the main thread, in bytes. Arguments and environment may take a quarter of it, `execve(2)`.
    #[doc(alias = "RLIMIT_STACK")]
    Stack,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 16] = [
        Resource::As,
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::Fsize,
        Resource::Locks,
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Nofile,
        Resource::Nproc,
        Resource::Rss,
        Resource::Rtprio,
        Resource::Rttime,
        Resource::Sigpending,
        Resource::Stack,
    ];

    /// The name in `getrlimit(2)`, such as `RLIMIT_NOFILE`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::As => "RLIMIT_AS",
            Resource::Core => "RLIMIT_CORE",
            Resource::Cpu => "RLIMIT_CPU",
            Resource::Data => "RLIMIT_DATA",
            Resource::Fsize => "RLIMIT_FSIZE",
            Resource::Locks => "RLIMIT_LOCKS",
            Resource::Memlock => "RLIMIT_MEMLOCK",
            Resource::Msgqueue => "RLIMIT_MSGQUEUE",
            Resource::Nice => "RLIMIT_NICE",
            Resource::Nofile => "RLIMIT_NOFILE",
            Resource::Nproc => "RLIMIT_NPROC",
            Resource::Rss => "RLIMIT_RSS",
            Resource::Rtprio => "RLIMIT_RTPRIO",
            Resource::Rttime => "RLIMIT_RTTIME",
            Resource::Sigpending => "RLIMIT_SIGPENDING",
            Resource::Stack => "RLIMIT_STACK",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a [`Resource`]; a number becomes [`Limit::Of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// So much. `u64::MAX` is `RLIM_INFINITY`, which is [`Unlimited`](Limit::Unlimited).
    Of(u64),
    /// As much as there is.
    Unlimited,
    /// What this process has as its own soft limit when it starts the program, or, in the place of a hard limit, as
    /// its own hard one.
    Inherited,
}

impl From<u64> for Limit {
    fn from(limit: u64) -> Limit {
        Limit::Of(limit)
    }
}

/// What a command says of it. `None` is as the host has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    pub(crate) limits: BTreeMap<Resource, (Limit, Limit)>,
}

/// As whom it runs, and within which bounds. What is not said is as in the host, and costs nothing.
impl Command {
    /// The user it becomes: real, effective, saved and file system's, `setresuid(2)`. Its capabilities go with that,
    /// `capabilities(7)`. Default: our user.
    ///
    /// Without [`groups`](Command::groups) it loses the supplementary groups, if we may take them away, as with
    /// [`std::os::unix::process::CommandExt::uid`]. It keeps our group: set [`gid`](Command::gid) as well.
    ///
    /// The working directory is entered by the new user, and the program must be one that it may execute. The host and
    /// its guard stay who they are, and end the tree as ever. A [terminal of its own](Command::pty) is given to the
    /// new user; pipes and files are not, so that `/dev/stdout` may not be opened anew.
    ///
    /// It takes root, or `CAP_SETUID` and `CAP_SETGID` that outlive an `execve(2)`: as ambient capabilities.
    ///
    /// ```
    /// let command = foster::Command::new("id").uid(65534).gid(65534);
    /// assert_eq!((command.get_uid(), command.get_gid(), command.get_groups()), (Some(65534), Some(65534), None));
    /// ```
    #[doc(alias = "user")]
    #[doc(alias = "setuid")]
    pub fn uid(mut self, uid: u32) -> Command {
        self.standing.uid = Some(uid);
        self
    }

    /// The group it runs as: real, effective, saved and file system's, `setresgid(2)`. Default: our group.
    #[doc(alias = "setgid")]
    pub fn gid(mut self, gid: u32) -> Command {
        self.standing.gid = Some(gid);
        self
    }

    /// Its supplementary groups, and no others, `setgroups(2)`: at most 25,000. Default: ours; with a
    /// [`uid`](Command::uid), none.
    #[doc(alias = "setgroups")]
    pub fn groups(mut self, groups: &[u32]) -> Command {
        self.standing.groups = Some(groups.to_vec());
        self
    }

    /// Which permissions it takes away from the files that it makes, `umask(2)`, from 0 to 0o777. Default: ours.
    pub fn umask(mut self, umask: u32) -> Command {
        self.standing.umask = Some(umask);
        self
    }

    /// Limits a resource for it and for what comes from it, `setrlimit(2)`. Each process has the limit for itself, but
    /// for those that the user has as a whole. The host's own limits and its guard's stay. To raise a hard one
    /// takes `CAP_SYS_RESOURCE`, which root in a container may lack. Default: ours.
    ///
    /// ```
    /// use foster::{Command, Limit, Resource};
    ///
    /// let command = Command::shell("ulimit -Sn; ulimit -Hn")
    ///     .limit(Resource::Nofile, 32, 64)
    ///     .limit(Resource::Core, 0, Limit::Inherited);
    /// assert_eq!(command.get_limit(Resource::Nofile), Some((Limit::Of(32), Limit::Of(64))));
    /// assert_eq!(command.get_limit(Resource::Nproc), None);
    /// assert_eq!(command.read_to_string()?, "32\n64\n");
    /// # Ok::<(), foster::Error>(())
    /// ```
    #[doc(alias = "rlimit")]
    #[doc(alias = "setrlimit")]
    #[doc(alias = "ulimit")]
    pub fn limit(mut self, resource: Resource, soft: impl Into<Limit>, hard: impl Into<Limit>) -> Command {
        self.standing.limits.insert(resource, (soft.into(), hard.into()));
        self
    }

    /// Its niceness, `setpriority(2)`: from −20, the most favoured, to 19. It is the niceness itself, not what is added
    /// to ours. To favour more than ours takes `CAP_SYS_NICE`, or [`Resource::Nice`] allows it. Default: ours.
    #[doc(alias = "priority")]
    #[doc(alias = "setpriority")]
    pub fn nice(mut self, nice: i32) -> Command {
        self.standing.nice = Some(nice);
        self
    }

    /// The user it becomes, if one is set.
    pub fn get_uid(&self) -> Option<u32> {
        self.standing.uid
    }

    /// The group it runs as, if one is set.
    pub fn get_gid(&self) -> Option<u32> {
        self.standing.gid
    }

    /// Its supplementary groups, if they are set.
    pub fn get_groups(&self) -> Option<&[u32]> {
        self.standing.groups.as_deref()
    }

    /// Its umask, if one is set.
    pub fn get_umask(&self) -> Option<u32> {
        self.standing.umask
    }

    /// Its soft and its hard limit on this resource, if they are set.
    pub fn get_limit(&self, resource: Resource) -> Option<(Limit, Limit)> {
        self.standing.limits.get(&resource).copied()
    }

    /// Its niceness, if one is set.
    pub fn get_nice(&self) -> Option<i32> {
        self.standing.nice
    }
}

//! What host and guard say to each other: packets of whole words over a `SOCK_SEQPACKET` pair. Both sides are built
//! from this file, and each packet carries its version, so that a guard from another version of foster is refused.
//!
//! Whatever is not exactly one of these packets is none: a guard that reads such a thing takes its host for lost.

/// Raised with every change of this file.
pub(crate) const VERSION: u32 = 4;

/// The largest packet.
pub(crate) const WORDS: usize = 20;
pub(crate) type Packet = [u64; WORDS];

/// In the first word, above the kind.
const MAGIC: u64 = 0xF057_E400_0000_0000 | (VERSION as u64) << 16;

/// What a leader is started with. The strings come by the guard's own `execve(2)`, as its environment; see
/// [`Strings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) flags: u64,
    pub(crate) strings: Strings,
    /// Signals to block and to ignore in the leader.
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) group: u32,
    /// Descriptors that the guard has by these numbers; −1 for none.
    pub(crate) supervisor: i32,
    pub(crate) bells: [i32; 2],
    pub(crate) leaf: i32,
    pub(crate) terminal: i32,
}

/// How many strings of each kind there are, in this order: the working directory, the leaf's path, the standing as
/// [`Standing`](super::standing::Standing) packs it, the candidates for the program, a place for the shell's name, the
/// arguments, a place for their end, the variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    pub(crate) directory: u32,
    pub(crate) leaf: u32,
    pub(crate) standing: u32,
    pub(crate) candidates: u32,
    pub(crate) args: u32,
    pub(crate) vars: u32,
}

// What `Start::flags` says.
/// The leader gets the descriptors that are not close-on-exec, not only the three streams.
pub(crate) const KEEP_DESCRIPTORS: u64 = 1;
pub(crate) const NO_NEW_PRIVS: u64 = 1 << 1;
/// A second guard watches the first.
pub(crate) const TWIN: u64 = 1 << 2;
/// The guard is the init of a pid namespace.
pub(crate) const PID_NAMESPACE: u64 = 1 << 3;
/// The guard locks itself and the tree into a Landlock domain.
pub(crate) const LANDLOCK: u64 = 1 << 4;
/// The leaf is a cgroup (v2) into which the leader is cloned.
pub(crate) const CGROUP: u64 = 1 << 5;
/// With `CGROUP`: the leader enters by writing to `cgroup.procs`, because it cannot be cloned into a cgroup here.
pub(crate) const JOIN: u64 = 1 << 6;
/// The leaf is one of the freezer's (v1).
pub(crate) const FREEZER: u64 = 1 << 7;
/// There is no program: the leader exits with 0 at once. For a look at what this machine offers.
pub(crate) const NO_PROGRAM: u64 = 1 << 8;
/// There is no guard: who is started as one becomes the leader itself, because what it is to do on the way cannot be
/// done in the host's memory. See `spawn/stepping.rs`.
pub(crate) const NO_GUARD: u64 = 1 << 9;
const ALL_FLAGS: u64 = (1 << 10) - 1;

// What `Start::group` says.
pub(crate) const OWN_GROUP: u32 = 0;
pub(crate) const OWN_SESSION: u32 = 1;
pub(crate) const SAME_GROUP: u32 = 2;
/// The terminal is the tree's own. The guard leads its session, and the leader a group in its foreground.
pub(crate) const OWN_TERMINAL: u32 = 3;

/// What the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToGuard {
    Start(Start),
    /// End everything.
    Kill,
    /// From now on nothing happens to the tree when the host ends.
    Detach,
    /// The leader's number was read, and it may be reaped. Said to the init of a pid namespace only, as the first word
    /// after `Started`.
    Noted,
}

/// What the guard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromGuard {
    /// The program was executed; the leader's pidfd comes along. `guard`: who holds it, of a twin the inner one.
    /// `joined`: it was not cloned into its cgroup. In a pid namespace the numbers are 0: they are not the host's.
    ///
    /// Where there is no guard, all are 0 and no pidfd comes along: the program is about to be executed, which either
    /// closes the link or is refused.
    Started {
        pid: u32,
        guard: u32,
        joined: bool,
    },
    Refused {
        step: Step,
        errno: i32,
    },
    /// The leader was stopped by this signal.
    Stopped {
        signal: i32,
    },
    Continued,
    /// The leader is dead: `si_code` and `si_status` of waitid(2), what it used, and whether nothing else is left.
    Exited(Exited),
    /// Nothing is left: no child, and where there is a leaf, nobody in it. Not said where the leader ended alone.
    Empty,
    /// One guard of a twin was killed; the other ends the tree.
    TwinLost,
    /// This guard is a twin now; the inner one speaks, and its pidfd comes with it. Before there is a leader.
    Split,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exited {
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_kib: u64,
    pub(crate) alone: bool,
}

/// What could not be done on the way to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What the guard needs for itself.
    Guard,
    /// The containment that was asked for.
    Contain,
    Clone,
    Group,
    Streams,
    Directory,
    Execute,
    /// To make the terminal the session's.
    Terminal,
    Nice,
    /// The supplementary groups.
    Groups,
    Gid,
    Uid,
    /// The limit on the resource of this number.
    Limit(u8),
}

impl ToGuard {
    pub(crate) fn encode(self) -> Packet {
        let mut packet = [0; WORDS];
        match self {
            ToGuard::Start(start) => {
                let signed = |number: i32| u64::from(number.cast_unsigned());
                let strings = start.strings;
                packet[0] = MAGIC | 1;
                let words = [
                    start.flags,
                    strings.directory.into(),
                    strings.leaf.into(),
                    strings.standing.into(),
                    strings.candidates.into(),
                    strings.args.into(),
                    strings.vars.into(),
                    start.blocked,
                    start.ignored,
                    start.group.into(),
                    signed(start.supervisor),
                    signed(start.bells[0]),
                    signed(start.bells[1]),
                    signed(start.leaf),
                    signed(start.terminal),
                ];
                packet[1..=words.len()].copy_from_slice(&words);
            }
            ToGuard::Kill => packet[0] = MAGIC | 2,
            ToGuard::Detach => packet[0] = MAGIC | 3,
            ToGuard::Noted => packet[0] = MAGIC | 4,
        }
        packet
    }

    pub(crate) fn decode(packet: &Packet) -> Option<ToGuard> {
        let [_, flags, directory, leaf_path, standing, candidates, args, vars, rest @ ..] = *packet;
        let [blocked, ignored, group, supervisor, bell, other_bell, leaf, terminal, nothing @ ..] = rest;
        match packet[0] ^ MAGIC {
            1 if flags & !ALL_FLAGS == 0 && nothing == [0; 4] => Some(ToGuard::Start(Start {
                flags,
                strings: Strings {
                    directory: at_most(directory, 1)?,
                    leaf: at_most(leaf_path, 1)?,
                    standing: at_most(standing, 1)?,
                    candidates: at_most(candidates, MANY)?,
                    args: at_most(args, MANY)?,
                    vars: at_most(vars, MANY)?,
                },
                blocked,
                ignored,
                group: at_most(group, OWN_TERMINAL)?,
                supervisor: signed(supervisor)?,
                bells: [signed(bell)?, signed(other_bell)?],
                leaf: signed(leaf)?,
                terminal: signed(terminal)?,
            })),
            2 if packet[1..] == [0; WORDS - 1] => Some(ToGuard::Kill),
            3 if packet[1..] == [0; WORDS - 1] => Some(ToGuard::Detach),
            4 if packet[1..] == [0; WORDS - 1] => Some(ToGuard::Noted),
            _ => None,
        }
    }
}

impl FromGuard {
    pub(crate) fn encode(self) -> Packet {
        let mut packet = [0; WORDS];
        let signed = |number: i32| u64::from(number.cast_unsigned());
        match self {
            FromGuard::Started { pid, guard, joined } => {
                packet[..4].copy_from_slice(&[MAGIC | 1, pid.into(), guard.into(), joined.into()]);
            }
            FromGuard::Refused { step, errno } => {
                packet[..3].copy_from_slice(&[MAGIC | 2, step.encode(), signed(errno)]);
            }
            FromGuard::Stopped { signal } => packet[..2].copy_from_slice(&[MAGIC | 3, signed(signal)]),
            FromGuard::Continued => packet[0] = MAGIC | 4,
            FromGuard::Exited(exited) => packet[..7].copy_from_slice(&[
                MAGIC | 5,
                signed(exited.code),
                signed(exited.status),
                exited.user_us,
                exited.system_us,
                exited.peak_kib,
                exited.alone.into(),
            ]),
            FromGuard::Empty => packet[0] = MAGIC | 6,
            FromGuard::TwinLost => packet[0] = MAGIC | 7,
            FromGuard::Split => packet[0] = MAGIC | 8,
        }
        packet
    }

    pub(crate) fn decode(packet: &Packet) -> Option<FromGuard> {
        let [kind, one, two, three, four, five, six, nothing @ ..] = *packet;
        if nothing != [0; WORDS - 7] {
            return None;
        }
        let unused = |words: &[u64]| words.iter().all(|word| *word == 0);
        match kind ^ MAGIC {
            1 if unused(&[four, five, six]) => Some(FromGuard::Started {
                pid: at_most(one, u32::MAX)?,
                guard: at_most(two, u32::MAX)?,
                joined: at_most(three, 1)? == 1,
            }),
            2 if unused(&[three, four, five, six]) => {
                Some(FromGuard::Refused { step: Step::decode(one)?, errno: signed(two)? })
            }
            3 if unused(&[two, three, four, five, six]) => Some(FromGuard::Stopped { signal: signed(one)? }),
            4 if unused(&[one, two, three, four, five, six]) => Some(FromGuard::Continued),
            5 => Some(FromGuard::Exited(Exited {
                code: signed(one)?,
                status: signed(two)?,
                user_us: three,
                system_us: four,
                peak_kib: five,
                alone: at_most(six, 1)? == 1,
            })),
            6 if unused(&[one, two, three, four, five, six]) => Some(FromGuard::Empty),
            7 if unused(&[one, two, three, four, five, six]) => Some(FromGuard::TwinLost),
            8 if unused(&[one, two, three, four, five, six]) => Some(FromGuard::Split),
            _ => None,
        }
    }
}

impl Step {
    /// By their numbers, from 1 on.
    const ALL: [Step; 12] = [
        Step::Guard,
        Step::Contain,
        Step::Clone,
        Step::Group,
        Step::Streams,
        Step::Directory,
        Step::Execute,
        Step::Terminal,
        Step::Nice,
        Step::Groups,
        Step::Gid,
        Step::Uid,
    ];
    /// The number of the limit on resource 0; the others follow.
    const FIRST_LIMIT: u64 = 16;

    fn encode(self) -> u64 {
        if let Step::Limit(resource) = self {
            return Step::FIRST_LIMIT + u64::from(resource);
        }
        let place = Step::ALL.iter().position(|step| *step == self);
        place.map_or(0, |place| place as u64 + 1)
    }

    fn decode(word: u64) -> Option<Step> {
        if let Some(resource) = word.checked_sub(Step::FIRST_LIMIT) {
            let resource = u8::try_from(resource).ok()?;
            return (usize::from(resource) < RESOURCES).then_some(Step::Limit(resource));
        }
        Step::ALL.get(usize::try_from(word).ok()?.checked_sub(1)?).copied()
    }
}

/// How many resources can be limited, `RLIM_NLIMITS`.
pub(crate) const RESOURCES: usize = 16;

/// More strings of a kind than any `execve(2)` takes.
const MANY: u32 = 1 << 24;

fn at_most(word: u64, most: u32) -> Option<u32> {
    u32::try_from(word).ok().filter(|number| *number <= most)
}

/// An `int` in the lower half of its word.
fn signed(word: u64) -> Option<i32> {
    Some(u32::try_from(word).ok()?.cast_signed())
}

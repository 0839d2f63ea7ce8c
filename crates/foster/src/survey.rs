//! What this machine offers, found out by trying; and what dead fosters left on it.

use crate::guard::{Images, Lifeline};
use crate::spawn::{look_at, stillborn};
use crate::tree::{self, choice, strategy};
use crate::watch::{Collect, Watch};
use crate::{Command, GuardProgram, Level, Mechanism, Status, Survives, Swept, Tried, init};

/// What this machine offers to this process, now: [`survey`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Each mechanism once, the strongest first, in the order of [`Mechanism::ALL`].
    pub offers: Vec<Offer>,
    /// From where guards are run; `None` where none can be.
    pub guard: Option<GuardProgram>,
    /// How many of the two threads could be made by which a guard learns of our death within a millisecond, also if we
    /// have much memory. With none it learns it about 75 ms later for each GiB.
    pub bells: usize,
    /// What the kernel does for us.
    pub kernel: Kernel,
}

/// One mechanism, and whether it is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Which.
    pub mechanism: Mechanism,
    /// How firmly it holds.
    pub level: Level,
    /// What it withstands, where it is to be had, with one guard; [`Command::twin`] adds to that.
    pub survives: Survives,
    /// It is to be had only with [`Command::no_new_privs`].
    pub no_new_privs: bool,
    /// `Ok` if a leader was started and ended under it; else what failed.
    pub got: Result<(), Tried>,
}

/// What the kernel does for us, seen by trying and not by its version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kernel {
    /// Its release, as `uname(2)` has it, such as `6.12.9-amd64`; empty where `/proc` does not tell.
    pub release: String,
    /// It signals a process group by the pidfd of its leader (Linux 6.9). Without that a group is signalled by number,
    /// while the leader is not reaped.
    pub group_by_pidfd: bool,
    /// It remembers how a process ended that somebody else in this process reaped (Linux 6.15). Without that, and
    /// without a guard, such a status is [`Status::Unknown`].
    pub keeps_status: bool,
}

impl Survey {
    /// What [`Containment::Auto`](crate::Containment::Auto) gives to a command that requires this level
    /// ([`Command::require`]), or with `None` to one that requires nothing. `None` where such a command is refused.
    ///
    /// A mechanism that needs [`Command::no_new_privs`] is given only to a command that has it, and so is not told
    /// here.
    pub fn auto(&self, required: Option<Level>) -> Option<&Offer> {
        let command = Command::new("true");
        let command = if let Some(level) = required { command.require(level) } else { command };
        let choices = choice::choices(&command).unwrap_or_default();
        choices.into_iter().filter_map(|mechanism| self.offer(mechanism)).find(|offer| offer.is_to_be_had())
    }

    /// What is known of this mechanism.
    pub fn offer(&self, mechanism: Mechanism) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.mechanism == mechanism)
    }
}

impl Offer {
    /// By a command that asks for nothing else.
    fn is_to_be_had(&self) -> bool {
        self.got.is_ok() && !self.no_new_privs
    }
}

/// Tries each mechanism in earnest: with a guard and a leader that has no program and exits at once. It takes some
/// milliseconds and leaves nothing behind: no process, no cgroup. As any start of a program it keeps a few descriptors
/// and two sleeping threads, and ends what a dead foster left in our cgroup.
///
/// An answer holds for this process, as who and where it is. [`Mechanism::Init`] is offered to PID 1, and is not tried:
/// everything such a process starts is held by it. [`Mechanism::ProcessGroup`] is always there. On Linux; the rest of
/// the mechanisms say with their names since when.
///
/// # Errors
///
/// There are none: what failed is told with the mechanism, also where it failed for want of descriptors or memory.
pub fn survey() -> Survey {
    let offers = Mechanism::ALL.into_iter().map(offer).collect();
    let kernel = kernel();
    let bells = Lifeline::get().map_or(0, |lifeline| lifeline.bells.iter().flatten().count());
    // After the offers: whoever tries to start a guard learns from where one can be run.
    Survey { offers, guard: Images::best(), bells, kernel }
}

/// Ends what fosters left that were killed together with the guard: everybody in a cgroup of theirs, which is then
/// removed. Returns what was found, also what was empty. It looks in and beside our own cgroup, as far as we may, and
/// waits no more than 5 seconds in each of these places for those who die slowly.
///
/// What is nobody's, the kernel tells: a foster and its guard hold a lock, `flock(2)`, on their cgroup. What was left
/// alone on purpose ([`Child::detach`](crate::Child::detach), [`Leftovers::Leave`](crate::Leftovers::Leave)) stays. So
/// does a cgroup that was made or changed less than 10 seconds ago: its owner may be about to lock it.
///
/// The first start of a program with [`Mechanism::Cgroup`] or [`Mechanism::Freezer`] in a process does the same in our
/// own cgroup. Who was held by another mechanism left no trace by which he could be found.
pub fn sweep() -> Vec<Swept> {
    tree::sweep()
}

fn offer(mechanism: Mechanism) -> Offer {
    let (got, no_new_privs) = match mechanism {
        Mechanism::ProcessGroup => (Ok(()), false),
        Mechanism::Init => (init_is_here(), false),
        Mechanism::Landlock => match look_at(mechanism, false) {
            Err(tried) if tried.errno == Some(libc::EPERM) && look_at(mechanism, true).is_ok() => {
                (Ok(()), true)
            }
            got => (got, false),
        },
        Mechanism::PidNamespace | Mechanism::Cgroup | Mechanism::Freezer | Mechanism::Subreaper => {
            (look_at(mechanism, false), false)
        }
    };
    let survives = strategy::survives(mechanism, false, no_new_privs);
    Offer { mechanism, level: mechanism.level(), survives, no_new_privs, got }
}

fn init_is_here() -> Result<(), Tried> {
    if init::is_pid_1() {
        return Ok(());
    }
    let step = format!("be PID 1: this process is {}", std::process::id());
    let hint = "it is for the first process of a container: make `foster run` its entrypoint";
    Err(Tried { mechanism: Mechanism::Init, step, errno: None, hint })
}

fn kernel() -> Kernel {
    let dead = stillborn();
    Kernel {
        release: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim_end()
            .to_string(),
        group_by_pidfd: dead.as_ref().is_ok_and(Watch::pins_group),
        keeps_status: dead
            .is_ok_and(|dead| dead.ended(Collect::Peek).is_some_and(|ended| ended.status != Status::Unknown)),
    }
}

//! The process group: what every Unix has, what the terminal knows, and what a program leaves with one `setsid`.
//!
//! Identity: a group is named by its leader's pid, and that number is the group's as long as the leader is an
//! unreaped zombie or anybody is in the group. On Linux 6.9 and later the leader's pidfd names the group itself, so
//! that the leader can be reaped at once; before, it is reaped last, and until then its number is nobody else's.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpgid};

use super::proc::{self, Process};
use super::{Tree, Watched};
use crate::lifecycle::Reach;
use crate::watch::{Collect, Ended, Watch};
use crate::{Contained, Proof, Signal};

#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    watch: Watch,
    /// The leader has a group (or a session) of its own. If not, the tree is the leader alone.
    own: bool,
    /// The group can be signalled by the leader's pidfd.
    pinned: bool,
    reaped: bool,
    /// `None` as long as nobody had to be searched for.
    search: Option<Box<Search>>,
}

/// When `/proc` may be searched again, and how long until the time after.
#[derive(Debug)]
struct Search {
    again: Option<Instant>,
    pace: Duration,
}

/// A search of `/proc` costs about 10 µs a process, and what it can tell beyond the kernel's quick answer is only
/// that all who are left are zombies.
const FIRST_SEARCH: Duration = Duration::from_millis(20);
const SLOWEST_SEARCH: Duration = Duration::from_secs(10);
/// Where the kernel has no quick answer.
const SLOWEST_ONLY_SEARCH: Duration = Duration::from_secs(1);

impl Group {
    /// `own`: the leader has a group of its own.
    pub(crate) fn new(leader: Pid, watch: Watch, own: bool) -> Group {
        let pinned = own && watch.pins_group();
        Group { leader, watch, own, pinned, reaped: false, search: None }
    }

    /// The kernel's quick answer, where it has one. Zombies that their parent does not reap count as somebody.
    fn is_surely_empty(&self) -> bool {
        !self.own || self.pinned && self.reaped && !self.watch.group_is_populated()
    }

    fn find(&self) -> Option<Found> {
        if self.own { search(self.leader()) } else { Some(Found { living: Vec::new(), all_dead: true }) }
    }

    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if !self.own {
            return Ok(());
        }
        if self.pinned
            && let Some(sent) = self.watch.signal_group(signal)
        {
            return sent;
        }
        // By number only while the number is pinned. A thief's `waitpid(-1)` may have reaped the leader unseen:
        // then each member is pinned for itself.
        if self.reaped || self.leader_was_stolen() {
            return self.each_member(signal);
        }
        Watch::signal_group_by_number(self.leader, signal)
    }

    fn each_member(&self, signal: Signal) -> io::Result<()> {
        signal_each(&self.members(), signal, |process| process.group == self.leader())
    }

    /// Whether the leader is dead and somebody else has reaped it.
    fn leader_was_stolen(&self) -> bool {
        self.watch.ended(Collect::Peek).is_some_and(|ended| ended.usage.is_none())
    }
}

impl Tree for Group {
    fn leader(&self) -> u32 {
        self.leader.as_raw_nonzero().get().cast_unsigned()
    }

    fn watched(&self) -> Vec<Watched<'_>> {
        vec![Watched::Process(self.watch.as_fd())]
    }

    fn own_child(&self) -> Option<Watch> {
        Some(self.watch.clone())
    }

    fn leader_ended(&mut self) -> Option<Ended> {
        let collect = if self.pinned || !self.own { Collect::Reap } else { Collect::Peek };
        let ended = self.watch.ended(collect)?;
        // No usage: the status came from the kernel's memory, the zombie went to somebody else.
        self.reaped = collect == Collect::Reap || ended.usage.is_none();
        Some(ended)
    }

    fn stopped(&self) -> Option<Signal> {
        self.watch.stopped()
    }

    fn signal(&mut self, reach: Reach, signal: Signal) -> io::Result<()> {
        match reach {
            Reach::Leader => self.watch.signal(signal),
            Reach::Group | Reach::All if !self.own => self.watch.signal(signal),
            Reach::Group | Reach::All => {
                // A leader that moved to another group is still ours.
                let strayed = !self.reaped && getpgid(Some(self.leader)) != Ok(self.leader);
                let group = self.signal_group(signal);
                if strayed { self.watch.signal(signal).and(group) } else { group }
            }
            Reach::Rest if self.reaped => self.signal_group(signal),
            Reach::Rest => self.each_member(signal),
            // Whoever left the group has left the tree.
            Reach::Strays => Ok(()),
        }
    }

    /// At this level: the group, and the leader wherever it is. The error is that of the first who could not be
    /// killed; who is left tells the rest.
    fn kill(&mut self) -> io::Result<()> {
        let group = self.signal_group(Signal::KILL);
        self.watch.signal(Signal::KILL).and(group)
    }

    fn members(&self) -> Vec<u32> {
        self.find().map_or_else(Vec::new, |found| found.living)
    }

    fn leftovers(&mut self, now: Instant) -> (Vec<u32>, bool) {
        if self.is_surely_empty() {
            return (Vec::new(), true);
        }
        self.search = Some(Search { again: now.checked_add(FIRST_SEARCH), pace: FIRST_SEARCH }.into());
        match self.find() {
            // Between the two looks the last may have died, and have been reaped.
            Some(found) if found.living.is_empty() => (Vec::new(), found.all_dead || self.is_surely_empty()),
            Some(found) => (found.living, false),
            // The kernel says that somebody is there, and we cannot see who.
            None => (Vec::new(), false),
        }
    }

    fn is_empty(&mut self, now: Instant) -> bool {
        if self.is_surely_empty() {
            return true;
        }
        let slowest = if self.pinned { SLOWEST_SEARCH } else { SLOWEST_ONLY_SEARCH };
        if let Some(search) = &mut self.search {
            if search.again.is_some_and(|again| now < again) {
                return false;
            }
            search.pace = (search.pace * 2).min(slowest);
            search.again = now.checked_add(search.pace);
        }
        self.find().is_some_and(|found| found.all_dead)
    }

    fn must_be_asked(&self) -> bool {
        true
    }

    fn proof(&self) -> Proof {
        Proof::GroupEmpty
    }

    fn reap(&mut self) -> bool {
        if !self.reaped {
            self.reaped = self.watch.ended(Collect::Reap).is_some();
        }
        true
    }

    fn discard(&mut self) {
        _ = self.kill();
        self.watch.wait_dead();
    }

    fn contained(&self) -> Contained {
        Contained::PLAIN
    }
}

/// Signals each of these who still fits, once it is pinned: so a reused pid is nobody's harm. The error is the first.
pub(super) fn signal_each(pids: &[u32], signal: Signal, fits: impl Fn(&Process) -> bool) -> io::Result<()> {
    let mut result = Ok(());
    for pid in pids {
        let Some(member) = Watch::open(*pid) else { continue };
        if Process::of(*pid).is_some_and(|process| !process.is_dead() && fits(&process)) {
            result = result.and(member.signal(signal));
        }
    }
    result
}

/// What `/proc` shows of a group.
struct Found {
    /// Everybody but the leader who is not a zombie.
    living: Vec<u32>,
    /// Nobody lives, and that was seen: there are zombies, the leader or others. A `/proc` that hides others'
    /// processes shows nobody at all, which proves nothing.
    all_dead: bool,
}

fn search(leader: u32) -> Option<Found> {
    let (dead, living) = look(leader)?;
    // A list of pids is old when the last of them is read: who forked and died meanwhile is a zombie on it, and the
    // child is not. Only who sees the same dead again, and still nobody alive, has seen them all.
    let all_dead = living.is_empty() && !dead.is_empty() && look(leader)? == (dead, Vec::new());
    Some(Found { living, all_dead })
}

/// The dead and the living, the leader not among the living.
fn look(leader: u32) -> Option<(Vec<u32>, Vec<u32>)> {
    let (dead, living): (Vec<Process>, Vec<Process>) =
        proc::everybody()?.into_iter().filter(|process| process.group == leader).partition(Process::is_dead);
    let pids = |all: Vec<Process>| all.iter().map(|process| process.pid).collect::<Vec<u32>>();
    Some((pids(dead), pids(living).into_iter().filter(|pid| *pid != leader).collect()))
}

//! The process group: what every Unix has, what the terminal knows, and what a program leaves with one `setsid`.
//!
//! Identity: a group is named by its leader's pid, and that number is the group's as long as the leader is an
//! unreaped zombie or anybody is in the group. On Linux 6.9 and later the leader's pidfd names the group itself, so
//! that the leader can be reaped at once; before, it is reaped last, and until then its number is nobody else's.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpgid};

use crate::Signal;
use crate::lifecycle::Reach;
use crate::watch::{Collect, Ended, Watch};

#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    watch: Watch,
    /// The leader has a group (or a session) of its own. If not, the tree is the leader alone.
    own: bool,
    /// The group can be signalled by the leader's pidfd.
    pinned: bool,
    reaped: bool,
    /// When `/proc` may be searched again, and how long until the time after.
    search: Option<Instant>,
    pace: Duration,
}

/// A search of `/proc` costs about 10 µs a process, and what it can tell beyond the kernel's quick answer is only
/// that all who are left are zombies.
const FIRST_SEARCH: Duration = Duration::from_millis(20);
const SLOWEST_SEARCH: Duration = Duration::from_secs(10);
/// Where the kernel has no quick answer.
const SLOWEST_ONLY_SEARCH: Duration = Duration::from_secs(1);

impl Group {
    pub(crate) fn new(leader: Pid, watch: Watch, own: bool) -> Group {
        let pinned = own && watch.pins_group();
        Group { leader, watch, own, pinned, reaped: false, search: None, pace: FIRST_SEARCH }
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn leader(&self) -> u32 {
        self.leader.as_raw_nonzero().get().cast_unsigned()
    }

    pub(crate) fn leader_ended(&mut self) -> Option<Ended> {
        let collect = if self.pinned || !self.own { Collect::Reap } else { Collect::Peek };
        let ended = self.watch.ended(collect)?;
        // No usage: the status came from the kernel's memory, the zombie went to somebody else.
        self.reaped = collect == Collect::Reap || ended.usage.is_none();
        Some(ended)
    }

    pub(crate) fn signal(&self, reach: Reach, signal: Signal) -> io::Result<()> {
        match reach {
            Reach::Leader => self.watch.signal(signal),
            Reach::Group if !self.own => self.watch.signal(signal),
            Reach::Group => {
                // A leader that moved to another group is still ours.
                let strayed = !self.reaped && getpgid(Some(self.leader)) != Ok(self.leader);
                let group = self.signal_group(signal);
                if strayed { self.watch.signal(signal).and(group) } else { group }
            }
            Reach::Rest if self.reaped => self.signal_group(signal),
            Reach::Rest => self.each_member(|member| member.signal(signal)),
        }
    }

    /// At this level: the group, and the leader wherever it is. The error is that of the first who could not be
    /// killed; who is left tells the rest.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let group = self.signal_group(Signal::KILL);
        self.watch.signal(Signal::KILL).and(group)
    }

    /// Everybody but the leader who lives; nobody where `/proc` is not ours to read.
    pub(crate) fn members(&self) -> Vec<u32> {
        self.find().map_or_else(Vec::new, |found| found.living)
    }

    /// Who lives now that the leader is dead, and whether that is nobody.
    pub(crate) fn leftovers(&mut self, now: Instant) -> (Vec<u32>, bool) {
        if self.is_surely_empty() {
            return (Vec::new(), true);
        }
        self.search = now.checked_add(self.pace);
        match self.find() {
            // Between the two looks the last may have died, and have been reaped.
            Some(found) if found.living.is_empty() => (Vec::new(), found.all_dead || self.is_surely_empty()),
            Some(found) => (found.living, false),
            // The kernel says that somebody is there, and we cannot see who.
            None => (Vec::new(), false),
        }
    }

    /// Whether nobody lives but the leader. It says no while it is too early for another search.
    pub(crate) fn is_empty(&mut self, now: Instant) -> bool {
        if self.is_surely_empty() {
            return true;
        }
        if self.search.is_some_and(|search| now < search) {
            return false;
        }
        let slowest = if self.pinned { SLOWEST_SEARCH } else { SLOWEST_ONLY_SEARCH };
        self.pace = (self.pace * 2).min(slowest);
        self.search = now.checked_add(self.pace);
        self.find().is_some_and(|found| found.all_dead)
    }

    /// The kernel's quick answer, where it has one. Zombies that their parent does not reap count as somebody.
    fn is_surely_empty(&self) -> bool {
        !self.own || self.pinned && self.reaped && !self.watch.group_is_populated()
    }

    fn find(&self) -> Option<Found> {
        if self.own { search(self.leader) } else { Some(Found { living: Vec::new(), all_dead: true }) }
    }

    pub(crate) fn reap(&mut self) {
        if !self.reaped {
            self.reaped = self.watch.ended(Collect::Reap).is_some();
        }
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
            return self.each_member(|member| member.signal(signal));
        }
        Watch::signal_group_by_number(self.leader, signal)
    }

    /// Whether the leader is dead and somebody else has reaped it.
    fn leader_was_stolen(&self) -> bool {
        self.watch.ended(Collect::Peek).is_some_and(|ended| ended.usage.is_none())
    }

    /// Pins each member before it is looked at once more and acted on, so that a reused pid is nobody's harm.
    fn each_member(&self, act: impl Fn(&Watch) -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        for pid in self.members() {
            let Some(member) = Watch::open(pid) else { continue };
            if is_live_member(self.leader, pid) {
                result = result.and(act(&member));
            }
        }
        result
    }
}

/// What `/proc` shows of a group.
struct Found {
    /// Everybody but the leader who is not a zombie.
    living: Vec<u32>,
    /// Nobody lives, and that was seen: there are zombies, the leader or others. A `/proc` that hides others'
    /// processes shows nobody at all, which proves nothing.
    all_dead: bool,
}

/// `None` where `/proc` is missing, or shows another pid namespace than ours.
fn search(leader: Pid) -> Option<Found> {
    let ours = fs::read_link("/proc/self").ok()?;
    if ours.to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    let mut found = Found { living: Vec::new(), all_dead: false };
    let mut zombies = false;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match state_in_group(leader, pid) {
            Some(b'Z' | b'X') => zombies = true,
            Some(_) if pid != leader.as_raw_nonzero().get().cast_unsigned() => found.living.push(pid),
            _ => {}
        }
    }
    found.all_dead = found.living.is_empty() && zombies;
    Some(found)
}

fn is_live_member(leader: Pid, pid: u32) -> bool {
    state_in_group(leader, pid).is_some_and(|state| !matches!(state, b'Z' | b'X'))
}

/// The state letter of a process, if it is in the leader's group.
fn state_in_group(leader: Pid, pid: u32) -> Option<u8> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (state, group) = state_and_group(&stat)?;
    (group == leader.as_raw_nonzero().get()).then_some(state)
}

/// Fields 3 and 5 of `/proc/PID/stat`, `proc_pid_stat(5)`. The name before them may hold anything but ends with
/// the last parenthesis.
fn state_and_group(stat: &[u8]) -> Option<(u8, i32)> {
    let after_name = &stat[stat.iter().rposition(|byte| *byte == b')')? + 1..];
    let mut fields = after_name.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let group = str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    Some((state, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_and_spaces_does_not_confuse() {
        assert_eq!(state_and_group(b"7 (a) R 1) (b)) S 1 42 42 0 -1 4194304"), Some((b'S', 42)));
        assert_eq!(state_and_group(b"7 (cut"), None);
        assert_eq!(state_and_group(b"7 (cut) S 1"), None);
    }
}

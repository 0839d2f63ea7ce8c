//! The process group: what every Unix has, what the terminal knows, and what a program leaves with one `setsid`.
//!
//! Identity: a group is named by its leader's pid, and that number is the group's as long as the leader is an
//! unreaped zombie or anybody is in the group. On Linux 6.9 and later the leader's pidfd names the group itself, so
//! that the leader can be reaped at once; before, it is reaped last, and until then its number is nobody else's.

use std::fs;
use std::io;

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
}

impl Group {
    pub(crate) fn new(leader: Pid, watch: Watch, own: bool) -> Group {
        let pinned = own && watch.pins_group();
        Group { leader, watch, own, pinned, reaped: false }
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

    /// At this level: the group, and the leader wherever it is.
    pub(crate) fn kill(&self) {
        // Errors are told by what is left afterwards.
        _ = self.signal_group(Signal::KILL);
        _ = self.watch.signal(Signal::KILL);
    }

    pub(crate) fn members(&self) -> Vec<u32> {
        if self.own { live_members(self.leader) } else { Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        if !self.own {
            return true;
        }
        // The quick answer first: nobody at all. Else somebody is there, perhaps only zombies that their parent
        // does not reap, and those are not alive.
        if self.pinned && self.reaped && !self.watch.group_is_populated() {
            return true;
        }
        live_members(self.leader).is_empty()
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

/// Everybody in the leader's group but the leader who is not a zombie, from `/proc`.
fn live_members(leader: Pid) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_live_member(leader, *pid))
        .collect()
}

fn is_live_member(leader: Pid, pid: u32) -> bool {
    let leader = leader.as_raw_nonzero().get();
    pid.cast_signed() != leader
        && fs::read(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| state_and_group(&stat))
            .is_some_and(|(state, group)| group == leader && !matches!(state, b'Z' | b'X'))
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

//! A tree that a guard holds. The guard is the leader's parent and what every orphan of the tree comes to: it tells how
//! the leader ended, and when nobody is left. What can be done from here at once is done from here.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use super::group::signal_each;
use super::strategy::Strategy;
use super::{Heard, Tree, Watched, proc};
use crate::guard::wire::{Exited, FromGuard, ToGuard};
use crate::guard::{Came, Guards, Link};
use crate::lifecycle::Reach;
use crate::watch::{Collect, Ended, Watch};
use crate::{Contained, Guard, Proof, Signal, Tried};

/// What a spawn hands over.
#[derive(Debug)]
pub(crate) struct Parts {
    /// `None` once the guard has nothing more to say.
    pub(crate) link: Option<Link>,
    pub(crate) guards: Guards,
    pub(crate) guard_pid: u32,
    /// The leader's parent: of a twin the inner guard.
    pub(crate) holder: u32,
    pub(crate) leader: u32,
    pub(crate) pidfd: Watch,
    pub(crate) own_group: bool,
    pub(crate) twin: bool,
    pub(crate) no_new_privs: bool,
    pub(crate) strategy: Strategy,
    pub(crate) tried: Vec<Tried>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that comes for itself")]
pub(crate) struct Guarded {
    parts: Parts,
    /// The leader's end, as the guard told it.
    ended: Option<Exited>,
    stopped: Option<Signal>,
    /// The guard has proven that nobody is left.
    empty: bool,
    /// The guard was killed.
    lost: bool,
    reaped: bool,
    detached: bool,
    /// The leader is dead, or one of a twin, and the guard has not said so.
    late: bool,
    /// One of a twin is dead, and the other has said so.
    widowed: bool,
}

impl Guarded {
    pub(crate) fn new(parts: Parts) -> Guarded {
        Guarded {
            parts,
            ended: None,
            stopped: None,
            empty: false,
            lost: false,
            reaped: false,
            detached: false,
            late: false,
            widowed: false,
        }
    }

    fn heard(&mut self, news: FromGuard) -> Option<Heard> {
        match news {
            FromGuard::Stopped { signal } => {
                self.stopped = Signal::from_number(signal);
                return self.stopped.map(Heard::Suspended);
            }
            FromGuard::Continued => {
                self.stopped = None;
                return Some(Heard::Continued);
            }
            FromGuard::Exited(exited) => {
                self.stopped = None;
                self.ended = Some(exited);
                self.empty = exited.alone;
            }
            FromGuard::Empty => self.empty = true,
            FromGuard::TwinLost => {
                self.widowed = true;
                return Some(Heard::GuardLost);
            }
            // They come once, before there is a tree.
            FromGuard::Started { .. } | FromGuard::Refused { .. } | FromGuard::Split => {}
        }
        None
    }

    fn tell(&self, order: ToGuard) -> io::Result<()> {
        self.parts.link.as_ref().map_or(Ok(()), |link| link.send(order))
    }

    /// A tree that was let go outlives its guards.
    fn lost_its_outer(&self) -> bool {
        self.parts.twin && !self.widowed && !self.detached && self.parts.guards.ours.is_dead()
    }

    fn descendants(&self) -> Vec<proc::Process> {
        let Parts { guard_pid, holder, leader, .. } = self.parts;
        let mut roots = vec![guard_pid];
        // Without its guard the tree is under its leader, as far as it can be seen.
        if self.lost {
            roots = vec![leader];
        }
        let all = proc::descendants(&roots).unwrap_or_default();
        all.into_iter()
            .filter(|process| ![holder, leader].contains(&process.pid) && !process.is_dead())
            .collect()
    }

    /// By pidfd where the kernel can (6.9), else each member for itself: the guard reaps the leader as soon as it is
    /// dead, and from then on its number may be anybody's.
    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if !self.parts.own_group {
            return Ok(());
        }
        self.parts.pidfd.signal_group(signal).unwrap_or_else(|| self.signal_each(signal, true))
    }

    fn signal_each(&self, signal: Signal, in_group: bool) -> io::Result<()> {
        let Parts { leader, .. } = self.parts;
        self.each_descendant(signal, |process| (process.group == leader) == in_group)
    }

    fn each_descendant(&self, signal: Signal, fits: impl Fn(&proc::Process) -> bool) -> io::Result<()> {
        let pids: Vec<u32> = self.descendants().iter().map(|process| process.pid).collect();
        signal_each(&pids, signal, fits)
    }

    fn nobody_is_seen(&self) -> bool {
        let group_is_empty = if !self.parts.own_group {
            true
        } else if self.parts.pidfd.pins_group() {
            !self.parts.pidfd.group_is_populated()
        } else {
            let Parts { leader, .. } = self.parts;
            let in_group = |process: &proc::Process| process.group == leader && !process.is_dead();
            proc::everybody().is_some_and(|everybody| !everybody.iter().any(in_group))
        };
        match self.parts.strategy.leaf() {
            Some(leaf) => {
                // Whoever was just being born when the last kill went out.
                _ = leaf.kill();
                leaf.is_empty()
            }
            None => group_is_empty,
        }
    }
}

impl Tree for Guarded {
    fn leader(&self) -> u32 {
        self.parts.leader
    }

    fn watched(&self) -> Vec<Watched<'_>> {
        let link = self.parts.link.as_ref().map(|link| Watched::Link(link.as_fd()));
        link.into_iter().chain([Watched::Process(self.parts.guards.ours.as_fd())]).collect()
    }

    /// The guard tells the leader's end, unless somebody has stopped it. Watched from the start, the pidfd would wake the
    /// engine up for every end a moment before the guard does.
    fn watched_later(&self) -> Option<Watched<'_>> {
        Some(Watched::Process(self.parts.pidfd.as_fd()))
    }

    fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Some(link) = self.parts.link.as_ref().filter(|_| !self.lost && !self.empty) {
            match link.next() {
                Came::News(news, _) => heard.extend(self.heard(news)),
                Came::Nothing => break,
                Came::End => {
                    self.lost = true;
                    heard.push(Heard::GuardLost);
                }
            }
        }
        let holds = !self.lost && !self.empty;
        self.late = holds && (self.ended.is_none() && self.parts.pidfd.is_dead() || self.lost_its_outer());
        if self.late {
            // The guard will say so in a moment; unless somebody has stopped it.
            self.urge();
        }
        heard
    }

    fn leader_ended(&mut self) -> Option<Ended> {
        match self.ended {
            Some(exited) => {
                let mut ended = Ended::told(exited);
                let all = self.parts.strategy.leaf().and_then(super::leaf::Leaf::usage);
                if let (Some(usage), Some((user, system))) = (&mut ended.usage, all) {
                    (usage.user, usage.system) = (user, system);
                }
                Some(ended)
            }
            // It is somebody else's child now: only the kernel's memory tells.
            None if self.lost || self.empty => self.parts.pidfd.ended(Collect::Peek),
            None => None,
        }
    }

    fn stopped(&self) -> Option<Signal> {
        // The guard's word of its going on may be on its way.
        let goes_on = |process: proc::Process| process.state != b'T' && process.state != b't';
        let leader = proc::is_ours().then(|| proc::Process::of(self.parts.leader)).flatten();
        self.stopped.filter(|_| !leader.is_some_and(goes_on))
    }

    fn signal(&mut self, reach: Reach, signal: Signal) -> io::Result<()> {
        let leader = |tree: &Guarded| {
            if tree.ended.is_some() { Ok(()) } else { tree.parts.pidfd.signal(signal) }
        };
        match reach {
            Reach::Leader => leader(self),
            Reach::Group if !self.parts.own_group => leader(self),
            Reach::Group => {
                let group = self.signal_group(signal);
                // A leader that moved to another group is still ours.
                let here = proc::Process::of(self.parts.leader);
                let strayed = self.ended.is_none()
                    && here.is_some_and(|process| process.group != self.parts.leader && !process.is_dead());
                if strayed { leader(self).and(group) } else { group }
            }
            Reach::Rest => self.signal_each(signal, true),
            Reach::Strays => self.signal_each(signal, false),
            Reach::All => {
                let group = self.signal(Reach::Group, signal);
                self.signal_each(signal, false).and(group)
            }
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        // First from here, so that it has been sent when this returns.
        let group = self.signal_group(Signal::KILL);
        let leader = if self.ended.is_some() { Ok(()) } else { self.parts.pidfd.signal(Signal::KILL) };
        let told = self.tell(ToGuard::Kill);
        let leaf = match &self.parts.strategy {
            Strategy::Cgroup(leaf) => leaf.kill(),
            // To freeze takes its time: that is the guard's, as long as there is one.
            Strategy::Freezer(leaf) if self.lost => leaf.kill(),
            // The guard reaches its own children, and below them only whom their death leaves to it. One that cannot
            // die now must not shield the others.
            Strategy::Subreaper => self.each_descendant(Signal::KILL, |_| true),
            Strategy::Freezer(_) | Strategy::Landlock | Strategy::Namespace(_) => Ok(()),
        };
        // One that somebody stopped hears nothing, and nobody else sees the tree's end. Last: whom this kill has ended
        // stops nobody any more.
        if !self.lost && !self.reaped {
            self.urge();
        }
        leader.and(group).and(told).and(leaf)
    }

    fn is_late(&self, killed: bool) -> bool {
        (killed || self.late) && !self.lost && !self.empty
    }

    fn urge(&self) {
        self.parts.guards.urge();
    }

    fn kill_again(&mut self) {
        match &self.parts.strategy {
            Strategy::Cgroup(leaf) | Strategy::Freezer(leaf) => _ = leaf.kill(),
            // It may be a tracer that holds the guard back, and everybody with it.
            Strategy::Namespace(_) => _ = self.parts.guards.ours.signal(Signal::KILL),
            Strategy::Landlock | Strategy::Subreaper => _ = self.each_descendant(Signal::KILL, |_| true),
        }
    }

    fn detach(&mut self) {
        self.detached = true;
        if let Some(leaf) = self.parts.strategy.leaf() {
            leaf.leave_alone();
        }
        _ = self.tell(ToGuard::Detach);
    }

    fn members(&self) -> Vec<u32> {
        self.descendants().iter().map(|process| process.pid).collect()
    }

    fn leftovers(&mut self, _: Instant) -> (Vec<u32>, bool) {
        let alone = self.ended.is_some_and(|exited| exited.alone);
        let who = match self.parts.strategy.leaf() {
            _ if alone => Vec::new(),
            // Quicker than a walk, and it misses only who has moved out, which does not help it.
            Some(leaf) => leaf.members(),
            None => self.members(),
        };
        (who, alone)
    }

    fn is_empty(&mut self, _: Instant) -> bool {
        self.empty || self.lost && self.nobody_is_seen()
    }

    fn must_be_asked(&self) -> bool {
        self.lost
    }

    fn proof(&self) -> Proof {
        match self.parts.strategy {
            Strategy::Cgroup(_) => Proof::Populated0,
            _ if self.lost => Proof::GroupEmpty,
            ref strategy => strategy.proof(),
        }
    }

    fn reap(&mut self) -> bool {
        if self.reaped || self.detached && !self.empty {
            return true;
        }
        // The leftovers are to be left, which it has not been told yet: it must live for that.
        if !self.empty && !self.lost {
            return false;
        }
        if self.empty {
            // It has nothing more to say, and its end is told by its pidfd. Open, the link would wake us up before that.
            self.parts.link = None;
            let Guards { ours, inner } = &self.parts.guards;
            if let Some(inner) = inner.as_ref().filter(|_| ours.is_dead()) {
                // Stopped, one that has lost the other would stay for ever.
                _ = inner.signal(Signal::KILL);
            }
        }
        self.reaped = self.parts.guards.ours.ended(Collect::Reap).is_some();
        if !self.reaped {
            // It has nothing left to do but to remove its leaf; and one that somebody stopped would not end.
            self.urge();
        }
        self.reaped
    }

    fn survivor(&mut self) -> Option<Guards> {
        (!self.reaped).then(|| self.parts.guards.clone())
    }

    fn discard(&mut self) {
        _ = self.kill();
        let Parts { link, guards, .. } = &mut self.parts;
        if let Some(link) = link {
            while let Came::News(..) | Came::Nothing = link.wait_for_start(guards) {}
        }
        guards.ours.wait_dead();
        self.reaped = true;
    }

    fn contained(&self) -> Contained {
        let Parts { strategy, twin, no_new_privs, guard_pid, tried, .. } = &self.parts;
        let mechanism = strategy.mechanism();
        Contained {
            level: mechanism.level(),
            mechanism,
            guard: Some(Guard { pid: *guard_pid, twin: *twin }),
            survives: strategy.survives(*twin, *no_new_privs),
            tried: tried.clone(),
        }
    }
}

impl Drop for Guarded {
    /// The guard has removed its leaf, unless it was killed, or something was made below it. Somebody else's process in it
    /// is a later sweep's business.
    fn drop(&mut self) {
        if let Some(leaf) = self.parts.strategy.leaf().filter(|_| self.reaped) {
            leaf.remove();
        }
    }
}

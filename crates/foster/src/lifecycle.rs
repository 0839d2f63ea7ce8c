//! The life of one run, from the moment its leader was started until nothing of it is left: every decision, and no
//! clock, no chance, no I/O.
//!
//! A driver tells the machine what was ordered ([`Lifecycle::order`]) and what the system did
//! ([`Lifecycle::fact`]), then asks [`Lifecycle::poll`] what to do, until it answers [`Output::Wait`].
//!
//! Two rules hold everywhere. *An order only brings the end nearer*: a weaker one after a stronger one joins it.
//! *Escalation depends on the tree being populated*, never on the leader's exit: a grace that began runs on while
//! anything lives, and the kill goes to all of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::{Cause, Leftovers, Policy, Signal, Status, Target};

/// What someone wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One signal, no intent.
    Signal(Signal),
    /// Ask for the end after a delay that somebody else drew (the splay); zero is «stop now».
    Stop {
        after: Duration,
        signal: Option<Signal>,
    },
    /// Force the whole tree.
    Kill,
    /// The tree was suspended: its deadlines stand still until `Resume`, or until an order to end wakes it.
    Pause,
    Resume,
    /// Leave it alone: no timeout, and its leftovers stay.
    Detach,
}

/// What the system did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The leader is dead. `alone`: and nothing else of the tree lives.
    Exited { status: Status, alone: bool },
    /// Nothing but the leader is left of the tree. It is news only once the leader is dead: a tree may empty and
    /// fill again while its leader lives.
    Empty,
    /// What [`Effect::Reap`] asked for is done.
    Reaped,
}

/// What the driver must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Do(Effect),
    Tell(News),
    /// Nothing, until the next order or fact, or this instant.
    Wait(Option<Instant>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Signal(Reach, Signal),
    KillTree,
    /// Nothing may happen to the tree when we end.
    Detach,
    /// Give back what the run holds: its leader's pid, its guard. No signal may follow; [`Fact::Reaped`] must.
    Reap,
}

/// Whom a signal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Leader,
    /// Everybody in the leader's group, the leader included.
    Group,
    /// Everybody in the group but the leader, who has had it already.
    Rest,
    /// Everybody in the tree who has left the group.
    Strays,
    /// Everybody in the tree.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Signalled(Signal),
    Splaying(Duration),
    Asked(Signal),
    TimedOut,
    Forced,
    Stuck,
    Exited {
        status: Status,
        cause: Cause,
        forced: bool,
    },
    /// `left`: what lived was to be left.
    Gone {
        left: bool,
    },
}

/// Where a run stands. A phase owns its deadlines, so that leaving it forgets them.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Running {
        limit: Option<Instant>,
    },
    Splaying {
        until: Instant,
        limit: Option<Instant>,
        signal: Signal,
    },
    /// The tree has the stop signal. The leader's exit will be called `leader`; it is `None` once it is dead.
    Asked {
        /// The end of the grace.
        until: Option<Instant>,
        /// A kill that was set before, if it comes sooner: a timeout that kills, the most that leftovers may take.
        latest: Option<Instant>,
        signal: Signal,
        widen: Option<Instant>,
        leader: Option<Cause>,
    },
    /// The leader has ended by itself, and the policy lets the rest finish.
    Lingering {
        until: Option<Instant>,
    },
    /// `until` is gone once the tree has been called stuck.
    Killed {
        until: Option<Instant>,
        leader: Option<Fate>,
    },
    /// Nothing is left, or what is left was to be left; what held it is being given back.
    Emptied {
        left: bool,
    },
    Gone,
}

/// What a killed leader's exit will be called: by its status one sees whether the kill came too late.
#[derive(Clone, Copy, Debug)]
struct Fate {
    killed: Cause,
    forced: bool,
    before: Cause,
}

#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    policy: Policy,
    phase: Phase,
    /// Since when the deadlines stand still.
    paused: Option<Instant>,
    outbox: VecDeque<Output>,
}

/// When a run that was started then, and to which nothing happens, has its timeout.
pub(crate) fn limit(policy: &Policy, started: Instant) -> Option<Instant> {
    // A timeout too long for the clock is no timeout.
    policy.timeout.and_then(|timeout| later(started, timeout))
}

impl Lifecycle {
    /// A run whose leader was started at `now`.
    pub(crate) fn new(policy: Policy, now: Instant) -> Lifecycle {
        let limit = limit(&policy, now);
        Lifecycle { policy, phase: Phase::Running { limit }, paused: None, outbox: VecDeque::new() }
    }

    pub(crate) fn order(&mut self, order: Order, now: Instant) {
        // What was due before the order is done before it.
        self.catch_up(now);
        match order {
            Order::Signal(signal) => self.order_signal(signal),
            Order::Stop { after, signal } => self.order_stop(after, signal, now),
            Order::Kill => self.order_kill(now),
            Order::Pause => self.pause(now),
            Order::Resume => _ = self.resume(now),
            Order::Detach => self.order_detach(),
        }
    }

    fn order_signal(&mut self, signal: Signal) {
        let leader_alive = match self.phase {
            Phase::Running { .. } | Phase::Splaying { .. } => true,
            Phase::Asked { leader, .. } => leader.is_some(),
            Phase::Lingering { .. } => false,
            Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => return,
        };
        match (self.policy.target, leader_alive) {
            (Target::Leader | Target::LeaderThenGroup { .. }, true) => self.signal(Reach::Leader, signal),
            (Target::Leader, false) => {}
            (Target::Group, _) | (Target::LeaderThenGroup { .. }, false) => self.signal(Reach::Group, signal),
        }
    }

    fn order_stop(&mut self, after: Duration, signal: Option<Signal>, now: Instant) {
        let woken = self.resume(now);
        let given = signal;
        let signal = given.unwrap_or(self.policy.stop_signal);
        match self.phase {
            Phase::Running { limit } if after.is_zero() => {
                self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);
            }
            Phase::Running { limit } => {
                self.tell(News::Splaying(after));
                // A splay too long for the clock is cut to what a clock can hold.
                let until = later(now, after).or(later(now, AGES)).unwrap_or(now);
                self.phase = Phase::Splaying { until, limit, signal };
            }
            Phase::Splaying { until, limit, signal } => {
                // Nobody has been asked yet: a signal that was named is what the asking will be done with.
                let signal = given.unwrap_or(signal);
                if after.is_zero() {
                    self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);
                } else {
                    let until = later(now, after).map_or(until, |sooner| sooner.min(until));
                    self.phase = Phase::Splaying { until, limit, signal };
                }
            }
            // The splay is for the herd; there is none around what a dead leader left.
            Phase::Lingering { until } => self.ask(signal, None, until, now),
            // Suspended after it was asked, it could not hear.
            Phase::Asked { .. } if woken && self.policy.wake_stopped => {
                self.act(Effect::Signal(Reach::Group, Signal::CONT));
            }
            Phase::Asked { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill(&mut self, now: Instant) {
        self.resume(now);
        let alive = |before| Some(Fate { killed: Cause::Killed, forced: false, before });
        match self.phase {
            Phase::Running { .. } | Phase::Splaying { .. } => self.kill(alive(Cause::Own), now),
            Phase::Asked { leader, .. } => self.kill(leader.and_then(alive), now),
            Phase::Lingering { .. } => self.kill(None, now),
            // Once more does no harm, and ends what an unkillable process did meanwhile.
            Phase::Killed { .. } => self.act(Effect::KillTree),
            Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_detach(&mut self) {
        self.policy.leftovers = Leftovers::Leave;
        match &mut self.phase {
            Phase::Running { limit } => {
                *limit = None;
                self.act(Effect::Detach);
            }
            Phase::Splaying { limit, .. } => *limit = None,
            Phase::Lingering { .. } => self.leave(),
            // An end that was ordered stays ordered, also if we do not live to see it; but with a leader alive the
            // rest of it was the timeout's.
            Phase::Asked { latest, leader: Some(_), .. } => *latest = None,
            Phase::Asked { leader: None, .. }
            | Phase::Killed { .. }
            | Phase::Emptied { .. }
            | Phase::Gone => {}
        }
    }

    pub(crate) fn fact(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Exited { status, alone } => self.exited(status, alone, now),
            Fact::Empty => match self.phase {
                Phase::Asked { leader: None, .. }
                | Phase::Lingering { .. }
                | Phase::Killed { leader: None, .. } => self.emptied(),
                Phase::Running { .. }
                | Phase::Splaying { .. }
                | Phase::Asked { leader: Some(_), .. }
                | Phase::Killed { leader: Some(_), .. }
                | Phase::Emptied { .. }
                | Phase::Gone => {}
            },
            Fact::Reaped => {
                if let Phase::Emptied { left } = self.phase {
                    self.tell(News::Gone { left });
                    self.phase = Phase::Gone;
                }
            }
        }
    }

    fn exited(&mut self, status: Status, alone: bool, now: Instant) {
        let (cause, forced) = match self.phase {
            Phase::Running { .. } | Phase::Splaying { .. } => (Cause::Own, false),
            Phase::Asked { leader: Some(cause), .. } => (cause, false),
            Phase::Killed { leader: Some(fate), .. } => match status {
                Status::Signaled { signal: Signal::KILL, .. } | Status::Unknown => (fate.killed, fate.forced),
                Status::Exited(_) | Status::Signaled { .. } => (fate.before, false),
            },
            // It exits once.
            Phase::Asked { leader: None, .. }
            | Phase::Lingering { .. }
            | Phase::Killed { leader: None, .. }
            | Phase::Emptied { .. }
            | Phase::Gone => return,
        };
        self.tell(News::Exited { status, cause, forced });
        if alone {
            return self.emptied();
        }
        // Whoever exits was not suspended, or is no more.
        let woken = self.resume(now);
        match &mut self.phase {
            Phase::Running { .. } => self.left(now),
            Phase::Splaying { signal, .. } => {
                let signal = *signal;
                match self.policy.leftovers {
                    Leftovers::Kill => self.kill(None, now),
                    // A stop was ordered, of the whole tree; the splay ends with the leader.
                    Leftovers::Stop | Leftovers::Leave => self.ask(signal, None, None, now),
                    Leftovers::Wait { max } => {
                        self.ask(signal, None, max.and_then(|max| later(now, max)), now);
                    }
                }
            }
            Phase::Asked { latest, signal, widen, leader, .. } => {
                // The timeout was the leader's; the grace is everybody's.
                (*leader, *latest) = (None, None);
                let (signal, widened) = (*signal, widen.take().is_some());
                if widened {
                    self.signal_and_wake(Reach::Rest, signal);
                } else if woken && self.policy.wake_stopped {
                    self.act(Effect::Signal(Reach::Rest, Signal::CONT));
                }
                // Who left the group has not been asked: that was for the leader to do. Where it was asked alone, the
                // group has not been asked either, and strays are no better.
                if self.policy.target != Target::Leader {
                    self.signal_and_wake(Reach::Strays, signal);
                }
            }
            Phase::Killed { leader, .. } => *leader = None,
            Phase::Lingering { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    /// The leader has ended by itself, and something is left.
    fn left(&mut self, now: Instant) {
        match self.policy.leftovers {
            Leftovers::Stop => self.ask(self.policy.stop_signal, None, None, now),
            Leftovers::Kill => self.kill(None, now),
            Leftovers::Wait { max } => {
                self.phase = Phase::Lingering { until: max.and_then(|max| later(now, max)) };
            }
            Leftovers::Leave => self.leave(),
        }
    }

    /// Advances to `now` and says what to do next.
    pub(crate) fn poll(&mut self, now: Instant) -> Output {
        self.catch_up(now);
        self.outbox.pop_front().unwrap_or_else(|| Output::Wait(self.deadline()))
    }

    /// Does what is due. One deadline may bring the next: a grace of zero is over when it begins.
    fn catch_up(&mut self, now: Instant) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.overdue(now);
        }
    }

    /// Whether the driver should look if the tree is empty: the leader is dead, and something was left.
    pub(crate) fn awaits_empty(&self) -> bool {
        match self.phase {
            Phase::Asked { leader: None, .. }
            | Phase::Lingering { .. }
            | Phase::Killed { leader: None, .. } => true,
            Phase::Running { .. }
            | Phase::Splaying { .. }
            | Phase::Asked { leader: Some(_), .. }
            | Phase::Killed { leader: Some(_), .. }
            | Phase::Emptied { .. }
            | Phase::Gone => false,
        }
    }

    /// Whether the tree was killed, and may be there yet.
    pub(crate) fn is_killed(&self) -> bool {
        matches!(self.phase, Phase::Killed { .. })
    }

    /// Whether what held the tree is to be given back.
    pub(crate) fn is_emptied(&self) -> bool {
        matches!(self.phase, Phase::Emptied { .. })
    }

    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    fn deadline(&self) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        match self.phase {
            Phase::Running { limit } => limit,
            Phase::Splaying { until, limit, .. } => Some(limit.map_or(until, |limit| limit.min(until))),
            Phase::Asked { until, latest, widen, .. } => sooner(sooner(until, latest), widen),
            Phase::Lingering { until } | Phase::Killed { until, .. } => until,
            Phase::Emptied { .. } | Phase::Gone => None,
        }
    }

    fn overdue(&mut self, now: Instant) {
        match self.phase {
            Phase::Splaying { until, limit, signal }
                if until <= now && limit.is_none_or(|limit| until <= limit) =>
            {
                self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);
            }
            Phase::Running { .. } | Phase::Splaying { .. } => {
                self.tell(News::TimedOut);
                if self.policy.timeout_kills {
                    let fate = Fate { killed: Cause::TimedOut, forced: false, before: Cause::Own };
                    self.kill(Some(fate), now);
                } else {
                    self.ask(self.policy.stop_signal, Some(Cause::TimedOut), None, now);
                }
            }
            Phase::Asked { until, latest, leader, .. }
                if sooner(until, latest).is_some_and(|kill| kill <= now) =>
            {
                let fate = leader.map(|cause| Fate { killed: cause, forced: true, before: cause });
                self.kill(fate, now);
            }
            Phase::Asked { until, latest, signal, leader, .. } => {
                self.phase = Phase::Asked { until, latest, signal, widen: None, leader };
                self.signal_and_wake(Reach::Rest, signal);
            }
            Phase::Lingering { .. } => self.kill(None, now),
            Phase::Killed { leader, .. } => {
                self.tell(News::Stuck);
                self.phase = Phase::Killed { until: None, leader };
            }
            Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    /// A timeout that kills is not put off by a grace.
    fn last_word(&self, limit: Option<Instant>) -> Option<Instant> {
        limit.filter(|_| self.policy.timeout_kills)
    }

    /// Asks, and kills when the grace is over, or at `latest` if that is sooner.
    fn ask(&mut self, signal: Signal, leader: Option<Cause>, latest: Option<Instant>, now: Instant) {
        let (reach, widen) = match (self.policy.target, leader) {
            (Target::Leader, Some(_)) => (Reach::Leader, None),
            (Target::LeaderThenGroup { after }, Some(_)) => {
                (Reach::Leader, later(now, after).or(later(now, AGES)))
            }
            // Without a leader there is nobody who would tell the others.
            (Target::Group, Some(_)) => (Reach::Group, None),
            (Target::Group | Target::Leader | Target::LeaderThenGroup { .. }, None) => (Reach::All, None),
        };
        self.tell(News::Asked(signal));
        self.signal_and_wake(reach, signal);
        let until = self.policy.grace.and_then(|grace| later(now, grace));
        self.phase = Phase::Asked { until, latest, signal, widen, leader };
    }

    fn kill(&mut self, leader: Option<Fate>, now: Instant) {
        self.tell(News::Forced);
        self.act(Effect::KillTree);
        self.phase = Phase::Killed { until: later(now, self.policy.patience), leader };
    }

    /// What lives is to be left.
    fn leave(&mut self) {
        self.act(Effect::Detach);
        self.act(Effect::Reap);
        self.phase = Phase::Emptied { left: true };
    }

    fn emptied(&mut self) {
        self.act(Effect::Reap);
        self.phase = Phase::Emptied { left: false };
    }

    /// The patience with a killed tree does not stand still: SIGKILL ends a suspended process too.
    fn pause(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone) {
            self.paused.get_or_insert(now);
        }
    }

    /// A deadline moves by the time it stood still. Says whether it did.
    fn resume(&mut self, now: Instant) -> bool {
        let Some(since) = self.paused.take() else { return false };
        let stood = now.saturating_duration_since(since);
        let deadlines = match &mut self.phase {
            Phase::Running { limit } => [limit.as_mut(), None, None],
            Phase::Splaying { until, limit, .. } => [Some(until), limit.as_mut(), None],
            Phase::Asked { until, latest, widen, .. } => [until.as_mut(), latest.as_mut(), widen.as_mut()],
            Phase::Lingering { until } | Phase::Killed { until, .. } => [until.as_mut(), None, None],
            Phase::Emptied { .. } | Phase::Gone => [None, None, None],
        };
        for deadline in deadlines.into_iter().flatten() {
            *deadline = later(*deadline, stood).unwrap_or(*deadline);
        }
        true
    }

    fn signal(&mut self, reach: Reach, signal: Signal) {
        self.act(Effect::Signal(reach, signal));
        self.tell(News::Signalled(signal));
    }

    fn signal_and_wake(&mut self, reach: Reach, signal: Signal) {
        self.act(Effect::Signal(reach, signal));
        if self.policy.wake_stopped {
            self.act(Effect::Signal(reach, Signal::CONT));
        }
    }

    fn act(&mut self, effect: Effect) {
        self.outbox.push_back(Output::Do(effect));
    }

    fn tell(&mut self, news: News) {
        self.outbox.push_back(Output::Tell(news));
    }
}

/// Longer than anything runs, and still within the clock.
const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `None` where the clock cannot hold it: that is never.
fn later(now: Instant, by: Duration) -> Option<Instant> {
    now.checked_add(by)
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;

//! [`Event`]: what happened to a run, in order.

use std::time::{Duration, SystemTime};

use crate::{Exit, Proof, Signal, Stuck};

/// Something that happened to a run; [`Child::events`](crate::Child::events) tells all of them, from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// How long after the start, by a clock that nobody sets.
    pub elapsed: Duration,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The program was executed.
    Started {
        /// The leader's pid.
        pid: u32,
    },
    /// A signal without an intent was delivered: [`Child::signal`](crate::Child::signal).
    Signalled(Signal),
    /// A stop waits for this long before it asks.
    Splaying(Duration),
    /// The timeout is over; asking or killing follows.
    TimedOut,
    /// The tree was asked to end with this signal.
    Asked(Signal),
    /// The whole tree was killed.
    Forced,
    /// Killed, and still there.
    Stuck(Stuck),
    /// The leader is dead.
    Exited(Exit),
    /// The leader was stopped by this signal, as by Ctrl-Z. Only a guard notices that.
    Suspended(Signal),
    /// The leader was continued. Only a guard notices that, and not where it is stopped again at once.
    Continued,
    /// The guard was killed, which is the end of the tree too.
    GuardLost,
    /// Nothing of the tree is left, or what is left was to be left; and by what that is known. The last event.
    Gone(Proof),
}

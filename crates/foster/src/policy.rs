//! [`Policy`]: how a run may end. Every default stands in the doctest.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::Signal;

/// How a run is stopped, how long it may take, and what becomes of what it leaves.
///
/// A policy is plain data; [`Command`](crate::Command) has a method for each field.
///
/// ```
/// use foster::{Leftovers, Policy, Signal, Target};
/// use std::time::Duration;
///
/// let policy = Policy::default();
/// assert_eq!(policy.stop_signal, Signal::TERM);
/// assert_eq!(policy.target, Target::Group);
/// assert_eq!(policy.grace, Some(Duration::from_secs(5)));
/// assert_eq!(policy.splay, Duration::ZERO);
/// assert_eq!(policy.timeout, None);
/// assert_eq!(policy.timeout_kills, false);
/// assert_eq!(policy.leftovers, Leftovers::Kill);
/// assert_eq!(policy.wake_stopped, true);
/// assert_eq!(policy.patience, Duration::from_secs(5));
/// assert_eq!(policy.drain, Duration::from_millis(500));
/// assert_eq!(policy.drain_max, Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "kill_signal")]
pub struct Policy {
    /// What a stop sends to ask for the end.
    pub stop_signal: Signal,
    /// Who is asked. The kill always goes to everything.
    pub target: Target,
    /// The time between asking and killing; `None` waits for ever.
    ///
    /// The default is half of what `docker stop` gives a container, so that a program that ignores the signal
    /// and its leftovers both fit into that.
    #[doc(alias = "kill_timeout")]
    #[doc(alias = "kill_after")]
    #[doc(alias = "waitdelay")]
    pub grace: Option<Duration>,
    /// A stop waits for a random time in `[0, splay)` before it asks, so that a fleet does not move at once.
    pub splay: Duration,
    /// The longest the leader may run; then it is stopped, without a splay, whether or not anybody waits.
    /// `None` sets no limit; [`Duration::ZERO`] is a limit that has already passed.
    #[doc(alias = "limit")]
    pub timeout: Option<Duration>,
    /// The timeout kills at once and does not ask first.
    pub timeout_kills: bool,
    /// What becomes of the tree when the leader has ended by itself.
    #[doc(alias = "orphans")]
    pub leftovers: Leftovers,
    /// A stop signal is followed by [`Signal::CONT`], so that a stopped process hears it.
    pub wake_stopped: bool,
    /// How long a killed tree may take to die before [`Stuck`](crate::Stuck) is told.
    pub patience: Duration,
    /// How long, once the leader is dead and all that it wrote is read, its output is listened to while nothing
    /// comes: somebody else may hold the pipe. Then what was captured is told, and
    /// [`Captured::drained`](crate::Captured::drained) is false. A sink that nobody waits for, such as a function or
    /// a file, goes on getting what comes.
    #[doc(alias = "waitdelay")]
    pub drain: Duration,
    /// The longest that takes, though something comes again and again. It is also how long a slow sink may take for one
    /// piece of what was written before the exit, which is told no sooner.
    pub drain_max: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            stop_signal: Signal::TERM,
            target: Target::Group,
            grace: Some(Duration::from_secs(5)),
            splay: Duration::ZERO,
            timeout: None,
            timeout_kills: false,
            leftovers: Leftovers::Kill,
            wake_stopped: true,
            patience: Duration::from_secs(5),
            drain: Duration::from_millis(500),
            drain_max: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// The default, which most have, once for all.
    pub(crate) fn shared() -> Arc<Policy> {
        static DEFAULT: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        DEFAULT.clone()
    }
}

/// Who gets a signal that is not a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Everybody in the leader's process group.
    Group,
    /// The leader alone: for masters that manage their workers themselves.
    Leader,
    /// The leader alone, and the rest of the group when this time has passed or the leader is gone.
    LeaderThenGroup {
        /// How long the leader has to end the rest itself.
        after: Duration,
    },
}

/// What becomes of that part of the tree that still lives when the leader has ended by itself.
///
/// Whatever it is, a waiter learns the exit at once, and [`Exit::leftovers`](crate::Exit::leftovers) lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// They are asked with the stop signal, and killed when the grace is over.
    Stop,
    /// They are killed at once.
    Kill,
    /// They may finish; what is left after `max` is killed.
    Wait {
        /// The longest they may take; `None` sets no limit.
        max: Option<Duration>,
    },
    /// They are left alone, and the run counts as gone.
    Leave,
}

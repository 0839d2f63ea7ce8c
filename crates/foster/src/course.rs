//! The course of a run: its machine and what goes with it, made when the first thing happens to it. Thousands rest for
//! hours, and need none of this before.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Policy;
use crate::lifecycle::{self, Lifecycle};
use crate::watch::Ended;

#[derive(Debug)]
pub(crate) struct Course {
    policy: Arc<Policy>,
    way: Option<Box<Way>>,
}

/// From the first order, fact or deadline to the end.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) machine: Lifecycle,
    /// How the leader ended, for the machine's news of the exit.
    pub(crate) ended: Option<(Ended, Instant, Vec<u32>)>,
    /// Why the last kill did not reach everybody.
    pub(crate) refused: Option<io::Error>,
    /// When to look again, and how long until the look after.
    pub(crate) look: Option<Instant>,
    pub(crate) pace: Duration,
}

/// A tree that empties tells nobody: one looks, soon at first, then less often.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(1);
pub(crate) const SLOWEST_LOOK: Duration = Duration::from_millis(50);
/// A guard tells, unless somebody has stopped it.
pub(crate) const LINGERING_LOOK: Duration = Duration::from_secs(1);

impl Course {
    pub(crate) fn new(policy: Arc<Policy>) -> Course {
        Course { policy, way: None }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// When something happens to it though nobody does anything.
    pub(crate) fn limit(&self, started: Instant) -> Option<Instant> {
        lifecycle::limit(&self.policy, started)
    }

    /// Whether nothing has happened yet.
    pub(crate) fn rests(&self) -> bool {
        self.way.is_none()
    }

    /// What there is, if anything has happened.
    pub(crate) fn way(&mut self) -> Option<&mut Way> {
        self.way.as_deref_mut()
    }

    /// Something happens. A machine to which nothing has happened stands at its beginning.
    pub(crate) fn go(&mut self, started: Instant) -> &mut Way {
        self.way.get_or_insert_with(|| {
            let machine = Lifecycle::new(Policy::clone(&self.policy), started);
            Way { machine, ended: None, refused: None, look: None, pace: FIRST_LOOK }.into()
        })
    }
}

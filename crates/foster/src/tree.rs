//! The seam of containment: what holds a tree together, so that it can be signalled, killed and proven empty.
//!
//! A tree is held by its process group ([`Group`]), by a guard with a mechanism of the kernel's to help it
//! ([`Guarded`]; the mechanisms are a file each), or by this process itself, which is then PID 1 or does what PID 1
//! must ([`Init`]).

use std::fmt::Debug;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::guard::Guards;
use crate::lifecycle::Reach;
use crate::watch::{Ended, Watch};
use crate::{Contained, Proof, Signal};

mod cgroup;
pub(crate) mod choice;
mod freezer;
mod group;
pub(crate) mod guarded;
mod init;
mod landlock;
mod leaf;
mod namespace;
pub(crate) mod proc;
pub(crate) mod strategy;
mod subreaper;

pub(crate) use group::Group;
pub(crate) use init::Init;
pub(crate) use leaf::sweep::sweep;

/// What holds a tree.
pub(crate) trait Tree: Debug + Send {
    /// The leader's pid.
    fn leader(&self) -> u32;

    /// What the engine is to watch; when one of these is ready, there is news.
    fn watched(&self) -> Vec<Watched<'_>>;

    /// What the engine is to watch besides once the leader has run for a while: it says what who is watched says sooner,
    /// but for when that is held back.
    fn watched_later(&self) -> Option<Watched<'_>> {
        None
    }

    /// The leader, if it is our child and nothing else is watched: a thread can sleep until it is dead, and wakes also
    /// when somebody else takes in its end. News of a guard are read by one.
    fn own_child(&self) -> Option<Watch> {
        None
    }

    /// Takes in the news and returns what is not to be asked for otherwise.
    fn hear(&mut self) -> Vec<Heard> {
        Vec::new()
    }

    /// How the leader ended, if it has; its identity stays ours.
    fn leader_ended(&mut self) -> Option<Ended>;

    /// The signal that stopped the leader, if it is stopped now.
    fn stopped(&self) -> Option<Signal>;

    /// Reaches those processes and no stranger; `Ok` when nobody is left.
    fn signal(&mut self, reach: Reach, signal: Signal) -> io::Result<()>;

    /// Forces everything the tree holds.
    fn kill(&mut self) -> io::Result<()>;

    /// Whether somebody is to tell us something soon, and is to be [urged](Tree::urge) should he not. `killed`: the tree
    /// was.
    fn is_late(&self, _killed: bool) -> bool {
        false
    }

    /// Has who is late go on: somebody may have stopped him, again and again.
    fn urge(&self) {}

    /// It was killed, and is still there: whatever else there is to be done.
    fn kill_again(&mut self) {}

    /// When we end, nothing happens to the tree.
    fn detach(&mut self) {}

    /// Who lives, without the leader; nobody where `/proc` is not ours to read.
    fn members(&self) -> Vec<u32>;

    /// The leader has died: who lives, and whether that is nobody.
    fn leftovers(&mut self, now: Instant) -> (Vec<u32>, bool);

    /// Whether nobody lives but the leader. It is cheap, and says no while it is too early to look again.
    fn is_empty(&mut self, now: Instant) -> bool;

    /// Whether nobody tells us that the tree is empty, so that we must look now and then.
    fn must_be_asked(&self) -> bool;

    /// Why it is known that nothing is left.
    fn proof(&self) -> Proof;

    /// Gives back what the run holds. `false`: that takes a moment, and something watched will tell.
    fn reap(&mut self) -> bool;

    /// A guard that lives on because the tree does: it is to be reaped when it ends.
    fn survivor(&mut self) -> Option<Guards> {
        None
    }

    /// Ends and reaps all of it, before anybody knew of it.
    fn discard(&mut self);

    /// What holds it, in words; what was tried before is the caller's to say.
    fn contained(&self) -> Contained;
}

/// A tree where the run keeps it. A group, of which there may be thousands, takes no memory of its own.
#[derive(Debug)]
pub(crate) enum Held {
    Group(Group),
    Other(Box<dyn Tree>),
}

impl Deref for Held {
    type Target = dyn Tree;

    fn deref(&self) -> &Self::Target {
        match self {
            Held::Group(group) => group,
            Held::Other(tree) => &**tree,
        }
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Held::Group(group) => group,
            Held::Other(tree) => &mut **tree,
        }
    }
}

/// What tells the engine that there is news.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watched<'a> {
    /// A guard's word, now and then.
    Link(BorrowedFd<'a>),
    /// That a process is dead.
    Process(BorrowedFd<'a>),
}

impl AsFd for Watched<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Watched::Link(descriptor) | Watched::Process(descriptor) => *descriptor,
        }
    }
}

/// What a tree tells unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Suspended(Signal),
    Continued,
    GuardLost,
}

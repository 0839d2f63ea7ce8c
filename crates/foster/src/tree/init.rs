//! A tree that this process ends itself, because it is PID 1: whoever loses its parent comes to us, and when we end,
//! the kernel ends our pid namespace. There is no guard, which nobody would need.
//!
//! What somebody else started in our namespace (`podman exec`) has a parent outside it and is not ours, until it leaves
//! an orphan.

use std::io;
use std::time::Instant;

use super::group::{Group, signal_each};
use super::{Tree, Watched, proc, strategy};
use crate::lifecycle::Reach;
use crate::watch::{Ended, Watch};
use crate::{Contained, Level, Mechanism, Proof, Signal, Survives, init};

#[derive(Debug)]
pub(crate) struct Init {
    group: Group,
    killed: bool,
    exited: bool,
}

impl Init {
    pub(crate) fn new(group: Group) -> Init {
        Init { group, killed: false, exited: false }
    }

    fn each(&self, signal: Signal, fits: impl Fn(&proc::Process) -> bool) -> io::Result<()> {
        signal_each(&self.members(), signal, fits)
    }

    fn strays(&self, signal: Signal) -> io::Result<()> {
        let leader = self.leader();
        self.each(signal, |process| process.group != leader)
    }
}

impl Tree for Init {
    fn leader(&self) -> u32 {
        self.group.leader()
    }

    fn watched(&self) -> Vec<Watched<'_>> {
        self.group.watched()
    }

    fn own_child(&self) -> Option<Watch> {
        self.group.own_child()
    }

    fn leader_ended(&mut self) -> Option<Ended> {
        let ended = self.group.leader_ended();
        self.exited |= ended.is_some();
        ended
    }

    fn stopped(&self) -> Option<Signal> {
        self.group.stopped()
    }

    fn signal(&mut self, reach: Reach, signal: Signal) -> io::Result<()> {
        match reach {
            Reach::Leader | Reach::Group | Reach::Rest => self.group.signal(reach, signal),
            Reach::Strays => self.strays(signal),
            Reach::All => {
                let group = self.group.signal(Reach::Group, signal);
                self.strays(signal).and(group)
            }
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.killed = true;
        let group = self.group.kill();
        self.each(Signal::KILL, |_| true).and(group)
    }

    fn members(&self) -> Vec<u32> {
        let all = proc::descendants(&[std::process::id()]).unwrap_or_default();
        let leader = self.leader();
        all.iter()
            .filter(|process| process.pid != leader && !process.is_dead())
            .map(|process| process.pid)
            .collect()
    }

    fn leftovers(&mut self, _: Instant) -> (Vec<u32>, bool) {
        init::reap_strangers(self.leader());
        let alone = init::is_childless();
        (if alone { Vec::new() } else { self.members() }, alone)
    }

    fn is_empty(&mut self, _: Instant) -> bool {
        init::reap_strangers(self.leader());
        if self.killed && self.exited {
            // Whoever was born meanwhile.
            _ = self.each(Signal::KILL, |_| true);
        }
        init::is_childless()
    }

    fn must_be_asked(&self) -> bool {
        true
    }

    fn proof(&self) -> Proof {
        Proof::Echild
    }

    fn reap(&mut self) -> bool {
        self.group.reap()
    }

    fn discard(&mut self) {
        self.group.discard();
    }

    fn contained(&self) -> Contained {
        Contained {
            level: Level::Tracked,
            mechanism: Mechanism::Init,
            guard: None,
            survives: strategy::survives(Mechanism::Init, false, false),
            tried: Vec::new(),
        }
    }
}

/// Who is not root cannot kill what became somebody else's, and nobody outruns a bomb by looking.
pub(super) fn survives(all: Survives) -> Survives {
    Survives { setuid_child: rustix::process::geteuid().is_root(), fork_bomb: false, ..all }
}

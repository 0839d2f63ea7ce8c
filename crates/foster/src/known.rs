//! What is known of one run, and stands on its board: its events, how it ended, and what it wrote.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use crate::board::{Board, Wake};
use crate::{Captured, Event, EventKind, Exit, Proof, Stuck};

#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) exit: Option<Exit>,
    /// `Err` while the tree is stuck, `Ok` once nothing is left of it.
    pub(crate) end: Option<Result<Proof, Stuck>>,
    pub(crate) events: Vec<Event>,
    /// What was captured of stdout and of stderr.
    captured: [Capturing; 2],
    /// How many streams have not delivered yet what was written before the exit.
    lagging: usize,
    /// The exit, and what came after it, until they have.
    withheld: Vec<Event>,
}

/// What becomes of the output of one stream.
#[derive(Debug, Default)]
enum Capturing {
    /// It is not captured.
    #[default]
    Not,
    Pending,
    Done(Captured),
}

/// After so many events a run's log takes no more [`EventKind::Signalled`], so that a program that is sent signals
/// for months does not fill our memory. All other kinds happen a few times in a life.
const LOG: usize = 4096;

impl Known {
    /// The leader is dead, whether or not that has been told.
    pub(crate) fn is_dead(&self) -> bool {
        self.exit.is_some() || !self.withheld.is_empty()
    }

    /// What was captured, once nothing more will be.
    pub(crate) fn output(&self) -> Option<[Captured; 2]> {
        let done = |capturing: &Capturing| match capturing {
            Capturing::Not => Some(Captured::default()),
            Capturing::Pending => None,
            Capturing::Done(captured) => Some(captured.clone()),
        };
        Some([done(&self.captured[0])?, done(&self.captured[1])?])
    }

    fn note(&mut self, event: Event) {
        match &event.kind {
            EventKind::Exited(exit) => self.exit = Some(exit.clone()),
            EventKind::Stuck(stuck) => self.end = Some(Err(stuck.clone())),
            EventKind::Gone(proof) => self.end = Some(Ok(*proof)),
            EventKind::Signalled(_) if self.events.len() >= LOG => return,
            _ => {}
        }
        self.events.push(event);
    }
}

impl Board<Known> {
    /// Posts an event. The exit waits for what was written before it.
    pub(crate) fn post(&self, run: &Arc<str>, event: Event) -> Wake<'_> {
        let logged = (LevelFilter::current() >= LevelFilter::DEBUG).then(|| event.clone());
        let (told, mut wake) = self.change(|known| {
            let held_up = known.lagging > 0 && matches!(event.kind, EventKind::Exited(_));
            if held_up || !known.withheld.is_empty() {
                known.withheld.push(event);
                return false;
            }
            known.note(event);
            true
        });
        if let Some(event) = logged.filter(|_| told) {
            wake.log(run, event);
        }
        wake
    }

    /// From now on the exit waits for one more stream.
    pub(crate) fn lags(&self) {
        self.change_quietly(|known| known.lagging += 1);
    }

    /// One stream has delivered what was written before the exit.
    pub(crate) fn caught_up(&self, run: &Arc<str>) -> Wake<'_> {
        let (told, mut wake) = self.change(|known| {
            known.lagging -= 1;
            let told = if known.lagging == 0 { std::mem::take(&mut known.withheld) } else { Vec::new() };
            for event in &told {
                known.note(event.clone());
            }
            told
        });
        if LevelFilter::current() >= LevelFilter::DEBUG {
            for event in told {
                wake.log(run, event);
            }
        }
        wake
    }

    /// Stdout, or stderr, is captured.
    pub(crate) fn will_capture(&self, stream: usize) {
        self.change_quietly(|known| known.captured[stream] = Capturing::Pending);
    }

    pub(crate) fn has_captured(&self, stream: usize, captured: Captured) -> Wake<'_> {
        self.change(|known| known.captured[stream] = Capturing::Done(captured)).1
    }
}

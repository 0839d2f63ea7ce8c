//! What is known of one run, and stands on its board: its events, how it ended, and what it wrote.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use crate::board::{Board, Wake};
use crate::{Captured, Event, EventKind, Exit, Proof, Stream, Stuck};

/// Thousands sleep for hours: what comes late, or seldom, takes no room before it comes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    exit: Option<Box<Exit>>,
    /// `Err` while the tree is stuck, `Ok` once nothing is left of it.
    pub(crate) end: Option<Result<Proof, Box<Stuck>>>,
    pub(crate) events: Vec<Event>,
    /// What becomes of stdout and of stderr, if we read one of them.
    streams: Option<Box<[Reading; 2]>>,
    /// How many streams have not delivered yet what was written before it.
    lagging: usize,
    /// The exit, or a suspension, and what came after it, until they have.
    withheld: Vec<Event>,
}

/// What becomes of the output of one stream.
#[derive(Debug, Default)]
enum Reading {
    /// It is not read by us.
    #[default]
    Not,
    Pending,
    /// Nothing more is waited for. What is not captured is empty.
    Done(Captured),
}

/// After so many events a run's log takes no more [`EventKind::Signalled`], so that a program that is sent signals
/// for months does not fill our memory. All other kinds happen a few times in a life.
const LOG: usize = 4096;

impl Known {
    /// The leader is dead, whether or not that has been told.
    pub(crate) fn is_dead(&self) -> bool {
        self.exit.is_some() || self.withheld.iter().any(|event| matches!(event.kind, EventKind::Exited(_)))
    }

    /// The exit, once it may be told.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.exit.as_deref().cloned()
    }

    /// What was captured, once nothing more is waited for.
    pub(crate) fn output(&self) -> Option<[Captured; 2]> {
        let done = |reading: &Reading| match reading {
            Reading::Not => Some(Captured::default()),
            Reading::Pending => None,
            Reading::Done(captured) => Some(captured.clone()),
        };
        match &self.streams {
            Some(streams) => Some([done(&streams[0])?, done(&streams[1])?]),
            None => Some(Default::default()),
        }
    }

    fn note(&mut self, event: Event) {
        match &event.kind {
            EventKind::Exited(exit) => self.exit = Some(exit.clone().into()),
            EventKind::Stuck(stuck) => self.end = Some(Err(stuck.clone().into())),
            EventKind::Gone(proof) => self.end = Some(Ok(*proof)),
            EventKind::Signalled(_) if self.events.len() >= LOG => return,
            _ => {}
        }
        if self.events.is_empty() {
            // The start, after which nothing happens for as long as the program likes.
            self.events.reserve_exact(1);
        }
        self.events.push(event);
    }

    fn stream(&mut self, stream: Stream) -> &mut Reading {
        &mut self.streams.get_or_insert_default()[stream as usize]
    }
}

impl Board<Known> {
    /// Posts an event. The exit waits for what was written before it, a suspension for what was shown.
    pub(crate) fn post(&self, run: &Arc<str>, event: Event) -> Wake {
        let logged = (LevelFilter::current() >= LevelFilter::DEBUG).then(|| event.clone());
        let (told, mut wake) = self.change(|known| {
            let waits = matches!(event.kind, EventKind::Exited(_) | EventKind::Suspended(_));
            let held_up = known.lagging > 0 && waits;
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
    pub(crate) fn caught_up(&self, run: &Arc<str>) -> Wake {
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

    /// This stream is read by us.
    pub(crate) fn will_read(&self, stream: Stream) {
        self.change_quietly(|known| *known.stream(stream) = Reading::Pending);
    }

    /// Nothing more of this stream is waited for.
    pub(crate) fn has_read(&self, stream: Stream, captured: Captured) -> Wake {
        self.change(|known| *known.stream(stream) = Reading::Done(captured)).1
    }
}

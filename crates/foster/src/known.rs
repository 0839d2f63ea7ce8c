//! What is known of one run, and stands on its board: its events, how it ended, and what it wrote.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use crate::board::{Board, Topics, Wake};
use crate::{Captured, Event, EventKind, Exit, Proof, Stream, Stuck};

/// Something has happened.
pub(crate) const EVENT: Topics = 1;
/// How the leader ended.
pub(crate) const EXIT: Topics = 1 << 1;
/// Nothing is left of the tree, or it is stuck.
pub(crate) const END: Topics = 1 << 2;
/// What was written.
pub(crate) const OUTPUT: Topics = 1 << 3;

/// Thousands sleep for hours: what comes late, or seldom, takes no room before it comes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What has happened since the start.
    log: Option<Box<Log>>,
    /// What becomes of the streams, if we read one of them.
    streams: Option<Box<Streams>>,
}

#[derive(Debug, Default)]
struct Log {
    exit: Option<Exit>,
    /// `Err` while the tree is stuck, `Ok` once nothing is left of it.
    end: Option<Result<Proof, Box<Stuck>>>,
    events: Vec<Event>,
    /// The exit, or a suspension, and what came after it, until each stream has delivered what was written before.
    withheld: Vec<Event>,
}

#[derive(Debug, Default)]
struct Streams {
    /// Stdout, stderr.
    readings: [Reading; 2],
    /// How many have not delivered yet what was written before the exit, or before a suspension.
    lagging: usize,
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

/// After so many events, the start included, a run's log takes no more [`EventKind::Signalled`], so that a program that is sent signals
/// for months does not fill our memory. All other kinds happen a few times in a life.
const LOG: usize = 4096;

impl Known {
    /// The leader is dead, whether or not that has been told.
    pub(crate) fn is_dead(&self) -> bool {
        self.log.as_ref().is_some_and(|log| {
            log.exit.is_some() || log.withheld.iter().any(|event| matches!(event.kind, EventKind::Exited(_)))
        })
    }

    /// The exit, once it may be told.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.log.as_ref()?.exit.clone()
    }

    /// `Err` while the tree is stuck, `Ok` once nothing is left of it.
    pub(crate) fn end(&self) -> Option<Result<Proof, &Stuck>> {
        self.log.as_ref()?.end.as_ref().map(|end| end.as_ref().copied().map_err(|stuck| &**stuck))
    }

    /// What may be told of what has happened since the start, which is the run's own to tell.
    pub(crate) fn events(&self) -> &[Event] {
        self.log.as_ref().map_or(&[][..], |log| &log.events)
    }

    /// What was captured, once nothing more is waited for.
    pub(crate) fn output(&self) -> Option<[Captured; 2]> {
        let done = |reading: &Reading| match reading {
            Reading::Not => Some(Captured::default()),
            Reading::Pending => None,
            Reading::Done(captured) => Some(captured.clone()),
        };
        match &self.streams {
            Some(streams) => Some([done(&streams.readings[0])?, done(&streams.readings[1])?]),
            None => Some(Default::default()),
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.get_or_insert_default()
    }

    fn stream(&mut self, stream: Stream) -> &mut Reading {
        &mut self.streams.get_or_insert_default().readings[stream as usize]
    }

    fn lagging(&mut self) -> &mut usize {
        &mut self.streams.get_or_insert_default().lagging
    }
}

impl Log {
    /// Says for whom that is news.
    fn note(&mut self, event: Event) -> Topics {
        let topics = match &event.kind {
            EventKind::Exited(exit) => {
                self.exit = Some(exit.clone());
                EVENT | EXIT
            }
            EventKind::Stuck(stuck) => {
                self.end = Some(Err(stuck.clone().into()));
                EVENT | END
            }
            EventKind::Gone(proof) => {
                self.end = Some(Ok(*proof));
                EVENT | END
            }
            EventKind::Signalled(_) if self.events.len() + 1 >= LOG => return 0,
            _ => EVENT,
        };
        self.events.push(event);
        topics
    }
}

impl Board<Known> {
    /// Posts an event. The exit waits for what was written before it, a suspension for what was shown.
    pub(crate) fn post(&self, run: &Arc<str>, event: Event) -> Wake {
        let logged = (LevelFilter::current() >= LevelFilter::DEBUG).then(|| event.clone());
        let (told, mut wake) = self.change(|known| {
            let waits = matches!(event.kind, EventKind::Exited(_) | EventKind::Suspended(_));
            let held_up = waits && known.streams.as_ref().is_some_and(|streams| streams.lagging > 0);
            let log = known.log();
            if held_up || !log.withheld.is_empty() {
                log.withheld.push(event);
                return (false, 0);
            }
            (true, log.note(event))
        });
        if let Some(event) = logged.filter(|_| told) {
            wake.log(run, event);
        }
        wake
    }

    /// From now on the exit waits for one more stream.
    pub(crate) fn lags(&self) {
        self.change_quietly(|known| *known.lagging() += 1);
    }

    /// One stream has delivered what was written before the exit.
    pub(crate) fn caught_up(&self, run: &Arc<str>) -> Wake {
        let (told, mut wake) = self.change(|known| {
            let lagging = known.lagging();
            *lagging -= 1;
            if *lagging > 0 {
                return (Vec::new(), 0);
            }
            let Some(log) = &mut known.log else { return (Vec::new(), 0) };
            let told = std::mem::take(&mut log.withheld);
            let topics = told.iter().fold(0, |topics, event| topics | log.note(event.clone()));
            (told, topics)
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
        self.change(|known| (*known.stream(stream) = Reading::Done(captured), OUTPUT)).1
    }
}

//! What is known of one run: posted once, read by many, from threads and from tasks of any runtime.
//!
//! Threads sleep on a condition variable, tasks leave a waker; neither holds anything that the other needs, and a
//! reader who comes late reads the same as one who came early. Wakers are run without a lock held, since they are
//! somebody else's code.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tracing::debug;
use tracing::level_filters::LevelFilter;

use crate::{Event, EventKind, Exit, Proof, Stuck};

#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) exit: Option<Exit>,
    /// `Err` while the tree is stuck, `Ok` once nothing is left of it.
    pub(crate) end: Option<Result<Proof, Stuck>>,
    pub(crate) events: Vec<Event>,
    wakers: BTreeMap<u64, Waker>,
    next_key: u64,
    /// How many threads sleep.
    sleepers: usize,
}

/// After so many events a run's log takes no more [`EventKind::Signalled`], so that a program that is sent signals
/// for months does not fill our memory. All other kinds happen a few times in a life.
const LOG: usize = 4096;

impl Board {
    /// Posts, and gives back who must be woken, and what is to be logged, once the caller holds no lock.
    pub(crate) fn post<'a>(&'a self, label: &'a str, event: Event) -> Wake<'a> {
        let mut log = Vec::new();
        if LevelFilter::current() >= LevelFilter::DEBUG {
            log.push((label, event.clone()));
        }
        let mut state = self.state();
        match &event.kind {
            EventKind::Exited(exit) => state.exit = Some(exit.clone()),
            EventKind::Stuck(stuck) => state.end = Some(Err(stuck.clone())),
            EventKind::Gone(proof) => state.end = Some(Ok(*proof)),
            EventKind::Signalled(_) if state.events.len() >= LOG => {
                return Wake { threads: None, tasks: Vec::new(), log };
            }
            _ => {}
        }
        state.events.push(event);
        Wake {
            threads: (state.sleepers > 0).then_some(&self.changed),
            tasks: std::mem::take(&mut state.wakers).into_values().collect(),
            log,
        }
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state())
    }

    /// Blocks until `look` sees something, or the deadline passes.
    pub(crate) fn wait<T>(&self, deadline: Option<Instant>, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(seen) = look(&state) {
                return Some(seen);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            state.sleepers += 1;
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleepers -= 1;
        }
    }

    /// The same for a task. `key` is the task's place on the board; it is given back by [`Board::forget`].
    pub(crate) fn poll<T>(
        &self,
        key: &mut Option<u64>,
        context: &mut Context<'_>,
        look: impl FnOnce(&State) -> Option<T>,
    ) -> Poll<T> {
        // Cloning a waker is somebody else's code too: before the lock.
        let waker = context.waker().clone();
        let mut state = self.state();
        if let Some(seen) = look(&state) {
            return Poll::Ready(seen);
        }
        let key = *key.get_or_insert_with(|| {
            state.next_key += 1;
            state.next_key
        });
        let replaced = state.wakers.insert(key, waker);
        drop(state);
        // And so is dropping one: after it.
        drop(replaced);
        Poll::Pending
    }

    /// A task that is no longer interested takes its waker back.
    pub(crate) fn forget(&self, key: Option<u64>) {
        if let Some(key) = key {
            let waker = self.state().wakers.remove(&key);
            drop(waker);
        }
    }

    /// No user code runs under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to be woken, and what is to be logged. Both are somebody else's code, and run when this is dropped: hold
/// it until no lock is held, by declaring it before the lock's guard.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wake<'a> {
    threads: Option<&'a Condvar>,
    tasks: Vec<Waker>,
    log: Vec<(&'a str, Event)>,
}

impl<'a> Wake<'a> {
    pub(crate) fn and(&mut self, mut more: Wake<'a>) {
        self.threads = self.threads.or(more.threads.take());
        self.tasks.append(&mut more.tasks);
        self.log.append(&mut more.log);
    }
}

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        if let Some(threads) = self.threads {
            threads.notify_all();
        }
        // One that panics must not take the engine, or the others, with it.
        for waker in self.tasks.drain(..) {
            _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for (run, event) in self.log.drain(..) {
            _ = catch_unwind(|| debug!(run, event = ?event.kind, "event"));
        }
    }
}

//! A board: something that is changed by one and read by many, from threads and from tasks of any runtime.
//!
//! Threads sleep on a condition variable, tasks leave a waker; neither holds anything that the other needs, and a
//! reader who comes late reads the same as one who came early. Wakers are run without a lock held, since they are
//! somebody else's code.
//!
//! What stands on a board has topics, and a thread that sleeps for one of them is not woken for another: on a machine
//! that is full, that is a turn more for somebody who is on his way to an end. A task is polled for all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tracing::debug;

use crate::Event;

#[derive(Debug, Default)]
pub(crate) struct Board<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// It is changed and read under the lock, and lies here for its size.
    sleepers: Sleepers,
}

/// What a change is about, or somebody waits for; bits, whose meaning is the board's user's.
pub(crate) type Topics = u8;

/// All of them.
pub(crate) const ANY: Topics = Topics::MAX;

/// How many threads sleep, which are never as many as 2²⁴ (Linux has 2²² pids), and below that for what topics.
#[derive(Debug, Default)]
struct Sleepers(AtomicU32);

impl Sleepers {
    fn enter(&self, topics: Topics) {
        self.0.store((self.0.load(Ordering::Relaxed) + ONE_SLEEPER) | u32::from(topics), Ordering::Relaxed);
    }

    /// What it waited for is kept as long as anybody sleeps: at worst somebody is woken who need not be.
    fn leave(&self) {
        let left = self.0.load(Ordering::Relaxed) - ONE_SLEEPER;
        self.0.store(if left < ONE_SLEEPER { 0 } else { left }, Ordering::Relaxed);
    }

    fn wait_for(&self, topics: Topics) -> bool {
        self.0.load(Ordering::Relaxed) & u32::from(topics) != 0
    }
}

const ONE_SLEEPER: u32 = 1 << Topics::BITS;

#[derive(Debug, Default)]
struct State<T> {
    value: T,
    /// `None` as long as no task has waited.
    tasks: Option<Box<Tasks>>,
}

/// The tasks that wait.
#[derive(Debug, Default)]
struct Tasks {
    /// By their places, in ascending order.
    wakers: Vec<(u64, Waker)>,
    last_place: u64,
}

impl Tasks {
    /// Returns the waker that was there before.
    fn leave(&mut self, place: u64, waker: Waker) -> Option<Waker> {
        match self.wakers.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(at) => Some(std::mem::replace(&mut self.wakers[at].1, waker)),
            Err(at) => {
                if self.wakers.is_empty() {
                    // Most are alone.
                    self.wakers.reserve_exact(1);
                }
                self.wakers.insert(at, (place, waker));
                None
            }
        }
    }

    fn forget(&mut self, place: u64) -> Option<Waker> {
        let at = self.wakers.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some(self.wakers.remove(at).1)
    }

    fn take(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers).into_iter().map(|(_, waker)| waker).collect()
    }
}

impl<T> Board<T> {
    /// Changes what stands there, wakes the threads that sleep for that, and gives back the tasks that must be woken, once
    /// the caller holds no lock. The change says what it was about.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> (R, Topics)) -> (R, Wake) {
        let mut state = self.state();
        let (result, topics) = change(&mut state.value);
        if topics == 0 {
            return (result, Wake::default());
        }
        let tasks = state.tasks.as_mut().map_or_else(Vec::new, |tasks| tasks.take());
        let somebody_sleeps = self.sleepers.wait_for(topics);
        drop(state);
        if somebody_sleeps {
            // Now: they need none of the caller's locks, and he may have much to do yet.
            self.changed.notify_all();
        }
        (result, Wake { tasks, log: Vec::new() })
    }

    /// Changes what nobody waits for.
    pub(crate) fn change_quietly<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.state().value)
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.state().value)
    }

    /// Whether anybody waits for a change.
    pub(crate) fn has_company(&self) -> bool {
        let state = self.state();
        self.sleepers.wait_for(ANY) || state.tasks.as_ref().is_some_and(|tasks| !tasks.wakers.is_empty())
    }

    /// Blocks until `look` sees something, which only a change about these topics can bring, or the deadline passes. It may
    /// take what it sees: nobody is woken for that.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        topics: Topics,
        mut look: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.state();
        loop {
            if let Some(seen) = look(&mut state.value) {
                return Some(seen);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return None;
            }
            self.sleepers.enter(topics);
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            self.sleepers.leave();
        }
    }

    /// The same for a task. `place` is the task's place on the board; it is given back by [`Board::forget`].
    pub(crate) fn poll<R>(
        &self,
        place: &mut Option<u64>,
        context: &mut Context<'_>,
        look: impl FnOnce(&mut T) -> Option<R>,
    ) -> Poll<R> {
        // Cloning a waker is somebody else's code too: before the lock.
        let waker = context.waker().clone();
        let mut state = self.state();
        if let Some(seen) = look(&mut state.value) {
            return Poll::Ready(seen);
        }
        let tasks = state.tasks.get_or_insert_default();
        let place = *place.get_or_insert_with(|| {
            tasks.last_place += 1;
            tasks.last_place
        });
        let replaced = tasks.leave(place, waker);
        drop(state);
        // And so is dropping one: after it.
        drop(replaced);
        Poll::Pending
    }

    /// A task that is no longer interested takes its waker back.
    pub(crate) fn forget(&self, place: Option<u64>) {
        if let Some(place) = place {
            // Dropped after the lock is given back.
            let waker = self.state().tasks.as_mut().and_then(|tasks| tasks.forget(place));
            drop(waker);
        }
    }

    /// What is seen, when it is there: for a task that has no future of its own to keep its place in.
    pub(crate) async fn seen<R>(&self, mut look: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut place = Place { board: self, key: None };
        std::future::poll_fn(|context| place.board.poll(&mut place.key, context, &mut look)).await
    }

    /// No user code runs under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's place on the board, given back also when its future is dropped.
struct Place<'a, T> {
    board: &'a Board<T>,
    key: Option<u64>,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.board.forget(self.key);
    }
}

/// Which tasks are to be woken, and what is to be logged. Both are somebody else's code, and run when this is
/// dropped: hold it until no lock is held, by declaring it before the lock's guard.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wake {
    tasks: Vec<Waker>,
    log: Vec<(Arc<str>, Event)>,
}

impl Wake {
    pub(crate) fn and(&mut self, mut more: Wake) {
        self.tasks.append(&mut more.tasks);
        self.log.append(&mut more.log);
    }

    /// Of which run what is to be logged.
    pub(crate) fn log(&mut self, run: &Arc<str>, event: Event) {
        self.log.push((run.clone(), event));
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        // One that panics must not take the engine, or the others, with it.
        for waker in self.tasks.drain(..) {
            survives(|| waker.wake());
        }
        for (run, event) in self.log.drain(..) {
            survives(|| debug!(run = &*run, event = ?event.kind, "event"));
        }
    }
}

/// Runs somebody else's code. Says whether it did not panic.
pub(crate) fn survives(act: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(act)) else { return true };
    // What it panics with is somebody else's too, and may panic when it is dropped. What that panics with is kept.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    false
}

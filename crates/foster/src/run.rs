//! One run: where decisions become acts. A [`Run`] is a lifecycle, its tree, its streams and its board.
//!
//! Whoever has news takes the run's lock, tells the machine, and performs what it answers: the engine with an exit
//! or a deadline, a caller with an order. So an order has been carried out when the call returns, with its errno,
//! and no order needs a thread to wake up. Nobody holds that lock while waiting, and no user code runs under it. The
//! engine does not even wait for the lock: whoever has it takes in what the engine brought meanwhile.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::EventFlags;
use tracing::level_filters::LevelFilter;

use crate::adopted::Adopted;
use crate::board::{Board, Wake};
use crate::course::{Course, FIRST_LOOK, LINGERING_LOOK, SLOWEST_LOOK, Way};
use crate::engine::{Engine, Look};
use crate::known::Known;
use crate::lifecycle::{Effect, Fact, News, Order, Output};
use crate::pump::{Feed, Pump};
use crate::tree::proc::Process;
use crate::tree::{self, Heard, Tree, Watched};
use crate::watch::Watch;
use crate::{Captured, Event, EventKind, Exit, Policy, Proof, Stream, Stuck};

/// One run, shared by its handles and the engine.
#[derive(Debug)]
pub(crate) struct Run {
    id: u64,
    engine: &'static Engine,
    pub(crate) label: Arc<str>,
    board: Arc<Board<Known>>,
    /// A thread sleeps until the leader is dead, and the engine does not watch for that.
    slept_for: AtomicBool,
    pub(crate) pid: u32,
    /// From when it was started until it was executed, in microseconds.
    executed: u32,
    started: (Instant, SystemTime),
    /// `None` once the run is gone: then there is no pid to misuse, and no descriptor is kept.
    held: Mutex<Option<Held>>,
    /// What the engine has seen and nobody has taken in yet.
    seen: AtomicU8,
    /// `None` where we neither read nor feed anything.
    streams: Option<Box<Streams>>,
}

/// What we read of it, and what we feed it.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) pumps: Vec<Arc<Pump>>,
    pub(crate) feed: Option<Arc<Feed>>,
    /// What we hold open as long as the leader lives: an input that ends with it; the program's side of its terminal,
    /// which it may let go of and open again.
    pub(crate) until_exit: Mutex<Vec<OwnedFd>>,
}

/// What belongs to whoever holds the run's lock.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that comes for itself")]
struct Held {
    course: Course,
    tree: tree::Held,
    /// The leader's end has been collected.
    exited: bool,
    /// The leader's pidfd says that it is dead, and its status is kept from us: somebody traces it.
    withheld: bool,
    /// The engine watches the tree.
    watched: bool,
    /// But for what is watched later.
    partly: bool,
    /// Where the run stands in the engine's timetable.
    queued: Option<Instant>,
}

/// Something may have become of the leader, or a deadline may have passed.
const LOOK: u8 = 1;
/// The same, and a descriptor of the tree has said so.
const READY: u8 = 1 << 1;

/// How long a leader runs before the engine watches what [`Tree::watched_later`] says.
const LATER: Duration = Duration::from_millis(100);

/// When that is due; or, where it was due and could not be done, when to try again.
fn later(partly: bool, started: Instant, now: Instant) -> Option<Instant> {
    let due = started.checked_add(LATER).filter(|due| *due > now).or_else(|| now.checked_add(LATER));
    due.filter(|_| partly)
}

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}

impl Held {
    /// Whether nothing has happened to it, and nothing is due.
    fn rests(&self, now: Instant) -> bool {
        self.course.rests()
            && !self.withheld
            && !self.tree.is_late(false)
            && self.queued.is_none_or(|due| now < due)
    }
}

impl Run {
    /// Registers a leader that has just been started. On failure the tree is killed and reaped.
    pub(crate) fn admit(
        engine: &'static Engine,
        label: Arc<str>,
        board: Arc<Board<Known>>,
        policy: Arc<Policy>,
        tree: tree::Held,
        streams: Option<Streams>,
        started: (Instant, SystemTime),
    ) -> io::Result<Arc<Run>> {
        let course = Course::new(policy);
        let partly = tree.watched_later().is_some();
        let queued = sooner(course.limit(started.0), later(partly, started.0, started.0));
        let mut held = Held { course, tree, exited: false, withheld: false, watched: false, partly, queued };
        let run = engine.register(|id| {
            Arc::new(Run {
                id,
                engine,
                label,
                board,
                slept_for: AtomicBool::new(false),
                pid: held.tree.leader(),
                executed: started.0.elapsed().as_micros().try_into().unwrap_or(u32::MAX),
                started,
                held: Mutex::new(None),
                seen: AtomicU8::new(0),
                streams: streams.map(Box::new),
            })
        });
        if LevelFilter::current() >= LevelFilter::DEBUG {
            Wake::default().log(&run.label, run.start());
        }
        run.with_held(|place, wake| {
            if let Err(error) = run.watch(held.tree.watched()) {
                engine.unregister(run.id);
                held.tree.discard();
                return Err(error);
            }
            held.watched = true;
            if queued.is_some() {
                engine.requeue(run.id, None, queued);
            }
            *place = Some(held);
            wake.and(run.drive(place, Instant::now()).1);
            Ok(())
        })?;
        Ok(run)
    }

    /// Gives an order. It has been carried out when this returns. To what is gone it is nothing.
    pub(crate) fn order(&self, order: Order) -> io::Result<()> {
        self.with_held(|held, wake| {
            let now = Instant::now();
            // What has happened already comes first, so that no signal is sent to what is known to be dead.
            wake.and(self.take_in(held, now));
            let Some(known) = held.as_mut() else { return Ok(()) };
            known.course.go(self.started.0).machine.order(order, now);
            let (done, more) = self.drive(held, now);
            wake.and(more);
            done
        })
    }

    /// The policy's splay, while there is somebody to stop.
    pub(crate) fn splay(&self) -> Duration {
        self.with_held(|held, _| held.as_ref().map_or(Duration::ZERO, |held| held.course.policy().splay))
    }

    /// Kills what still runs; what its leader has left is the policy's business.
    pub(crate) fn abandon(&self) {
        // The board first: whoever was woken by it would run into the lock of whoever posted.
        if self.board.read(Known::is_dead) {
            return;
        }
        if self.with_held(|held, _| held.as_ref().is_some_and(|held| !held.exited)) {
            _ = self.order(Order::Kill);
        }
    }

    /// Where to wait for news. Somebody besides the thread that sleeps: from now on the engine brings them, so that
    /// nobody depends on when that thread has its turn.
    pub(crate) fn board(&self) -> &Board<Known> {
        if self.slept_for.load(Ordering::Relaxed) {
            self.engine_watches_again();
        }
        &self.board
    }

    /// The first event. It is not kept: most runs have no other for as long as they last.
    pub(crate) fn start(&self) -> Event {
        let elapsed = Duration::from_micros(self.executed.into());
        Event { at: self.started.1 + elapsed, elapsed, kind: EventKind::Started { pid: self.pid } }
    }

    /// What is known, without waiting for more.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Known) -> R) -> R {
        self.board.read(look)
    }

    /// A task no longer waits.
    pub(crate) fn forget(&self, place: Option<u64>) {
        self.board.forget(place);
    }

    /// As [`board`](Run::board), for a thread that has nothing to wait for before the leader is dead: where it is the
    /// only one, it sleeps until then in the kernel, and takes in the end itself. That saves the way over the engine's
    /// thread.
    pub(crate) fn board_of_the_dead(&self) -> &Board<Known> {
        if let Some(leader) = self.falls_asleep() {
            leader.sleep_until_dead();
            // Closed with the tree, which may be gone now.
            drop(leader);
            self.look_at(true);
            self.engine_watches_again();
        }
        self.board()
    }

    /// The leader, from now on unwatched, if it is our child and nobody else waits.
    fn falls_asleep(&self) -> Option<Watch> {
        self.with_held(|held, _| {
            let held = held.as_mut().filter(|held| held.watched && !held.exited)?;
            let leader = held.tree.own_child().filter(|_| !self.board.has_company())?;
            self.slept_for.store(true, Ordering::Relaxed);
            self.unwatch(held);
            Some(leader)
        })
    }

    fn engine_watches_again(&self) {
        self.with_held(|place, wake| {
            if self.slept_for.swap(false, Ordering::Relaxed)
                && let Some(held) = place.as_mut().filter(|held| !held.exited && !held.withheld)
            {
                held.watched = self.watch(held.tree.watched()).is_ok();
                if !held.watched {
                    // No memory for a watch that was there before: one looks now and then.
                    held.withheld = true;
                    wake.and(self.drive(place, Instant::now()).1);
                }
            }
        });
    }

    /// Somebody wants to know what is known by now.
    pub(crate) fn look_now(&self) {
        self.look_at(false);
    }

    fn look_at(&self, dead: bool) {
        self.with_held(|held, wake| wake.and(self.see(held, dead)));
    }

    /// Something may have become of the leader, or a deadline may have passed. `dead`: the leader's pidfd says so.
    fn see(&self, place: &mut Option<Held>, dead: bool) -> Wake {
        let now = Instant::now();
        let mut wake = self.take_in(place, now);
        let Some(held) = place.as_mut() else { return wake };
        if dead && !held.exited && !held.withheld && held.tree.must_be_asked() {
            // Its tracer has to look first. The pidfd would be ready for ever; so we ask now and then.
            held.withheld = true;
            self.unwatch(held);
        }
        if held.partly && !held.exited && now.saturating_duration_since(self.started.0) >= LATER {
            held.partly = self.watch(held.tree.watched_later()).is_err();
            // That was nothing to it.
            if held.course.rests() && !held.withheld {
                let limit = held.course.limit(self.started.0);
                let next = sooner(limit, later(held.partly, self.started.0, now));
                self.engine.requeue(self.id, held.queued, next);
                held.queued = next;
            }
        }
        if let Some(way) = held.course.way()
            && way.look.is_some_and(|look| look <= now)
        {
            way.look = None;
            if held.tree.is_late(way.machine.is_killed() || way.machine.awaits_empty()) {
                held.tree.urge();
            }
            if held.exited && held.tree.is_empty(now) {
                way.machine.fact(Fact::Empty, now);
            }
        }
        wake.and(self.drive(place, now).1);
        wake
    }

    /// The signal that stopped the leader, if it is stopped now.
    pub(crate) fn stopped(&self) -> Option<crate::Signal> {
        self.look_at(false);
        self.with_held(|held, _| {
            held.as_ref().filter(|held| !held.exited).and_then(|held| held.tree.stopped())
        })
    }

    /// Takes in what has become of the tree, and acts on it.
    fn take_in(&self, guard: &mut Option<Held>, now: Instant) -> Wake {
        let Some(held) = guard.as_mut() else { return Wake::default() };
        let started = self.started.0;
        let mut wake = Wake::default();
        let mut news = false;
        for heard in held.tree.hear() {
            if let Heard::Suspended(_) = heard {
                self.pumps().for_each(|pump| wake.and(pump.leader_suspended()));
            }
            wake.and(self.post(match heard {
                Heard::Suspended(signal) => EventKind::Suspended(signal),
                Heard::Continued => EventKind::Continued,
                Heard::GuardLost => {
                    // What it held is not held any more: the promise is kept by ending it.
                    held.course.go(started).machine.order(Order::Kill, now);
                    news = true;
                    EventKind::GuardLost
                }
            }));
        }
        if !held.exited
            && let Some(ended) = held.tree.leader_ended()
        {
            held.exited = true;
            held.withheld = false;
            wake.and(self.settle_streams(now));
            let (leftovers, alone) = held.tree.leftovers(now);
            let fact = Fact::Exited { status: ended.status, alone };
            let way = held.course.go(started);
            way.ended = Some((ended, now, leftovers));
            way.machine.fact(fact, now);
            // The end is told before anything is given back.
            wake.and(self.drive(guard, now).1);
            news = false;
        }
        let Some(held) = guard.as_mut() else { return wake };
        if let Some(way) = held.course.way() {
            if held.exited && !held.tree.must_be_asked() && held.tree.is_empty(now) {
                way.machine.fact(Fact::Empty, now);
                news = true;
            }
            if way.machine.is_emptied() && held.tree.reap() {
                way.machine.fact(Fact::Reaped, now);
                news = true;
            }
        }
        if news {
            wake.and(self.drive(guard, now).1);
        }
        wake
    }

    /// Performs what the machine says until it comes to rest. The error is that of the first signal that could not
    /// be delivered.
    fn drive(&self, guard: &mut Option<Held>, now: Instant) -> (io::Result<()>, Wake) {
        let mut result = Ok(());
        let mut delivered = true;
        let mut wake = Wake::default();
        let mut gone = None;
        let Some(held) = guard.as_mut().filter(|held| !held.rests(now)) else {
            return (result, wake);
        };
        let (tree, way) = (&mut *held.tree, held.course.go(self.started.0));
        let deadline = loop {
            match way.machine.poll(now) {
                Output::Do(Effect::Signal(reach, signal)) => {
                    let sent = tree.signal(reach, signal);
                    delivered = sent.is_ok();
                    result = result.and(sent);
                }
                Output::Do(Effect::KillTree) => {
                    way.refused = tree.kill().err();
                    way.pace = FIRST_LOOK;
                }
                Output::Do(Effect::Detach) => tree.detach(),
                Output::Do(Effect::Reap) => {
                    if tree.reap() {
                        way.machine.fact(Fact::Reaped, now);
                    }
                }
                // What reached nobody is the caller's to know, by the error.
                Output::Tell(News::Signalled(_)) if !delivered => {}
                Output::Tell(news) => match self.kind_of(tree, way, held.exited, news) {
                    Some(kind @ EventKind::Gone(_)) => gone = Some(kind),
                    Some(kind) => wake.and(self.post(kind)),
                    None => {}
                },
                Output::Wait(deadline) => break deadline,
            }
        };
        let ask = way.machine.awaits_empty() && tree.must_be_asked();
        if ask || held.withheld {
            if way.look.is_none() {
                way.look = now.checked_add(way.pace);
                way.pace = (way.pace * 2).min(SLOWEST_LOOK);
            }
        } else if tree.is_late(way.machine.is_killed()) || way.machine.is_emptied() {
            // It has been urged just now, and is about to tell or to end, unless it is stopped once more.
            way.look = way.look.or(now.checked_add(SLOWEST_LOOK));
        } else if way.machine.awaits_empty() {
            way.look = way.look.or(now.checked_add(LINGERING_LOOK));
        } else {
            way.look = None;
        }
        let later = later(held.partly && !held.exited, self.started.0, now);
        let next = sooner(sooner(deadline, way.look), later);
        if next != held.queued {
            self.engine.requeue(self.id, held.queued, next);
            held.queued = next;
        }
        // Before it is told: who reads that it is gone finds neither its zombie nor its descriptors; but for a thread
        // that slept for its end, which is about to let go of the pidfd.
        if way.machine.is_gone() {
            self.unwatch(held);
            self.engine.unregister(self.id);
            if let Some(survivor) = held.tree.survivor() {
                Adopted::start(self.engine, survivor);
            }
            *guard = None;
        }
        if let Some(gone) = gone {
            wake.and(self.post(gone));
        }
        (result, wake)
    }

    fn kind_of(&self, tree: &mut dyn Tree, way: &mut Way, exited: bool, news: News) -> Option<EventKind> {
        Some(match news {
            News::Signalled(signal) => EventKind::Signalled(signal),
            News::Splaying(delay) => EventKind::Splaying(delay),
            News::TimedOut => EventKind::TimedOut,
            News::Asked(signal) => EventKind::Asked(signal),
            News::Forced => EventKind::Forced,
            News::Stuck => {
                tree.kill_again();
                let mut pids = tree.members();
                pids.extend((!exited).then(|| tree.leader()));
                let state = |pid: &u32| Process::of(*pid).map_or('?', |process| process.state.into());
                let states = pids.iter().map(state).collect();
                let why = way.refused.as_ref().map(ToString::to_string);
                EventKind::Stuck(Stuck { label: self.label.clone(), pids, states, why })
            }
            News::Exited { status, cause, forced } => {
                let (ended, at, leftovers) = way.ended.take()?;
                EventKind::Exited(Exit {
                    status,
                    cause,
                    forced,
                    usage: ended.usage,
                    started: self.started.1,
                    elapsed: at.saturating_duration_since(self.started.0),
                    leftovers,
                })
            }
            News::Gone { left: true } => EventKind::Gone(Proof::Left),
            News::Gone { left: false } => EventKind::Gone(tree.proof()),
        })
    }

    /// The leader is dead: what it wrote is delivered before that is told, and nothing is fed to it any more.
    fn settle_streams(&self, now: Instant) -> Wake {
        let mut wake = Wake::default();
        let Some(streams) = &self.streams else { return wake };
        // First what we hold, so that an end is seen as one.
        streams.until_exit.lock().unwrap_or_else(PoisonError::into_inner).clear();
        streams.pumps.iter().for_each(|pump| wake.and(pump.leader_exited(now)));
        streams.feed.iter().for_each(|feed| feed.close());
        wake
    }

    fn pumps(&self) -> impl Iterator<Item = &Arc<Pump>> {
        self.streams.iter().flat_map(|streams| &streams.pumps)
    }

    /// What has been captured of this stream so far.
    pub(crate) fn captured_so_far(&self, stream: Stream) -> Option<Captured> {
        self.pumps().find(|pump| pump.stream() == stream)?.so_far()
    }

    fn post(&self, kind: EventKind) -> Wake {
        let elapsed = self.started.0.elapsed();
        self.board.post(&self.label, Event { at: SystemTime::now(), elapsed, kind })
    }

    /// Has the engine look when there is news: of a link each time, where all that is there is taken in; of a process
    /// once, when it ends, and not again when it is reaped.
    fn watch<'a>(&self, watched: impl IntoIterator<Item = Watched<'a>>) -> io::Result<()> {
        watched.into_iter().try_for_each(|watched| {
            let flags = match watched {
                Watched::Link(_) => EventFlags::IN | EventFlags::ET,
                Watched::Process(_) => EventFlags::IN | EventFlags::ONESHOT,
            };
            self.engine.watch(watched, self.id, flags)
        })
    }

    /// Before the descriptors are closed: epoll watches the files behind them, which may live on elsewhere.
    fn unwatch(&self, held: &mut Held) {
        if std::mem::take(&mut held.watched) {
            held.tree.watched().into_iter().for_each(|watched| self.engine.unwatch(watched));
            if let Some(later) = held.tree.watched_later().filter(|_| !held.partly) {
                self.engine.unwatch(later);
            }
        }
    }

    /// Acts under the run's lock, then takes in what the engine has seen meanwhile, and then, without the lock, wakes.
    fn with_held<R>(&self, act: impl FnOnce(&mut Option<Held>, &mut Wake) -> R) -> R {
        let mut wake = Wake::default();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut held, &mut wake);
        drop(held);
        self.take_in_what_was_seen(&mut wake);
        result
    }

    /// What the engine has seen is taken in by the engine, or by who has the lock.
    fn take_in_what_was_seen(&self, wake: &mut Wake) {
        loop {
            // Between what was written and what is read next, on both sides: the engine notes what it has seen and then
            // tries the lock, the other gives the lock back and then reads the note. One of the two sees the other's.
            fence(Ordering::SeqCst);
            if self.seen.load(Ordering::Relaxed) == 0 {
                return;
            }
            let Some(mut held) = self.try_held() else { return };
            let seen = self.seen.swap(0, Ordering::Relaxed);
            if seen != 0 {
                wake.and(self.see(&mut held, seen & READY != 0));
            }
        }
    }

    /// `None`: somebody has it.
    fn try_held(&self) -> Option<MutexGuard<'_, Option<Held>>> {
        match self.held.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
impl Run {
    /// While this thread has the run's lock.
    pub(crate) fn while_locked<R>(&self, act: impl FnOnce() -> R) -> R {
        self.with_held(|_, _| act())
    }

    pub(crate) fn has_something_to_take_in(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != 0
    }
}

impl Look for Run {
    fn id(&self) -> u64 {
        self.id
    }

    fn look(self: Arc<Run>, ready: bool) {
        let mut wake = Wake::default();
        self.seen.fetch_or(if ready { READY } else { LOOK }, Ordering::Relaxed);
        self.take_in_what_was_seen(&mut wake);
    }
}

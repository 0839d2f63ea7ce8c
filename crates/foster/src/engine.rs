//! Where decisions become acts: a [`Run`] is a lifecycle, its tree and its board; the [`Engine`] is the one thread
//! that brings the runs their facts.
//!
//! Whoever has news takes the run's lock, tells the machine, and performs what it answers: the engine with an exit
//! or a deadline, a caller with an order. So an order has been carried out when the call returns, with its errno,
//! and no order needs a thread to wake up. Nobody holds that lock while waiting, and no user code runs under it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::board::{Board, Wake};
use crate::lifecycle::{Effect, Fact, Lifecycle, News, Order, Output};
use crate::spawn;
use crate::tree::proc::Process;
use crate::tree::{Heard, Tree};
use crate::watch::{Collect, Watch};
use crate::{Event, EventKind, Exit, Policy, Proof, Stuck};

/// One run, shared by its handles and the engine.
#[derive(Debug)]
pub(crate) struct Run {
    id: u64,
    engine: &'static Engine,
    pub(crate) label: Arc<str>,
    pub(crate) board: Board,
    started: (Instant, SystemTime),
    /// `None` once the run is gone: then there is no pid to misuse, and no descriptor is kept.
    held: Mutex<Option<Held>>,
}

/// What belongs to whoever holds the run's lock.
#[derive(Debug)]
struct Held {
    machine: Lifecycle,
    tree: Box<dyn Tree>,
    /// The leader's end has been collected.
    exited: bool,
    /// How it ended, for the machine's news of the exit.
    ended: Option<(crate::watch::Ended, Instant, Vec<u32>)>,
    /// The leader's pidfd says that it is dead, and its status is kept from us: somebody traces it.
    withheld: bool,
    /// Why the last kill did not reach everybody.
    refused: Option<io::Error>,
    /// When to look again, and how long until the look after.
    look: Option<Instant>,
    pace: Duration,
    /// Where the run stands in the engine's timetable.
    queued: Option<Instant>,
}

/// A tree that empties tells nobody: one looks, soon at first, then less often.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const SLOWEST_LOOK: Duration = Duration::from_millis(50);

impl Run {
    /// Registers a leader that has just been started. On failure the tree is killed and reaped.
    pub(crate) fn admit(
        engine: &'static Engine,
        label: Arc<str>,
        policy: Policy,
        tree: Box<dyn Tree>,
        started: (Instant, SystemTime),
    ) -> io::Result<Arc<Run>> {
        let mut held = Held {
            machine: Lifecycle::new(policy, started.0),
            tree,
            exited: false,
            ended: None,
            withheld: false,
            refused: None,
            look: None,
            pace: FIRST_LOOK,
            queued: None,
        };
        let id = engine.next_id.fetch_add(1, Ordering::Relaxed);
        let run =
            Arc::new(Run { id, engine, label, board: Board::default(), started, held: Mutex::new(None) });
        drop(run.post(EventKind::Started { pid: held.tree.leader() }));
        engine.runs().insert(id, run.clone());
        let mut guard = run.held();
        if let Err(error) = engine.watch(id, held.tree.as_ref()) {
            engine.runs().remove(&id);
            held.tree.discard();
            return Err(error);
        }
        *guard = Some(held);
        // Nobody has asked yet, so there is nobody to wake.
        _ = run.drive(&mut guard, Instant::now());
        drop(guard);
        Ok(run)
    }

    /// Gives an order. It has been carried out when this returns. To what is gone it is nothing.
    pub(crate) fn order(&self, order: Order) -> io::Result<()> {
        // Declared first, so that it is dropped, and wakes, after the lock is given back.
        let mut wake = Wake::default();
        let mut guard = self.held();
        let now = Instant::now();
        // What has happened already comes first, so that no signal is sent to what is known to be dead.
        wake.and(self.take_in(&mut guard, now));
        let Some(held) = guard.as_mut() else { return Ok(()) };
        held.machine.order(order, now);
        let (done, more) = self.drive(&mut guard, now);
        wake.and(more);
        done
    }

    /// Kills what still runs; what its leader has left is the policy's business.
    pub(crate) fn abandon(&self) {
        // The board first: whoever was woken by it would run into the lock of whoever posted.
        if self.board.read(|state| state.exit.is_some()) {
            return;
        }
        if self.held().as_ref().is_some_and(|held| !held.exited) {
            _ = self.order(Order::Kill);
        }
    }

    /// Something may have become of the leader, or a deadline may have passed. `dead`: the leader's pidfd says so.
    pub(crate) fn look(&self, dead: bool) {
        let mut wake = Wake::default();
        let mut guard = self.held();
        let now = Instant::now();
        wake.and(self.take_in(&mut guard, now));
        let Some(held) = guard.as_mut() else { return };
        if dead && !held.exited && !held.withheld && held.tree.must_be_asked() {
            // Its tracer has to look first. The pidfd would be ready for ever; so we ask now and then.
            held.withheld = true;
            self.engine.unwatch(held.tree.as_ref());
        }
        if held.look.is_some_and(|look| look <= now) {
            held.look = None;
            if held.exited && held.tree.is_empty(now) {
                held.machine.fact(Fact::Empty, now);
            }
        }
        let (_, more) = self.drive(&mut guard, now);
        wake.and(more);
    }

    /// The signal that stopped the leader, if it is stopped now.
    pub(crate) fn stopped(&self) -> Option<crate::Signal> {
        self.look(false);
        self.held().as_ref().filter(|held| !held.exited).and_then(|held| held.tree.stopped())
    }

    /// Takes in what has become of the tree, and acts on it.
    fn take_in(&self, guard: &mut Option<Held>, now: Instant) -> Wake<'_> {
        let Some(held) = guard.as_mut() else { return Wake::default() };
        let mut wake = Wake::default();
        let mut news = false;
        for heard in held.tree.hear() {
            wake.and(self.post(match heard {
                Heard::Suspended(signal) => EventKind::Suspended(signal),
                Heard::Continued => EventKind::Continued,
                Heard::GuardLost => {
                    // What it held is not held any more: the promise is kept by ending it.
                    held.machine.order(Order::Kill, now);
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
            let (leftovers, alone) = held.tree.leftovers(now);
            let fact = Fact::Exited { status: ended.status, alone };
            held.ended = Some((ended, now, leftovers));
            held.machine.fact(fact, now);
            news = true;
        }
        if held.exited && !held.tree.must_be_asked() && held.tree.is_empty(now) {
            held.machine.fact(Fact::Empty, now);
            news = true;
        }
        if held.machine.is_emptied() && held.tree.reap() {
            held.machine.fact(Fact::Reaped, now);
            news = true;
        }
        if news {
            wake.and(self.drive(guard, now).1);
        }
        wake
    }

    /// Performs what the machine says until it comes to rest. The error is that of the first signal that could not
    /// be delivered.
    fn drive(&self, guard: &mut Option<Held>, now: Instant) -> (io::Result<()>, Wake<'_>) {
        let mut result = Ok(());
        let mut delivered = true;
        let mut happened = Vec::new();
        let Some(held) = guard.as_mut() else { return (result, Wake::default()) };
        let deadline = loop {
            match held.machine.poll(now) {
                Output::Do(Effect::Signal(reach, signal)) => {
                    let sent = held.tree.signal(reach, signal);
                    delivered = sent.is_ok();
                    result = result.and(sent);
                }
                Output::Do(Effect::KillTree) => {
                    held.refused = held.tree.kill().err();
                    held.pace = FIRST_LOOK;
                }
                Output::Do(Effect::Detach) => held.tree.detach(),
                Output::Do(Effect::Reap) => {
                    if held.tree.reap() {
                        held.machine.fact(Fact::Reaped, now);
                    }
                }
                // What reached nobody is the caller's to know, by the error.
                Output::Tell(News::Signalled(_)) if !delivered => {}
                Output::Tell(news) => happened.extend(self.kind_of(held, news)),
                Output::Wait(deadline) => break deadline,
            }
        };
        // What gives back takes a moment, and is asked for again should nobody tell.
        let ask = held.machine.awaits_empty() && held.tree.must_be_asked() || held.machine.is_emptied();
        if !ask && !held.withheld {
            held.look = None;
        } else if held.look.is_none() {
            held.look = now.checked_add(held.pace);
            held.pace = (held.pace * 2).min(SLOWEST_LOOK);
        }
        let next = match (deadline, held.look) {
            (Some(deadline), Some(look)) => Some(deadline.min(look)),
            (deadline, look) => deadline.or(look),
        };
        if next != held.queued {
            self.engine.requeue(self.id, held.queued, next);
            held.queued = next;
        }
        // Posted last: who reads that it is gone finds neither its zombie nor its descriptors.
        if held.machine.is_gone() {
            self.engine.unwatch(held.tree.as_ref());
            self.engine.runs().remove(&self.id);
            if let Some(survivor) = held.tree.survivor() {
                self.engine.adopt(survivor);
            }
            *guard = None;
        }
        let mut wake = Wake::default();
        for kind in happened {
            wake.and(self.post(kind));
        }
        (result, wake)
    }

    fn kind_of(&self, held: &mut Held, news: News) -> Option<EventKind> {
        Some(match news {
            News::Signalled(signal) => EventKind::Signalled(signal),
            News::Splaying(delay) => EventKind::Splaying(delay),
            News::TimedOut => EventKind::TimedOut,
            News::Asked(signal) => EventKind::Asked(signal),
            News::Forced => EventKind::Forced,
            News::Stuck => {
                held.tree.kill_again();
                let mut pids = held.tree.members();
                pids.extend((!held.exited).then(|| held.tree.leader()));
                let state = |pid: &u32| Process::of(*pid).map_or('?', |process| process.state.into());
                let states = pids.iter().map(state).collect();
                let why = held.refused.as_ref().map(ToString::to_string);
                EventKind::Stuck(Stuck { label: self.label.clone(), pids, states, why })
            }
            News::Exited { status, cause, forced } => {
                let (ended, at, leftovers) = held.ended.take()?;
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
            News::Gone { left: false } => EventKind::Gone(held.tree.proof()),
        })
    }

    fn post(&self, kind: EventKind) -> Wake<'_> {
        let elapsed = self.started.0.elapsed();
        self.board.post(&self.label, Event { at: SystemTime::now(), elapsed, kind })
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The background thread's side: which runs there are, which pidfds it watches, and when it must wake up.
#[derive(Debug)]
pub(crate) struct Engine {
    epoll: OwnedFd,
    timer: OwnedFd,
    runs: Mutex<HashMap<u64, Arc<Run>>>,
    /// Guards that live on with a tree that was left alone.
    adopted: Mutex<HashMap<u64, Watch>>,
    timetable: Mutex<Timetable>,
    next_id: AtomicU64,
}

/// When which run must be looked at.
#[derive(Debug, Default)]
struct Timetable {
    entries: BTreeSet<(Instant, u64)>,
    /// What the timer is set to. It is never later than the first entry.
    armed: Option<Instant>,
}

/// How many deadlines are done before the exits have their turn again.
const BATCH: usize = 32;

/// What an event of the timer carries where the others carry the run's id.
const TIMER: u64 = 0;

impl Engine {
    /// The process's engine, started at the first call.
    pub(crate) fn get() -> io::Result<&'static Engine> {
        static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());

        if let Some(engine) = ENGINE.get() {
            return Ok(engine);
        }
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = ENGINE.get() {
            return Ok(engine);
        }
        let engine = Engine::start()?;
        Ok(ENGINE.get_or_init(|| engine))
    }

    fn start() -> io::Result<Arc<Engine>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let engine = Arc::new(Engine {
            epoll,
            timer,
            runs: Mutex::default(),
            adopted: Mutex::default(),
            timetable: Mutex::default(),
            next_id: AtomicU64::new(TIMER + 1),
        });
        let ours = engine.clone();
        // No signal of the host's is ever handled on it.
        let thread = thread::Builder::new().name("foster".to_string());
        spawn::start_thread(thread, move || ours.work())?;
        Ok(engine)
    }

    fn work(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).is_err() {
                continue; // EINTR, by a debugger
            }
            for event in &events {
                match event.data.u64() {
                    TIMER => self.deadlines(),
                    id => self.look(id, true),
                }
            }
        }
    }

    fn look(&self, id: u64, dead: bool) {
        let run = self.runs().get(&id).cloned();
        match run {
            Some(run) => run.look(dead),
            None => self.reap_adopted(id),
        }
    }

    fn deadlines(&self) {
        let mut ticks = [0; 8];
        _ = rustix::io::read(&self.timer, &mut ticks);
        let mut due = Vec::with_capacity(BATCH);
        {
            let mut timetable = self.timetable();
            timetable.armed = None;
            let now = Instant::now();
            while let Some(&(deadline, id)) = timetable.entries.first()
                && deadline <= now
                && due.len() < BATCH
            {
                timetable.entries.pop_first();
                due.push(id);
            }
            self.arm(&mut timetable);
        }
        for id in due {
            self.look(id, false);
        }
    }

    /// Moves a run's place in the timetable.
    fn requeue(&self, id: u64, from: Option<Instant>, to: Option<Instant>) {
        let mut timetable = self.timetable();
        if let Some(from) = from {
            timetable.entries.remove(&(from, id));
        }
        if let Some(to) = to {
            timetable.entries.insert((to, id));
        }
        self.arm(&mut timetable);
    }

    /// Sets the timer to the first entry, unless it rings before that anyway. Under the timetable's lock, so that
    /// what the timer is set to is what the table says.
    fn arm(&self, timetable: &mut Timetable) {
        let Some(&(first, _)) = timetable.entries.first() else { return };
        if timetable.armed.is_some_and(|armed| armed <= first) {
            return;
        }
        timetable.armed = Some(first);
        // A timer of zero would be disarmed.
        let left = first.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value });
    }

    fn watch(&self, id: u64, tree: &dyn Tree) -> io::Result<()> {
        for descriptor in tree.watched() {
            // Each change once: what is heard is taken in whole, and an end does not end.
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&self.epoll, descriptor, EventData::new_u64(id), flags)?;
        }
        Ok(())
    }

    /// Before the descriptors are closed: epoll watches the files behind them, which may live on elsewhere.
    fn unwatch(&self, tree: &dyn Tree) {
        for descriptor in tree.watched() {
            _ = epoll::delete(&self.epoll, descriptor);
        }
    }

    /// Reaps this process when it ends.
    fn adopt(&self, process: Watch) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if epoll::add(&self.epoll, &process, EventData::new_u64(id), EventFlags::IN).is_ok() {
            self.adopted().insert(id, process);
        }
    }

    fn reap_adopted(&self, id: u64) {
        if let Some(process) = self.adopted().remove(&id) {
            _ = epoll::delete(&self.epoll, &process);
            _ = process.ended(Collect::Reap);
        }
    }

    fn adopted(&self) -> MutexGuard<'_, HashMap<u64, Watch>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<u64, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timetable(&self) -> MutexGuard<'_, Timetable> {
        self.timetable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

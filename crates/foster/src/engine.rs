//! The engine: the one thread that brings everybody their facts. It knows which descriptors are watched for whom, and
//! when whom must be looked at, and nothing of what they do.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::roster::Roster;
use crate::spawn;

/// Somebody whom the engine looks at: a run, a pump, a feed.
pub(crate) trait Look: Debug + Send + Sync {
    /// The id with which it was registered.
    fn id(&self) -> u64;

    /// Something happened (`ready`), or its deadline has passed. It must not block.
    fn look(self: Arc<Self>, ready: bool);
}

/// Who is watched, and when the engine must wake up.
#[derive(Debug)]
pub(crate) struct Engine {
    epoll: OwnedFd,
    timer: OwnedFd,
    watched: Mutex<Roster>,
    timetable: Mutex<Timetable>,
}

/// When who must be looked at.
#[derive(Debug, Default)]
struct Timetable {
    entries: BTreeSet<(Instant, u64)>,
    /// What the timer is set to. It is never later than the first entry.
    armed: Option<Instant>,
}

/// How many deadlines are done before the exits have their turn again.
const BATCH: usize = 32;

/// What an event of the timer carries where the others carry an id.
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
        let engine =
            Arc::new(Engine { epoll, timer, watched: Mutex::default(), timetable: Mutex::default() });
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

    fn look(&self, id: u64, ready: bool) {
        let who = self.watched().get(id).cloned();
        if let Some(who) = who {
            who.look(ready);
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

    /// Registers whoever is made with this id.
    pub(crate) fn register<T: Look + 'static>(&self, make: impl FnOnce(u64) -> Arc<T>) -> Arc<T> {
        self.watched().enter(make)
    }

    pub(crate) fn unregister(&self, id: u64) {
        // Dropped after the lock is given back: it may be the last.
        let gone = self.watched().leave(id);
        drop(gone);
    }

    /// Has somebody looked at when something happens to the descriptor.
    pub(crate) fn watch(&self, descriptor: impl AsFd, id: u64, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, EventData::new_u64(id), flags)?)
    }

    /// Once more, after a look that was asked for once.
    pub(crate) fn rearm(&self, descriptor: impl AsFd, id: u64, flags: EventFlags) {
        _ = epoll::modify(&self.epoll, descriptor, EventData::new_u64(id), flags);
    }

    /// Before the descriptor is closed: epoll watches the file behind it, which may live on elsewhere.
    pub(crate) fn unwatch(&self, descriptor: impl AsFd) {
        _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Moves somebody's place in the timetable.
    pub(crate) fn requeue(&self, id: u64, from: Option<Instant>, to: Option<Instant>) {
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

    fn watched(&self) -> MutexGuard<'_, Roster> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timetable(&self) -> MutexGuard<'_, Timetable> {
        self.timetable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

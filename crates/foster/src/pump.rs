//! A pump reads what a program writes and hands it on, whether or not anybody waits.
//!
//! One that only has to remember runs on the engine's thread, in short turns, and gets a thread of its own once its
//! stream has proven big; one that calls a function, or writes to what may be slow, has a thread of its own from the
//! start. So a slow reader slows its own program and nobody else's.
//!
//! When the leader is dead, whoever notices has the pump catch up: what was written before is delivered before the exit
//! is told. [`Drain`] decides how long it listens after that.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::fcntl_setpipe_size;

use crate::board::{Board, Wake};
use crate::engine::{Engine, Look};
use crate::known::Known;
use crate::output::Capture;
use crate::output::capture::Recorder;
use crate::output::drain::{Drain, Phase};
use crate::output::memory::Memory;
use crate::spawn;
use crate::{Captured, Stream};

mod feed;
mod holders;
mod outlet;
mod queue;

pub(crate) use feed::{Feed, Rest};
pub(crate) use outlet::Outlet;
pub(crate) use queue::Queue;

/// What one stream of one run is read from, and to where.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) stream: Stream,
    pub(crate) source: OwnedFd,
    /// It is the master of a terminal.
    pub(crate) terminal: bool,
    pub(crate) capture: Option<Capture>,
    pub(crate) streamed: bool,
    /// It also goes to `/dev/null`, which takes it for ever.
    pub(crate) dropped: bool,
    /// Whatever may be slow.
    pub(crate) outlets: Vec<Outlet>,
}

/// For whom it is read.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) engine: &'static Engine,
    pub(crate) label: Arc<str>,
    pub(crate) board: Arc<Board<Known>>,
    /// Where what is streamed goes, from both streams of a run.
    pub(crate) queue: Arc<Queue>,
    pub(crate) drain: Drain,
}

#[derive(Debug)]
pub(crate) struct Pump {
    id: u64,
    reader: Reader,
    stream: Stream,
    terminal: bool,
    streamed: bool,
    /// It has nobody but outlets, so that the program is to know when the last of them is gone.
    only_outlets: bool,
    /// What wakes its thread, while it has one.
    poke: Mutex<Option<Arc<OwnedFd>>>,
    /// What it reads, for whoever may not wait until it has been read.
    source: Weak<OwnedFd>,
    me: Weak<Pump>,
    /// So that what is asked for each line costs no lock.
    leader_dead: AtomicBool,
    moment: Mutex<Moment>,
    recorder: Mutex<Option<Recorder>>,
    /// Held while it reads and hands on.
    io: Mutex<Io>,
}

/// Where it stands after the exit.
#[derive(Debug)]
struct Moment {
    drain: Drain,
    /// The exit, or a suspension, waits for it.
    lags: bool,
    /// How often something had to wait for it.
    asked: u32,
    /// How long a suspension waits for it. Until somebody continues the program nothing else has an end.
    patience: Option<Instant>,
    /// Nobody waits for more of it.
    finished: bool,
    /// Where it stands in the engine's timetable.
    queued: Option<Instant>,
}

#[derive(Debug)]
struct Io {
    /// `None` once it has ended. A thread that waits for more has it too.
    source: Option<Arc<OwnedFd>>,
    outlets: Vec<Outlet>,
    /// It has, or had, somebody to hand on to.
    slow: bool,
    block: Memory,
    /// How much it has brought.
    came: u64,
    /// While it lags: how much of what was written before is still to come.
    owed: Option<usize>,
    /// For which time that is.
    answers: u32,
    /// Nobody waits for more, and those whom it is handed on to have been told what had no end yet.
    left_alone: bool,
}

/// How a turn ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is more, for the next turn.
    More,
    /// There is nothing now.
    Idle,
    /// Who reads it must read first.
    Full,
    Ended,
}

/// How much is read at once, and in one turn on the engine's thread.
const BLOCK: usize = 64 << 10;
const TURN: usize = 4 * BLOCK;
/// What a stream has brought when it has proven big, and the pipe it gets then, which halves the time of a flood.
const BIG: u64 = 1 << 20;
const BIG_PIPE: usize = 1 << 20;
/// How long a suspension waits for what was shown before it, where that does not get on.
const PATIENCE: Duration = Duration::from_millis(500);
/// More than a terminal holds.
const TERMINAL: usize = 128 << 10;

impl Pump {
    /// Begins to read.
    pub(crate) fn start(reader: Reader, plan: Plan) -> io::Result<Arc<Pump>> {
        let Plan { stream, source, terminal, capture, streamed, dropped, outlets } = plan;
        let (engine, slow) = (reader.engine, !outlets.is_empty());
        reader.board.will_read(stream);
        if streamed {
            reader.queue.opens();
        }
        let source = Arc::new(source);
        let io = Io {
            source: Some(source.clone()),
            outlets,
            slow,
            block: Memory::new(),
            came: 0,
            owed: None,
            answers: 0,
            left_alone: false,
        };
        let moment = Moment {
            drain: reader.drain,
            lags: false,
            asked: 0,
            patience: None,
            finished: false,
            queued: None,
        };
        let only_outlets = slow && capture.is_none() && !streamed && !dropped;
        let make = |id, me: &Weak<Pump>| Pump {
            id,
            reader,
            stream,
            terminal,
            streamed,
            only_outlets,
            poke: Mutex::new(None),
            source: Arc::downgrade(&source),
            me: me.clone(),
            leader_dead: AtomicBool::new(false),
            moment: Mutex::new(moment),
            recorder: Mutex::new(capture.map(Recorder::new)),
            io: Mutex::new(io),
        };
        let pump = engine.register(|id| Arc::new_cyclic(|me| make(id, me)));
        let started = if slow { pump.start_thread() } else { engine.watch(&*source, pump.id, ONCE) };
        if let Err(error) = started {
            engine.unregister(pump.id);
            return Err(error);
        }
        Ok(pump)
    }

    /// The leader is dead. What it wrote is delivered before that is told.
    pub(crate) fn leader_exited(&self, now: Instant) -> Wake {
        let mut wake = Wake::default();
        self.leader_dead.store(true, Ordering::Release);
        {
            let mut moment = self.moment();
            moment.drain.exited(now);
            moment.patience = None;
            if let Phase::Over { .. } = moment.drain.phase() {
                return wake;
            }
            self.falls_behind(&mut moment);
            self.requeue(&mut moment);
        }
        self.hurry(&mut wake);
        wake
    }

    /// The leader was suspended: whoever takes its terminal's place in front must find shown what it has shown.
    pub(crate) fn leader_suspended(&self) -> Wake {
        let mut wake = Wake::default();
        if self.terminal {
            {
                let mut moment = self.moment();
                if let Phase::Over { .. } = moment.drain.phase() {
                    return wake;
                }
                self.falls_behind(&mut moment);
                moment.patience = Instant::now().checked_add(PATIENCE);
                self.requeue(&mut moment);
            }
            self.hurry(&mut wake);
        }
        wake
    }

    /// Until it has caught up, something is not told.
    fn falls_behind(&self, moment: &mut Moment) {
        moment.asked += 1;
        if !std::mem::replace(&mut moment.lags, true) {
            self.reader.board.lags();
        }
    }

    /// Has what is there taken in, here and now where that costs no more than copying.
    fn hurry(&self, wake: &mut Wake) {
        match self.try_io() {
            Some(mut io) if !io.slow => {
                let turn = self.turn(&mut io, usize::MAX, wake);
                self.after(turn, &io);
            }
            _ => self.wake_up(),
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// What has been captured so far.
    pub(crate) fn so_far(&self) -> Option<Captured> {
        self.recorder().as_ref().map(Recorder::snapshot)
    }

    /// Has whoever reads look again: there is room, or an exit.
    fn wake_up(&self) {
        match self.poke().as_deref() {
            Some(poke) => _ = rustix::io::write(poke, &1_u64.to_ne_bytes()),
            None => self.reader.engine.requeue(self.id, None, Some(Instant::now())),
        }
    }

    /// After a turn on no thread of its own.
    fn after(&self, turn: Turn, io: &Io) {
        if self.poke().is_some() {
            self.wake_up();
        } else if let (Turn::More | Turn::Idle, Some(source)) = (turn, &io.source) {
            self.reader.engine.rearm(&**source, self.id, ONCE);
        }
    }

    fn start_thread(self: &Arc<Pump>) -> io::Result<()> {
        let poke = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (ours, hears) = (self.clone(), poke.clone());
        let thread = thread::Builder::new().name("foster-pump".to_string());
        // Before the thread, which takes it back when it ends: a handle that is kept keeps no descriptor.
        *self.poke() = Some(poke);
        let started = spawn::start_thread(thread, move || {
            ours.on_thread(&hears);
            *ours.poke() = None;
        });
        if started.is_err() {
            *self.poke() = None;
            // Whoever woke it meanwhile woke nobody.
            self.wake_up();
        }
        started
    }

    /// On a thread of its own, until the stream has ended.
    fn on_thread(&self, poke: &OwnedFd) {
        let mut big = false;
        loop {
            let mut wake = Wake::default();
            let (turn, source) = {
                let mut io = self.io();
                let turn = self.turn(&mut io, TURN, &mut wake);
                if !big && io.came >= BIG {
                    big = true;
                    // It may be refused: pipe(7), pipe-user-pages-soft.
                    _ = io.source.as_ref().map(|source| fcntl_setpipe_size(source, BIG_PIPE));
                }
                (turn, io.source.clone())
            };
            drop(wake);
            let Some(source) = source else { return };
            let mut watched = [PollFd::new(poke, PollFlags::IN), PollFd::new(&*source, PollFlags::IN)];
            let watched = match turn {
                Turn::More => continue,
                Turn::Idle => &mut watched[..],
                // A hang-up is told unasked, and is no reason to look while nobody has room.
                Turn::Full => &mut watched[..1],
                Turn::Ended => return,
            };
            if poll(watched, None).is_ok() && !watched[0].revents().is_empty() {
                _ = rustix::io::read(poke, &mut [0; 8]);
            }
        }
    }

    /// Reads and hands on, until there is nothing, or so much was read.
    fn turn(&self, io: &mut Io, budget: usize, wake: &mut Wake) -> Turn {
        let mut left = budget;
        loop {
            let Some(source) = io.source.clone() else { return Turn::Ended };
            let (catching_up, waits) = {
                let moment = self.moment();
                io.owed = io.owed.filter(|_| io.answers == moment.asked);
                io.answers = moment.asked;
                (moment.lags, !matches!(moment.drain.phase(), Phase::Over { .. }))
            };
            if catching_up && io.owed.is_none() {
                let waiting = ioctl_fionread(&source).ok().and_then(|n| usize::try_from(n).ok());
                io.owed = Some(if self.terminal { TERMINAL } else { waiting.unwrap_or(TERMINAL) });
            }
            if !waits && !std::mem::replace(&mut io.left_alone, true) {
                io.outlets.iter_mut().for_each(Outlet::break_line);
            }
            if waits && !catching_up && self.streamed && self.reader.queue.is_full() {
                let there = there(&source);
                if there.contains(PollFlags::IN) {
                    return if self.reader.queue.awaits_room(&self.me) { Turn::Full } else { continue };
                }
                // An end needs no room.
                if there.is_empty() {
                    return Turn::Idle;
                }
            }
            match self.read(io, &source, waits, wake) {
                // EIO: nobody has the terminal open any more.
                Ok(0) | Err(Errno::IO) => {
                    self.end(io, wake);
                    return Turn::Ended;
                }
                Ok(n) => {
                    io.came += n as u64;
                    left = left.saturating_sub(n);
                    let now = Instant::now();
                    let mut moment = self.moment();
                    moment.drain.came(now);
                    if let Some(owed) = io.owed {
                        let rest = owed.saturating_sub(n);
                        io.owed = Some(rest);
                        // The end, if it is next, belongs to it: it ends the last line.
                        if owed == 0 || rest == 0 && there(&source).contains(PollFlags::IN) {
                            io.owed = None;
                            self.caught_up(&mut moment, now, wake);
                            // Who waits for that has it. Somebody else may write without end, as fast as we read.
                            left = 0;
                        }
                    }
                }
                Err(Errno::AGAIN) => {
                    if io.owed.take().is_some() {
                        self.caught_up(&mut self.moment(), Instant::now(), wake);
                    }
                    return Turn::Idle;
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.end(io, wake);
                    return Turn::Ended;
                }
            }
            if self.only_outlets && io.outlets.is_empty() && !self.terminal {
                // Nobody takes it any more: the program is to know, as in any pipeline. That somebody's terminal is not
                // looked at it never knows; it must not stall for that.
                self.end(io, wake);
                return Turn::Ended;
            }
            if left == 0 {
                return Turn::More;
            }
        }
    }

    /// Reads once, and hands on what came.
    fn read(&self, io: &mut Io, source: &OwnedFd, waits: bool, wake: &mut Wake) -> Result<usize, Errno> {
        if self.terminal && there(source).is_empty() {
            // Its descriptor is shared with whoever types, and blocks.
            return Err(Errno::AGAIN);
        }
        if waits
            && !self.streamed
            && !io.slow
            && let Some(recorder) = self.recorder().as_mut().filter(|recorder| recorder.can_read())
        {
            return recorder.read(source);
        }
        let n = io.block.read_anew(source, BLOCK)?;
        let bytes = &*io.block;
        if waits {
            if let Some(recorder) = self.recorder().as_mut() {
                recorder.record(bytes);
            }
            if self.streamed {
                let woken = self.reader.queue.push(self.stream, bytes);
                if io.slow {
                    // At once, since the others may take their time: on a thread of its own no lock is held that a
                    // reader needs. Else it may be the run's, of whoever notices the exit.
                    drop(woken);
                } else {
                    wake.and(woken);
                }
            }
        }
        if n > 0 {
            // Many short lines come at once, each of which may take its time. While the leader lives nobody asks.
            let gets_on = || {
                if self.leader_dead.load(Ordering::Acquire) {
                    self.moment().drain.came(Instant::now());
                }
            };
            io.outlets.retain_mut(|outlet| {
                let more = outlet.take(bytes, gets_on);
                gets_on();
                more
            });
        }
        Ok(n)
    }

    /// All that was written before is delivered.
    fn caught_up(&self, moment: &mut Moment, now: Instant, wake: &mut Wake) {
        moment.drain.caught_up(now);
        moment.patience = None;
        if std::mem::take(&mut moment.lags) {
            wake.and(self.reader.board.caught_up(&self.reader.label));
        }
        self.requeue(moment);
    }

    /// Nothing more comes.
    fn end(&self, io: &mut Io, wake: &mut Wake) {
        io.outlets.drain(..).for_each(Outlet::finish);
        io.block = Memory::new();
        if let Some(source) = io.source.take().filter(|_| self.poke().is_none()) {
            self.reader.engine.unwatch(&*source);
        }
        self.moment().drain.ended();
        self.finish(true, wake);
        self.reader.engine.unregister(self.id);
    }

    /// Nobody waits for more: those who waited get what there is.
    fn finish(&self, ended: bool, wake: &mut Wake) {
        let mut moment = self.moment();
        if std::mem::replace(&mut moment.finished, true) {
            return;
        }
        if std::mem::take(&mut moment.lags) {
            wake.and(self.reader.board.caught_up(&self.reader.label));
        }
        drop(moment);
        if self.streamed {
            wake.and(self.reader.queue.closes());
        }
        let recorder = self.recorder().take().unwrap_or_else(|| Recorder::new(Capture { head: 0, tail: 0 }));
        let captured = recorder.finish(ended);
        if ended || !self.tell_with_holders(&captured) {
            wake.and(self.reader.board.has_read(self.stream, captured));
        }
    }

    /// To find the holders all processes are looked at, which is nothing for the engine's thread. Says whether it
    /// will be told.
    fn tell_with_holders(&self, captured: &Captured) -> bool {
        let Some(source) = self.source.upgrade() else { return false };
        let (board, stream, captured) = (self.reader.board.clone(), self.stream, captured.clone());
        let look = move || {
            let holders = holders::of(&source);
            drop(source);
            drop(board.has_read(stream, captured.held_by(holders)));
        };
        spawn::start_thread(thread::Builder::new().name("foster-holders".to_string()), look).is_ok()
    }

    /// So that the engine looks when the drain is over. A deadline that has moved on is looked at early, and again.
    fn requeue(&self, moment: &mut Moment) {
        let deadlines = [moment.drain.deadline(), moment.patience];
        let Some(deadline) = deadlines.into_iter().flatten().min() else { return };
        if moment.queued.is_none_or(|queued| deadline < queued) {
            self.reader.engine.requeue(self.id, moment.queued, Some(deadline));
            moment.queued = Some(deadline);
        }
    }

    /// It is `now`. Says whether nobody waits any more with that.
    fn passes(&self, now: Instant, wake: &mut Wake) -> bool {
        let mut moment = self.moment();
        moment.queued = moment.queued.filter(|queued| *queued > now);
        let over = moment.drain.passes(now);
        if moment.patience.take_if(|until| *until <= now).is_some() && std::mem::take(&mut moment.lags) {
            // What it has shown is stuck behind whoever does not read; that it is suspended must not be.
            wake.and(self.reader.board.caught_up(&self.reader.label));
        }
        self.requeue(&mut moment);
        drop(moment);
        over.then(|| self.finish(false, wake)).is_some()
    }

    fn moment(&self) -> MutexGuard<'_, Moment> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poke(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.poke.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorder(&self) -> MutexGuard<'_, Option<Recorder>> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where somebody is reading.
    fn try_io(&self) -> Option<MutexGuard<'_, Io>> {
        match self.io.try_lock() {
            Ok(io) => Some(io),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Look for Pump {
    fn id(&self) -> u64 {
        self.id
    }

    /// Something came, or a deadline has passed.
    fn look(self: Arc<Pump>, _ready: bool) {
        // Declared first, so that it is dropped, and wakes, after the locks are given back.
        let mut wake = Wake::default();
        let now = Instant::now();
        if self.poke().is_some() {
            self.passes(now, &mut wake);
            return self.wake_up();
        }
        let Some(mut io) = self.try_io() else {
            self.passes(now, &mut wake);
            return;
        };
        // First what is there: that we did not look for a while, on a busy machine, was nobody's silence.
        let mut turn = self.turn(&mut io, TURN, &mut wake);
        if self.passes(now, &mut wake) {
            turn = self.turn(&mut io, TURN, &mut wake);
        }
        let proven_big = turn == Turn::More && io.came >= BIG && !self.terminal;
        if proven_big && let Some(source) = io.source.clone().filter(|_| self.start_thread().is_ok()) {
            return self.reader.engine.unwatch(&*source);
        }
        self.after(turn, &io);
    }
}

/// Told once, until it is asked for again.
const ONCE: EventFlags = EventFlags::IN.union(EventFlags::ONESHOT);

/// What a read would find now: `IN` is bytes, else the end. A terminal waits for what is on its way: `n_tty_poll`.
fn there(source: &OwnedFd) -> PollFlags {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut looked = [PollFd::new(source, PollFlags::IN)];
    match poll(&mut looked, Some(&now)) {
        Ok(_) => looked[0].revents(),
        Err(_) => PollFlags::IN,
    }
}

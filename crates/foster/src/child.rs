//! [`Child`]: the handle on one run, and the things to wait for.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::fcntl_dupfd_cloexec;

use crate::board::Board;
use crate::collected::{Chunks, Collected, Lines};
use crate::engine::Engine;
use crate::error::short;
use crate::known::{self, Known};
use crate::lifecycle::Order;
use crate::output::drain::Drain;
use crate::pump::{Feed, Pump, Queue, Reader};
use crate::run::{Run, Streams};
use crate::spawn::{self, Ours, Started, Stdin};
use crate::{
    Captured, Command, Contained, Error, ErrorKind, Event, EventKind, Exit, Proof, Signal, Stream, Stuck, pty,
};

/// A handle on one run. Clones are handles on the same run; all may be used from any thread or task at any time.
///
/// Three kinds of calls. *Orders* ([`stop`](Child::stop), [`stop_now`](Child::stop_now), [`kill`](Child::kill),
/// [`signal`](Child::signal)) have been carried out when they return, only ever bring the end nearer, and are `Ok`
/// for what is gone. *Looks* ([`pid`](Child::pid), [`try_wait`](Child::try_wait)) answer at once. *Waits* come in two
/// kinds that tell the same: [`wait`](Child::wait) blocks a thread, [`exited`](Child::exited) is a future for a task
/// of any runtime.
///
/// When the last handle is dropped while the leader runs, the tree is killed at once and reaped in the background.
/// [`Exited`] and [`Gone`] count as handles, so `spawn()?.wait()` and `spawn()?.stop().await` are safe.
/// [`detach`](Child::detach) is the way to leave a program alone. When the process itself ends, however it ends, the
/// guard ends the tree, but at [`Level::Group`](crate::Level::Group).
#[derive(Clone, Debug)]
pub struct Child(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    run: Arc<Run>,
    detached: AtomicBool,
    /// The process that holds it: a fork of it has a copy, whose end is nobody's end.
    holder: u32,
    /// `None` where the process group holds it, nothing else was tried, and we have no end of its streams.
    more: Option<Box<More>>,
}

/// What not every handle has.
#[derive(Debug)]
struct More {
    contained: Contained,
    pipes: Mutex<Pipes>,
    /// Our end of the terminal of its own.
    pty: Option<OwnedFd>,
}

/// What the caller may take.
#[derive(Debug, Default)]
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    streamed: Option<Arc<Queue>>,
    /// Of a terminal of its own.
    keyboard_taken: bool,
}

/// Begins to read what we are to read, and to feed what we are to feed.
fn attend(
    reader: &Reader,
    ours: Ours,
    slave: Option<OwnedFd>,
) -> io::Result<(Option<Pipes>, Option<Streams>)> {
    let Ours { stdin, piped: [stdout, stderr], plans } = ours;
    let streamed = plans.iter().any(|plan| plan.streamed).then(|| reader.queue.clone());
    let start = |plan| Pump::start(reader.clone(), plan);
    let pumps = plans.into_iter().map(start).collect::<io::Result<Vec<_>>>()?;
    let (mut piped, mut feed, mut until_exit) = (None, None, Vec::from_iter(slave));
    match stdin {
        Stdin::None => {}
        Stdin::Piped(ours) => piped = Some(ours),
        Stdin::HeldOpen(ours) => until_exit.push(ours),
        Stdin::Fed(rest) => feed = Some(Feed::start(reader.engine, rest)?),
    }
    let pipes =
        (piped.is_some() || stdout.is_some() || stderr.is_some() || streamed.is_some()).then(|| Pipes {
            stdin: piped.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
            streamed,
            keyboard_taken: false,
        });
    let streams = (!pumps.is_empty() || feed.is_some() || !until_exit.is_empty()).then(|| Streams {
        pumps,
        feed,
        until_exit: Mutex::new(until_exit),
    });
    Ok((pipes, streams))
}

impl Child {
    pub(crate) fn spawn(command: &Command) -> Result<Child, Error> {
        let refused = |error: io::Error| {
            Error::os(ErrorKind::of(&error), format!("cannot start `{}`", short(&command.get_label())), error)
        };
        let engine = Engine::get().map_err(refused)?;
        // The calendar first: what happens next is never told to have been before the start.
        let calendar = SystemTime::now();
        let now = (Instant::now(), calendar);
        let Started { mut tree, contained, ours, pty } = spawn::start(command)?;
        let policy = command.policy.clone();
        let reader = Reader {
            engine,
            label: command.get_label().into(),
            board: Arc::default(),
            queue: Arc::default(),
            drain: Drain::new(policy.drain, policy.drain_max),
        };
        let (pty, slave) = pty.map(|ends| (ends.master, ends.slave)).unzip();
        let (pipes, streams) = match attend(&reader, ours, slave) {
            Ok(attended) => attended,
            Err(error) => {
                tree.discard();
                return Err(refused(error));
            }
        };
        let Reader { label, board, .. } = reader;
        let run = Run::admit(engine, label, board, policy, tree, streams, now).map_err(refused)?;
        let more = (contained != Contained::PLAIN || pipes.is_some() || pty.is_some())
            .then(|| Box::new(More { contained, pipes: Mutex::new(pipes.unwrap_or_default()), pty }));
        Ok(Child(Arc::new(Handle {
            run,
            detached: AtomicBool::new(false),
            holder: std::process::id(),
            more,
        })))
    }

    /// The leader's pid, or `None` once it is known to be dead: then the number may be somebody else's.
    pub fn pid(&self) -> Option<u32> {
        (!self.0.run.read(Known::is_dead)).then_some(self.0.run.pid)
    }

    /// The command's label; see [`Command::label`].
    pub fn label(&self) -> &str {
        &self.0.run.label
    }

    /// What holds the tree, and what was tried in vain to hold it more firmly.
    pub fn containment(&self) -> &Contained {
        static PLAIN: Contained = Contained::PLAIN;
        self.0.more.as_ref().map_or(&PLAIN, |more| &more.contained)
    }

    /// Delivers one signal, without an intent, to the policy's [`target`](crate::Policy::target): by default each
    /// process of the group. It is `Ok` when nobody is left.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotPermitted`] where a process belongs to another user, as after a `sudo`; see `kill(2)`.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.order(Order::Signal(signal)).map_err(|error| {
            Error::os(
                ErrorKind::of(&error),
                format!("cannot send {signal} to `{}`", short(self.label())),
                error,
            )
        })
    }

    /// Stops the tree: after a random splay it is asked with the policy's stop signal, has its grace, and is killed.
    ///
    /// The order is given when this returns; wait for the end with [`Gone::wait`] or by `.await`, or drop it, which
    /// cancels nothing. A stop joins one that is under way.
    pub fn stop(&self) -> Gone {
        self.order_stop(random_below(self.0.run.splay()), None)
    }

    /// As [`stop`](Child::stop), without the splay; it also cuts short a splay that is running.
    #[doc(alias = "stop_immediately")]
    pub fn stop_now(&self) -> Gone {
        self.order_stop(Duration::ZERO, None)
    }

    /// As [`stop`](Child::stop), asking with this signal in place of the policy's, unless it has been asked already.
    pub fn stop_with(&self, signal: Signal) -> Gone {
        self.order_stop(random_below(self.0.run.splay()), Some(signal))
    }

    /// As [`stop_now`](Child::stop_now), asking with this signal, unless it has been asked already.
    pub fn stop_now_with(&self, signal: Signal) -> Gone {
        self.order_stop(Duration::ZERO, Some(signal))
    }

    /// Forces the whole tree, at once, whatever else is under way.
    #[doc(alias = "force")]
    pub fn kill(&self) -> Gone {
        // What could not be killed is told by `Gone`.
        _ = self.order(Order::Kill);
        self.gone()
    }

    /// Lets the timeout, the splay and the grace stand still, because the tree was suspended, as by Ctrl-Z. An order
    /// to end, and [`resume`](Child::resume), let them go on. It sends no signal.
    pub fn pause(&self) {
        _ = self.order(Order::Pause);
    }

    /// Lets the deadlines that [`pause`](Child::pause) held go on. It sends no signal.
    pub fn resume(&self) {
        _ = self.order(Order::Resume);
    }

    /// Leaves the program alone: it has no timeout any more, dropping the handles does not kill it, and what its
    /// leader leaves stays. It is still reaped when it ends while we live, and a handle can still wait and give
    /// orders. An order given before stands.
    pub fn detach(&self) {
        self.0.detached.store(true, Ordering::Relaxed);
        _ = self.order(Order::Detach);
    }

    /// The exit, if it is known: the leader is dead.
    pub fn try_wait(&self) -> Option<Exit> {
        self.exit().or_else(|| {
            self.0.run.look_now();
            self.exit()
        })
    }

    /// Blocks until the leader is dead. Every caller gets the same exit, early or late, any number of times.
    pub fn wait(&self) -> Exit {
        let exit = self.0.run.board_of_the_dead().wait(None, known::EXIT, |known| known.exit());
        exit.expect("a wait without a deadline ends with an exit")
    }

    /// As [`wait`](Child::wait), but no longer than this; `None` if the leader still runs then. It is the wait that
    /// times out, not the program: that is [`Policy::timeout`](crate::Policy::timeout).
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Exit> {
        let deadline = Instant::now().checked_add(timeout);
        self.0.run.board().wait(deadline, known::EXIT, |known| known.exit())
    }

    /// A future of the exit, for a task of any runtime. It may be dropped and asked for again.
    pub fn exited(&self) -> Exited {
        Exited { child: self.clone(), key: None }
    }

    /// The end of the whole tree, to wait for or to await. It gives no order.
    pub fn gone(&self) -> Gone {
        Gone { child: self.clone(), key: None }
    }

    /// Everything that happened to the run and will, from the start: an iterator that blocks, and a
    /// [`next_event`](Events::next_event) for tasks. It is no handle: it does not keep the run alive. After 4,096
    /// events no more [`EventKind::Signalled`] are recorded, so that the log of a long run stays small.
    pub fn events(&self) -> Events {
        Events { run: self.0.run.clone(), start: Some(self.0.run.start()), told: 0 }
    }

    /// The signal that stopped the leader, as by Ctrl-Z, if it is stopped right now; see `waitpid(2)`, `WUNTRACED`.
    /// With a guard it is known a moment later, when [`EventKind::Suspended`] is told.
    pub fn stopped(&self) -> Option<Signal> {
        self.0.run.stopped()
    }

    /// How the run ended and what was captured of its output, to wait for or to await: once the leader is dead, and
    /// what we read of its output was read to the end, or long enough by [`Policy::drain`](crate::Policy::drain). It
    /// gives no order, and may be asked for any number of times.
    #[doc(alias = "wait_with_output")]
    pub fn output(&self) -> Collected {
        Collected::new(self.clone())
    }

    /// What has been captured of this stream so far: a copy, while it runs. `None` where it is not captured, or once
    /// the capture is over: then [`output`](Child::output) has it.
    pub fn captured(&self, stream: Stream) -> Option<Captured> {
        self.0.run.captured_so_far(stream)
    }

    /// What the streams bring whose sink is [`Sink::Streamed`](crate::Sink::Streamed), by lines: an iterator that
    /// blocks, and a [`next_line`](Lines::next_line) for tasks. `None` where there is no such stream, and for all but
    /// the first who ask, by lines or by chunks.
    pub fn take_lines(&self) -> Option<Lines> {
        self.take_streamed().map(Lines::new)
    }

    /// As [`take_lines`](Child::take_lines), in the pieces in which it comes.
    pub fn take_chunks(&self) -> Option<Chunks> {
        self.take_streamed().map(Chunks::new)
    }

    fn take_streamed(&self) -> Option<Arc<Queue>> {
        self.take(|pipes| pipes.streamed.take())
    }

    /// Changes the size of the terminal of its own. The program's foreground group gets SIGWINCH if it is another
    /// size than before. It is `Ok` when nobody is left.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] without [`Command::pty`].
    #[doc(alias = "SIGWINCH")]
    pub fn resize(&self, rows: u16, cols: u16) -> Result<(), Error> {
        let doing = || format!("cannot resize the terminal of `{}`", short(self.label()));
        let Some(master) = self.pty() else {
            let why = "it has none of its own; give it one with `Command::pty`";
            return Err(Error::new(ErrorKind::InvalidInput, format!("{}: {why}", doing())));
        };
        pty::set_size(master, rows, cols).map_err(|error| Error::os(ErrorKind::of(&error), doing(), error))
    }

    /// Our end of the program's input, if it was [`Piped`](crate::Input::Piped) and nobody has taken it. Of a program
    /// in a terminal of its own it is the keyboard, whatever its input is.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        let Some(master) = self.pty() else { return self.take(|pipes| pipes.stdin.take()) };
        self.take(|pipes| (!std::mem::replace(&mut pipes.keyboard_taken, true)).then_some(()))?;
        fcntl_dupfd_cloexec(master, 3).ok().map(ChildStdin::from)
    }

    /// Our end of the program's output, if it was [`Piped`](crate::Sink::Piped) and nobody has taken it.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.take(|pipes| pipes.stdout.take())
    }

    /// Our end of the program's error output, if it was [`Piped`](crate::Sink::Piped) and nobody has taken it.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.take(|pipes| pipes.stderr.take())
    }

    pub(crate) fn board(&self) -> &Board<Known> {
        self.0.run.board()
    }

    pub(crate) fn board_of_the_dead(&self) -> &Board<Known> {
        self.0.run.board_of_the_dead()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.run.read(|state| matches!(state.end(), Some(Ok(_))))
    }

    fn take<T>(&self, take: impl FnOnce(&mut Pipes) -> Option<T>) -> Option<T> {
        let pipes = &self.0.more.as_ref()?.pipes;
        take(&mut pipes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn pty(&self) -> Option<&OwnedFd> {
        self.0.more.as_ref()?.pty.as_ref()
    }

    fn exit(&self) -> Option<Exit> {
        self.0.run.read(Known::exit)
    }

    fn order_stop(&self, after: Duration, signal: Option<Signal>) -> Gone {
        // Who could not be asked is killed when the grace is over, and told by `Gone`.
        _ = self.order(Order::Stop { after, signal });
        self.gone()
    }

    fn order(&self, order: Order) -> io::Result<()> {
        self.0.run.order(order)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.holder != std::process::id() {
            return;
        }
        if !*self.detached.get_mut() {
            self.run.abandon();
        }
        // Nobody can take it any more.
        let pipes =
            self.more.as_mut().map(|more| more.pipes.get_mut().unwrap_or_else(PoisonError::into_inner));
        pipes.and_then(|pipes| pipes.streamed.take()).iter().for_each(|queue| queue.abandon());
    }
}

/// The exit of a run, as a future: [`Child::exited`]. It wakes its task when the leader is dead, whatever the
/// runtime, and needs none.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Exited {
    child: Child,
    key: Option<u64>,
}

impl Future for Exited {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Exit> {
        let this = &mut *self;
        this.child.0.run.board().poll(&mut this.key, context, |known| known.exit())
    }
}

impl Drop for Exited {
    fn drop(&mut self) {
        self.child.0.run.forget(self.key);
    }
}

/// The end of a whole tree: what an order returns, to wait for or to await. The order stands whether or not anybody
/// does.
///
/// `Ok` is the [`End`] once nothing of the tree is left (or what is left was to be left, by
/// [`Leftovers::Leave`](crate::Leftovers::Leave)). `Err` names those that were killed and did not die within the
/// policy's patience.
#[derive(Debug)]
pub struct Gone {
    child: Child,
    key: Option<u64>,
}

/// How a run ended, and by what it is known that nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// The leader's exit.
    pub exit: Exit,
    /// Why nothing can be left.
    pub proof: Proof,
}

impl Gone {
    /// Blocks until the tree is gone.
    ///
    /// # Errors
    ///
    /// [`Stuck`]: killed, and still there.
    pub fn wait(&self) -> Result<End, Stuck> {
        // Who is stuck is told though its leader is not dead.
        let end = self.child.0.run.board().wait(None, known::END, Gone::look);
        end.expect("a wait without a deadline ends with an end")
    }

    /// As [`wait`](Gone::wait), but no longer than this; `None` if the tree is still there then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<End, Stuck>> {
        let deadline = Instant::now().checked_add(timeout);
        self.child.0.run.board().wait(deadline, known::END, Gone::look)
    }

    fn look(known: &mut Known) -> Option<Result<End, Stuck>> {
        match known.end()? {
            Ok(proof) => known.exit().map(|exit| Ok(End { exit, proof })),
            Err(stuck) => Some(Err(stuck.clone())),
        }
    }
}

impl Future for Gone {
    type Output = Result<End, Stuck>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<End, Stuck>> {
        let this = &mut *self;
        this.child.0.run.board().poll(&mut this.key, context, Gone::look)
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.child.0.run.forget(self.key);
    }
}

/// What happens to a run, in order: [`Child::events`].
#[derive(Debug)]
pub struct Events {
    run: Arc<Run>,
    /// The first, until it is told.
    start: Option<Event>,
    /// How many after that have been told.
    told: usize,
}

impl Events {
    /// The next event, for a task; `None` after [`EventKind::Gone`].
    pub async fn next_event(&mut self) -> Option<Event> {
        if let Some(start) = self.start.take() {
            return Some(start);
        }
        let told = self.told;
        let seen = self.run.board().seen(|known| Events::look(told, known)).await;
        self.advance(seen)
    }

    /// The next event that has happened already, without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        if let Some(start) = self.start.take() {
            return Some(start);
        }
        let seen = self.run.read(|known| Events::look(self.told, known))?;
        self.advance(seen)
    }

    fn look(told: usize, known: &Known) -> Option<Seen> {
        match known.events().get(told) {
            Some(event) => Some(Seen::Event(event.clone())),
            None => matches!(known.events().last()?.kind, EventKind::Gone(_)).then_some(Seen::End),
        }
    }

    fn advance(&mut self, seen: Seen) -> Option<Event> {
        match seen {
            Seen::Event(event) => {
                self.told += 1;
                Some(event)
            }
            Seen::End => None,
        }
    }
}

enum Seen {
    Event(Event),
    End,
}

impl Iterator for Events {
    type Item = Event;

    /// Blocks until there is one.
    fn next(&mut self) -> Option<Event> {
        if let Some(start) = self.start.take() {
            return Some(start);
        }
        let seen = self.run.board().wait(None, known::EVENT, |known| Events::look(self.told, known))?;
        self.advance(seen)
    }
}

/// A random time in `[0, splay)`.
fn random_below(splay: Duration) -> Duration {
    if splay.is_zero() {
        return Duration::ZERO;
    }
    let mut random = [0; 8];
    // Without randomness, at an early boot, all of a fleet move at once: no reason not to stop.
    _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    // 53 bits make a float in [0, 1).
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let fraction = (u64::from_ne_bytes(random) >> 11) as f64 / (1_u64 << 53) as f64;
    splay.mul_f64(fraction)
}

#[cfg(test)]
mod tests;

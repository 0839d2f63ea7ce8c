//! The seam of spawning: start a leader in its own group, with these streams, and give back what pins it. Either it
//! runs when `start` returns, or nothing of it is left.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use crate::command::StartSignals;
use crate::error::short;
use crate::guard::standing::Standing;
use crate::guard::wire::Step;
use crate::pty;
use crate::tree::{self, choice};
use crate::{Command, Contained, Error, ErrorKind, Group, Mechanism, Tried};

mod direct;
mod guarded;
mod refusal;
mod standing;
mod stepping;
mod streams;
mod vfork;
mod words;

pub(crate) use direct::{start_thread, with_signals_blocked};
pub(crate) use guarded::look as look_at;
pub(crate) use streams::{Ours, Stdin};
pub(crate) use vfork::stillborn;

/// A leader that was started, what holds its tree, and our side of its streams.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) tree: tree::Held,
    pub(crate) contained: Contained,
    pub(crate) ours: Ours,
    /// The terminal of its own.
    pub(crate) pty: Option<pty::Ends>,
}

/// Starts the command's leader, held by the first mechanism that can be had. It executes the program when this
/// returns.
pub(crate) fn start(command: &Command) -> Result<Started, Error> {
    let ready = Ready::new(command)?;
    let mut tried = Vec::new();
    for mechanism in choice::choices(command)? {
        if let Some(known) = choice::known(mechanism) {
            tried.push(known);
            continue;
        }
        match start_held(&ready, mechanism, &tried) {
            Ok(tree) => {
                let contained = Contained { tried, ..tree.contained() };
                return Ok(Started { tree, contained, ours: ready.streams.ours, pty: ready.pty });
            }
            Err(Failed::NotHere(not_here)) => tried.push(not_here),
            Err(Failed::Os(error)) => {
                return Err(Error::os(ErrorKind::of(&error), ready.doing(), error));
            }
            Err(Failed::Step(step, errno)) => {
                return Err(refusal::refused(command, &ready.words, step, errno));
            }
        }
    }
    Err(choice::none(command, &tried))
}

/// Everything of a command that can be prepared without knowing what will hold its tree.
struct Ready<'a> {
    command: &'a Command,
    words: words::Words,
    /// Where it differs from ours.
    standing: Option<Box<Standing>>,
    streams: streams::Streams,
    /// In whose foreground the leader is put.
    terminal: Option<OwnedFd>,
    /// A terminal of its own.
    pty: Option<pty::Ends>,
    signals: SignalState,
}

/// Why a leader was not started. Nothing is left of it then.
enum Failed {
    /// This mechanism is not to be had; another may be.
    NotHere(Tried),
    /// The system refused before there was a child.
    Os(io::Error),
    /// The child could not do this.
    Step(Step, i32),
}

impl Ready<'_> {
    fn new(command: &Command) -> Result<Ready<'_>, Error> {
        let doing = || format!("cannot start `{}`", short(&command.get_label()));
        let invalid = |why: String| Error::new(ErrorKind::InvalidInput, format!("{}: {why}", doing()));
        let words = words::Words::new(command).map_err(invalid)?;
        let standing = standing::of(command).map_err(invalid)?;
        let pty = command.pty.map(|pty| pty::open(pty, command.standing.uid)).transpose();
        let pty = pty.map_err(|error| pty::refused(&doing(), error))?;
        let streams = streams::Streams::new(command, pty.as_ref()).map_err(|failed| match failed {
            streams::Failed::Os(error) => Error::os(ErrorKind::of(&error), doing(), error),
            streams::Failed::File(what, error) => {
                Error::os(ErrorKind::BadFile, format!("{}: {what}", doing()), error)
            }
            streams::Failed::Input(why) => invalid(why),
        })?;
        let wants_terminal = command.foreground && command.group == Group::Own && pty.is_none();
        Ok(Ready {
            command,
            words,
            standing,
            streams,
            terminal: wants_terminal.then(streams::open_terminal).flatten(),
            pty,
            signals: match command.signals {
                StartSignals::Clean => SignalState::clean(),
                StartSignals::Inherit => SignalState::current(),
                StartSignals::Exactly(state) => state,
            },
        })
    }

    /// What to place at 0, 1, 2; −1 leaves what is there.
    fn sources(&self) -> [RawFd; 3] {
        let given = self.streams.sources();
        let Some(ends) = &self.pty else { return given };
        given.map(|source| if source == -1 { ends.slave.as_raw_fd() } else { source })
    }

    /// The terminal in whose foreground the leader is put; −1 for none.
    fn terminal(&self) -> RawFd {
        let own = self.pty.as_ref().map(|ends| &ends.slave);
        own.or(self.terminal.as_ref()).map_or(-1, AsRawFd::as_raw_fd)
    }

    fn doing(&self) -> String {
        format!("cannot start `{}`", short(&self.command.get_label()))
    }
}

/// How long, in milliseconds, to wait each time before a program that is busy (ETXTBSY) is tried again.
const BUSY_RETRIES: &[u64] = &[1, 2, 4, 8, 16, 32];

fn start_held(ready: &Ready<'_>, mechanism: Mechanism, tried: &[Tried]) -> Result<tree::Held, Failed> {
    let mut patience = BUSY_RETRIES.iter();
    loop {
        let own_group = ready.command.leads_its_group();
        let started = match mechanism {
            Mechanism::ProcessGroup => direct::start(ready)
                .map(|(pid, watch)| tree::Held::Group(tree::Group::new(pid, watch, own_group))),
            Mechanism::Init if !crate::init::is_pid_1() => {
                let error = io::Error::from(io::ErrorKind::Unsupported);
                Err(Failed::NotHere(choice::tried(mechanism, "be the init of a pid namespace", &error)))
            }
            Mechanism::Init => direct::start(ready).map(|(pid, watch)| {
                let group = tree::Group::new(pid, watch, own_group);
                tree::Held::Other(Box::new(tree::Init::new(group)))
            }),
            _ => guarded::start(ready, mechanism, tried).map(tree::Held::Other),
        };
        match (started, patience.next()) {
            // Another thread of ours, or another process, is between its fork and its exec and still holds the
            // program open for writing: it lets go in a moment.
            (Err(Failed::Step(Step::Execute, libc::ETXTBSY)), Some(wait)) => {
                thread::sleep(Duration::from_millis(*wait));
            }
            (started, _) => return started,
        }
    }
}

/// The mask and the ignored signals of a process, which `execve(2)` hands on: what a wrapper reads when it starts,
/// before it changes its own, and gives to its child with
/// [`Command::start_signals`](crate::Command::start_signals).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalState {
    blocked: u64,
    ignored: u64,
}

impl SignalState {
    /// Nothing blocked, nothing ignored.
    pub fn clean() -> SignalState {
        SignalState::default()
    }

    /// What this thread blocks and this process ignores now.
    pub fn current() -> SignalState {
        direct::signal_state()
    }

    /// Whether the signal is blocked.
    pub fn blocks(&self, signal: crate::Signal) -> bool {
        self.blocked & bit(signal) != 0
    }

    /// Whether the signal is ignored.
    pub fn ignores(&self, signal: crate::Signal) -> bool {
        self.ignored & bit(signal) != 0
    }
}

fn bit(signal: crate::Signal) -> u64 {
    1 << (signal.number() - 1)
}

impl fmt::Debug for SignalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |bits: u64| {
            crate::Signal::all().filter(move |signal| bits & bit(*signal) != 0).collect::<Vec<_>>()
        };
        f.debug_struct("SignalState")
            .field("blocked", &list(self.blocked))
            .field("ignored", &list(self.ignored))
            .finish()
    }
}

//! What hostile programs do to be left behind: the verbs of the tests that count who is left.
//!
//! First kind:
//!
//! | verb | does |
//! |---|---|
//! | `fork-bare NAME [ … ]` | as `fork`, and the puppet gets no environment |
//! | `fork-from FILE NAME [ … ]` | as `fork`, from this file, such as a setuid copy |
//! | `become-owner` | takes the effective user for the real one too, as `sudo` does |
//! | `move DIRECTORY` | moves itself to this cgroup |
//!
//! Second kind; who is made by these says nothing and hears no signal but KILL:
//!
//! | verb | does |
//! |---|---|
//! | `daemons setsid N` | makes N children with sessions of their own |
//! | `daemons double N` | makes N whose parents are dead, in our group |
//! | `daemons double-setsid N` | makes N whose parents are dead, with sessions of their own |
//! | `restarter N` | makes one that keeps N workers and starts another for each that dies, all in own sessions |
//! | `rabbits N` | makes N that get a child in a new session and exit, for ever: no pid lives long |
//! | `bomb`, `bomb-setsid` | makes one that forks without end, as all its children do |
//!
//! Whatever becomes of the test, daemons live a minute, and nobody else longer than [`WILD`]: each process inherits
//! the moment of its end and arms a timer of its own. A bomb does not start outside a pids cgroup with a small limit.
//!
//! `std` starts no process without `exec`, and what calls `exec` each time is too slow to hide behind its forks:
//! that is why these call `fork` themselves.
#![expect(unsafe_code, reason = "fork without exec, timers and setresuid")]

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::setsid;

use super::{Puppet, Result, Script, hear, text};

/// How long those live that are many or make others.
const WILD: Duration = Duration::from_secs(10);

/// The largest pids cgroup in which a bomb starts.
const CROWD: u64 = 2000;

/// How long a rabbit waits before it tries again to fork, where no more may be.
const RABBIT: Duration = Duration::from_millis(5);

/// The same for one of a bomb. It is long because a thousand who try all the time leave nobody else a processor: they
/// would prove that the machine is full, not that they cannot be caught. Who finds a place does not wait.
const BOMB: Duration = Duration::from_millis(200);

impl Puppet {
    /// Carries out a verb of the first kind; `false` if it is none.
    pub(super) fn prepare_escape(&mut self, verb: &str, script: &mut Script<'_>) -> Result<bool> {
        match verb {
            "fork-bare" => {
                let us = std::env::current_exe().map_err(text)?;
                let mut command = Command::new(us);
                self.start(command.env_clear(), script)?;
            }
            "fork-from" => {
                let mut command = Command::new(script.word()?);
                self.start(&mut command, script)?;
            }
            "become-owner" => become_owner().map_err(text)?,
            "move" => {
                let door = Path::new(&script.word()?).join("cgroup.procs");
                fs::write(&door, "0").map_err(|error| format!("{}: {error}", door.display()))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn start(&mut self, command: &mut Command, script: &mut Script<'_>) -> Result<()> {
        hear::catch(foster::Signal::CHLD).map_err(text)?;
        command.args(["name", &script.word()?]).args(script.block()?);
        self.children.push(command.spawn().map_err(text)?);
        Ok(())
    }
}

/// Carries out a verb of the second kind.
pub(super) fn escape(verb: &str, script: &mut Script<'_>) -> Result<()> {
    let wild = Instant::now() + WILD;
    // Who holds it has not yet got away.
    let (read, here) = pipe_with(PipeFlags::CLOEXEC).map_err(text)?;
    let done = match verb {
        "daemons" => {
            let kind = script.word()?;
            let daemon = match kind.as_str() {
                "setsid" => Daemon { orphan: false, session: true },
                "double" => Daemon { orphan: true, session: false },
                "double-setsid" => Daemon { orphan: true, session: true },
                _ => return Err(format!("no such daemon: {kind}")),
            };
            (0..script.number()?).try_for_each(|_| daemon.make(&here))
        }
        "restarter" => restarter(script.number()?, wild, &here),
        "rabbits" => rabbits(script.number()?, wild, &here),
        "bomb" => small_crowd().and_then(|()| bomb(false, wild, &here)),
        "bomb-setsid" => small_crowd().and_then(|()| bomb(true, wild, &here)),
        _ => return Err(format!("no such verb: {verb}")),
    };
    done.map_err(text)?;
    drop(here);
    // It is EINTR when a child of ours died.
    while rustix::io::read(&read, &mut [0]) == Err(rustix::io::Errno::INTR) {}
    Ok(())
}

#[derive(Clone, Copy)]
struct Daemon {
    orphan: bool,
    session: bool,
}

impl Daemon {
    fn make(self, here: &OwnedFd) -> io::Result<()> {
        let end = Instant::now() + puppet::LIFE;
        let Some(child) = fork()? else {
            // Where it fails nobody says so, but the test counts.
            if self.orphan && !matches!(fork(), Ok(None)) {
                quit();
            }
            alone(end, self.session);
            leave(here);
            rest();
        };
        if self.orphan {
            reap(child);
        }
        Ok(())
    }
}

fn restarter(workers: u32, end: Instant, here: &OwnedFd) -> io::Result<()> {
    if fork()?.is_some() {
        return Ok(());
    }
    alone(end, true);
    let mut missing = workers;
    loop {
        while missing > 0 {
            match fork() {
                Ok(None) => {
                    alone(end, true);
                    leave(here);
                    rest();
                }
                Ok(Some(_)) => missing -= 1,
                Err(_) => rest_for(RABBIT),
            }
        }
        leave(here);
        // SAFETY: no status is asked for.
        if unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {
            missing += 1;
        }
    }
}

fn rabbits(many: u32, end: Instant, here: &OwnedFd) -> io::Result<()> {
    // They start together: the dead of the first would fill the place until PID 1 has reaped them.
    let (go, wait) = pipe_with(PipeFlags::CLOEXEC)?;
    for _ in 0..many {
        if fork()?.is_none() {
            leave(here);
            leave(&wait);
            _ = rustix::io::read(&go, &mut [0]);
            run(end);
        }
    }
    drop(wait);
    Ok(())
}

fn run(end: Instant) -> ! {
    loop {
        alone(end, true);
        loop {
            match fork() {
                Ok(None) => break,
                Ok(Some(_)) => quit(),
                Err(_) => rest_for(RABBIT),
            }
        }
    }
}

fn bomb(session: bool, end: Instant, here: &OwnedFd) -> io::Result<()> {
    if fork()?.is_some() {
        return Ok(());
    }
    // Whoever dies leaves no zombie, so that another takes the place.
    _ = hear::ignore(foster::Signal::CHLD);
    alone(end, session);
    leave(here);
    loop {
        match fork() {
            Ok(None) => alone(end, session),
            Ok(Some(_)) => {}
            Err(_) => rest_for(BOMB),
        }
    }
}

/// The bomb's interlock: that the kernel limits how many we can be.
fn small_crowd() -> io::Result<()> {
    let ours = fs::read_to_string("/proc/self/cgroup")?;
    let limited = ours.lines().any(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return false };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => return false,
        };
        let below = Path::new(path.trim_start_matches('/'));
        below.ancestors().any(|part| {
            let limit = fs::read_to_string(Path::new(root).join(part).join("pids.max"));
            limit.is_ok_and(|limit| limit.trim().parse::<u64>().is_ok_and(|limit| limit <= CROWD))
        })
    });
    if limited { Ok(()) } else { Err(io::Error::other("a bomb needs a pids cgroup of 2,000 or less")) }
}

/// `None` in the child.
fn fork() -> io::Result<Option<libc::pid_t>> {
    // SAFETY: a puppet has one thread, so that its copy may do what it could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// What each new process does first: it sees to its end, hears nobody, and takes its own session.
fn alone(end: Instant, session: bool) {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        quit();
    }
    // SAFETY: the structures are plain C for which all zeros is a value, and outlive the calls; no handler is
    // installed.
    unsafe {
        let mut timer: libc::itimerval = mem::zeroed();
        timer.it_value.tv_sec = left.as_secs().cast_signed();
        timer.it_value.tv_usec = libc::suseconds_t::from(left.subsec_micros()) + 1;
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        for ignored in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            libc::signal(ignored, libc::SIG_IGN);
        }
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGALRM);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut());
    }
    if session {
        // It has one already if it is the leader of a group, which no new process is.
        _ = setsid();
    }
}

/// Closes our copy of the descriptor.
fn leave(here: &OwnedFd) {
    // SAFETY: the owner is a copy in a process that ends by `_exit` or a signal, and never closes it. A second time
    // it is EBADF, since nothing is opened here.
    unsafe { libc::close(here.as_raw_fd()) };
}

fn rest() -> ! {
    loop {
        // SAFETY: it takes nothing.
        unsafe { libc::pause() };
    }
}

fn quit() -> ! {
    // SAFETY: it takes a number and does not return; what std would do at the exit is not ours to do twice.
    unsafe { libc::_exit(0) }
}

fn reap(child: libc::pid_t) {
    // SAFETY: no status is asked for. It is EINTR when another child died.
    while unsafe { libc::waitpid(child, ptr::null_mut(), 0) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Nobody more may be here now.
fn rest_for(time: Duration) {
    std::thread::sleep(time);
}

fn become_owner() -> io::Result<()> {
    let owner = rustix::process::geteuid().as_raw();
    // SAFETY: it takes three numbers.
    let failed = unsafe { libc::setresuid(owner, owner, owner) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

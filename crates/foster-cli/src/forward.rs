//! The signals that foster gets: caught from its first instruction on, lost nowhere, and given a meaning.
//!
//! All of them are blocked and read from a signalfd, so that none interrupts anything and each comes with its origin
//! (`signalfd(2)`). What each means is decided in [`decide`], which does nothing else.
//!
//! `unsafe` for the mask and the signalfd, for which rustix has no stable functions.
#![expect(unsafe_code, reason = "sigset_t, signalfd, and raising a signal at oneself")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use foster::{Signal, SignalState};
use rustix::process::Pid;

use crate::descriptors;
use crate::values::Rewrite;

/// How foster was started, and that its signals wait from then on.
#[derive(Debug)]
pub(crate) struct Start {
    /// What the program is to start with.
    pub(crate) signals: SignalState,
    pub(crate) parent: Option<Pid>,
    /// What it is handed on besides stdin, stdout and stderr.
    pub(crate) descriptors: Vec<RawFd>,
    before: Mask,
}

/// Our process group; `None` if it is outside our pid namespace, where rustix's function panics.
pub(crate) fn own_group() -> Option<Pid> {
    // SAFETY: no memory is passed.
    Pid::from_raw(unsafe { libc::getpgrp() })
}

impl Start {
    /// The first thing that foster does.
    pub(crate) fn block_signals() -> Start {
        let signals = SignalState::current();
        let before = set_mask(ALL);
        let descriptors = descriptors::inherited();
        descriptors::hold_closed_streams();
        // SAFETY: no handler is given. SIGCHLD gets its default back because, ignored, it would have the kernel reap
        // our children before we know how they ended.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        Start { signals, parent: rustix::process::getppid(), descriptors, before }
    }

    /// For verbs that run nothing: they die of signals as any program.
    pub(crate) fn restore_signals(&self) {
        set_mask(self.before);
    }

    /// Does something that may wait for somebody else, before there is a program that signals could be meant for: a
    /// signal ends foster then, as it would end any program that has just been started.
    pub(crate) fn interruptibly<T>(&self, act: impl FnOnce() -> T) -> T {
        set_mask(self.before);
        let done = act();
        set_mask(ALL);
        done
    }

    /// Does something that may wait for somebody else, when there is nothing left that could be asked to end: who
    /// wants foster to end ends it. A pipe that nobody reads does not.
    pub(crate) fn mortally<T>(act: impl FnOnce() -> T) -> T {
        let ends = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP];
        set_mask(ends.iter().fold(ALL, |mask, signal| mask & !(1 << (signal.number() - 1))));
        let done = act();
        set_mask(ALL);
        done
    }
}

/// The kernel's set of signals. The C library's leaves out the two that it uses itself, and those are sent too.
type Mask = u64;
const ALL: Mask = !0;
static ALL_SIGNALS: Mask = ALL;

/// For a thread of foster's: glibc unblocks in a new one the signal that it cancels threads with.
pub(crate) fn block_signals_here() {
    set_mask(ALL);
}

/// Sets this thread's mask and returns the one before.
fn set_mask(mask: Mask) -> Mask {
    let mut before: Mask = 0;
    // SAFETY: reads and writes 8 bytes each, as the last argument says.
    unsafe {
        let size = size_of::<Mask>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut before, size);
    }
    before
}

/// Where the blocked signals are read.
#[derive(Debug)]
pub(crate) struct Inbox(OwnedFd);

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) signal: Signal,
    pub(crate) origin: Origin,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The kernel: the terminal, for those that matter here.
    Kernel,
    Process,
    /// We did.
    Ourselves,
}

impl Inbox {
    pub(crate) fn open() -> io::Result<Inbox> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: reads 8 bytes, as the third argument says.
        let opened = unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &raw const ALL_SIGNALS, size_of::<Mask>(), flags)
        };
        match RawFd::try_from(opened) {
            // SAFETY: the descriptor is new and ours.
            Ok(descriptor @ 0..) => Ok(Inbox(unsafe { OwnedFd::from_raw_fd(descriptor) })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<Arrived> {
        let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut bytes).ok()?;
        if read < bytes.len() {
            return None;
        }
        // SAFETY: the kernel filled a whole structure of integers; it may stand anywhere in the array.
        let info: libc::signalfd_siginfo = unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) };
        let signal = Signal::from_number(info.ssi_signo.cast_signed())?;
        let origin = match info.ssi_code {
            libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE if info.ssi_pid == std::process::id() => {
                Origin::Ourselves
            }
            code if code <= 0 => Origin::Process,
            _ => Origin::Kernel,
        };
        Some(Arrived { signal, origin })
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an arrived signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing: the program has it already, or it was ours alone.
    Nothing,
    /// Pass it on, without an intent.
    Pass(Signal),
    /// Somebody wants the end. `None` asks with the policy's signal.
    Stop(Option<Signal>),
    /// A child of ours changed: it may have stopped, and a stranger may have died.
    Child,
    /// We were continued.
    Continue,
}

/// What decides besides the signal.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The program is in our group: what the terminal sends us, it has got too.
    pub(crate) same_group: bool,
    /// `--stop-signal` was given: a stop asks with that, whatever came.
    pub(crate) own_stop_signal: bool,
    pub(crate) rewrites: Vec<Rewrite>,
}

/// The meaning of an arrived signal.
pub(crate) fn decide(arrived: Arrived, rules: &Rules, start: &SignalState) -> Meaning {
    let Arrived { signal, origin } = arrived;
    match (signal, origin) {
        (Signal::CHLD, Origin::Kernel) => return Meaning::Child,
        // Also when a job-control shell continues our whole group.
        (Signal::CONT, _) => return Meaning::Continue,
        // We suspended our own group, or wrote to a pipe that nobody reads.
        (_, Origin::Ourselves) => return Meaning::Nothing,
        // We, not the program, touched the terminal, or used up a limit.
        (Signal::TTIN | Signal::TTOU | Signal::PIPE | Signal::XCPU | Signal::XFSZ, Origin::Kernel) => {
            return Meaning::Nothing;
        }
        (_, Origin::Kernel | Origin::Process) => {}
    }
    let rewrite = rules.rewrites.iter().rev().find(|rewrite| rewrite.from == signal);
    let Some(arrives_as) = rewrite.map_or(Some(signal), |rewrite| rewrite.to) else {
        return Meaning::Nothing;
    };
    // Who was started with a signal ignored, as under nohup, does not take it for an order.
    let obeyed = !start.ignores(signal);
    let stops = |signal| matches!(signal, Signal::TERM | Signal::INT);
    match (signal, origin) {
        // The terminal went away. The program may have got the same, so that it is asked with another.
        (Signal::HUP, Origin::Kernel) if obeyed => Meaning::Stop(rewrite.map(|_| arrives_as)),
        // Typed. It reaches us where the program is not in the foreground, or in our group.
        (_, Origin::Kernel) if rules.same_group => Meaning::Nothing,
        (_, Origin::Kernel) => Meaning::Pass(arrives_as),
        _ if obeyed && (stops(signal) || stops(arrives_as)) => {
            let given = rules.own_stop_signal && rewrite.is_none();
            Meaning::Stop((!given).then_some(arrives_as))
        }
        _ => Meaning::Pass(arrives_as),
    }
}

/// Does what the signal does to a program that does not catch it, and returns if that is nothing, or once we were
/// continued. `stops` also stops the rest of our job, as the terminal does.
pub(crate) fn raise_default(signal: Signal, whole_group: bool) {
    // SAFETY: no memory is passed; the signal's disposition is the default, which runs no code of ours.
    unsafe { libc::kill(if whole_group { 0 } else { libc::getpid() }, signal.number()) };
    set_mask(ALL & !(1 << (signal.number() - 1)));
    set_mask(ALL);
}

/// Dies of the signal, so that the calling shell sees it and stops too. Leaves no core dump: that is the program's.
pub(crate) fn die_of(signal: Signal) {
    // SAFETY: plain system calls; the default disposition ends us.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal.number(), libc::SIG_DFL);
    }
    raise_default(signal, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { same_group: false, own_stop_signal: false, rewrites: Vec::new() }
    }

    fn meaning(signal: Signal, origin: Origin, rules: &Rules) -> Meaning {
        decide(Arrived { signal, origin }, rules, &SignalState::clean())
    }

    #[test]
    fn term_and_a_sent_int_stop_and_a_typed_one_does_not() {
        let rules = rules();
        assert_eq!(meaning(Signal::TERM, Origin::Process, &rules), Meaning::Stop(Some(Signal::TERM)));
        assert_eq!(meaning(Signal::INT, Origin::Process, &rules), Meaning::Stop(Some(Signal::INT)));
        assert_eq!(meaning(Signal::INT, Origin::Kernel, &rules), Meaning::Pass(Signal::INT));
        assert_eq!(meaning(Signal::QUIT, Origin::Kernel, &rules), Meaning::Pass(Signal::QUIT));
        assert_eq!(meaning(Signal::QUIT, Origin::Process, &rules), Meaning::Pass(Signal::QUIT));
    }

    #[test]
    fn hup_stops_when_the_terminal_went_away_and_is_passed_on_when_it_was_sent() {
        let rules = rules();
        assert_eq!(meaning(Signal::HUP, Origin::Kernel, &rules), Meaning::Stop(None));
        assert_eq!(meaning(Signal::HUP, Origin::Process, &rules), Meaning::Pass(Signal::HUP));
    }

    #[test]
    fn everything_else_that_is_sent_is_passed_on_once() {
        for signal in Signal::all().filter(|signal| signal.is_catchable()) {
            if [Signal::TERM, Signal::INT, Signal::CHLD, Signal::CONT].contains(&signal) {
                continue;
            }
            assert_eq!(meaning(signal, Origin::Process, &rules()), Meaning::Pass(signal));
        }
    }

    #[test]
    fn in_one_group_the_terminal_has_told_the_program_already() {
        let rules = Rules { same_group: true, ..rules() };
        for signal in [Signal::INT, Signal::QUIT, Signal::TSTP, Signal::WINCH] {
            assert_eq!(meaning(signal, Origin::Kernel, &rules), Meaning::Nothing);
        }
        assert_eq!(meaning(Signal::INT, Origin::Process, &rules), Meaning::Stop(Some(Signal::INT)));
    }

    #[test]
    fn a_rewrite_changes_what_arrives_and_not_what_is_meant() {
        let rewrites = vec![
            Rewrite { from: Signal::TERM, to: Some(Signal::QUIT) },
            Rewrite { from: Signal::USR1, to: Some(Signal::TERM) },
            Rewrite { from: Signal::HUP, to: None },
        ];
        let rules = Rules { own_stop_signal: true, rewrites, ..rules() };
        assert_eq!(meaning(Signal::TERM, Origin::Process, &rules), Meaning::Stop(Some(Signal::QUIT)));
        assert_eq!(meaning(Signal::USR1, Origin::Process, &rules), Meaning::Stop(Some(Signal::TERM)));
        assert_eq!(meaning(Signal::HUP, Origin::Kernel, &rules), Meaning::Nothing);
        assert_eq!(meaning(Signal::INT, Origin::Process, &rules), Meaning::Stop(None));
    }
}

//! The terminal that foster shares with the program: whose it is in front, and how it was before.
//!
//! The program's group is the foreground group while it runs, so that it may read, and so that Ctrl-C and Ctrl-Z
//! reach it and nobody else; `tcsetpgrp(3)`, `termios(3)`. All of foster's signals are blocked, so that SIGTTOU does
//! not stop it for taking the terminal back.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::process::{Pid, setpgid};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp};

use crate::{forward, say};

/// Our controlling terminal, if we have one and our job is in its foreground or may come there.
#[derive(Debug)]
pub(crate) struct Terminal {
    tty: OwnedFd,
    ours: Pid,
    before: Option<Termios>,
    /// The program had it at some time: then it is put back as it was.
    handed: bool,
    /// It hands over each key as it is typed, and does nothing of its own.
    raw: bool,
}

impl Terminal {
    pub(crate) fn open() -> Option<Terminal> {
        // Of two who read it, the other may have been faster.
        let flags = libc::O_NONBLOCK;
        let tty: OwnedFd =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty").ok()?.into();
        let before = tcgetattr(&tty).ok();
        let ours = forward::own_group().or_else(|| group_of_our_own(&tty))?;
        Some(Terminal { tty, ours, before, handed: false, raw: false })
    }

    /// Whether the program should start in the foreground: we are there, and it would read what is typed. One that
    /// reads a pipe gets the terminal once it asks for it.
    pub(crate) fn is_for_program(&self) -> bool {
        self.is_ours() && io::stdin().is_terminal()
    }

    /// Whether our group is the foreground group.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_of(self.ours)
    }

    /// Whether the group is in front.
    pub(crate) fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.tty) == Ok(group)
    }

    /// Whether nobody sits there any more.
    pub(crate) fn has_hung_up(&self) -> bool {
        tcgetpgrp(&self.tty).is_err()
    }

    /// Whether the program has had it in front.
    pub(crate) fn was_handed(&self) -> bool {
        self.handed
    }

    /// The spawn put the program in front.
    pub(crate) fn note_handed(&mut self) {
        self.handed = true;
    }

    /// Puts the program's group in front, if it is our group that is there. Tells whether it did.
    pub(crate) fn give_to(&mut self, program: Pid) -> bool {
        let given = self.is_ours() && tcsetpgrp(&self.tty, program).is_ok();
        self.handed |= given;
        given
    }

    /// Puts our group in front again, if the program's is there, or was and is no more.
    pub(crate) fn take_from(&self, program: Pid) {
        // A group that is gone is no group of the session any more, and only then may a stranger's be in front.
        if self.is_of(program) {
            _ = tcsetpgrp(&self.tty, self.ours);
        }
    }

    /// Hands over each key as it is typed, if we are in front: for a program in a terminal of its own, which does with
    /// them what a terminal does.
    pub(crate) fn make_raw(&mut self) {
        if let Some(before) = self.before.as_ref().filter(|_| self.is_ours()) {
            let mut raw = before.clone();
            raw.make_raw();
            // What the program shows goes elsewhere, and whoever takes it there writes here as always.
            let apart = !io::stdout().is_terminal();
            if apart {
                raw.output_modes = before.output_modes;
            }
            self.raw = tcsetattr(&self.tty, OptionalActions::Drain, &raw).is_ok();
            say::end_lines_for(self.raw && !apart);
        }
    }

    /// As it was before it was raw.
    pub(crate) fn make_cooked(&mut self) {
        if std::mem::take(&mut self.raw) {
            say::end_lines_for(false);
            if let Some(before) = self.before.as_ref().filter(|_| self.is_ours()) {
                _ = tcsetattr(&self.tty, OptionalActions::Drain, before);
            }
        }
    }

    /// As it was before the program had it.
    pub(crate) fn restore(&self, program: Pid) {
        if self.handed {
            self.take_from(program);
            if let Some(before) = self.before.as_ref().filter(|_| self.is_ours()) {
                _ = tcsetattr(&self.tty, OptionalActions::Drain, before);
            }
        }
    }
}

/// After `unshare --pid`, or `nsenter`, our group is outside our pid namespace and has no number to put in front. As a
/// shell does there, we lead one of our own; the job's shell takes the terminal back itself.
fn group_of_our_own(tty: &OwnedFd) -> Option<Pid> {
    // A group that is in front and has a number is not ours.
    let in_front = tcgetpgrp(tty).is_err();
    setpgid(None, None).ok()?;
    let ours = forward::own_group()?;
    if in_front {
        _ = tcsetpgrp(tty, ours);
    }
    Some(ours)
}

/// Also when foster itself fails.
impl Drop for Terminal {
    fn drop(&mut self) {
        self.make_cooked();
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tty.as_fd()
    }
}

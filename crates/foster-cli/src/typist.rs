//! `--pty`: who sits between two terminals, and types at the program's what is typed at ours.
//!
//! Ours hands over each key as it is typed; what Ctrl-C and its like mean is for the program's terminal to say. What the
//! program shows comes to our output by the library.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ChildStdin;

use foster::Pty;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::tcgetwinsize;

use crate::terminal::Terminal;

/// That of our terminal, wherever we have one.
pub(crate) fn size() -> Pty {
    let tty = File::open("/dev/tty").map(OwnedFd::from).ok();
    let sizes = [tcgetwinsize(stdout()), tcgetwinsize(stdin()), tcgetwinsize(stderr())];
    let size = tty.map(tcgetwinsize).into_iter().chain(sizes).flatten().find(|size| size.ws_row > 0);
    size.map_or_else(Pty::default, |size| Pty::new(size.ws_row, size.ws_col))
}

/// How much waits for a program that does not read.
const MOST: usize = 4096;

#[derive(Debug)]
pub(crate) struct Typist {
    /// The program's terminal. It does not block: it may be full.
    keys: ChildStdin,
    waiting: Vec<u8>,
    /// A terminal is read; else whatever our standard input is.
    person: bool,
    /// More may be typed.
    reads: bool,
    /// The last line has its end.
    at_start: bool,
}

impl Typist {
    pub(crate) fn new(keys: ChildStdin) -> io::Result<Typist> {
        // The library, which has it too, looks before it reads.
        fcntl_setfl(&keys, fcntl_getfl(&keys)? | OFlags::NONBLOCK)?;
        let person = io::stdin().is_terminal();
        Ok(Typist { keys, waiting: Vec::new(), person, reads: true, at_start: true })
    }

    /// Whether what is typed comes from a terminal.
    pub(crate) fn is_person(&self) -> bool {
        self.person
    }

    /// Whether there may be more, and there is room for it.
    pub(crate) fn reads(&self) -> bool {
        self.reads && self.waiting.len() < MOST
    }

    /// Whether something is still to be typed.
    pub(crate) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes our terminal's keys as they are typed, if we are in front of it.
    pub(crate) fn sit_down(&self, terminal: &mut Terminal) {
        if self.person {
            terminal.make_raw();
        }
    }

    /// Takes in what was typed.
    pub(crate) fn read(&mut self) {
        let mut block = [0; MOST];
        match rustix::io::read(stdin(), &mut block) {
            Ok(0) if !self.person => {
                self.reads = false;
                // A terminal has no end; what stands for it is Ctrl-D at the beginning of a line, twice within one.
                self.waiting.extend(if self.at_start { &[0x04][..] } else { &[0x04, 0x04] });
            }
            Ok(n @ 1..) => {
                self.waiting.extend(&block[..n]);
                self.at_start = block[n - 1] == b'\n';
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Our terminal has gone away.
            Ok(_) | Err(_) => self.reads = false,
        }
    }

    /// Types what can be typed now.
    pub(crate) fn write(&mut self) {
        while !self.waiting.is_empty() {
            match rustix::io::write(&self.keys, &self.waiting) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody has the program's terminal any more.
                Err(_) => {
                    self.waiting.clear();
                    self.reads = false;
                }
            }
        }
    }
}

impl AsFd for Typist {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.keys.as_fd()
    }
}

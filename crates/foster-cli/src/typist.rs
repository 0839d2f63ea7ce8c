//! `--pty`: who sits between two terminals, and types at the program's what is typed at ours.
//!
//! Ours hands over each key as it is typed; what Ctrl-C and its like mean is for the program's terminal to say. What
//! the program shows comes to our output by the library.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdin;

use foster::Pty;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::tcgetwinsize;

use crate::terminal::Terminal;

/// That of our terminal, wherever we have one.
pub(crate) fn size(terminal: Option<&Terminal>) -> Pty {
    let ours = terminal.map(tcgetwinsize);
    let sizes = [tcgetwinsize(stdout()), tcgetwinsize(stdin()), tcgetwinsize(stderr())];
    let size = ours.into_iter().chain(sizes).flatten().find(|size| size.ws_row > 0 && size.ws_col > 0);
    size.map_or_else(Pty::default, |size| Pty::new(size.ws_row, size.ws_col))
}

/// How much waits for a program that does not read.
const MOST: usize = 4096;

#[derive(Debug)]
pub(crate) struct Typist {
    /// The program's terminal. It does not block: it may be full.
    keys: ChildStdin,
    waiting: Vec<u8>,
    /// More may be typed.
    reads: bool,
    /// It was in front when it last looked.
    pub(crate) in_front: bool,
}

impl Typist {
    pub(crate) fn new(keys: ChildStdin) -> io::Result<Typist> {
        // The library, which has it too, looks before it reads.
        fcntl_setfl(&keys, fcntl_getfl(&keys)? | OFlags::NONBLOCK)?;
        Ok(Typist { keys, waiting: Vec::new(), reads: true, in_front: false })
    }

    /// Whether more may be typed, and there is room for it.
    pub(crate) fn reads(&self) -> bool {
        self.reads && self.waiting.len() < MOST
    }

    /// Whether something is still to be typed.
    pub(crate) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes in what was typed at ours.
    pub(crate) fn read(&mut self, ours: &Terminal) {
        let mut block = [0; MOST];
        match rustix::io::read(ours, &mut block) {
            Ok(n @ 1..) => self.waiting.extend(&block[..n]),
            // We are not in front any more.
            Err(Errno::IO) if !ours.is_ours() && !ours.has_hung_up() => {}
            Err(Errno::AGAIN | Errno::INTR) => {}
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

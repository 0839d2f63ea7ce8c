//! [`Terminal`]: a real one, with a program in it, for what only happens there; and the [`Transcript`] of any.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::{DEADLINE, pty};

/// A real terminal with a program in it that leads its session.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Transcript,
    /// The program.
    pub program: Child,
}

/// What a terminal shows, read in the background.
#[derive(Clone, Debug, Default)]
pub struct Transcript(Arc<Shown>);

#[derive(Debug, Default)]
struct Shown {
    text: Mutex<Text>,
    more: Condvar,
    off: AtomicBool,
}

#[derive(Debug, Default)]
struct Text {
    /// What was written, and how much of it was looked at.
    all: String,
    looked: usize,
    ended: bool,
}

impl Terminal {
    /// Starts the words in a session of their own, whose controlling terminal this is; `setsid(1)`.
    #[track_caller]
    pub fn start(words: &[&str]) -> Terminal {
        let (keyboard, program) = pty::start(words, (24, 200), |command| {
            command.env("PS1", "$ ").env("HISTFILE", "/dev/null");
        });
        let reader = keyboard.try_clone().expect("the master can be cloned");
        let screen = Transcript::of(reader);
        Terminal { keyboard, screen, program }
    }

    /// A shell with job control, after its first prompt.
    #[track_caller]
    pub fn shell() -> Terminal {
        let terminal = Terminal::start(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        terminal.expect("$ ");
        terminal
    }

    /// As a person at the keyboard would.
    #[track_caller]
    pub fn type_keys(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Types until nobody takes more, or a megabyte. Returns how much it was, in bytes. A write that waited would wait
    /// for ever: it is not woken when all who have the terminal die.
    #[track_caller]
    pub fn type_what_fits(&self) -> usize {
        let flags = fcntl_getfl(&self.keyboard).expect("it is open");
        fcntl_setfl(&self.keyboard, flags | OFlags::NONBLOCK).expect("it is open");
        let patience = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        let mut typed = 0;
        while typed < 1 << 20 {
            match rustix::io::write(&self.keyboard, &[b'x'; 512]) {
                Ok(n) => typed += n,
                Err(Errno::AGAIN) => {
                    if poll(&mut [PollFd::new(&self.keyboard, PollFlags::OUT)], Some(&patience)) == Ok(0) {
                        break;
                    }
                }
                Err(error) => panic!("the terminal takes keys: {error}"),
            }
        }
        typed
    }

    /// See [`Transcript::expect`].
    #[track_caller]
    pub fn expect(&self, wanted: &str) -> String {
        self.screen.expect(wanted)
    }

    /// See [`Transcript::ready`].
    #[track_caller]
    pub fn ready(&self, name: &str) -> u32 {
        self.screen.ready(name)
    }

    /// See [`Transcript::count`].
    pub fn count(&self, text: &str) -> usize {
        self.screen.count(text)
    }

    /// Closes the terminal, as a window is closed.
    pub fn hang_up(self) -> Child {
        self.screen.turn_off();
        drop(self.keyboard);
        self.program
    }
}

impl Transcript {
    /// That of the terminal whose output this is.
    pub fn of(output: impl Read + AsFd + Send + 'static) -> Transcript {
        let screen = Transcript::default();
        let ours = screen.clone();
        std::thread::spawn(move || {
            pty::read(output, &ours.0.off, |block| {
                ours.text().all.push_str(&String::from_utf8_lossy(block));
                ours.0.more.notify_all();
            });
            ours.text().ended = true;
            ours.0.more.notify_all();
        });
        screen
    }

    /// Waits until the text has been written behind what was expected before, and returns what stands before it.
    #[track_caller]
    pub fn expect(&self, wanted: &str) -> String {
        self.wait(wanted, |text| {
            let at = text.all[text.looked..].find(wanted)? + text.looked;
            let before = text.all[text.looked..at].to_string();
            text.looked = at + wanted.len();
            Some(before)
        })
    }

    /// The pid in `NAME: ready PID`.
    #[track_caller]
    pub fn ready(&self, name: &str) -> u32 {
        self.expect(&format!("{name}: ready "));
        self.expect("\n").trim().parse().expect("ready tells the pid")
    }

    /// Waits for the end, and returns everything that was written.
    #[track_caller]
    pub fn end(&self) -> String {
        self.wait("the end", |text| text.ended.then(|| text.all.clone()))
    }

    /// How often the text stands on the screen so far.
    pub fn count(&self, text: &str) -> usize {
        self.text().all.matches(text).count()
    }

    /// Reads no more of it; its output is closed in a moment.
    pub fn turn_off(&self) {
        self.0.off.store(true, Ordering::Relaxed);
    }

    #[track_caller]
    fn wait<T>(&self, wanted: &str, look: impl Fn(&mut Text) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut text = self.text();
        loop {
            if let Some(seen) = look(&mut text) {
                return seen;
            }
            let left = end.saturating_duration_since(Instant::now());
            let hopeless = text.ended || left.is_zero();
            assert!(!hopeless, "{wanted:?} was never written; the screen: {}", text.all);
            text = self.0.more.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

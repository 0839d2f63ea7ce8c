//! [`Terminal`]: a real one, with a program in it, for what only happens there; and the [`Screen`] of any.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::DEADLINE;

/// A real terminal with a program in it that leads its session.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Screen,
    /// The program.
    pub program: Child,
}

/// What a terminal shows, read in the background.
#[derive(Clone, Debug, Default)]
pub struct Screen(Arc<Shown>);

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
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a size");
        let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("UTF-8");
        let slave = || -> OwnedFd {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).expect("the slave opens")
        };
        let program = Command::new("setsid")
            .arg("--ctty")
            .args(words)
            .env("PS1", "$ ")
            .env("HISTFILE", "/dev/null")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("setsid starts");
        let keyboard = File::from(master);
        let reader = keyboard.try_clone().expect("the master can be cloned");
        let screen = Screen::of(reader);
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

    /// See [`Screen::expect`].
    #[track_caller]
    pub fn expect(&self, wanted: &str) -> String {
        self.screen.expect(wanted)
    }

    /// See [`Screen::ready`].
    #[track_caller]
    pub fn ready(&self, name: &str) -> u32 {
        self.screen.ready(name)
    }

    /// See [`Screen::count`].
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

impl Screen {
    /// That of the terminal whose output this is.
    pub fn of(output: impl Read + AsFd + Send + 'static) -> Screen {
        let screen = Screen::default();
        let ours = screen.clone();
        std::thread::spawn(move || ours.show(output));
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

    fn show(&self, mut output: impl Read + AsFd) {
        let tick = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut block = [0; 4096];
        while !self.0.off.load(Ordering::Relaxed) {
            if poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&tick)) == Ok(0) {
                continue;
            }
            // EIO is the end: nobody holds the other side.
            let Ok(n @ 1..) = output.read(&mut block) else { break };
            self.text().all.push_str(&String::from_utf8_lossy(&block[..n]));
            self.0.more.notify_all();
        }
        self.text().ended = true;
        self.0.more.notify_all();
    }
}

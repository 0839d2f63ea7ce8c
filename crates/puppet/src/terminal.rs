//! [`Terminal`]: a real one, with a program in it, for what only happens there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::DEADLINE;

/// A real terminal with a program in it that leads its session.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    screen: Arc<Screen>,
    /// The program.
    pub program: Child,
}

#[derive(Debug, Default)]
struct Screen {
    /// What was written, and how much of it was looked at.
    text: Mutex<(String, usize)>,
    more: Condvar,
    off: AtomicBool,
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
        let screen = Arc::new(Screen::default());
        let ours = screen.clone();
        std::thread::spawn(move || ours.show(reader));
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

    /// Waits until the text has been written behind what was expected before, and returns what stands before it.
    #[track_caller]
    pub fn expect(&self, wanted: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut text = self.screen.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let looked = text.1;
            if let Some(at) = text.0[looked..].find(wanted) {
                let before = text.0[looked..looked + at].to_string();
                text.1 = looked + at + wanted.len();
                return before;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{wanted:?} was never written; the screen: {}", text.0);
            text = self.screen.more.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The pid in `NAME: ready PID`.
    #[track_caller]
    pub fn ready(&self, name: &str) -> u32 {
        self.expect(&format!("{name}: ready "));
        self.expect("\n").trim().parse().expect("ready tells the pid")
    }

    /// How often the text stands on the screen so far.
    pub fn count(&self, text: &str) -> usize {
        self.screen.text.lock().unwrap_or_else(PoisonError::into_inner).0.matches(text).count()
    }

    /// Closes the terminal, as a window is closed.
    pub fn hang_up(self) -> Child {
        self.screen.off.store(true, Ordering::Relaxed);
        drop(self.keyboard);
        self.program
    }
}

impl Screen {
    fn show(&self, mut reader: File) {
        let tick = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let mut block = [0; 4096];
        while !self.off.load(Ordering::Relaxed) {
            if poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&tick)) == Ok(0) {
                continue;
            }
            // EIO is the end: nobody holds the other side.
            let Ok(n @ 1..) = reader.read(&mut block) else { return };
            let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
            text.0.push_str(&String::from_utf8_lossy(&block[..n]));
            self.more.notify_all();
        }
    }
}

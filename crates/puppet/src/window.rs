//! [`Window`]: a real terminal with a model of its screen, for programs that draw.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::termios::{tcgetattr, tcgetpgrp};

use crate::{DEADLINE, pty};

/// A terminal of an `xterm`'s kind, with a program in it that leads its session, and its screen.
#[derive(Debug)]
pub struct Window {
    keyboard: File,
    glass: Arc<Glass>,
    /// The program.
    pub program: Child,
}

/// What a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Its text, without the spaces at the end of each row.
    pub rows: Vec<String>,
    /// Where the cursor is: row and column, from 0.
    pub cursor: (u16, u16),
    /// Whether it is to be seen.
    pub cursor_shown: bool,
    /// Whether it is the other screen, which full-screen programs take and give back.
    pub alternate: bool,
}

/// What the reader's thread draws on.
struct Glass {
    drawn: Mutex<vt100::Parser>,
    more: Condvar,
    off: AtomicBool,
}

impl Window {
    /// Starts the words in this directory, which is their home too, with nothing of our environment but its path.
    #[track_caller]
    pub fn open(words: &[&str], place: &Path, rows: u16, cols: u16) -> Window {
        let path = std::env::var("PATH").unwrap_or_default();
        let (keyboard, program) = pty::start(words, (rows, cols), |command| {
            command
                .env_clear()
                // First the machine's own: what a person has put before it may be a script that is slow.
                .env("PATH", format!("/usr/bin:/bin:{path}"))
                .env("HOME", place)
                .env("TERM", "xterm")
                .env("LC_ALL", "C.UTF-8")
                .env("PS1", "$ ")
                .env("HISTFILE", "/dev/null")
                .env("LESSHISTFILE", "-")
                .env("INPUTRC", "/dev/null")
                .current_dir(place);
        });
        let reader = keyboard.try_clone().expect("the master can be cloned");
        let glass = Arc::new(Glass {
            drawn: Mutex::new(vt100::Parser::new(rows, cols, 0)),
            more: Condvar::new(),
            off: AtomicBool::new(false),
        });
        let ours = glass.clone();
        std::thread::spawn(move || pty::read(reader, &ours.off, |block| ours.draw(block)));
        Window { keyboard, glass, program }
    }

    /// As a person at the keyboard would.
    #[track_caller]
    pub fn type_keys(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// As a person does who pulls at the window's corner.
    #[track_caller]
    pub fn resize(&self, rows: u16, cols: u16) {
        // The screen first: the program draws for the new size as soon as it is told.
        let mut drawn = self.glass.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drawn.screen_mut().set_size(rows, cols);
        drop(drawn);
        pty::resize(&self.keyboard, rows, cols);
    }

    /// The screen as it is now.
    pub fn screen(&self) -> Screen {
        Screen::of(&self.glass.drawn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the screen is so, and returns it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Screen) -> bool) -> Screen {
        let end = Instant::now() + DEADLINE;
        let mut drawn = self.glass.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let screen = Screen::of(&drawn);
            if holds(&screen) {
                return screen;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not within {DEADLINE:?}: {what}; the screen:\n{screen}");
            drawn = self.glass.more.wait_timeout(drawn, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until something is drawn, but not for long.
    pub fn wait_for_more(&self, most: Duration) {
        let drawn = self.glass.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.glass.more.wait_timeout(drawn, most));
    }

    /// The terminal's modes, `termios(3)`, to be compared.
    #[track_caller]
    pub fn modes(&self) -> String {
        format!("{:?}", tcgetattr(&self.keyboard).expect("the modes can be read"))
    }

    /// The group that is in front, if one is.
    pub fn foreground(&self) -> Option<u32> {
        tcgetpgrp(&self.keyboard).ok().map(|group| group.as_raw_nonzero().get().cast_unsigned())
    }

    /// Closes the window.
    pub fn hang_up(self) -> Child {
        self.glass.off.store(true, Ordering::Relaxed);
        drop(self.keyboard);
        self.program
    }
}

impl Screen {
    fn of(drawn: &vt100::Parser) -> Screen {
        let screen = drawn.screen();
        let (_, cols) = screen.size();
        Screen {
            rows: screen.rows(0, cols).map(|row| row.trim_end().to_string()).collect(),
            cursor: screen.cursor_position(),
            cursor_shown: !screen.hide_cursor(),
            alternate: screen.alternate_screen(),
        }
    }

    /// Whether the text stands in one of its rows.
    pub fn shows(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }

    /// What stands in the cursor's row before the cursor; spaces there too.
    pub fn before_cursor(&self) -> String {
        let (row, column) = (usize::from(self.cursor.0), usize::from(self.cursor.1));
        let text = self.rows.get(row).map_or("", String::as_str);
        format!("{text:column$}").chars().take(column).collect()
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "  | {row}")?;
        }
        let (row, column) = self.cursor;
        let shown = if self.cursor_shown { "shown" } else { "hidden" };
        let which = if self.alternate { "alternate" } else { "first" };
        write!(f, "  cursor {shown} at row {row}, column {column}, {which} screen")
    }
}

impl Glass {
    fn draw(&self, block: &[u8]) {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).process(block);
        self.more.notify_all();
    }
}

impl fmt::Debug for Glass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Glass").finish_non_exhaustive()
    }
}

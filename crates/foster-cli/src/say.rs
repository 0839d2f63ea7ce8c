//! What foster says to people: one line each, on stderr, and never at the price of a hang.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::args::FAILED;

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    /// Why foster failed.
    Quiet,
    /// And what the caller would not expect: a forced end, leftovers, a timeout.
    Normal,
    /// And every step.
    Verbose,
}

impl Volume {
    /// Says it if the volume is at least `from`.
    pub(crate) fn say(self, from: Volume, what: impl Display) {
        if self >= from {
            line(&what);
        }
    }

    /// Says it where a person reads along.
    pub(crate) fn say_to_person(self, what: impl Display) {
        if self > Volume::Quiet && (io::stderr().is_terminal() || self == Volume::Verbose) {
            line(&what);
        }
    }
}

/// Says why foster failed, and returns the exit code for it.
pub(crate) fn failure(what: &dyn Display) -> u8 {
    line(&what);
    FAILED
}

/// The system's own words without the number behind them.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

/// Our terminal is raw: it does not begin a line where one ends.
static RAW: AtomicBool = AtomicBool::new(false);

/// From now on lines end as a raw terminal wants them to, or any other.
pub(crate) fn end_lines_for(raw: bool) {
    RAW.store(raw, Ordering::Relaxed);
}

/// Less than `PIPE_BUF`, 4,096 bytes, whatever its letters.
const LINE: usize = 1_000;

/// A name, cut where it says enough.
pub(crate) fn name(text: &str) -> String {
    shown(text, 200)
}

fn shown(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

fn line(what: &impl Display) {
    let stderr = io::stderr();
    // A full pipe that nobody reads must not keep us from forwarding signals: then the line is lost. A line shorter
    // than PIPE_BUF is written whole, pipe(7).
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now)) == Ok(1) {
        let text = what.to_string().replace(['\n', '\r'], " ");
        let text = shown(&text, LINE);
        let end = if RAW.load(Ordering::Relaxed) { "\r\n" } else { "\n" };
        // A terminal that has gone away, or a disk that is full, is no reason to stop working.
        _ = stderr.lock().write_all(format!("foster: {text}{end}").as_bytes());
    }
}

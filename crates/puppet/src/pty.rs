//! A pty with a program in it: what [`Terminal`](crate::Terminal) and [`Window`](crate::Window) are made of.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::own::as_in_the_foreground;

/// Starts the words in a session of their own, whose controlling terminal is a new one; `setsid(1)`. Returns the
/// terminal's other side and the program.
#[track_caller]
pub(crate) fn start(
    words: &[&str],
    (rows, cols): (u16, u16),
    set: impl FnOnce(&mut Command),
) -> (File, Child) {
    as_in_the_foreground();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    resize(&master, rows, cols);
    let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("UTF-8");
    let slave = || -> OwnedFd {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).expect("the slave opens")
    };
    let mut command = Command::new("setsid");
    command.arg("--ctty").args(words).stdin(slave()).stdout(slave()).stderr(slave());
    set(&mut command);
    (File::from(master), command.spawn().expect("setsid starts"))
}

/// Gives the terminal this size.
#[track_caller]
pub(crate) fn resize(master: impl AsFd, rows: u16, cols: u16) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
}

/// Reads what is written until nobody holds the other side, or until it is switched off.
pub(crate) fn read(mut master: impl Read + AsFd, off: &AtomicBool, mut written: impl FnMut(&[u8])) {
    let tick = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let mut block = [0; 4096];
    while !off.load(Ordering::Relaxed) {
        if poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&tick)) == Ok(0) {
            continue;
        }
        // EIO is the end: nobody holds the other side.
        let Ok(n @ 1..) = master.read(&mut block) else { return };
        written(&block[..n]);
    }
}

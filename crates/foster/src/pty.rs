//! [`Pty`]: a terminal of its own for a program, made and measured. Who leads its session is the matter of whoever
//! starts the leader.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, Uid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::guard::above_2;
use crate::{Error, ErrorKind};

/// The size of a terminal of its own, for [`Command::pty`](crate::Command::pty); see `pty(7)`.
///
/// By default it is as large as the terminals of old:
///
/// ```
/// use foster::Pty;
///
/// let pty = Pty::default();
/// assert_eq!((pty.rows, pty.cols), (24, 80));
/// assert_eq!(pty, Pty::new(24, 80));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Pty {
    /// How many lines it has.
    pub rows: u16,
    /// How many characters are in a line.
    pub cols: u16,
}

impl Pty {
    /// A terminal with so many lines of so many characters.
    pub fn new(rows: u16, cols: u16) -> Pty {
        Pty { rows, cols }
    }
}

impl Default for Pty {
    fn default() -> Pty {
        Pty::new(24, 80)
    }
}

/// Both ends of a terminal. They are close-on-exec, and not among the three streams.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Ours: what is typed, and what is shown.
    pub(crate) master: OwnedFd,
    /// The program's. As long as anybody has it open, the master has no end.
    pub(crate) slave: OwnedFd,
}

/// A new terminal of this size, which is `owner`'s if we may give it away. It becomes nobody's controlling terminal by
/// that.
pub(crate) fn open(pty: Pty, owner: Option<u32>) -> io::Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = above_2(openpt(flags)?)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    set_size(&master, pty.rows, pty.cols)?;
    let slave = match ioctl_tiocgptpeer(&master, flags) {
        Ok(slave) => slave,
        // By its name, which is another terminal's where `/dev/pts` is not the mount that the master is from: hence
        // only where it must be, before Linux 4.13 and behind a filter that knows the old calls only.
        Err(_) => rustix::fs::open(
            ptsname(&master, Vec::new())?,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?,
    };
    if let Some(owner) = owner {
        // Programs open their terminal by its name (tmux, gpg). As sudo does, and as there it may fail: the three
        // streams do all the same.
        _ = rustix::fs::fchown(&slave, Some(Uid::from_raw(owner)), None);
    }
    Ok(Ends { master, slave: above_2(slave)? })
}

/// The program's foreground group gets SIGWINCH if that is another size than before; `ioctl_tty(2)`.
pub(crate) fn set_size(master: impl AsFd, rows: u16, cols: u16) -> io::Result<()> {
    Ok(tcsetwinsize(master, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?)
}

/// There is no terminal to be had.
pub(crate) fn refused(doing: &str, error: io::Error) -> Error {
    let kind = match error.raw_os_error() {
        // All of the mount's are in use, which has nothing to do with processes.
        Some(libc::ENOSPC) => ErrorKind::Other,
        _ => ErrorKind::of(&error),
    };
    let fix = match kind {
        ErrorKind::Other => "; is there a /dev/ptmx, and one to spare (/proc/sys/kernel/pty)?",
        _ => "",
    };
    Error::os(kind, format!("{doing}: cannot make a terminal of its own{fix}"), error)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::termios::{isatty, tcgetwinsize};

    use super::*;

    #[test]
    fn both_ends_are_of_one_terminal_of_that_size_and_reach_nobody_else() {
        let ends = open(Pty::new(7, 33), None).expect("a terminal");
        for end in [&ends.master, &ends.slave] {
            let size = tcgetwinsize(end).expect("it is a terminal");
            assert_eq!((size.ws_row, size.ws_col), (7, 33));
            assert_eq!(fcntl_getfd(end), Ok(FdFlags::CLOEXEC));
            assert!(end.as_raw_fd() > 2);
        }
        assert!(isatty(&ends.slave));
        rustix::io::write(&ends.slave, b"shown").expect("it is open");
        let mut shown = [0; 16];
        assert_eq!(rustix::io::read(&ends.master, &mut shown), Ok(5));
        assert_eq!(&shown[..5], b"shown");
        set_size(&ends.master, 8, 34).expect("it is open");
        assert_eq!(tcgetwinsize(&ends.slave).expect("a terminal").ws_row, 8);
        drop(ends.slave);
        assert_eq!(rustix::io::read(&ends.master, &mut shown), Err(rustix::io::Errno::IO));
    }

    #[test]
    fn a_machine_without_one_to_spare_does_not_blame_the_processes() {
        let error = refused("cannot start `x`", io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("/dev/ptmx"), "{error}");
        let error = refused("cannot start `x`", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(error.kind(), ErrorKind::NoDescriptors);
    }
}

//! The freezer of cgroup v1, for hosts without a usable v2: who is frozen does not fork, so all can be killed by
//! number. Who is frozen here does not die either, not even of SIGKILL, before it is thawed.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::leaf::{self, Kind, Leaf, Refused};

/// A fresh leaf.
pub(crate) fn create() -> Result<Leaf, Refused> {
    Leaf::create(Kind::Freezer)
}

/// Whether it is still there.
pub(super) fn fits(dir: BorrowedFd<'_>, path: &Path) -> Result<bool, Refused> {
    match leaf::open_file(dir, STATE, OFlags::RDWR) {
        Ok(_) => Ok(true),
        Err(errno) if leaf::is_gone(errno) => Ok(false),
        Err(errno) => Err(Refused::of(Kind::Freezer, format!("open {}/{STATE}", path.display()), errno)),
    }
}

pub(super) fn kill(dir: BorrowedFd<'_>) -> io::Result<()> {
    // Held open, so that nothing keeps us from thawing.
    let mut state = match leaf::open_file(dir, STATE, OFlags::RDWR) {
        Ok(state) => state,
        Err(errno) if leaf::is_gone(errno) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let frozen = freeze(&mut state);
    let killed = leaf::kill_each(dir);
    let thawed = (&state).write_all(b"THAWED");
    let rest = thaw_below(dir);
    for errno in [killed.err(), rest.err()].into_iter().flatten() {
        if !leaf::is_gone(errno) {
            return Err(errno.into());
        }
    }
    gone_is_fine(frozen)?;
    gone_is_fine(thawed)
}

pub(super) fn is_empty(dir: BorrowedFd<'_>) -> bool {
    match leaf::members(dir) {
        Ok(members) => members.is_empty(),
        Err(errno) => leaf::is_gone(errno),
    }
}

const STATE: &str = "freezer.state";

/// Who is deep in the kernel freezes late: then it is killed as it is, and whoever it bore meanwhile next time.
fn freeze(state: &mut File) -> io::Result<()> {
    state.write_all(b"FROZEN")?;
    for pause in [50, 100, 200, 400, 800, 1600] {
        let mut now = String::new();
        state.rewind()?;
        state.read_to_string(&mut now)?;
        if now.trim_end() == "FROZEN" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(pause));
    }
    Ok(())
}

/// A member may have frozen a part of its own.
fn thaw_below(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    leaf::walk(dir, leaf::DEEPEST, &mut |dir| match leaf::open_file(dir, STATE, OFlags::WRONLY) {
        Ok(mut state) => {
            state.write_all(b"THAWED").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        Err(errno) if leaf::is_gone(errno) => Ok(()),
        Err(errno) => Err(errno),
    })
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !Errno::from_io_error(&error).is_some_and(leaf::is_gone) => Err(error),
        _ => Ok(()),
    }
}

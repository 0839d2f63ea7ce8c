//! cgroup v2: the kernel kills all members at once (5.14), says when nobody is left, and counts what they used.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::leaf::{self, Kind, Leaf, Refused};

/// A fresh leaf.
pub(crate) fn create() -> Result<Leaf, Refused> {
    Leaf::create(Kind::Cgroup)
}

/// Whether processes can be in it and be killed in it; `false` if it is gone. Below threads, and below a cgroup that
/// has some, the kernel makes what holds no processes.
pub(super) fn fits(dir: BorrowedFd<'_>, path: &Path) -> Result<bool, Refused> {
    let refused = |step, errno, hint| Refused::not_here(Kind::Cgroup, step, errno, hint, true);
    match leaf::read_file(dir, "cgroup.type") {
        Ok(kind) if kind.trim_end() == "domain" => Ok(true),
        Ok(kind) => {
            let step = format!("mkdir {}: it is “{}”", path.display(), kind.trim_end());
            Err(refused(step, None, "start from a cgroup that is not threaded"))
        }
        Err(errno) if leaf::is_gone(errno) => Ok(false),
        Err(errno) => Err(Refused::of(Kind::Cgroup, format!("read {}/cgroup.type", path.display()), errno)),
    }
}

pub(super) fn kill(dir: BorrowedFd<'_>) -> io::Result<()> {
    match write(dir, "cgroup.kill", b"1") {
        // Before 5.14, or it is gone. EOPNOTSUPP: a member made it threaded.
        Err(Errno::NOENT | Errno::OPNOTSUPP) => freeze_and_kill(dir),
        result => gone_is_fine(result),
    }
}

/// Frozen, nobody forks; and who is frozen dies of SIGKILL nonetheless.
pub(super) fn freeze_and_kill(dir: BorrowedFd<'_>) -> io::Result<()> {
    let state = match leaf::open_file(dir, "cgroup.freeze", OFlags::WRONLY) {
        Ok(state) => state,
        Err(errno) => return gone_is_fine(Err(errno)),
    };
    // Held open, so that nothing keeps us from thawing.
    let frozen = (&state).write_all(b"1");
    let killed = leaf::kill_each(dir);
    let thawed = (&state).write_all(b"0");
    gone_is_fine(killed)?;
    gone_is_fine(of(frozen))?;
    gone_is_fine(of(thawed))
}

pub(super) fn is_empty(dir: BorrowedFd<'_>) -> bool {
    match leaf::read_file(dir, "cgroup.events") {
        Ok(events) => field(&events, "populated") == Some(0),
        Err(errno) => leaf::is_gone(errno),
    }
}

pub(super) fn usage(dir: BorrowedFd<'_>) -> Option<(Duration, Duration)> {
    let stat = leaf::read_file(dir, "cpu.stat").ok()?;
    let time = |name| field(&stat, name).map(Duration::from_micros);
    Some((time("user_usec")?, time("system_usec")?))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn write(dir: BorrowedFd<'_>, file: &str, what: &[u8]) -> Result<(), Errno> {
    of(leaf::open_file(dir, file, OFlags::WRONLY)?.write_all(what))
}

fn of(written: io::Result<()>) -> Result<(), Errno> {
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn gone_is_fine(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Err(errno) if !leaf::is_gone(errno) => Err(errno.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let stat = "usage_usec 9\nuser_usec 12\nsystem_usec 34\nuser_usec_more 5\n";
        assert_eq!(field(stat, "user_usec"), Some(12));
        assert_eq!(field(stat, "system_usec"), Some(34));
        assert_eq!(field(stat, "user"), None);
        assert_eq!(field("populated\n", "populated"), None);
    }
}

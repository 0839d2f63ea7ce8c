//! A leaf: a cgroup made for one tree, in the hierarchy of cgroup v2 or in that of the v1 freezer.
//!
//! It is made under our own cgroup, never used twice (a child cloned into a cgroup that was killed once is killed at
//! birth by Linux 6.14 to 6.18), and never shared.
//!
//! Whose it is, a lock says: `flock(2)` on the directory, shared, on the descriptor that the guard inherits. So it is
//! held while we or the guard live, by the kernel's account, across pid namespaces, and is let go by any death. The
//! name is for people. A leaf whose lock is free is nobody's, and the next of us sweeps it; see [`sweep`].
//!
//! A fork of ours without an exec holds the lock too: then the leaf is swept later, which harms nobody.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::{cgroup, freezer};
use crate::{Mechanism, Tried};

mod place;
pub(crate) mod sweep;
#[cfg(test)]
mod tests;

use place::Place;

/// Which hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// cgroup v2.
    Cgroup,
    /// The freezer of cgroup v1.
    Freezer,
}

/// A cgroup made for one tree.
#[derive(Debug)]
pub(crate) struct Leaf {
    kind: Kind,
    dir: OwnedFd,
    path: PathBuf,
}

/// Why there is no leaf.
#[derive(Debug)]
pub(crate) enum Refused {
    /// This machine has not got it. `lasting`: nor will it have it later in this process.
    NotHere { tried: Tried, lasting: bool },
    /// We lack descriptors or memory: that is no reason to hold the tree less firmly.
    Error(io::Error),
}

/// What can be lost to a sweeper, or to somebody who made the same name, before it is bad luck no longer.
const ATTEMPTS: usize = 8;

impl Leaf {
    /// A fresh leaf under our own cgroup, empty and ours.
    pub(crate) fn create(kind: Kind) -> Result<Leaf, Refused> {
        let place = place::own(kind)?;
        sweep::once(&place);
        match Leaf::create_in(&place) {
            Err(Refused::NotHere { tried, .. }) if tried.errno == Some(libc::ENOENT) => {
                place::forget(kind);
                Leaf::create_in(&place::own(kind)?)
            }
            result => result,
        }
    }

    fn create_in(place: &Place) -> Result<Leaf, Refused> {
        let mut step = String::new();
        for _ in 0..ATTEMPTS {
            let path = place.path.join(name());
            step = format!("mkdir {}", path.display());
            // Nobody else may open the directory: who can open it can lock it. The files in it are for all to read.
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711)) {
                Ok(()) => {}
                Err(Errno::EXIST | Errno::INTR) => continue,
                Err(errno) => return Err(Refused::of(place.kind, step, errno)),
            }
            match claim(place.kind, &path) {
                Ok(Some(leaf)) => return Ok(leaf),
                // A sweeper took it for a dead one's, because we or the clock stood still.
                Ok(None) => _ = rustix::fs::rmdir(&path),
                Err(refused) => {
                    _ = rustix::fs::rmdir(&path);
                    return Err(refused);
                }
            }
        }
        Err(Refused::of(place.kind, step, Errno::BUSY))
    }

    /// Its directory, locked: what the guard inherits.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Kills everybody in it, once. Somebody who is just being born may be missed: repeat it until it is empty.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.kind {
            Kind::Cgroup => cgroup::kill(self.dir()),
            Kind::Freezer => freezer::kill(self.dir()),
        }
    }

    /// Whether nobody lives in it; zombies do not count. A leaf that is gone is empty.
    pub(crate) fn is_empty(&self) -> bool {
        match self.kind {
            Kind::Cgroup => cgroup::is_empty(self.dir()),
            Kind::Freezer => freezer::is_empty(self.dir()),
        }
    }

    /// Who lives in it and below it, by our pid namespace's numbers.
    pub(crate) fn members(&self) -> Vec<u32> {
        members(self.dir()).unwrap_or_default()
    }

    /// The time that all who ever were in it spent in user mode and in the kernel. The freezer does not count it.
    pub(crate) fn usage(&self) -> Option<(Duration, Duration)> {
        match self.kind {
            Kind::Cgroup => cgroup::usage(self.dir()),
            Kind::Freezer => None,
        }
    }

    /// From now on nobody is killed in it by a sweep.
    pub(crate) fn leave_alone(&self) {
        let marked = rustix::fs::fsetxattr(&self.dir, MARK, b"left", XattrFlags::empty());
        // Before Linux 5.7 there are no user attributes here. The sticky bit is anywhere, and has no other use.
        let marked = marked.or_else(|_| {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&self.dir)?.st_mode);
            rustix::fs::fchmod(&self.dir, mode | Mode::SVTX)
        });
        if let Err(errno) = marked {
            tracing::warn!("{}: it cannot be marked as left alone: {errno}", self.path.display());
        }
    }

    /// Whether it is marked as left alone. Where that cannot be seen, it is taken for marked.
    fn is_left_alone(&self) -> bool {
        match rustix::fs::fgetxattr(&self.dir, MARK, &mut [0; 16]) {
            Err(Errno::NODATA | Errno::NOTSUP) => rustix::fs::fstat(&self.dir)
                .map_or(true, |stat| Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX)),
            _ => true,
        }
    }

    /// Removes it and what was made below it. `false`: somebody is in it, and the next sweep may have more luck.
    pub(crate) fn remove(&self) -> bool {
        const RETRIES: u32 = 4;
        for retry in 0..=RETRIES {
            match rustix::fs::rmdir(&self.path) {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return true,
                // Not only for who lives there or below: for a moment also for those who have just died.
                Err(Errno::BUSY) if self.is_empty() => remove_below(self.dir(), DEEPEST),
                Err(_) => return false,
            }
            if retry > 0 {
                std::thread::sleep(Duration::from_micros(250) * 2_u32.pow(retry));
            }
        }
        false
    }
}

impl Refused {
    pub(super) fn not_here(
        kind: Kind,
        step: String,
        errno: Option<Errno>,
        hint: &'static str,
        lasting: bool,
    ) -> Refused {
        let mechanism = match kind {
            Kind::Cgroup => Mechanism::Cgroup,
            Kind::Freezer => Mechanism::Freezer,
        };
        let errno = errno.map(Errno::raw_os_error);
        Refused::NotHere { tried: Tried { mechanism, step, errno, hint }, lasting }
    }
}

/// The attribute that says that processes were left in a leaf on purpose.
const MARK: &str = "user.foster";

/// `foster.PID.START.N`, as in `/proc/PID/stat`: for people, and unlike any name that others give.
fn name() -> String {
    static STARTED: OnceLock<(u32, u64)> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let pid = process::id();
    let (of, started) = *STARTED.get_or_init(|| (pid, start_time()));
    // In a fork it is another.
    let started = if of == pid { started } else { start_time() };
    format!("foster.{pid}.{started}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// 0 where `/proc` does not tell.
fn start_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Locks a directory just made, and sees whether processes can be brought there. `None`: it was lost.
fn claim(kind: Kind, path: &Path) -> Result<Option<Leaf>, Refused> {
    let refused = |doing: &str, errno| Refused::of(kind, format!("{doing} {}", path.display()), errno);
    let dir = match open_dir(path) {
        Ok(dir) => dir,
        Err(errno) if is_gone(errno) => return Ok(None),
        Err(errno) => return Err(refused("open", errno)),
    };
    match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(refused("flock", errno)),
    }
    // From here on no sweeper takes it. Whether one has, its files tell: they go with the directory.
    let fits = match kind {
        Kind::Cgroup => cgroup::fits(dir.as_fd(), path),
        Kind::Freezer => freezer::fits(dir.as_fd(), path),
    };
    match fits {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(refused) => return Err(refused),
    }
    // Whether we may bring processes from ours into one below it, which takes the right to bring them into ours, the
    // leader's start will show.
    Ok(Some(Leaf { kind, dir, path: path.to_path_buf() }))
}

/// Above the standard descriptors, whose numbers a guard has other uses for. A duplicate shares the lock.
fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let dir = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
    if dir.as_raw_fd() > 2 { Ok(dir) } else { rustix::io::fcntl_dupfd_cloexec(dir, 3) }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// What is said of a directory that was removed, and of the files that were in it.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

/// A file of the cgroup's, open.
pub(super) fn open_file(dir: BorrowedFd<'_>, file: &str, flags: OFlags) -> Result<File, Errno> {
    rustix::fs::openat(dir, file, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()).map(File::from)
}

/// What a file of the cgroup's says.
pub(super) fn read_file(dir: BorrowedFd<'_>, file: &str) -> Result<String, Errno> {
    String::from_utf8(read_to_end(open_file(dir, file, OFlags::RDONLY)?)?).map_err(|_| Errno::IO)
}

/// What the kernel writes when it is read. std would ask for a size, which such files have not, and read them in small
/// pieces.
fn read_to_end(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    const PIECE: usize = 4096;
    let mut text = Vec::new();
    loop {
        text.reserve(PIECE);
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Everybody in the cgroup and below, sorted.
pub(super) fn members(dir: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut pids = Vec::new();
    walk(dir, DEEPEST, &mut |dir| {
        let list = match read_file(dir, "cgroup.procs") {
            Ok(list) => list,
            // Gone; or it holds threads only, and their processes are in the list of a cgroup above it.
            Err(errno) if is_gone(errno) || errno == Errno::OPNOTSUPP => return Ok(()),
            Err(errno) => return Err(errno),
        };
        // 0 is somebody outside our pid namespace.
        pids.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
        Ok(())
    })?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Kills everybody by number, for kernels that cannot kill a cgroup. Each is pinned, and seen to be in it after that.
pub(super) fn kill_each(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    /// Not too many descriptors at a time.
    const AT_ONCE: usize = 128;
    let mut result = Ok(());
    for some in members(dir)?.chunks(AT_ONCE) {
        let mut pinned = Vec::with_capacity(some.len());
        for pid in some {
            match rustix::process::pidfd_open(pid_of(*pid), PidfdFlags::empty()) {
                Ok(pidfd) => pinned.push((*pid, pidfd)),
                Err(Errno::SRCH) => {}
                Err(errno) => result = result.and(Err(errno)),
            }
        }
        let still = members(dir)?;
        for (pid, pidfd) in pinned {
            if still.binary_search(&pid).is_ok() {
                match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
                    Ok(()) | Err(Errno::SRCH) => {}
                    Err(errno) => result = result.and(Err(errno)),
                }
            }
        }
    }
    result
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("lists hold no 0")
}

/// Deeper than anybody builds. Each level holds a descriptor while it is searched.
pub(super) const DEEPEST: usize = 64;

/// Visits a cgroup and all below it, the deepest first.
pub(super) fn walk(
    dir: BorrowedFd<'_>,
    depth: usize,
    visit: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for name in below(dir)? {
        if depth == 0 {
            return Err(Errno::LOOP);
        }
        match rustix::fs::openat(dir, &name, DIRECTORY, Mode::empty()) {
            Ok(sub) => walk(sub.as_fd(), depth - 1, visit)?,
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(errno),
        }
    }
    visit(dir)
}

/// Removes what is below a cgroup, the deepest first, as far as it goes.
fn remove_below(dir: BorrowedFd<'_>, depth: usize) {
    for name in below(dir).unwrap_or_default() {
        if rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR) == Err(Errno::BUSY)
            && depth > 0
            && let Ok(sub) = rustix::fs::openat(dir, &name, DIRECTORY, Mode::empty())
        {
            remove_below(sub.as_fd(), depth - 1);
            _ = rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR);
        }
    }
}

/// The names of the cgroups directly below this one.
fn below(dir: BorrowedFd<'_>) -> Result<Vec<std::ffi::CString>, Errno> {
    let stat = match rustix::fs::fstat(dir) {
        Ok(stat) => stat,
        Err(errno) if is_gone(errno) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    // Its own name, its `.`, and one `..` for each: so the usual leaf needs no search.
    if stat.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let entries = match Dir::read_from(dir) {
        Ok(entries) => entries,
        Err(errno) if is_gone(errno) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

//! Leaves of the dead: what is left when we and the guard were killed together. The next of us ends it.
//!
//! A leaf is nobody's when its lock can be had alone. That is all a sweep goes by: pids mean nothing across pid
//! namespaces, and whoever holds the lock, a fork of the owner's included, may still need the leaf. While we hold it,
//! no second sweeper comes in.
//!
//! Between making a leaf and locking it, its owner has no lock. So young ones are passed over; and an owner that was
//! held up for longer than that finds its leaf lost, empty as it was, and makes another.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;

use super::place::{self, Place};
use super::{Kind, Leaf};
use crate::Swept;

/// Sweeps under our own cgroup and next to it, in both hierarchies.
pub(crate) fn sweep() -> Vec<Swept> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut swept = Vec::new();
    for place in [Kind::Cgroup, Kind::Freezer].into_iter().filter_map(|kind| place::own(kind).ok()) {
        // What grows old after this look is for the next one to tell.
        DONE[place.kind as usize].store(true, Ordering::Relaxed);
        swept.extend(sweep_in(&place, &place.path, YOUNG, PATIENCE));
        if let Some(above) = place.path.parent().filter(|above| place::is_cgroup(place.kind, above)) {
            swept.extend(sweep_in(&place, above, YOUNG, PATIENCE));
        }
    }
    swept
}

/// Sweeps under our own cgroup the first time it is asked to.
pub(super) fn once(place: &Place) {
    /// Somebody waits for a child to start. Who is killed here dies without us looking on.
    const PATIENCE: Duration = Duration::from_millis(50);
    if DONE[place.kind as usize].swap(true, Ordering::Relaxed) {
        return;
    }
    for swept in sweep_in(place, &place.path, YOUNG, PATIENCE) {
        tracing::info!("swept {}, which nobody owned: killed {:?}", swept.path.display(), swept.killed);
    }
}

/// In which hierarchies this process has swept.
static DONE: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Longer than it takes from making a directory to locking it.
const YOUNG: Duration = Duration::from_secs(10);

/// Sweeps the leaves directly in `dir`, for no longer than `patience` altogether.
pub(super) fn sweep_in(own: &Place, dir: &Path, young: Duration, patience: Duration) -> Vec<Swept> {
    let until = Instant::now() + patience;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let leaves = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_leaf));
    // Ours is nobody's if the one who started us is dead. We live in it nonetheless.
    let others = leaves.map(|entry| entry.path()).filter(|path| !own.path.starts_with(path));
    others.filter_map(|path| end(&take(own.kind, path, young)?, until)).collect()
}

/// `foster.PID.START.N`. A service or slice of that name is not ours.
fn is_leaf(name: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix("foster.")
        .is_some_and(|rest| rest.split('.').count() == 3 && rest.split('.').all(is_number))
}

/// Takes a leaf that is nobody's.
fn take(kind: Kind, path: PathBuf, young: Duration) -> Option<Leaf> {
    let dir = super::open_dir(&path).ok()?;
    let changed = rustix::fs::fstat(&dir).ok()?.st_ctime;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    // A clock that was set back makes all leaves young: those from a far future are not.
    if now.abs_diff(u64::try_from(changed).ok()?) < young.as_secs() {
        return None;
    }
    rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).ok()?;
    let leaf = Leaf { kind, dir, path };
    is_at(&leaf).then_some(leaf)
}

/// Ends who is in it and removes it. `None`: it stays as it is.
fn end(leaf: &Leaf, until: Instant) -> Option<Swept> {
    let path = leaf.path().to_path_buf();
    let killed = if leaf.is_empty() { Vec::new() } else { leaf.members() };
    if !leaf.is_empty() {
        if leaf.is_left_alone() {
            return None;
        }
        end_members(leaf, until);
    }
    let removed = leaf.remove();
    Some(Swept { path, killed, removed })
}

fn end_members(leaf: &Leaf, until: Instant) {
    let mut pause = Duration::from_micros(200);
    loop {
        if let Err(error) = leaf.kill() {
            tracing::warn!("{}: nobody owns it, and it cannot be killed: {error}", leaf.path().display());
        }
        if leaf.is_empty() || Instant::now() >= until {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Whether what we hold is what the name names: another sweeper may have removed ours before we got its lock.
fn is_at(leaf: &Leaf) -> bool {
    let held = rustix::fs::fstat(leaf.dir.as_fd());
    let named = rustix::fs::lstat(leaf.path());
    matches!((held, named), (Ok(held), Ok(named)) if (held.st_dev, held.st_ino) == (named.st_dev, named.st_ino))
}

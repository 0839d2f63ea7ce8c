//! [`Safety`]: an outer cgroup for a tree that tries to escape, so that the test knows who is left, and can end them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{DEADLINE, unique};

/// Where the groups are made: where the kernel counts processes. What foster makes of the other hierarchies does not
/// move anybody in that of cgroup v1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];

/// A cgroup with a limit on its processes. Dropping it kills everybody in it and removes it.
#[derive(Debug)]
pub struct Safety(Group);

impl Safety {
    /// Whether this machine has the place for one.
    pub fn is_there() -> bool {
        root().is_some()
    }

    /// An empty one. `limit`: how many processes it may hold; no more can be forked.
    #[track_caller]
    pub fn new(limit: u32) -> Safety {
        let root = root().expect("a pids cgroup");
        let safety = Safety(Group::new(root).expect("we are root"));
        safety.limit(limit);
        safety
    }

    /// Its directory: who writes `0` to `cgroup.procs` there is in it, and all its descendants.
    pub fn directory(&self) -> &Path {
        &self.0.path
    }

    /// Who is in it and not dead, also deeper down.
    pub fn members(&self) -> Vec<u32> {
        members(&self.0.path)
    }

    /// Who is in it, for good: from now on nobody in it can fork, so that the list is complete also where no pid
    /// lives long.
    pub fn sealed_members(&self) -> Vec<u32> {
        self.limit(0);
        self.members()
    }

    /// Waits until nobody is in it but these; how long it took, `None` if it did not come about.
    pub fn left_to(&self, these: &[u32], within: Duration) -> Option<Duration> {
        let start = Instant::now();
        loop {
            if self.members().iter().all(|pid| these.contains(pid)) {
                return Some(start.elapsed());
            }
            if start.elapsed() > within {
                return None;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Kills everybody in it.
    #[track_caller]
    pub fn clear(&self) {
        self.limit(0);
        let end = Instant::now() + DEADLINE;
        loop {
            let left = self.members();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "not even KILL ends {left:?}");
            for pid in left {
                self.kill(pid);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Pins it first: the number may be somebody else's by now.
    fn kill(&self, pid: u32) {
        let Some(Ok(pidfd)) =
            Pid::from_raw(pid.cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        else {
            return;
        };
        let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return };
        let name = self.0.path.file_name().expect("it has one").to_string_lossy();
        if groups.contains(&*name) {
            _ = pidfd_send_signal(&pidfd, Signal::KILL);
            thaw(&groups);
        }
    }

    fn limit(&self, limit: u32) {
        fs::write(self.0.path.join("pids.max"), limit.to_string()).expect("the kernel counts here");
    }
}

impl Drop for Safety {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.clear();
        } else if std::panic::catch_unwind(|| self.clear()).is_err() {
            return;
        }
        remove(&self.0.path);
    }
}

/// An empty cgroup in any hierarchy, removed in the end: it must outlive who is in it.
#[derive(Debug)]
pub struct Cgroup(Group);

impl Cgroup {
    /// Where cgroups of version 2 are, if anywhere.
    pub fn unified() -> Option<&'static Path> {
        let places = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().map(Path::new);
        places.into_iter().find(|place| place.join("cgroup.controllers").exists())
    }

    /// A new one in this hierarchy, `None` if there is none, or we may not.
    pub fn new(hierarchy: &Path) -> Option<Cgroup> {
        let group = Group::new(hierarchy).ok()?;
        if group.path.join("cgroup.procs").exists() {
            return Some(Cgroup(group));
        }
        _ = fs::remove_dir(&group.path);
        None
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.0.path
    }

    /// Gives it to a user, who may then make groups in it.
    #[track_caller]
    pub fn delegate(&self, user: u32) {
        for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            std::os::unix::fs::chown(self.0.path.join(name), Some(user), Some(user)).expect("we are root");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.0.path);
    }
}

/// What both are: a group that is ours as long as we have it locked.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    _lock: File,
}

impl Group {
    fn new(root: &Path) -> io::Result<Group> {
        sweep(root);
        loop {
            let path = root.join(unique("safe"));
            fs::create_dir(&path)?;
            // Somebody else's sweep may have taken it before it was locked.
            if let Ok(lock) = lock(&path)
                && path.exists()
            {
                return Ok(Group { path, _lock: lock });
            }
        }
    }
}

const NAME: &str = "foster-safe-";

fn root() -> Option<&'static Path> {
    ROOTS.into_iter().map(Path::new).find(|root| {
        let counts = *root == Path::new(ROOTS[0])
            || fs::read_to_string(root.join("cgroup.subtree_control"))
                .is_ok_and(|names| names.contains("pids"));
        counts
            && root.join("cgroup.procs").exists()
            && rustix::process::geteuid().is_root()
            && rustix::fs::access(*root, rustix::fs::Access::WRITE_OK).is_ok()
    })
}

/// Removes what tests left that were killed: what nobody has locked. Who was in there has died of old age. Pids would
/// not tell: those of another pid namespace, such as that of a second CI run, are not ours to look up.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
        if is_ours && is_old(&entry) && lock(&entry.path()).is_ok() {
            remove(&entry.path());
        }
    }
}

/// Longer than it takes from making it to locking it; whoever takes longer makes another.
fn is_old(entry: &fs::DirEntry) -> bool {
    let made = entry.metadata().and_then(|about| about.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_secs(10)))
}

fn lock(group: &Path) -> io::Result<File> {
    let directory = File::open(group)?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
    Ok(directory)
}

fn members(group: &Path) -> Vec<u32> {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<u32> = list.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect();
    for deeper in groups_in(group) {
        all.extend(members(&deeper));
    }
    all
}

fn groups_in(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// From the bottom up. It is busy for a moment after its last process died.
fn remove(group: &Path) {
    for deeper in groups_in(group) {
        remove(&deeper);
    }
    for _ in 0..1000 {
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(()) | Err(_) => return,
        }
    }
}

/// Who is frozen in cgroup v1 does not even die of KILL.
fn thaw(groups: &str) {
    for line in groups.lines() {
        if let Some((_, path)) = line.split_once(":freezer:/")
            && !path.is_empty()
        {
            _ = fs::write(Path::new("/sys/fs/cgroup/freezer").join(path).join("freezer.state"), "THAWED");
        }
    }
}

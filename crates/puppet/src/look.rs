//! What `/proc` says of processes and of ourselves.

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::DEADLINE;
use crate::own::at_exit;

/// Whether this pid runs; a zombie does not.
pub fn alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The state letter of `ps(1)`, `None` when there is no such process.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// Everybody in this process group who is not a zombie.
pub fn group_members(group: u32) -> Vec<u32> {
    let group = group.to_string();
    pids()
        .into_iter()
        .filter(|pid| alive(*pid) && stat(*pid).is_some_and(|stat| stat.get(2) == Some(&group)))
        .collect()
}

/// This process and all below it whose program has this name, as `ps -o comm` gives it.
pub fn named_from(top: u32, name: &str) -> Vec<u32> {
    let parents: Vec<(u32, u32)> =
        pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?))).collect();
    let mut found = vec![top];
    let mut next = 0;
    while let Some(above) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    let is_named =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    found.into_iter().filter(is_named).collect()
}

/// Our own children, dead or alive, that nobody has reaped.
pub fn children() -> Vec<u32> {
    let us = std::process::id().to_string();
    pids().into_iter().filter(|pid| stat(*pid).is_some_and(|stat| stat.get(1) == Some(&us))).collect()
}

/// Our own children that are dead and not reaped.
pub fn zombies() -> Vec<u32> {
    children().into_iter().filter(|pid| state(*pid) == Some('Z')).collect()
}

/// The group and the session of a process; 0 for one that is outside our pid namespace.
#[track_caller]
pub fn group_and_session(pid: u32) -> (u32, u32) {
    let stat = stat(pid).expect("it is there");
    let number = |field: usize| stat[field].parse().expect("a number");
    (number(2), number(3))
}

/// The words of a process, `None` when there is no such process.
pub fn command_line(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_end_matches('\0').split('\0').map(str::to_string).collect())
}

/// A field of a `/proc/PID/status` text, such as `SigBlk`.
#[track_caller]
pub fn status_field(status: &str, name: &str) -> String {
    let field = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    field.unwrap_or_else(|| panic!("no {name} in {status:?}")).trim().to_string()
}

/// Our open descriptors and what they are, without the one that looks.
pub fn descriptors() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten();
    let look = |entry: fs::DirEntry| {
        let behind = fs::read_link(entry.path()).ok()?;
        Some(format!("{} is {}", entry.file_name().display(), behind.display()))
    };
    // Not the directory that is being read.
    let ours = |line: &String| !(line.contains("/proc/") && line.ends_with("/fd"));
    let mut all: Vec<String> = entries.filter_map(look).filter(ours).collect();
    all.sort();
    all
}

/// Looks again and again until it holds, and fails the test after the deadline with what was seen last. For what
/// nobody says, such as a process having become a zombie.
#[track_caller]
pub fn eventually<T: Debug>(what: &str, look: impl Fn() -> T, holds: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}; seen last: {seen:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A name that nobody else on this machine has or had. Not by our pid alone: in another pid namespace, such as that of
/// a second CI run, somebody else has the same, and shares `/tmp` and the cgroups with us.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SINCE: OnceLock<u128> = OnceLock::new();
    let since = SINCE.get_or_init(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_micros()
    });
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("foster-{what}-{}-{since:x}-{number}", std::process::id())
}

/// A fresh directory in the place for temporary files, by its real path. It is removed, with all that is in it, when
/// this process exits.
pub fn scratch(name: &str) -> PathBuf {
    static REMOVED: Once = Once::new();
    let place = std::env::temp_dir().canonicalize().expect("a place for temporary files");
    let path = place.join(unique(&format!("test-{name}")));
    fs::create_dir(&path).expect("nobody else has this name");
    REMOVED.call_once(|| at_exit(remove_scratch));
    SCRATCH.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    path
}

static SCRATCH: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

extern "C" fn remove_scratch() {
    for path in SCRATCH.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // What cannot be removed harms nobody.
        _ = fs::remove_dir_all(path);
    }
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group, session …
fn stat(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name may hold anything but ends with the last parenthesis.
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_string).collect())
}

//! Who holds the other side of a pipe or of a terminal: `proc_pid_fd(5)`.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::fstat;
use rustix::pty::ptsname;

/// Their pids, but for ours. Those of other users only root is told.
pub(crate) fn of(source: &OwnedFd) -> Vec<u32> {
    let Some(name) = name_of(source) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() && holds(*pid, &name)).collect()
}

/// What a link in `/proc/PID/fd` to the other side says.
fn name_of(source: &OwnedFd) -> Option<OsString> {
    if let Ok(terminal) = ptsname(source, Vec::new()) {
        return terminal.into_string().ok().map(OsString::from);
    }
    let inode = fstat(source).ok()?.st_ino;
    let here = fs::read_link(Path::new("/proc/self/fd").join(source.as_raw_fd().to_string())).ok()?;
    // A pipe has one name for both of its sides.
    here.to_str()?.contains(&inode.to_string()).then(|| here.into_os_string())
}

fn holds(pid: u32, name: &OsString) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == name))
}

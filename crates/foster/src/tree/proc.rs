//! What `/proc` tells of processes: who is in a group, who descends from whom. Where it is missing, or shows another
//! pid namespace than ours, it tells nothing.

use std::fs;

/// A process as `/proc/PID/stat` shows it, `proc_pid_stat(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The letter of `ps(1)`.
    pub(crate) state: u8,
    pub(crate) parent: u32,
    /// 0 for a group outside our pid namespace.
    pub(crate) group: u32,
}

impl Process {
    /// `None` if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Process> {
        parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Everybody, zombies too. `None` where `/proc` is missing, or shows another pid namespace than ours.
pub(crate) fn everybody() -> Option<Vec<Process>> {
    if !is_ours() {
        return None;
    }
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Some(pids.filter_map(Process::of).collect())
}

/// Everybody who descends from one of these, zombies too, themselves not.
pub(crate) fn descendants(of: &[u32]) -> Option<Vec<Process>> {
    if !is_ours() {
        return None;
    }
    let mut family = of.to_vec();
    let mut at = 0;
    while let Some(parent) = family.get(at) {
        // A child belongs to the thread that made it.
        for thread in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
        if at > MANY {
            break;
        }
    }
    Some(family.iter().skip(of.len()).filter_map(|pid| Process::of(*pid)).collect())
}

/// More than are worth being looked at one by one.
const MANY: usize = 100_000;

/// Whether `/proc` counts as we do.
pub(crate) fn is_ours() -> bool {
    let ours = fs::read_link("/proc/self");
    ours.is_ok_and(|ours| ours.to_str().and_then(|ours| ours.parse().ok()) == Some(std::process::id()))
}

/// The name before the fields may hold anything but ends with the last parenthesis.
fn parse(pid: u32, stat: &[u8]) -> Option<Process> {
    let after_name = &stat[stat.iter().rposition(|byte| *byte == b')')? + 1..];
    let mut fields = after_name.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
    Some(Process { pid, state, parent: number()?, group: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_and_spaces_does_not_confuse() {
        let process = Process { pid: 7, state: b'S', parent: 1, group: 42 };
        assert_eq!(parse(7, b"7 (a) R 1) (b)) S 1 42 42 0 -1 4194304"), Some(process));
        assert_eq!(parse(7, b"7 (cut"), None);
        assert_eq!(parse(7, b"7 (cut) S 1"), None);
    }

    #[test]
    fn descendants_are_found_to_the_last_generation() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sh -c 'sleep 30 & echo; wait'"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = [0];
        std::io::Read::read_exact(&mut child.stdout.take().expect("piped"), &mut line).expect("a line");
        let found = descendants(&[std::process::id()]).expect("/proc is ours");
        let depth = |pid: u32| {
            std::iter::successors(Process::of(pid), |process| Process::of(process.parent))
                .take_while(|process| process.pid != std::process::id())
                .count()
        };
        assert!(found.iter().any(|process| depth(process.pid) >= 2), "{found:?}");
        // Not all of ours: other tests have theirs.
        for process in descendants(&[child.id()]).expect("/proc is ours").iter().rev() {
            _ = std::process::Command::new("kill").args(["-9", &process.pid.to_string()]).status();
        }
        _ = child.kill();
        _ = child.wait();
    }
}

//! System calls, counted by `strace -ff`, which writes a file for each thread and process. Who made whom stands in them.
//!
//! Counted are our threads, each child until its exec, the guard, and the leader that it starts until its exec.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Who;

/// How many calls of which name who made, for one operation.
pub(crate) type Counts = BTreeMap<(Who, String), f64>;

/// What one more time of `command TIMES` costs.
pub(crate) fn count(command: impl Fn(u32) -> Command) -> io::Result<Counts> {
    const FEW: u32 = 10;
    const MANY: u32 = 30;
    let mut counts = Counts::new();
    for (times, weight) in [(FEW, -1.0), (MANY, 1.0)] {
        for (what, calls) in trace(&command(times))? {
            *counts.entry(what).or_insert(0.0) += weight * f64::from(calls) / f64::from(MANY - FEW);
        }
    }
    Ok(counts)
}

fn trace(command: &Command) -> io::Result<BTreeMap<(Who, String), u32>> {
    let place = puppet::scratch("strace");
    // So that nothing waits for ever.
    let mut strace = Command::new("timeout");
    strace.args(["300", "strace", "-ff", "-qq", "-s", "64", "-o"]).arg(place.join("of")).arg("env").arg("-i");
    strace.arg(command.get_program()).args(command.get_args());
    let status = strace.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{strace:?} ended with {status}")));
    }
    // Who begins with an exec was begun by strace; numbers start again from below.
    let host = fs::read_dir(&place)?.find_map(|entry| {
        let path = entry.ok()?.path();
        let is_first = fs::read(&path).ok()?.starts_with(b"execve(");
        path.extension()?.to_str()?.parse().ok().filter(|_| is_first)
    });
    let mut counts = BTreeMap::new();
    let mut to_read: Vec<(u32, Who)> = host.into_iter().map(|host| (host, Who::Caller)).collect();
    while let Some((id, who)) = to_read.pop() {
        read(&place, id, who, &mut counts, &mut to_read)?;
    }
    fs::remove_dir_all(&place)?;
    Ok(counts)
}

/// Reads what one did, until it is no longer ours.
fn read(
    place: &Path,
    id: u32,
    mut who: Who,
    counts: &mut BTreeMap<(Who, String), u32>,
    born: &mut Vec<(u32, Who)>,
) -> io::Result<()> {
    // Arguments may be any bytes.
    let text = fs::read(place.join(format!("of.{id}")))?;
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        // Signals and ends, «--- SIGCHLD {…} ---», and our own marks.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || rest.contains("SIGURG)")
        {
            continue;
        }
        *counts.entry((who, name.to_string())).or_insert(0) += 1;
        let result =
            rest.rsplit_once(" = ").and_then(|(_, result)| result.split(' ').next()?.parse::<u32>().ok());
        match (name, result) {
            ("clone" | "clone3" | "fork" | "vfork", Some(child)) => born.push((child, who.bears(rest))),
            ("execve" | "execveat", Some(_)) => match who {
                // `env -i`, and then the program.
                Who::Caller => counts.clear(),
                _ if rest.contains("foster-guard") => who = Who::Guard,
                _ => return Ok(()),
            },
            _ => {}
        }
    }
    Ok(())
}

impl Who {
    fn bears(self, arguments: &str) -> Who {
        match self {
            Who::Guard => Who::Leader,
            _ if arguments.contains("CLONE_THREAD") => Who::Engine,
            _ => Who::Child,
        }
    }
}

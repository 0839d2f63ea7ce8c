//! [`Host`]: the `supervisor`, a process of its own that uses foster, and can be killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use foster::Signal;

use crate::{Actor, DEADLINE, Safety, program, scratch};

/// As whom a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Root.
    Root,
    /// Somebody without any privilege.
    Nobody,
}

/// The id of [`User::Nobody`].
pub const NOBODY: u32 = 65534;

/// The programs, where everybody may run them.
#[derive(Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// Copies them.
    pub fn copy() -> Programs {
        let directory = scratch("programs");
        let here = program().with_file_name("");
        for (from, to, mode) in [
            ("puppet", "puppet", 0o755),
            ("supervisor", "supervisor", 0o755),
            ("filtered", "filtered", 0o755),
            ("puppet", "setuid", 0o4755),
        ] {
            let to = directory.join(to);
            fs::copy(here.join(from), &to).expect("there is space");
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Programs(directory)
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// A puppet that runs as root whoever starts it.
    pub fn setuid(&self) -> PathBuf {
        self.0.join("setuid")
    }

    /// What executes its words under a filter like that of Docker.
    pub fn filtered(&self) -> PathBuf {
        self.0.join("filtered")
    }

    /// Whether the file system lets it.
    pub fn setuid_works(&self) -> bool {
        let system = rustix::fs::statvfs(&self.0).expect("it is there");
        !system.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID)
    }
}

/// What a run of the host got; the promises are those of [`foster::Survives`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "as in foster")]
#[expect(missing_docs, reason = "as in foster")]
pub struct Got {
    pub level: String,
    pub mechanism: String,
    pub guard: Option<u32>,
    pub twin: bool,
    pub setsid: bool,
    pub double_fork: bool,
    pub setuid_child: bool,
    pub fork_bomb: bool,
    pub supervisor_killed: bool,
    pub guard_killed: bool,
    pub both_killed: bool,
}

/// A supervisor that runs. Dropping it ends it and everybody who descends from it.
#[derive(Debug)]
pub struct Host {
    child: std::process::Child,
    actor: Actor,
    input: ChildStdin,
    lines: Receiver<String>,
    /// What nobody asked for yet.
    heard: Vec<String>,
    /// In which it and its descendants are.
    pub safety: Safety,
}

impl Host {
    /// Starts it. `limit`: how many they may be in all. `doors`: cgroups into which it goes too.
    #[track_caller]
    pub fn start(programs: &Programs, user: User, limit: u32, doors: &[&Path]) -> Host {
        let id = NOBODY.to_string();
        let nobody = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        let words: &[&str] = if user == User::Nobody { &nobody } else { &[] };
        Host::start_under(programs, words, limit, doors)
    }

    /// As `start`, and it is started by these words, such as `unshare -U -r`.
    #[track_caller]
    pub fn start_under(programs: &Programs, words: &[&str], limit: u32, doors: &[&Path]) -> Host {
        let safety = Safety::new(limit);
        // A shell enters the groups, since what `std` could do between fork and exec is unsafe.
        let enter = "while [ \"$1\" != -- ]; do echo 0 > \"$1/cgroup.procs\" || exit 9; shift; done; shift; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", enter, "sh"]).arg(safety.directory()).args(doors).arg("--");
        command.args(words);
        command.arg(programs.0.join("supervisor")).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (told, lines) = channel();
        // It ends with the last holder of the pipe, and nobody survives the safety.
        std::thread::spawn(move || {
            let all = BufReader::new(output).lines().map_while(Result::ok);
            all.for_each(|line| _ = told.send(line));
        });
        let actor = Actor::of(child.id());
        Host { child, actor, input, lines, heard: Vec::new(), safety }
    }

    /// It, pinned.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Gives it an order, without waiting for the answer.
    pub fn tell(&mut self, order: &str) {
        // It may be dead: then there is no answer.
        _ = self.input.write_all(format!("{order}\n").as_bytes());
    }

    /// Waits for a line that begins so, and returns what follows in it.
    #[track_caller]
    pub fn hear(&mut self, start: &str) -> String {
        let heard = self.hear_within(start, DEADLINE);
        heard.unwrap_or_else(|| panic!("{start:?} was never said; heard: {:#?}", self.heard))
    }

    /// As `hear`, but it need not come.
    pub fn hear_within(&mut self, start: &str, time: Duration) -> Option<String> {
        let end = Instant::now() + time;
        loop {
            if let Some(place) = self.heard.iter().position(|line| line.starts_with(start)) {
                return Some(self.heard.remove(place)[start.len()..].trim_start().to_string());
            }
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Runs a script under this containment; what was got.
    ///
    /// # Errors
    ///
    /// Why foster refused.
    #[track_caller]
    pub fn run(&mut self, how: &str, script: &str) -> Result<Got, String> {
        self.tell(&format!("run {how} {script}"));
        self.answer()
    }

    /// What becomes of a `run` that was told.
    ///
    /// # Errors
    ///
    /// Why foster refused.
    #[track_caller]
    pub fn answer(&mut self) -> Result<Got, String> {
        self.hear("supervisor: spawning");
        let answer = self.hear("supervisor:");
        match answer.strip_prefix("got ") {
            Some(got) => Ok(Got::read(got)),
            None => Err(answer),
        }
    }

    /// Everybody who is left of its trees, for good: nobody forks after this.
    pub fn survivors(&self) -> usize {
        self.safety.sealed_members().iter().filter(|pid| **pid != self.actor.pid()).count()
    }

    /// Kills it, and nobody else.
    pub fn kill(&self) {
        self.actor.signal(Signal::KILL);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        _ = self.child.wait();
        // The rest is done by the safety.
    }
}

impl Got {
    fn read(text: &str) -> Got {
        let words: Vec<&str> = text.split(' ').collect();
        let [level, mechanism, guard, twin, promises] = words[..] else { panic!("{text:?}") };
        let kept: Vec<bool> = promises.chars().map(|kept| kept == '1').collect();
        let [setsid, double_fork, setuid_child, fork_bomb, supervisor_killed, guard_killed, both_killed] =
            kept[..]
        else {
            panic!("{text:?}")
        };
        Got {
            level: level.to_string(),
            mechanism: mechanism.to_string(),
            guard: guard.parse().ok().filter(|pid| *pid != 0),
            twin: twin == "true",
            setsid,
            double_fork,
            setuid_child,
            fork_bomb,
            supervisor_killed,
            guard_killed,
            both_killed,
        }
    }
}

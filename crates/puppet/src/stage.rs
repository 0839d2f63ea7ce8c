//! [`Stage`]: where puppets play, and from where a test hears them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foster::{Child, Command, Exit, Gone, Input, Sink};

use crate::own::as_in_the_foreground;
use crate::{Actor, DEADLINE, eventually};

/// Where the puppet's program is: one above the tests' own, which are in `deps/`.
pub fn program() -> PathBuf {
    let us = std::env::current_exe().expect("we run from a file");
    us.ancestors().nth(2).expect("target/debug").join("puppet")
}

/// The program `foster`, beside the puppet; `cargo test --workspace` builds both. It hears what is typed.
pub fn foster() -> PathBuf {
    as_in_the_foreground();
    let foster = program().with_file_name("foster");
    assert!(foster.exists(), "{} is not built; run cargo test --workspace", foster.display());
    foster
}

/// A command for a puppet with this script: verbs and words, separated by spaces.
pub fn puppet(script: &str) -> Command {
    Command::new(program()).args(script.split_whitespace()).stdin(Input::Null)
}

/// A play that runs: the child, and what its puppets say. Dropping it kills, as dropping the child does.
#[derive(Debug)]
pub struct Stage {
    /// `None` once it was let go.
    child: Option<Child>,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    /// Everything, in order.
    all: Vec<String>,
    /// What no `expect` has taken.
    fresh: Vec<String>,
    ended: bool,
}

impl Stage {
    /// Starts a puppet with the default policy.
    #[track_caller]
    pub fn play(script: &str) -> Stage {
        Stage::start(&puppet(script))
    }

    /// Starts a command, a puppet's or any other, and listens to its output.
    #[track_caller]
    pub fn start(command: &Command) -> Stage {
        let child = command.clone().stdout(Sink::Piped).spawn().unwrap_or_else(|error| panic!("{error}"));
        Stage::listen(child)
    }

    /// Listens to a child whose output is piped.
    #[track_caller]
    pub fn listen(child: Child) -> Stage {
        let output = child.take_stdout().expect("its output is piped");
        let heard = Arc::new(Heard::default());
        let ours = heard.clone();
        // It ends with the last holder of the pipe, which is a puppet, and those do not live long.
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_string();
                line.clear();
                let mut lines = ours.lines();
                lines.all.push(text.clone());
                lines.fresh.push(text);
                ours.more.notify_all();
            }
            ours.lines().ended = true;
            ours.more.notify_all();
        });
        Stage { child: Some(child), heard }
    }

    /// The child.
    #[track_caller]
    pub fn child(&self) -> &Child {
        self.child.as_ref().expect("it was not let go")
    }

    /// Drops the handle and goes on listening.
    pub fn let_go(&mut self) {
        self.child = None;
    }

    /// The leader, once it has said that it is ready.
    #[track_caller]
    pub fn leader(&self) -> Actor {
        self.ready("leader")
    }

    /// The puppet of this name, once it has said that it is ready.
    #[track_caller]
    pub fn ready(&self, name: &str) -> Actor {
        let line = self.take(&format!("{name}: ready"), |line, wanted| {
            line.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(' '))
        });
        Actor::of(line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("ready tells the pid"))
    }

    /// Waits for this line, wherever it comes among the others. To expect a line twice is to wait for two.
    #[track_caller]
    pub fn expect(&self, line: &str) {
        self.take(line, |line, wanted| line == wanted);
    }

    /// Waits until a line that begins so is said, or the child has ended. Whether it was said.
    #[track_caller]
    pub fn says(&self, start: &str) -> bool {
        let said = || self.heard().iter().any(|line| line.starts_with(start));
        let seen = eventually(start, || (self.child().try_wait().is_some(), said()), |seen| seen.0 || seen.1);
        seen.1
    }

    /// How often this line has been said so far.
    pub fn said(&self, line: &str) -> usize {
        self.heard.lines().all.iter().filter(|said| *said == line).count()
    }

    /// Everything that was said so far.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lines().all.clone()
    }

    /// Everything that was said, once all who could speak are gone.
    #[track_caller]
    pub fn curtain(&self) -> Vec<String> {
        self.wait("the end of the output", |lines| lines.ended.then(|| lines.all.clone()))
    }

    /// The exit, which must come.
    #[track_caller]
    pub fn exit(&self) -> Exit {
        let exit = self.child().wait_timeout(DEADLINE);
        exit.unwrap_or_else(|| panic!("no exit within {DEADLINE:?}; heard: {:?}", self.heard.lines().all))
    }

    #[track_caller]
    fn take(&self, wanted: &str, fits: impl Fn(&str, &str) -> bool) -> String {
        self.wait(wanted, |lines| {
            let place = lines.fresh.iter().position(|line| fits(line, wanted))?;
            Some(lines.fresh.remove(place))
        })
    }

    #[track_caller]
    fn wait<T>(&self, wanted: &str, look: impl Fn(&mut Lines) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.heard.lines();
        loop {
            if let Some(seen) = look(&mut lines) {
                return seen;
            }
            let left = end.saturating_duration_since(Instant::now());
            let hopeless = lines.ended || left == Duration::ZERO;
            assert!(!hopeless, "{wanted:?} was never said; heard: {:?}", lines.all);
            lines = self.heard.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Heard {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a tree that must come, without anybody stuck.
#[track_caller]
pub fn within(gone: &Gone) -> Exit {
    match gone.wait_timeout(DEADLINE) {
        Some(Ok(end)) => end.exit,
        Some(Err(stuck)) => panic!("{stuck}"),
        None => panic!("not gone within {DEADLINE:?}"),
    }
}

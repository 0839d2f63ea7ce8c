//! `supervisor`: a host of foster as a process of its own, for tests that kill the host.
//!
//! It obeys its stdin, line by line, and answers each order on stdout with one line, `supervisor: TEXT`. Its puppets'
//! output comes between. At the end of its input it exits.
//!
//! | order | does, and says |
//! |---|---|
//! | `run HOW SCRIPT` | says `spawning`, starts a puppet, says `got …` or `refused WHY` |
//! | `stop`, `kill` | gives the order and waits: `gone PROOF` or `stuck PIDS` |
//! | `touch MIB` | takes so much memory and writes to it: `touched` |
//! | `eat` | the same without end, a MiB at a time |
//!
//! HOW: `auto`, `sealed`, `group` or the name of a mechanism, with `+twin` `+nnp` (no new privileges) or `+patient` (it is
//! stuck later).

use std::io::{BufRead, Write, stdin, stdout};
use std::time::Duration;

use foster::{Child, Command, Containment, Mechanism, Stdio};
use rustix::process::{Resource, Rlimit, setrlimit};

/// It asks only for a moment: most of what it stops is not willing.
const GRACE: Duration = Duration::from_millis(50);

/// After this a tree is `stuck`.
const PATIENCE: Duration = Duration::from_secs(4);

fn main() {
    puppet::limit_life(puppet::LIFE);
    // The second line behind the test's cgroup; root has no such limit.
    _ = setrlimit(Resource::Nproc, Rlimit { current: Some(1500), maximum: Some(1500) });
    let (mut child, mut memory) = (None, Vec::new());
    for line in stdin().lock().lines() {
        let line = line.expect("the test speaks text");
        let (order, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match order {
            "run" => {
                say("spawning");
                match command(rest).spawn() {
                    Ok(started) => {
                        say(&got(&started));
                        child = Some(started);
                    }
                    Err(error) => say(&format!("refused {error}")),
                }
            }
            "stop" | "kill" => {
                let child: Child = child.take().expect("it runs");
                let gone = if order == "stop" { child.stop() } else { child.kill() };
                match gone.wait() {
                    Ok(end) => say(&format!("gone {:?}", end.proof)),
                    Err(stuck) => say(&format!("stuck {:?}", stuck.pids())),
                }
            }
            "touch" => {
                memory.push(vec![1_u8; rest.parse::<usize>().expect("MiB") << 20]);
                say("touched");
            }
            "eat" => loop {
                memory.push(vec![1_u8; 1 << 20]);
            },
            _ => panic!("no such order: {line}"),
        }
    }
}

fn command(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut how = words.next().expect("how").split('+');
    let containment = match how.next().expect("a name") {
        "auto" => Containment::Auto,
        "sealed" => Containment::Sealed,
        "group" => Containment::Group,
        name => {
            let mechanism = Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name);
            Containment::Exactly(mechanism.unwrap_or_else(|| panic!("no such mechanism: {name}")))
        }
    };
    let puppet = std::env::current_exe().expect("we run from a file").with_file_name("puppet");
    let command = Command::new(puppet).args(words).stdin(Stdio::Null).containment(containment);
    let mut command = command.grace(GRACE).patience(PATIENCE);
    for more in how {
        command = match more {
            "twin" => command.twin(true),
            "nnp" => command.no_new_privs(true),
            "patient" => command.patience(2 * PATIENCE),
            _ => panic!("no such option: {more}"),
        };
    }
    command
}

/// What was got, as the puppet library's `Got` reads it.
fn got(child: &Child) -> String {
    let contained = child.containment();
    let guard = contained.guard.map_or(0, |guard| guard.pid);
    let twin = contained.guard.is_some_and(|guard| guard.twin);
    let survives = contained.survives;
    let promises = [
        survives.setsid,
        survives.double_fork,
        survives.setuid_child,
        survives.fork_bomb,
        survives.supervisor_killed,
        survives.guard_killed,
        survives.both_killed,
    ];
    let promises: String = promises.iter().map(|kept| if *kept { '1' } else { '0' }).collect();
    format!("got {} {} {guard} {twin} {promises}", contained.level, contained.mechanism)
}

fn say(text: &str) {
    // Nobody may listen any more.
    let line = format!("supervisor: {text}\n");
    _ = stdout().write_all(line.as_bytes()).and_then(|()| stdout().flush());
}

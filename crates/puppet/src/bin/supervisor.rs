//! `supervisor`: a host of foster as a process of its own, for tests that kill the host.
//!
//! It obeys its stdin, line by line, and answers each order on stdout with one line, `supervisor: TEXT`. Its puppets'
//! output comes between. At the end of its input it exits.
//!
//! | order | does, and says |
//! |---|---|
//! | `run HOW SCRIPT` | says `spawning`, starts a puppet, says `got …` or `refused WHY` |
//! | `stop`, `kill` | gives the order and waits: `gone PROOF` or `stuck PIDS` |
//! | `tried` | says what was tried in vain before what was got: `tried MECHANISM ERRNO; …` |
//! | `detach` | leaves the tree alone: `detached` |
//! | `exit` | exits |
//! | `touch MIB` | takes so much memory and writes to it: `touched` |
//! | `eat` | the same without end, a MiB at a time |
//!
//! HOW: `auto`, `sealed`, `group` or the name of a mechanism, with `+twin` `+nnp` (no new privileges), `+leave` (the
//! leftovers stay) or `+patient` (it is stuck later), `+thread` (it is started from a thread that ends before the
//! answer), or a level, which is required; `+uid=N`, `+gid=N`, `+group=N`, `+nice=N`, `+nofile=N` say who it is and what it
//! may.
//!
//! It can be its own guard, where guards cannot be run from memory.

use std::io::{BufRead, Write, stdin, stdout};
use std::time::Duration;

use foster::{Child, Command, Containment, Error, Input, Leftovers, Level, Mechanism, Resource, Tried};
use rustix::process::{Rlimit, setrlimit};
use rustix::thread::gettid;

/// It asks only for a moment: most of what it stops is not willing.
const GRACE: Duration = Duration::from_millis(50);

/// After this a tree is `stuck`.
const PATIENCE: Duration = Duration::from_secs(4);

fn main() {
    foster::guard_main();
    puppet::limit_life(puppet::LIFE);
    // The second line behind the test's cgroup; root has no such limit.
    _ = setrlimit(rustix::process::Resource::Nproc, Rlimit { current: Some(1500), maximum: Some(1500) });
    let (mut child, mut memory) = (None, Vec::new());
    for line in stdin().lock().lines() {
        let line = line.expect("the test speaks text");
        let (order, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match order {
            "run" => {
                say("spawning");
                match spawn(rest) {
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
            "tried" => {
                let contained = child.as_ref().expect("it runs").containment();
                let one = |tried: &Tried| format!("{} {}", tried.mechanism, tried.errno.unwrap_or(0));
                let tried: Vec<String> = contained.tried.iter().map(one).collect();
                say(&format!("tried {}", tried.join("; ")));
            }
            "detach" => {
                child.as_ref().expect("it runs").detach();
                say("detached");
            }
            "exit" => std::process::exit(0),
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

fn spawn(words: &str) -> Result<Child, Error> {
    let command = command(words);
    let how = words.split(' ').next().unwrap_or_default();
    if !how.split('+').any(|option| option == "thread") {
        return command.spawn();
    }
    let us = std::process::id();
    let thread = std::thread::spawn(move || (gettid(), command.spawn()));
    let (id, child) = thread.join().expect("a spawn does not panic");
    // The join comes a moment before the thread's end.
    let still = format!("/proc/{us}/task/{}", id.as_raw_nonzero());
    while std::path::Path::new(&still).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
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
    let command = Command::new(puppet).args(words).stdin(Input::Null).containment(containment);
    let mut command = command.grace(GRACE).patience(PATIENCE);
    for more in how {
        if let Some((what, number)) = more.split_once('=') {
            command = with_standing(command, what, number.parse().expect("a number"));
            continue;
        }
        command = match more {
            "twin" => command.twin(true),
            "leave" => command.leftovers(Leftovers::Leave),
            "nnp" => command.no_new_privs(true),
            "patient" => command.patience(2 * PATIENCE),
            "thread" => command,
            "tracked" => command.require(Level::Tracked),
            "grouped" => command.require(Level::Grouped),
            "sealed" => command.require(Level::Sealed),
            _ => panic!("no such option: {more}"),
        };
    }
    command
}

fn with_standing(command: Command, what: &str, number: i32) -> Command {
    let id = number.cast_unsigned();
    match what {
        "uid" => command.uid(id),
        "gid" => command.gid(id),
        "group" => command.groups(&[id]),
        "nice" => command.nice(number),
        "nofile" => command.limit(Resource::Nofile, u64::from(id), u64::from(id)),
        _ => panic!("no such option: {what}"),
    }
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

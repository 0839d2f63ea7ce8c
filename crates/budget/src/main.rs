//! What the budgets are for: `budget OPERATION TIMES` does one thing that many times and nothing else. Before each, and
//! after the last, it sends itself SIGURG: nothing to anybody but a tracer, who counts from mark to mark.
//!
//! It is its own child: `budget exit` exits, `budget pause` says a byte and waits for its end.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;
use std::{env, process, thread};

use foster::{Command, Containment, Input, Mechanism, Sink};
use rustix::process::{Signal, getpid, kill_process};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["exit"] => process::exit(0),
        ["pause"] => pause(),
        [operation, times] => repeat(operation, times.parse()?),
        _ => Err("usage: budget OPERATION TIMES".into()),
    }
}

/// Says that it runs, and stays no longer than a minute: whoever started it may have been killed.
fn pause() -> Result<()> {
    std::io::stdout().write_all(b"r")?;
    std::io::stdout().flush()?;
    thread::sleep(Duration::from_secs(60));
    Err("nobody ended it".into())
}

fn repeat(operation: &str, times: u32) -> Result<()> {
    let group = Containment::Group;
    // The one that every machine has and no cgroup changes.
    let guard = Containment::Exactly(Mechanism::Subreaper);
    let (one, act): (Command, fn(&Command) -> Result<()>) = match operation {
        "run" => (this("exit")?.containment(group), run),
        "run-guarded" => (this("exit")?.containment(guard), run),
        "stop" => (this("pause")?.containment(group), stop),
        "stop-guarded" => (this("pause")?.containment(guard), stop),
        "time-out" => (this("pause")?.containment(group).timeout(TIMEOUT).timeout_kills(true), run),
        "output" => (this("exit")?.containment(group), output),
        _ => return Err(format!("there is no operation `{operation}`").into()),
    };
    let me = getpid();
    for _ in 0..times {
        kill_process(me, Signal::URG)?;
        act(&one)?;
    }
    Ok(kill_process(me, Signal::URG)?)
}

/// Long enough for the start to be over.
const TIMEOUT: Duration = Duration::from_millis(50);

/// From the start to the exit and to nothing left.
fn run(command: &Command) -> Result<()> {
    let child = quiet(command).spawn()?;
    child.wait();
    child.gone().wait()?;
    Ok(())
}

/// A start, and a stop that is obeyed.
fn stop(command: &Command) -> Result<()> {
    let child = quiet(command).stdout(Sink::Piped).spawn()?;
    let mut byte = [0];
    child.take_stdout().ok_or("its output is piped")?.read_exact(&mut byte)?;
    child.stop().wait()?;
    Ok(())
}

/// A run whose two outputs are kept, though nothing comes.
fn output(command: &Command) -> Result<()> {
    command.output()?;
    Ok(())
}

fn this(role: &str) -> Result<Command> {
    Ok(Command::new(env::current_exe()?).arg(role).stdin(Input::Null))
}

fn quiet(command: &Command) -> Command {
    command.clone().stdout(Sink::Null).stderr(Sink::Null)
}

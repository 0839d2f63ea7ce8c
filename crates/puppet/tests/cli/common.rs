//! How these tests run `foster`.

use std::process::{Command as StdCommand, Output};
use std::time::Duration;

use foster::{Command, Input, Signal, Target};
use puppet::{Stage, program};

pub(crate) use puppet::{Terminal, foster};

/// A stage on which `foster run OPTIONS -- puppet SCRIPT` plays. Its child is foster; signals go to foster alone.
#[track_caller]
pub(crate) fn stage(options: &str, script: &str) -> Stage {
    Stage::start(&foster_run(options, script))
}

/// The command for [`stage`], to change it. Options and script are words separated by spaces.
pub(crate) fn foster_run(options: &str, script: &str) -> Command {
    Command::new(foster())
        .arg("run")
        .args(options.split_whitespace())
        .arg("--")
        .arg(program())
        .args(script.split_whitespace())
        .stdin(Input::Null)
        .target(Target::Leader)
}

/// Sends foster, and nobody else, a signal.
#[track_caller]
pub(crate) fn send(stage: &Stage, signal: Signal) {
    stage.child().signal(signal).expect("foster is ours to signal");
}

/// Runs `foster` with these arguments to its end.
#[track_caller]
pub(crate) fn run<'a>(args: impl IntoIterator<Item = &'a str>) -> Output {
    StdCommand::new(foster()).args(args).output().expect("foster starts")
}

/// A time as foster reads it, in seconds.
pub(crate) fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

/// What it wrote to stderr.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

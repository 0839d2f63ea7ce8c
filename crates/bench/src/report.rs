//! What stands around the tables: the machine before them, what one must know to compare behind them.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::args::Args;
use crate::contenders::Contender;
use crate::machine::Machine;
use crate::stats::Spread;
use crate::table::Table;
use crate::targets::Outcome;

/// What is known before the first child.
pub(crate) fn head(machine: &Machine, args: &Args) -> String {
    let mut text = format!("{}; {} rounds of {}\n", subject(machine), args.rounds, args.iterations);
    if machine.is_busy() {
        let percent = machine.taken * 100.0;
        _ = writeln!(text, "TOO NOISY TO TELL: others used {percent:.0} % of this machine before we started");
    }
    text
}

/// The title of the picture, in one line of it.
pub(crate) fn title(machine: &Machine) -> String {
    subject(machine) + if machine.is_busy() { ". TOO NOISY TO TELL" } else { "" }
}

/// What the figures are of.
fn subject(machine: &Machine) -> String {
    let Machine { kernel, architecture, cpus, load, .. } = machine;
    format!("Linux {kernel}, {architecture}, {cpus} CPUs, load {load:.2}")
}

/// What one must know to compare them.
pub(crate) fn notes(contenders: &[Contender]) -> String {
    let mut text = "\nWhat each gives\n\n".to_string();
    for Contender { name, note, .. } in contenders {
        _ = writeln!(text, "   {name:<32} {note}");
    }
    text += "\nFigures are medians over the rounds of each round's median; the ratio is to the limit of the same\n\
             round. The child is a static program without libc; all inherit its three streams; the command is\n\
             built within the time. In E and F they are rates: more is better, and so are the ratios. In E the\n\
             child gives its pages to the pipe and copies nothing; a pipe that nobody enlarges holds 64 KiB. ";
    let versions: Vec<String> = versions().map(|(name, version)| format!("{name} {version}")).collect();
    _ = writeln!(text, "{}.", versions.join(", "));
    text
}

pub(crate) fn json(machine: &Machine, args: &Args, tables: &[Box<dyn Table>], outcomes: &[Outcome]) -> Value {
    json!({
        "machine": {
            "kernel": machine.kernel,
            "architecture": machine.architecture,
            "cpus": machine.cpus,
            "load": machine.load,
            "taken_by_others": machine.taken,
            "busy": machine.is_busy(),
        },
        "versions": versions().map(|(name, version)| (name, version.into())).collect::<serde_json::Map<_, _>>(),
        "rounds": args.rounds,
        "iterations": args.iterations,
        "tables": tables.iter().map(|table| table.json()).collect::<Vec<_>>(),
        "targets": outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
    })
}

impl Spread {
    pub(crate) fn json(&self) -> Value {
        json!({ "p25": self.p25, "p50": self.median, "p75": self.p75 })
    }
}

/// Of the peers, from the lock file that built us.
fn versions() -> impl Iterator<Item = (String, &'static str)> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    const PEERS: [&str; 5] = ["foster", "tokio", "process-wrap", "duct", "shared_child"];
    PEERS.into_iter().filter_map(|name| {
        let (_, entry) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some((name.to_string(), entry.split('"').next()?))
    })
}

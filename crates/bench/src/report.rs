//! The tables: ratios first, since microseconds are this machine's and this minute's.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::args::Args;
use crate::contenders::Contender;
use crate::machine::Machine;
use crate::measure::{Row, Table};
use crate::stats::Spread;
use crate::{output, strategies};

/// The limit does the same work in every round: when its time wanders by more than this, so does everybody's.
pub(crate) const UNREST: f64 = 0.3;

/// What is known before the first child.
pub(crate) fn head(machine: &Machine, args: &Args) -> String {
    let Machine { kernel, architecture, cpus, load, taken } = machine;
    let mut text = format!(
        "Linux {kernel}, {architecture}, {cpus} CPUs, load {load:.2}; {} rounds of {}\n",
        args.rounds, args.iterations
    );
    if machine.is_busy() {
        let percent = taken * 100.0;
        _ = writeln!(text, "TOO NOISY TO TELL: others used {percent:.0} % of this machine before we started");
    }
    text
}

pub(crate) fn table(table: &Table) -> String {
    let mut text = format!("\n{}. {}\n", table.task.letter(), table.task.title());
    _ = match table.held_on {
        Some(cpu) => writeln!(text, "   held on CPU {cpu}, children too"),
        None => writeln!(text, "   free to use every CPU"),
    };
    text += &noise(table.unrest());
    _ = writeln!(
        text,
        "\n   {:<32} {:>8} {:>13} {:>9} {:>15}",
        "", "÷ limit", "p25–p75", "p50 µs", "p25–p75"
    );
    for row in &table.rows {
        let Row { name, ratio, microseconds } = row;
        let ratios = format!("{:.2}–{:.2}", ratio.p25, ratio.p75);
        let times = format!("{:.1}–{:.1}", microseconds.p25, microseconds.p75);
        let (ratio, time) = (ratio.median, microseconds.median);
        _ = writeln!(text, "   {name:<32} {ratio:>8.2} {ratios:>13} {time:>9.1} {times:>15}");
    }
    text
}

/// The rates of one job: what is more is better, the ratios too.
pub(crate) fn output(table: &output::Table) -> String {
    let output::Table { job, amount, rounds, held_on, rows } = table;
    let unit = job.unit();
    let mut text = format!("\n{}{}. {}\n", output::LETTER, job.number(), job.title());
    _ = writeln!(text, "   {} in {rounds} rounds; wanted of foster: {}", job.told(*amount), job.target());
    if let Some(cpu) = held_on {
        _ = writeln!(text, "   held on CPU {cpu}, children too");
    }
    text += &noise(table.unrest());
    _ = writeln!(
        text,
        "\n   {:<32} {:>8} {:>13} {:>8} {:>13} {unit:>10} {:>15}",
        "", "÷ limit", "p25–p75", "÷ std", "p25–p75", "p25–p75"
    );
    for output::Row { name, rate, by_limit, by_std, .. } in rows {
        let lies = |spread: &Spread| format!("{:.2}–{:.2}", spread.p25, spread.p75);
        let (std, stds) = match by_std {
            Some(by_std) => (format!("{:.2}", by_std.median), lies(by_std)),
            None => ("–".to_string(), String::new()),
        };
        let (limit, limits, middle, rates) = (by_limit.median, lies(by_limit), rate.median, lies(rate));
        _ = writeln!(
            text,
            "   {name:<32} {limit:>8.2} {limits:>13} {std:>8} {stds:>13} {middle:>10.2} {rates:>15}"
        );
    }
    text.push('\n');
    for output::Row { name, note, .. } in rows {
        _ = writeln!(text, "   {name:<32} {note}");
    }
    text
}

/// A line when the limit wandered too far, nothing else.
fn noise(unrest: f64) -> String {
    if unrest <= UNREST {
        return String::new();
    }
    let percent = unrest * 100.0;
    format!("   TOO NOISY TO TELL: the limit itself varied by {percent:.0} % from round to round\n")
}

/// What one must know to compare them.
pub(crate) fn notes(contenders: &[Contender]) -> String {
    let mut text = "\nWhat each gives\n\n".to_string();
    for Contender { name, note, .. } in contenders {
        _ = writeln!(text, "   {name:<32} {note}");
    }
    text += "\nFigures are medians over the rounds of each round's median; the ratio is to the limit of the same\n\
             round. The child is a static program without libc; all inherit its three streams; the command is\n\
             built within the time. In E they are rates: more is better, and so are the ratios. Its child gives its\n\
             pages to the pipe and copies nothing; a pipe that nobody enlarges holds 64 KiB. ";
    let versions: Vec<String> = versions().map(|(name, version)| format!("{name} {version}")).collect();
    _ = writeln!(text, "{}.", versions.join(", "));
    text
}

pub(crate) fn json(
    machine: &Machine,
    args: &Args,
    tables: &[Table],
    held: Option<&[strategies::Row]>,
    output: Option<&[output::Table]>,
) -> Value {
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
        "tasks": tables.iter().map(Table::json).collect::<Vec<_>>(),
        "strategies": held.map(|rows| rows.iter().map(strategies::Row::json).collect::<Vec<_>>()),
        "output": output.map(|tables| tables.iter().map(output::Table::json).collect::<Vec<_>>()),
    })
}

impl Table {
    /// How far the limit's own times lie apart; it is the first row.
    fn unrest(&self) -> f64 {
        self.rows[0].microseconds.unrest()
    }

    fn json(&self) -> Value {
        let row = |row: &Row| json!({ "name": row.name, "ratio": row.ratio.json(), "microseconds": row.microseconds.json() });
        json!({
            "task": self.task.letter().to_string(),
            "title": self.task.title(),
            "held_on_cpu": self.held_on,
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

impl output::Table {
    /// As above.
    fn unrest(&self) -> f64 {
        self.rows[0].rate.unrest()
    }

    fn json(&self) -> Value {
        let row = |row: &output::Row| {
            json!({
                "name": row.name,
                "rate": row.rate.json(),
                "ratio": row.by_limit.json(),
                "ratio_to_std": row.by_std.as_ref().map(Spread::json),
            })
        };
        json!({
            "task": format!("{}{}", output::LETTER, self.job.number()),
            "title": self.job.title(),
            "amount": self.amount,
            "rounds": self.rounds,
            "unit": self.job.unit(),
            "held_on_cpu": self.held_on,
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
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

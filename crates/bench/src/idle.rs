//! Many that sleep: what it takes to start them, to hold them while nothing happens, and to stop them. Each contender
//! does it in a process of its own, which is us again with a hidden argument: memory and time are the process's.
//!
//! The children sleep until a signal, or the end of their standard input: that is a pipe whose other end only the
//! process that holds them has, so they end with it, whatever happens to it. And it ends with us, or when it takes
//! too long.

mod holders;

use std::env;
use std::fmt::Write;
use std::time::Duration;

use foster::{Command, Containment};
use serde_json::{Map, Value, json};

use crate::args::Args;
use crate::measure::{UNREST, interleaved, noise, ratio};
use crate::stats::Spread;
use crate::table::{Bar, Chart, Table, Unit};
use crate::{Result, limit};

pub(crate) use holders::hold;

const LETTER: char = 'G';

/// Our first argument when we hold; then who, how many, and for how many seconds.
pub(crate) const HIDDEN: &str = "--hold";

/// What is told of a holder, in this order.
const FIGURES: [&str; 6] =
    ["start_ms", "cpu_ms_in_10_s", "kib_a_child", "threads_beside", "descriptors", "stop_ms"];
const START: usize = 0;
const CPU: usize = 1;
const MEMORY: usize = 2;
const THREADS: usize = 3;
const STOP: usize = 5;

/// Milliseconds in 10 s, of the CPU: what is less than a ten thousandth of it counts as that much. The limit does
/// nothing at all, and somebody who wakes once in 10 s is not worse than it by any number.
const NOTHING: f64 = 1.0;

/// What a holder may take beside its idleness: a loaded machine starts a few hundred a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came out.
pub(crate) struct Idle {
    children: usize,
    seconds: usize,
    /// The limit first.
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    note: &'static str,
    /// Over the rounds, one for each of [`FIGURES`].
    figures: [Spread; FIGURES.len()],
    /// Of start, CPU and stop, by the limit's of the same round.
    start: Spread,
    cpu: Spread,
    stop: Spread,
}

pub(crate) fn measure(args: &Args) -> Result<Idle> {
    let (children, seconds) = (args.idle, args.idle_seconds);
    let mut holders = holders::ALL.to_vec();
    holders.retain(|(name, _)| *name == limit::NAME || name.contains(&args.filter));
    let figures =
        interleaved(holders.len(), args.rounds.div_ceil(10), |turn| run(holders[turn].0, children, seconds))?;
    let of = |holder: usize, figure: usize| -> Vec<f64> {
        figures[holder].iter().map(|round| round[figure]).collect()
    };
    let by_limit = |holder, figure| ratio(&of(holder, figure), &of(0, figure));
    let some = |holder| of(holder, CPU).into_iter().map(|time| time.max(NOTHING)).collect::<Vec<_>>();
    let rows = holders.iter().enumerate().map(|(holder, (name, note))| Row {
        name,
        note,
        figures: std::array::from_fn(|figure| Spread::of(of(holder, figure))),
        start: by_limit(holder, START),
        cpu: ratio(&some(holder), &some(0)),
        stop: by_limit(holder, STOP),
    });
    Ok(Idle { children, seconds, rows: rows.collect() })
}

/// One turn, in a process of its own.
fn run(name: &str, children: usize, seconds: usize) -> Result<[f64; FIGURES.len()]> {
    let output = Command::new(env::current_exe()?)
        .args([HIDDEN, name, &children.to_string(), &seconds.to_string()])
        .containment(Containment::Group)
        .timeout(PATIENCE + Duration::from_secs(seconds as u64))
        .timeout_kills(true)
        .output()?;
    let told = String::from_utf8_lossy(output.stdout.bytes()).into_owned();
    let figures: std::result::Result<Vec<f64>, _> = told.split_whitespace().map(str::parse).collect();
    match figures.unwrap_or_default().try_into() {
        Ok(figures) if output.exit.success() => Ok(figures),
        _ => {
            let why = String::from_utf8_lossy(output.stderr.bytes()).into_owned();
            Err(format!("{name} could not hold {children}: {}: {}", output.exit.status, why.trim_end())
                .into())
        }
    }
}

impl Idle {
    fn title(&self) -> String {
        format!("idle: {} sleeping children, held for {} s", self.children, self.seconds)
    }

    /// How far the limit's own times lie apart: those to start them all.
    fn unrest(&self) -> f64 {
        self.rows[0].figures[START].unrest()
    }
}

impl Table for Idle {
    fn text(&self) -> String {
        let mut text = format!("\n{LETTER}. {}; each in a process of its own\n", self.title());
        text += &noise(self.unrest());
        _ = writeln!(
            text,
            "\n   {:<20} {:>9} {:>8} {:>9} {:>8} {:>8} {:>8} {:>6} {:>9} {:>8}",
            "",
            "start ms",
            "÷ limit",
            "CPU ms*",
            "÷ limit",
            "KiB each",
            "threads",
            "fds",
            "stop ms",
            "÷ limit"
        );
        for Row { name, figures, start, cpu, stop, .. } in &self.rows {
            let [starts, times, memory, threads, descriptors, stops] = figures.map(|figure| figure.median);
            let (start, cpu, stop) = (start.median, cpu.median, stop.median);
            _ = writeln!(
                text,
                "   {name:<20} {starts:>9.1} {start:>8.2} {times:>9.2} {cpu:>8.2} {memory:>8.2} {threads:>8} \
                 {descriptors:>6} {stops:>9.1} {stop:>8.2}"
            );
        }
        _ = writeln!(
            text,
            "\n   * in 10 s of idleness; less than {NOTHING} counts as {NOTHING} in the ratio.\n   \
             KiB: what our resident memory grew by. Threads: beside the one that waits.\n"
        );
        for Row { name, note, .. } in &self.rows {
            _ = writeln!(text, "   {name:<20} {note}");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let mut figures: Map<String, Value> = FIGURES
                .into_iter()
                .zip(row.figures)
                .map(|(name, spread)| (name.into(), spread.json()))
                .collect();
            figures.insert("name".into(), row.name.into());
            for (name, ratio) in [("start", row.start), ("cpu", row.cpu), ("stop", row.stop)] {
                figures.insert(format!("{name}_ratio"), ratio.json());
            }
            Value::from(figures)
        };
        json!({
            "task": LETTER.to_string(),
            "title": self.title(),
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    fn charts(&self) -> Vec<Chart> {
        let chart = |what: &str, unit, figure: fn(&Row) -> Spread| Chart {
            key: format!("{LETTER} {what}"),
            title: self.title(),
            unit,
            is_noisy: self.unrest() > UNREST,
            bars: self.rows.iter().map(|row| Bar { name: row.name, figure: figure(row) }).collect(),
        };
        vec![
            chart("start", Unit::TimeByLimit, |row| row.start),
            chart("CPU", Unit::TimeByLimit, |row| row.cpu),
            chart("memory", Unit::KibibytesAChild, |row| row.figures[MEMORY]),
            chart("threads", Unit::Threads, |row| row.figures[THREADS]),
            chart("stop", Unit::TimeByLimit, |row| row.stop),
        ]
    }
}

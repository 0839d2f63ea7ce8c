//! The tasks that are a time: one table each.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::args::Args;
use crate::contenders::Contender;
use crate::machine::Held;
use crate::measure::{UNREST, interleaved, noise, ratio};
use crate::stats::{Spread, median};
use crate::table::{Bar, Chart, Table, Unit};
use crate::task::{Staged, Task};

/// What came out for one task.
pub(crate) struct Times {
    task: Task,
    title: String,
    /// The CPU that everybody was held on.
    held_on: Option<usize>,
    /// The limit first.
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    /// Over the rounds: the median, in microseconds.
    microseconds: Spread,
    /// Over the rounds: that, by the limit's of the same round.
    ratio: Spread,
}

/// Runs all rounds of one task. The first contender is the limit.
pub(crate) fn measure(task: Task, contenders: &[Contender], args: &Args) -> Result<Times> {
    let contenders: Vec<&Contender> = contenders.iter().filter(|each| task.is_for(each)).collect();
    let iterations = task.iterations(args);
    let staged = Staged::new(task, args)?;
    let held = args.pin.contains(task.letter()).then(Held::on_one_cpu).transpose()?;
    // The first starts of a process pay for threads, caches and lazy symbols.
    for contender in &contenders {
        median_of(&staged, contender, iterations.min(5))?;
    }
    let medians =
        interleaved(contenders.len(), args.rounds, |turn| median_of(&staged, contenders[turn], iterations))?;
    let rows = contenders.iter().zip(&medians).map(|(contender, own)| Row {
        name: contender.name,
        microseconds: Spread::of(own.clone()),
        ratio: ratio(own, &medians[0]),
    });
    Ok(Times { task, title: task.title(args), held_on: held.as_ref().map(Held::cpu), rows: rows.collect() })
}

/// One contender's turn: the median of its samples, in microseconds.
fn median_of(staged: &Staged, contender: &Contender, iterations: usize) -> Result<f64> {
    let samples: Result<Vec<Duration>> = (0..iterations).map(|_| staged.sample(contender)).collect();
    Ok(median(samples?).as_secs_f64() * 1e6)
}

impl Times {
    /// How far the limit's own times lie apart.
    fn unrest(&self) -> f64 {
        self.rows[0].microseconds.unrest()
    }
}

impl Table for Times {
    fn text(&self) -> String {
        let mut text = format!("\n{}. {}\n", self.task.name(), self.title);
        _ = match self.held_on {
            Some(cpu) => writeln!(text, "   held on CPU {cpu}, children too"),
            None => writeln!(text, "   free to use every CPU"),
        };
        text += &noise(self.unrest());
        _ = writeln!(
            text,
            "\n   {:<32} {:>8} {:>13} {:>9} {:>15}",
            "", "÷ limit", "p25–p75", "p50 µs", "p25–p75"
        );
        for Row { name, ratio, microseconds } in &self.rows {
            let ratios = format!("{:.2}–{:.2}", ratio.p25, ratio.p75);
            let times = format!("{:.1}–{:.1}", microseconds.p25, microseconds.p75);
            let (ratio, time) = (ratio.median, microseconds.median);
            _ = writeln!(text, "   {name:<32} {ratio:>8.2} {ratios:>13} {time:>9.1} {times:>15}");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |Row { name, ratio, microseconds }: &Row| json!({ "name": name, "ratio": ratio.json(), "microseconds": microseconds.json() });
        json!({
            "task": self.task.name(),
            "title": self.title,
            "held_on_cpu": self.held_on,
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    fn charts(&self) -> Vec<Chart> {
        vec![Chart {
            key: self.task.name().to_string(),
            title: self.title.clone(),
            unit: Unit::TimeByLimit,
            is_noisy: self.unrest() > UNREST,
            bars: self.rows.iter().map(|row| Bar { name: row.name, figure: row.ratio }).collect(),
        }]
    }
}

//! The tasks that are a rate: more is better, and so are the ratios.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::machine::Held;
use crate::measure::{UNREST, interleaved, noise, ratio};
use crate::stats::Spread;
use crate::table::{Bar, Chart, Table, Unit};
use crate::{Result, limit};

/// The peer to which others are compared, beside the limit.
pub(crate) const STD: &str = "std::process";

/// What is asked of everybody.
pub(crate) struct Job {
    /// The letter, and a number where several have it.
    pub(crate) name: String,
    pub(crate) title: String,
    /// How much of what, and what is wanted.
    pub(crate) told: String,
    /// How much, for those who read the JSON: bytes, lines, milliseconds.
    pub(crate) amount: u64,
    /// What the rate is in.
    pub(crate) unit: &'static str,
    /// Whether the target is a multiple of std's rate.
    pub(crate) is_by_std: bool,
}

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    turn: Box<dyn Fn() -> Result<f64>>,
}

/// What came out.
pub(crate) struct Rates {
    job: Job,
    rounds: usize,
    /// The CPU that everybody was held on.
    held_on: Option<usize>,
    /// The limit first.
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    note: &'static str,
    /// Over the rounds, in the job's unit.
    rate: Spread,
    /// That, by the limit's of the same round.
    by_limit: Spread,
    /// By std's of the same round, if std took part.
    by_std: Option<Spread>,
}

impl Contender {
    /// A turn is one rate, in the unit of the job.
    pub(crate) fn new(
        name: &'static str,
        note: &'static str,
        turn: impl Fn() -> Result<f64> + 'static,
    ) -> Contender {
        Contender { name, note, turn: Box::new(turn) }
    }

    pub(crate) fn turn(&self) -> Result<f64> {
        (self.turn)().map_err(|error| format!("{}: {error}", self.name).into())
    }
}

/// All rounds of those whose name contains `filter`, and of the limits; the first contender is the limit.
pub(crate) fn race(
    job: Job,
    mut contenders: Vec<Contender>,
    rounds: usize,
    filter: &str,
    held: Option<&Held>,
) -> Result<Rates> {
    contenders.retain(|each| each.name.starts_with(limit::NAME) || each.name.contains(filter));
    let rates = interleaved(contenders.len(), rounds, |turn| contenders[turn].turn())?;
    let std = contenders.iter().position(|contender| contender.name == STD);
    let rows = contenders.iter().zip(&rates).map(|(contender, own)| Row {
        name: contender.name,
        note: contender.note,
        rate: Spread::of(own.clone()),
        by_limit: ratio(own, &rates[0]),
        by_std: std.map(|std| ratio(own, &rates[std])),
    });
    Ok(Rates { job, rounds, held_on: held.map(Held::cpu), rows: rows.collect() })
}

impl Rates {
    /// How far the limit's own rates lie apart.
    fn unrest(&self) -> f64 {
        self.rows[0].rate.unrest()
    }
}

impl Table for Rates {
    fn text(&self) -> String {
        let Rates { job: Job { name, title, told, unit, .. }, rounds, held_on, rows } = self;
        let mut text = format!("\n{name}. {title}\n   {told}; {rounds} rounds\n");
        if let Some(cpu) = held_on {
            _ = writeln!(text, "   held on CPU {cpu}, children too");
        }
        text += &noise(self.unrest());
        _ = writeln!(
            text,
            "\n   {:<32} {:>8} {:>13} {:>8} {:>13} {unit:>10} {:>15}",
            "", "÷ limit", "p25–p75", "÷ std", "p25–p75", "p25–p75"
        );
        for Row { name, rate, by_limit, by_std, .. } in rows {
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
        for Row { name, note, .. } in rows {
            _ = writeln!(text, "   {name:<32} {note}");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "rate": row.rate.json(),
                "ratio": row.by_limit.json(),
                "ratio_to_std": row.by_std.as_ref().map(Spread::json),
            })
        };
        json!({
            "task": self.job.name,
            "title": self.job.title,
            "amount": self.job.amount,
            "rounds": self.rounds,
            "unit": self.job.unit,
            "held_on_cpu": self.held_on,
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    fn charts(&self) -> Vec<Chart> {
        let figure = |row: &Row| if self.job.is_by_std { row.by_std } else { Some(row.by_limit) };
        let bar = |row: &Row| Some(Bar { name: row.name, figure: figure(row)? });
        vec![Chart {
            key: self.job.name.clone(),
            title: self.job.title.clone(),
            unit: if self.job.is_by_std { Unit::RateByStd } else { Unit::RateByLimit },
            is_noisy: self.unrest() > UNREST,
            bars: self.rows.iter().filter_map(bar).collect(),
        }]
    }
}

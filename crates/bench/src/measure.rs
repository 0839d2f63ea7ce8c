//! The method: contenders take turns in rounds, in another order each time, so that a bad moment of the machine
//! hits all of them. What counts is the ratio to the limit of the same round; microseconds are told beside it.

use std::time::Duration;

use crate::Result;
use crate::args::Args;
use crate::contenders::Contender;
use crate::machine::{self, Held};
use crate::stats::{Spread, median};
use crate::task::{Staged, Task};

/// What came out for one task.
pub(crate) struct Table {
    pub(crate) task: Task,
    /// The CPU that everybody was held on.
    pub held_on: Option<usize>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Over the rounds: the median, in microseconds.
    pub(crate) microseconds: Spread,
    /// Over the rounds: that, by the limit's of the same round.
    pub(crate) ratio: Spread,
}

/// Runs all rounds of one task. The first contender is the limit.
pub(crate) fn measure(task: Task, contenders: &[Contender], args: &Args) -> Result<Table> {
    let staged = Staged::new(task)?;
    let held = args.pin.contains(task.letter()).then(Held::on_one_cpu).transpose()?;
    // The first starts of a process pay for threads, caches and lazy symbols.
    for contender in contenders {
        medians_of(&staged, contender, args.iterations.min(5))?;
    }
    let mut medians = vec![Vec::with_capacity(args.rounds); contenders.len()];
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for _ in 0..args.rounds {
        machine::shuffle(&mut order);
        for &turn in &order {
            medians[turn].push(medians_of(&staged, &contenders[turn], args.iterations)?);
        }
    }
    let limits = medians[0].clone();
    let rows = contenders.iter().zip(medians).map(|(contender, medians)| Row {
        name: contender.name,
        ratio: Spread::of(medians.iter().zip(&limits).map(|(median, limit)| median / limit).collect()),
        microseconds: Spread::of(medians),
    });
    Ok(Table { task, held_on: held.as_ref().map(Held::cpu), rows: rows.collect() })
}

/// One contender's turn: the median of its samples, in microseconds.
fn medians_of(staged: &Staged, contender: &Contender, iterations: usize) -> Result<f64> {
    let samples: Result<Vec<Duration>> = (0..iterations).map(|_| staged.sample(contender)).collect();
    Ok(median(samples?).as_secs_f64() * 1e6)
}

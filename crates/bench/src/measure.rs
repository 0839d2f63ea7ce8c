//! The method: contenders take turns in rounds, in another order each time, so that a bad moment of the machine
//! hits all of them. What counts is the ratio to the limit of the same round; microseconds are told beside it.

use crate::stats::Spread;
use crate::{Result, machine};

/// The limit does the same work in every round: when its time wanders by more than this, so does everybody's.
pub(crate) const UNREST: f64 = 0.3;

/// What each of `contenders` had in each round.
pub(crate) fn interleaved<T>(
    contenders: usize,
    rounds: usize,
    mut turn: impl FnMut(usize) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut figures: Vec<Vec<T>> = (0..contenders).map(|_| Vec::with_capacity(rounds)).collect();
    let mut order: Vec<usize> = (0..contenders).collect();
    for _ in 0..rounds {
        machine::shuffle(&mut order);
        for &contender in &order {
            figures[contender].push(turn(contender)?);
        }
    }
    Ok(figures)
}

/// One contender's rounds, by those of another.
pub(crate) fn ratio(own: &[f64], other: &[f64]) -> Spread {
    Spread::of(own.iter().zip(other).map(|(own, other)| own / other).collect())
}

/// A line when the limit wandered too far, nothing else.
pub(crate) fn noise(unrest: f64) -> String {
    if unrest <= UNREST {
        return String::new();
    }
    let percent = unrest * 100.0;
    format!("   TOO NOISY TO TELL: the limit itself varied by {percent:.0} % from round to round\n")
}

//! Order statistics: a median does not care how bad the worst moment was.

/// Where the values lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub p10: f64,
    pub p25: f64,
    pub(crate) median: f64,
    pub p75: f64,
    pub p90: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |percent| values[rank(values.len(), percent)];
        Spread { p10: at(10), p25: at(25), median: at(50), p75: at(75), p90: at(90) }
    }

    /// How far most of the values lie apart, by their median.
    pub(crate) fn unrest(&self) -> f64 {
        (self.p90 - self.p10) / self.median
    }
}

/// Of at least one value.
pub(crate) fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[rank(values.len(), 50)]
}

/// The nearest rank.
fn rank(count: usize, percent: usize) -> usize {
    ((count - 1) * percent + 50) / 100
}

#[test]
fn spread_is_by_nearest_rank() {
    let spread = Spread::of((0..=100).rev().map(f64::from).collect());
    assert_eq!(spread, Spread { p10: 10.0, p25: 25.0, median: 50.0, p75: 75.0, p90: 90.0 });
    assert_eq!(Spread::of(vec![7.0]).median.to_bits(), 7.0_f64.to_bits());
    assert_eq!(median(vec![3, 1, 2]), 2);
}

//! What foster has promised, line by line, and what came out.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::stats::Spread;
use crate::table::Chart;

struct Target {
    promise: &'static str,
    /// The chart and the row that tell.
    chart: &'static str,
    row: &'static str,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

const TARGETS: [Target; 18] = [
    target("spawn → reaped, blocking", "A1", "foster wait()", AtMost(1.15)),
    target("spawn → reaped, through a future", "A1", "foster exited(), tokio", AtMost(1.30)),
    target("guarded spawn → gone", "A1", "foster gone().wait(), guarded", AtMost(2.5)),
    target("spawn → reaped, parent of 1 GiB", "A2", "foster wait()", AtMost(1.2)),
    target("spawn → reaped, 5,000 descriptors", "A3", "foster wait()", AtMost(0.5)),
    target("exit → waiter, blocking", "B", "foster wait()", AtMost(1.15)),
    target("exit → waiter, through a future", "B", "foster exited(), tokio", AtMost(1.3)),
    target("SIGTERM → reaped", "C1", "foster wait()", AtMost(1.15)),
    target("grace overshoot", "C2", "foster wait()", AtMost(1.2)),
    target("output dropped", "E1", "foster", AtLeast(0.9)),
    target("output kept, ÷ std", "E2", "foster", AtLeast(2.0)),
    target("lines prefixed", "E3", "foster", AtLeast(0.7)),
    target("64 in flight", "F", "foster wait()", AtLeast(0.85)),
    target("idle: threads beside the waiter", "G threads", "foster", AtMost(1.0)),
    target("idle: KiB a child", "G memory", "foster", AtMost(0.5)),
    target("idle: CPU", "G CPU", "foster", AtMost(1.5)),
    target("the program, ÷ its least peer", "H foster run, group", "foster run, group", AtMost(1.0)),
    target(
        "the static program, ÷ catatonit",
        "H static foster run, group",
        "static foster run, group",
        AtMost(1.0),
    ),
];

const fn target(promise: &'static str, chart: &'static str, row: &'static str, bound: Bound) -> Target {
    Target { promise, chart, row, bound }
}

/// One promise, and what came out.
pub(crate) struct Outcome {
    target: &'static Target,
    unit: &'static str,
    figure: Spread,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Missed,
    /// Neither is told: the limit itself wandered, others used the machine, or the rounds do not agree.
    TooNoisy,
}

/// Of those targets whose row was measured.
pub(crate) fn judge(charts: &[Chart], machine_is_busy: bool) -> Vec<Outcome> {
    let outcome = |target: &'static Target| {
        let chart = charts.iter().find(|chart| chart.key == target.chart)?;
        let figure = chart.figure(target.row)?;
        let is_unsure = target.bound.holds(figure.p25) != target.bound.holds(figure.p75);
        // What is counted is the same on a busy machine.
        let verdict = if chart.unit.is_ratio() && (chart.is_noisy || machine_is_busy || is_unsure) {
            Verdict::TooNoisy
        } else if target.bound.holds(figure.median) {
            Verdict::Met
        } else {
            Verdict::Missed
        };
        Some(Outcome { target, unit: chart.unit.name(), figure, verdict })
    };
    TARGETS.iter().filter_map(outcome).collect()
}

/// What was promised of a row of a chart.
pub(crate) fn bound_of(chart: &str, row: &str) -> Option<f64> {
    let target = TARGETS.iter().find(|target| (target.chart, target.row) == (chart, row))?;
    let (AtMost(bound) | AtLeast(bound)) = target.bound;
    Some(bound)
}

pub(crate) fn text(outcomes: &[Outcome]) -> String {
    let mut text = "\nTargets\n\n".to_string();
    for Outcome { target: Target { promise, chart, row, bound }, unit, figure, verdict } in outcomes {
        let lies = format!("{:.2}–{:.2}", figure.p25, figure.p75);
        let (chart, bound, verdict) = (format!("{chart}:"), bound.told(), verdict.told());
        _ = writeln!(
            text,
            "   {promise:<34} {bound:>6} {figure:>8.2} {lies:>13} {unit:<11}  {verdict:<9}  {chart} {row}",
            figure = figure.median
        );
    }
    text
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }

    fn told(self) -> String {
        match self {
            AtMost(bound) => format!("≤ {bound}"),
            AtLeast(bound) => format!("≥ {bound}"),
        }
    }
}

impl Verdict {
    fn told(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::Missed => "missed",
            Verdict::TooNoisy => "too noisy",
        }
    }
}

impl Outcome {
    pub(crate) fn json(&self) -> Value {
        json!({
            "promise": self.target.promise,
            "task": self.target.chart,
            "contender": self.target.row,
            "target": self.target.bound.told(),
            "unit": self.unit,
            "figure": self.figure.json(),
            "verdict": self.verdict.told(),
        })
    }
}

#[test]
fn a_target_is_met_missed_or_not_told() {
    use crate::table::{Bar, Unit};
    let verdicts_of = |figures: &[f64], is_noisy, is_busy| {
        let bar = Bar { name: "foster wait()", figure: Spread::of(figures.to_vec()) };
        let (key, title, unit) = ("F".to_string(), String::new(), Unit::RateByLimit);
        let outcomes = judge(&[Chart { key, title, unit, is_noisy, bars: vec![bar] }], is_busy);
        outcomes.iter().map(|outcome| outcome.verdict).collect::<Vec<_>>()
    };
    let verdicts = |figure, is_noisy, is_busy| verdicts_of(&[figure], is_noisy, is_busy);
    assert_eq!(verdicts(0.85, false, false), [Verdict::Met]);
    assert_eq!(verdicts(0.84, false, false), [Verdict::Missed]);
    assert_eq!(verdicts(0.85, true, false), [Verdict::TooNoisy]);
    assert_eq!(verdicts(0.85, false, true), [Verdict::TooNoisy]);
    assert_eq!(verdicts_of(&[0.7, 0.9, 0.9, 0.9], false, false), [Verdict::Met]);
    assert_eq!(verdicts_of(&[0.7, 0.7, 0.9, 0.9], false, false), [Verdict::TooNoisy]);
}

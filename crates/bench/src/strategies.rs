//! What containment costs, beside the process group: from the call to the program running, and from the kill of a tree
//! to nothing left of it. All strategies take turns in rounds; what counts is the ratio to the group in the same run.
//! Beside each stands what the report measured for a bare prototype (`research/containment.md`, section 1).

use std::fmt::Write;
use std::time::{Duration, Instant};

use foster::{Command, Containment, Mechanism};
use serde_json::{Value, json};

use crate::args::Args;
use crate::stage::{self, CHILD, Ready};
use crate::stats::median;
use crate::table::{Chart, Table};
use crate::{Result, machine};

const LETTER: char = 'D';

/// How many descendants, each with a session of its own, a stop has to find.
const CROWDS: [usize; 3] = [1, 100, 1000];

struct Strategy {
    name: &'static str,
    containment: Containment,
    twin: bool,
    /// What the report has for it: microseconds of a start, milliseconds of the stops. The group leaves a crowd of
    /// sessions behind, so there is nothing to compare.
    reported: (f64, [f64; 3]),
}

const STRATEGIES: [Strategy; 7] = [
    strategy("group", Containment::Group, false, (43.0, [0.06, f64::NAN, f64::NAN])),
    strategy("subreaper", Containment::Exactly(Mechanism::Subreaper), false, (157.0, [0.23, 3.4, 42.0])),
    strategy("subreaper, twin", Containment::Exactly(Mechanism::Subreaper), true, (250.0, [0.26, 3.7, 37.0])),
    strategy("freezer", Containment::Exactly(Mechanism::Freezer), false, (107.0, [0.66, 2.8, 24.0])),
    strategy("landlock", Containment::Exactly(Mechanism::Landlock), false, (188.0, [0.20, 2.5, 24.0])),
    strategy("cgroup", Containment::Exactly(Mechanism::Cgroup), false, (248.0, [0.26, 2.7, 18.0])),
    strategy("pid namespace", Containment::Sealed, false, (165.0, [0.14, 2.4, 17.0])),
];

const fn strategy(
    name: &'static str,
    containment: Containment,
    twin: bool,
    reported: (f64, [f64; 3]),
) -> Strategy {
    Strategy { name, containment, twin, reported }
}

/// What came out; the group first.
pub(crate) struct Held(Vec<Row>);

/// The medians of one strategy.
struct Row {
    name: &'static str,
    start: Duration,
    stops: [Duration; 3],
    reported: (f64, [f64; 3]),
}

/// Measures those that this machine has.
pub(crate) fn measure(args: &Args) -> Result<Held> {
    let ready = Ready::as_stdin()?;
    let here: Vec<&Strategy> =
        STRATEGIES.iter().filter(|strategy| strategy.command(0).spawn().is_ok()).collect();
    let mut starts = vec![Vec::new(); here.len()];
    let mut stops = vec![[const { Vec::new() }; 3]; here.len()];
    let mut order: Vec<usize> = (0..here.len()).collect();
    // A crowd of a thousand takes its time: a tenth of the rounds of the others.
    let rounds = args.rounds.div_ceil(10).max(2);
    for _ in 0..rounds {
        machine::shuffle(&mut order);
        for &turn in &order {
            stage::nothing_as_stdin()?;
            for _ in 0..args.iterations {
                let began = Instant::now();
                let child = here[turn].command_of("exit").spawn()?;
                starts[turn].push(began.elapsed());
                child.gone().wait()?;
            }
        }
        let again = Ready::as_stdin()?;
        for &turn in &order {
            for (crowd, times) in CROWDS.into_iter().zip(&mut stops[turn]) {
                times.push(here[turn].stop(crowd, &again)?);
            }
        }
    }
    drop(ready);
    let rows = here.into_iter().zip(starts).zip(stops).map(|((strategy, starts), stops)| Row {
        name: strategy.name,
        start: median(starts),
        stops: stops.map(median),
        reported: strategy.reported,
    });
    Ok(Held(rows.collect()))
}

impl Strategy {
    fn command_of(&self, mode: &str) -> Command {
        Command::new(CHILD).arg(mode).containment(self.containment).twin(self.twin)
    }

    fn command(&self, crowd: usize) -> Command {
        self.command_of("crowd").arg(crowd.to_string())
    }

    /// From the kill to nothing left.
    fn stop(&self, crowd: usize, ready: &Ready) -> Result<Duration> {
        // The group would leave sessions behind: its crowd is of one, the leader.
        let crowd = if self.containment == Containment::Group { 0 } else { crowd - 1 };
        let child = self.command(crowd).spawn()?;
        ready.wait()?;
        let began = Instant::now();
        child.kill().wait()?;
        Ok(began.elapsed())
    }
}

impl Row {
    fn json(&self) -> Value {
        let [one, hundred, thousand] = self.stops.map(|time| time.as_secs_f64() * 1e3);
        json!({
            "name": self.name,
            "start_us": self.start.as_secs_f64() * 1e6,
            "stop_1_ms": one,
            "stop_100_ms": hundred,
            "stop_1000_ms": thousand,
        })
    }
}

impl Table for Held {
    fn text(&self) -> String {
        table(&self.0)
    }

    fn json(&self) -> Value {
        json!({ "task": LETTER.to_string(), "strategies": self.0.iter().map(Row::json).collect::<Vec<_>>() })
    }

    /// Beside the group, not beside a limit; and nothing is promised of it.
    fn charts(&self) -> Vec<Chart> {
        Vec::new()
    }
}

fn table(rows: &[Row]) -> String {
    let mut text =
        format!("\n{LETTER}. what containment costs: start, and kill → gone of 1, 100, 1,000 processes\n");
    text += "   (the group's crowd is its leader alone: it would leave the others behind)\n\n";
    _ = writeln!(
        text,
        "   {:<18} {:>9} {:>8} {:>9} {:>9} {:>10} {:>8}",
        "", "start µs", "÷ group", "1: ms", "100: ms", "1,000: ms", "÷ report"
    );
    let group = rows.first().map_or(1.0, |row| row.start.as_secs_f64());
    for Row { name, start, stops, reported: (_, reported) } in rows {
        let start = start.as_secs_f64();
        let [one, hundred, thousand] = stops.map(|time| time.as_secs_f64() * 1e3);
        // Of the largest crowd, which depends least on what a single call costs.
        let ratio = thousand / reported[2];
        let ratio = if ratio.is_nan() { "–".to_string() } else { format!("{ratio:.2}") };
        let by_group = start / group;
        let micros = start * 1e6;
        _ = writeln!(
            text,
            "   {name:<18} {micros:>9.1} {by_group:>8.2} {one:>9.2} {hundred:>9.2} {thousand:>10.1} {ratio:>8}"
        );
    }
    text += "\n   In the report a start cost, by its group: ";
    let reported: Vec<String> = rows
        .iter()
        .map(|row| {
            format!("{} {:.2}", row.name, row.reported.0 / rows.first().map_or(1.0, |group| group.reported.0))
        })
        .collect();
    _ = writeln!(text, "{}.", reported.join(", "));
    text
}

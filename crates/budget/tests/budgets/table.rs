//! `budgets.txt`: what each operation may cost, and how a measurement is compared to it.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Who;

/// Operation, who, and what: `instructions` or the name of a system call.
pub(crate) type Key = (String, Who, String);
pub(crate) type Measured = BTreeMap<Key, f64>;

/// What counts instructions.
pub(crate) const INSTRUCTIONS: &str = "instructions";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    count: f64,
    /// It depends on who runs first, and so on how busy the machine is.
    varies: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The compiler that made what was counted.
    compiler: String,
    rows: BTreeMap<Key, Budget>,
}

impl Budget {
    /// The most that is not too much.
    fn most(self, what: &str, same_compiler: bool) -> f64 {
        match (what, self.varies) {
            (INSTRUCTIONS, false) => self.count * if same_compiler { 1.03 } else { 1.15 } + 100.0,
            (INSTRUCTIONS, true) => self.count * if same_compiler { 1.25 } else { 1.4 } + 100.0,
            (_, false) => self.count + 0.2,
            (_, true) => self.count * 1.5 + 1.0,
        }
    }
}

/// Only who comes too early makes them.
const SLEEPS: [&str; 3] = ["futex", "epoll_pwait", "ppoll"];

/// A call that is in no row: what a busy machine makes happen now and then is not an operation's cost.
const STRAY: f64 = 0.5;

impl Table {
    pub(crate) fn parse(text: &str) -> Result<Table, String> {
        let mut table = Table::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(compiler) = line.strip_prefix("compiler: ") {
                table.compiler = compiler.to_string();
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let row = || {
                let [operation, who, what, count] = words[..] else { return None };
                let (count, varies) = count.strip_prefix('~').map_or((count, false), |count| (count, true));
                let key = (operation.to_string(), Who::named(who)?, what.to_string());
                Some((key, Budget { count: count.parse().ok()?, varies }))
            };
            let (key, budget) = row().ok_or_else(|| format!("no budget: {line}"))?;
            table.rows.insert(key, budget);
        }
        Ok(table)
    }

    /// The table of what was measured several times. What has ever varied is taken to vary, as is the sleep of threads.
    pub(crate) fn of(compiler: &str, times: &[Measured], before: &Table) -> Table {
        let keys = times.iter().flat_map(BTreeMap::keys).cloned();
        let rows = keys.filter_map(|key| {
            let counts = || times.iter().map(|measured| measured.get(&key).copied().unwrap_or(0.0));
            let (least, most) = (counts().fold(f64::MAX, f64::min), counts().fold(0.0, f64::max));
            let has_varied = before.rows.get(&key).is_some_and(|budget| budget.varies);
            let budget = if key.2 == INSTRUCTIONS {
                Budget { count: least.round(), varies: has_varied || most > least * 1.03 }
            } else {
                let count = (most * 10.0 - 0.001).ceil() / 10.0;
                let is_stable = most - least < 0.001 && (most - most.round()).abs() < 0.001;
                Budget { count, varies: has_varied || !is_stable || SLEEPS.contains(&key.2.as_str()) }
            };
            (most > 0.2).then_some((key, budget))
        });
        Table { compiler: compiler.to_string(), rows: rows.collect() }
    }

    /// What is above its budget, a line each.
    pub(crate) fn above(&self, compiler: &str, measured: &Measured) -> Vec<String> {
        let same_compiler = self.compiler == compiler;
        let lines = measured.iter().filter_map(|(key, count)| {
            let (operation, who, what) = key;
            match self.rows.get(key) {
                None if *count > STRAY => {
                    Some(format!("{operation}: the {who} makes {count:.1} {what}, which is in no budget"))
                }
                Some(budget) if *count > budget.most(what, same_compiler) => Some(format!(
                    "{operation}: the {who} needs {count:.1} {what}; its budget is {}",
                    budget.count
                )),
                _ => None,
            }
        });
        lines.collect()
    }

    /// Budgets of which less than 90 % is used, a line each.
    pub(crate) fn generous(&self, measured: &Measured) -> Vec<String> {
        let lines = self.rows.iter().filter(|(_, budget)| !budget.varies).filter_map(|(key, budget)| {
            let (operation, who, what) = key;
            let count = measured.get(key).copied().unwrap_or(0.0);
            (count < budget.count * 0.9).then(|| {
                format!("{operation}: the {who} has a budget of {} {what} and needs {count:.1}", budget.count)
            })
        });
        lines.collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{HEAD}\ncompiler: {}", self.compiler)?;
        let mut before = None;
        for ((operation, who, what), budget) in &self.rows {
            if before != Some((operation, who)) {
                out.write_char('\n')?;
                before = Some((operation, who));
            }
            let varies = if budget.varies { "~" } else { "" };
            let count = format!("{varies}{}", budget.count);
            let (who, what) = (who.to_string(), what.as_str());
            writeln!(out, "{operation:13} {who:7} {what:18} {count:>7}")?;
        }
        Ok(())
    }
}

const HEAD: &str = "\
# What one operation may cost: instructions in user space, and system calls by name. Compared, and after a change for
# the better rewritten, by a test: `BLESS=1 cargo test -p budget`. Read the diff as you would read code.
#
# Whose: the caller's thread; the engine's thread; the child until it executes; the guard; the leader that a guard
# starts, until it executes. The guard's and the leader's instructions are not counted, nor those of the program.
#
# Too much is, for instructions, more than 3 % (another compiler: 15 %) and 100 above; for calls, more than 0.2 above.
# A ~ marks what varied while it was measured, with who of several threads runs first (a futex is only called by who
# has to wait; who reads a socket early reads it again): too much is then 25 % (40 %) and 100 above, or half as much
# again and one call. What counts is the least of three attempts.
#
# x86_64, glibc, and Linux 6.13 or later: elsewhere other calls are made.";

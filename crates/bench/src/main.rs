//! What foster costs, beside its peers and beside what the kernel allows.
//!
//! `cargo run --release -p bench`, on a machine that does nothing else; `-- --help` for the dials.

mod args;
mod burden;
mod contenders;
mod idle;
mod limit;
mod machine;
mod many;
mod measure;
mod output;
mod program;
mod rates;
mod report;
mod stage;
mod stats;
mod strategies;
mod svg;
mod table;
mod targets;
mod task;
mod times;

use std::fs;
use std::io::{Write, stdout};

use crate::args::Args;
use crate::contenders::Contender;
use crate::machine::Machine;
use crate::table::Table;
use crate::task::Task;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// What is measured under one letter. Each table is told as soon as it is there.
struct Part {
    letter: char,
    measure: fn(char, &Args, &[Contender], &mut Tell<'_>) -> Result<()>,
}

type Tell<'a> = dyn FnMut(Box<dyn Table>) -> Result<()> + 'a;

const PARTS: [Part; 8] = [
    Part { letter: 'A', measure: times },
    Part { letter: 'B', measure: times },
    Part { letter: 'C', measure: times },
    Part { letter: 'D', measure: |_, args, _, tell| tell(Box::new(strategies::measure(args)?)) },
    Part { letter: 'E', measure: |_, args, _, tell| output::measure(args, tell) },
    Part { letter: 'F', measure: |_, args, _, tell| tell(Box::new(many::measure(args)?)) },
    Part { letter: 'G', measure: |_, args, _, tell| tell(Box::new(idle::measure(args)?)) },
    Part { letter: 'H', measure: |_, args, _, tell| tell(Box::new(program::measure(args)?)) },
];

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == idle::HIDDEN).is_some() {
        return idle::hold(words);
    }
    let mut out = stdout();
    let Some(args) = Args::parse(words)? else {
        return Ok(out.write_all(args::HELP.as_bytes())?);
    };
    let machine = Machine::look()?;
    let mut contenders = contenders::all()?;
    contenders.retain(|contender| contender.name == limit::NAME || contender.name.contains(&args.filter));
    out.write_all(report::head(&machine, &args).as_bytes())?;
    let mut tables = Vec::new();
    for Part { letter, measure } in PARTS.iter().filter(|part| args.only.contains(part.letter)) {
        measure(*letter, &args, &contenders, &mut |table| {
            out.write_all(table.text().as_bytes())?;
            tables.push(table);
            Ok(())
        })?;
    }
    let charts: Vec<_> = tables.iter().flat_map(|table| table.charts()).collect();
    let outcomes = targets::judge(&charts, machine.is_busy());
    out.write_all(report::notes(&contenders).as_bytes())?;
    out.write_all(targets::text(&outcomes).as_bytes())?;
    let (json, picture) = args.files()?;
    fs::write(&json, format!("{:#}\n", report::json(&machine, &args, &tables, &outcomes)))?;
    fs::write(&picture, svg::picture(&report::title(&machine), &charts))?;
    Ok(writeln!(out, "\nWritten to {} and {}", json.display(), picture.display())?)
}

fn times(letter: char, args: &Args, contenders: &[Contender], tell: &mut Tell<'_>) -> Result<()> {
    for task in Task::ALL.into_iter().filter(|task| task.letter() == letter) {
        tell(Box::new(times::measure(task, contenders, args)?))?;
    }
    Ok(())
}

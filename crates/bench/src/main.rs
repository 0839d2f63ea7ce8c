//! What foster costs, beside its peers and beside what the kernel allows.
//!
//! `cargo run --release -p bench`, on a machine that does nothing else; `-- --help` for the dials.

mod args;
mod contenders;
mod limit;
mod machine;
mod measure;
mod output;
mod program;
mod report;
mod stage;
mod stats;
mod strategies;
mod task;

use std::io::{Write, stdout};

use crate::args::Args;
use crate::machine::Machine;
use crate::task::Task;

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

fn main() -> Result<()> {
    let mut out = stdout();
    let Some(args) = Args::parse(std::env::args().skip(1))? else {
        return Ok(out.write_all(args::HELP.as_bytes())?);
    };
    let machine = Machine::look()?;
    let mut contenders = contenders::all()?;
    contenders.retain(|contender| contender.name == limit::NAME || contender.name.contains(&args.filter));
    out.write_all(report::head(&machine, &args).as_bytes())?;
    let mut tables = Vec::new();
    for task in Task::ALL.into_iter().filter(|task| args.only.contains(task.letter())) {
        let table = measure::measure(task, &contenders, &args)?;
        out.write_all(report::table(&table).as_bytes())?;
        tables.push(table);
    }
    let held = args.only.contains(strategies::LETTER).then(|| strategies::measure(&args)).transpose()?;
    if let Some(held) = &held {
        out.write_all(strategies::table(held).as_bytes())?;
    }
    let output = args.only.contains(output::LETTER).then(|| output::measure(&args)).transpose()?;
    for table in output.iter().flatten() {
        out.write_all(report::output(table).as_bytes())?;
    }
    let program = args.only.contains(program::LETTER).then(|| program::measure(&args)).transpose()?;
    if let Some(program) = &program {
        out.write_all(program::table(program).as_bytes())?;
    }
    out.write_all(report::notes(&contenders).as_bytes())?;
    if let Some(file) = &args.json {
        let mut json = report::json(&machine, &args, &tables, held.as_deref(), output.as_deref());
        json["program"] = program.as_ref().map(program::Table::json).into();
        std::fs::write(file, format!("{json:#}\n"))?;
    }
    Ok(())
}

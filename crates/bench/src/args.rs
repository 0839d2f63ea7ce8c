//! The command line.

use std::path::PathBuf;
use std::{env, fs};

use crate::Result;

/// Of all tasks.
const LETTERS: &str = "ABCDEFGH";

pub(crate) const HELP: &str = "\
Measures foster, its peers, and what the kernel allows.

    cargo run --release -p bench -- [OPTIONS]

    --rounds N        how often each contender takes its turn [30]
    --iterations N    how many children it starts in one turn [100]
    --mebibytes N     how much a child writes in E; the lines are in proportion, 20 million for 1024 [1024]
    --output-rounds N how often each contender takes its turn in E [5]
    --touched N       MiB of memory that the large parent of A has touched [1024]
    --many-ms N       how long a turn of F is, in milliseconds [1000]
    --idle N          how many sleep in G [5000]
    --idle-seconds N  for how long [10]
    --quick           2 rounds of 5, 16 MiB, and so on: does it work at all?
    --only TASKS      A: spawn → reaped, B: exit → waiter, C: SIGTERM → reaped, D: what containment costs,
                      E: output dropped, kept, prefixed, F: many in flight,
                      G: many that sleep, H: the program [ABCDEFGH]
    --pin TASKS       which of them to hold on one CPU; `none` for none [A]
    --filter WORD     only contenders with this in their name, and the limit
    --json FILE       where the figures go [bench/figures.json in cargo's target directory]
    --svg FILE        where the picture goes [bench/figures.svg there]
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) iterations: usize,
    pub(crate) mebibytes: usize,
    pub(crate) output_rounds: usize,
    /// Mebibytes.
    pub(crate) touched: usize,
    pub(crate) many_ms: usize,
    pub(crate) idle: usize,
    pub(crate) idle_seconds: usize,
    /// Letters of tasks.
    pub(crate) only: String,
    /// Letters of tasks.
    pub(crate) pin: String,
    pub(crate) filter: String,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
}

impl Args {
    /// `None`: help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>> {
        let mut args = Args {
            rounds: 30,
            iterations: 100,
            mebibytes: 1024,
            output_rounds: 5,
            touched: 1024,
            many_ms: 1000,
            idle: 5000,
            idle_seconds: 10,
            only: LETTERS.to_string(),
            pin: "A".to_string(),
            filter: String::new(),
            json: None,
            svg: None,
        };
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => {
                    (args.rounds, args.iterations) = (2, 5);
                    (args.output_rounds, args.mebibytes) = (2, 16);
                    (args.touched, args.many_ms) = (64, 50);
                    (args.idle, args.idle_seconds) = (100, 1);
                }
                "--rounds" => args.rounds = count(&value()?)?,
                "--iterations" => args.iterations = count(&value()?)?,
                "--mebibytes" => args.mebibytes = count(&value()?)?,
                "--output-rounds" => args.output_rounds = count(&value()?)?,
                "--touched" => args.touched = count(&value()?)?,
                "--many-ms" => args.many_ms = count(&value()?)?,
                "--idle" => args.idle = count(&value()?)?,
                "--idle-seconds" => args.idle_seconds = count(&value()?)?,
                "--only" => args.only = tasks(&value()?)?,
                "--pin" => args.pin = tasks(&value()?)?,
                "--filter" => args.filter = value()?,
                "--json" => args.json = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                _ => return Err(format!("unknown argument {flag}; see --help").into()),
            }
        }
        Ok(Some(args))
    }

    /// Where the figures go, and the picture of them; the directory is there.
    pub(crate) fn files(&self) -> Result<(PathBuf, PathBuf)> {
        if let (Some(json), Some(svg)) = (&self.json, &self.svg) {
            return Ok((json.clone(), svg.clone()));
        }
        // We are target/release/bench, wherever CARGO_TARGET_DIR has put that.
        let own = env::current_exe()?;
        let directory = own.ancestors().nth(2).ok_or("the bench is not where cargo puts it")?.join("bench");
        fs::create_dir_all(&directory)?;
        let or_there = |file: &Option<PathBuf>, name| file.clone().unwrap_or_else(|| directory.join(name));
        Ok((or_there(&self.json, "figures.json"), or_there(&self.svg, "figures.svg")))
    }
}

fn count(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text} is not a number of at least 1").into()),
        Ok(count) => Ok(count),
    }
}

fn tasks(text: &str) -> Result<String> {
    let letters = if text == "none" { String::new() } else { text.to_ascii_uppercase() };
    match letters.chars().find(|letter| !LETTERS.contains(*letter)) {
        Some(letter) => Err(format!("there is no task {letter}; there are {LETTERS}").into()),
        None => Ok(letters),
    }
}

#[test]
fn later_dials_win() {
    let parse = |line: &str| Args::parse(line.split_whitespace().map(str::to_string));
    let args = parse("--quick --rounds 3 --mebibytes 4 --pin none --only ae").unwrap().unwrap();
    assert_eq!((args.rounds, args.iterations), (3, 5));
    assert_eq!((args.output_rounds, args.mebibytes), (2, 4));
    assert_eq!((args.only.as_str(), args.pin.as_str()), ("AE", ""));
    assert!(parse("--rounds 0").is_err() && parse("--json").is_err() && parse("--only Z").is_err());
}

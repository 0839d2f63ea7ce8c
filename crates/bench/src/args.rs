//! The command line.

use std::path::PathBuf;

use crate::Result;

pub(crate) const HELP: &str = "\
Measures foster, its peers, and what the kernel allows.

    cargo run --release -p bench -- [OPTIONS]

    --rounds N        how often each contender takes its turn [30]
    --iterations N    how many children it starts in one turn [100]
    --mebibytes N     how much a child writes in E; the lines are in proportion, 20 million for 1024 [1024]
    --output-rounds N how often each contender takes its turn in E [5]
    --quick           2 rounds of 5, 16 MiB: does it work at all?
    --only TASKS      A: spawn → reaped, B: exit → waiter, C: SIGTERM → reaped, D: what containment costs,
                      E: output dropped, kept, prefixed, H: the program [ABCDEH]
    --pin TASKS       which of them to hold on one CPU; `none` for none [A]
    --filter WORD     only contenders with this in their name, and the limit
    --json FILE       write the figures there too
";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) iterations: usize,
    pub(crate) mebibytes: usize,
    pub(crate) output_rounds: usize,
    /// Letters of tasks.
    pub(crate) only: String,
    /// Letters of tasks.
    pub(crate) pin: String,
    pub(crate) filter: String,
    pub(crate) json: Option<PathBuf>,
}

impl Args {
    /// `None`: help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>> {
        let mut args = Args {
            rounds: 30,
            iterations: 100,
            mebibytes: 1024,
            output_rounds: 5,
            only: "ABCDEH".to_string(),
            pin: "A".to_string(),
            filter: String::new(),
            json: None,
        };
        while let Some(flag) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => {
                    (args.rounds, args.iterations) = (2, 5);
                    (args.output_rounds, args.mebibytes) = (2, 16);
                }
                "--rounds" => args.rounds = count(&value()?)?,
                "--iterations" => args.iterations = count(&value()?)?,
                "--mebibytes" => args.mebibytes = count(&value()?)?,
                "--output-rounds" => args.output_rounds = count(&value()?)?,
                "--only" => args.only = tasks(&value()?)?,
                "--pin" => args.pin = tasks(&value()?)?,
                "--filter" => args.filter = value()?,
                "--json" => args.json = Some(value()?.into()),
                _ => return Err(format!("unknown argument {flag}; see --help").into()),
            }
        }
        Ok(Some(args))
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
    match letters.chars().find(|letter| !"ABCDEH".contains(*letter)) {
        Some(letter) => Err(format!("there is no task {letter}; there are A, B, C, D, E and H").into()),
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
    assert!(parse("--rounds 0").is_err() && parse("--json").is_err() && parse("--only F").is_err());
}

//! What the program costs: the child alone, and inside `foster run` and what people use in its place. It is their whole
//! life that counts, from the start of the wrapper to its end: who wraps a short command pays all of it each time.
//!
//! All take turns in rounds, as in measure.rs. Beside the ratio stands what the wrapper adds to the child, which depends
//! less on how small the child is.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::args::Args;
use crate::machine::{self, Held};
use crate::report;
use crate::stage::{self, CHILD, Mode};
use crate::stats::{Spread, median};
use crate::{Error, Result};

pub(crate) const LETTER: char = 'H';

const BARE: &str = "the child alone";

/// What came out.
pub(crate) struct Table {
    held_on: Option<usize>,
    /// The first is the child alone.
    rows: Vec<Row>,
    /// Who is not here, and how they come here.
    absent: Vec<(&'static str, &'static str)>,
}

struct Row {
    name: &'static str,
    note: &'static str,
    /// Over the rounds: the median, in microseconds.
    microseconds: Spread,
    /// Over the rounds: that, by the child's of the same round.
    ratio: Spread,
    /// Over the rounds: that, less the child's of the same round.
    added: Spread,
}

struct Wrapper {
    name: &'static str,
    note: &'static str,
    /// What comes before the child and its argument; nothing for the child alone.
    words: Vec<OsString>,
    /// How it comes here.
    from: &'static str,
}

/// Measures those that are here.
pub(crate) fn measure(args: &Args) -> Result<Table> {
    stage::nothing_as_stdin()?;
    let held = args.pin.contains(LETTER).then(Held::on_one_cpu).transpose()?;
    let (mut here, mut absent) = (Vec::new(), Vec::new());
    for wrapper in all()?.into_iter().filter(|one| one.name == BARE || one.name.contains(&args.filter)) {
        match wrapper.sample() {
            Ok(_) => here.push(wrapper),
            Err(error) if is_absent(&error) => absent.push((wrapper.name, wrapper.from)),
            Err(error) => return Err(format!("{}: {error}", wrapper.name).into()),
        }
    }
    let mut medians = vec![Vec::with_capacity(args.rounds); here.len()];
    let mut order: Vec<usize> = (0..here.len()).collect();
    for _ in 0..args.rounds {
        machine::shuffle(&mut order);
        for &turn in &order {
            let samples: Result<Vec<u64>> = (0..args.iterations).map(|_| here[turn].sample()).collect();
            #[expect(
                clippy::cast_precision_loss,
                reason = "nanoseconds of a process's life are far below 2^53"
            )]
            medians[turn].push(median(samples?) as f64 / 1e3);
        }
    }
    let bare = medians[0].clone();
    let rows = here.into_iter().zip(medians).map(|(Wrapper { name, note, .. }, medians)| {
        let beside = |tell: fn(f64, f64) -> f64| {
            Spread::of(medians.iter().zip(&bare).map(|(median, bare)| tell(*median, *bare)).collect())
        };
        let (ratio, added) = (beside(|median, bare| median / bare), beside(|median, bare| median - bare));
        Row { name, note, ratio, added, microseconds: Spread::of(medians) }
    });
    Ok(Table { held_on: held.as_ref().map(Held::cpu), rows: rows.collect(), absent })
}

fn all() -> Result<Vec<Wrapper>> {
    let us = env::current_exe()?;
    let profile = us.parent().ok_or("we are in no directory")?;
    // Of the machine's own architecture, as `just artifact` builds it.
    let target = format!("../{}-unknown-linux-musl/release/foster", env::consts::ARCH);
    let installed = env::var_os("FOSTER_STATIC").map_or_else(|| profile.join(target), PathBuf::from);
    let wrapper = |name, note, program: OsString, words: &[&str], from| Wrapper {
        name,
        note,
        words: [program].into_iter().chain(words.iter().map(OsString::from)).collect(),
        from,
    };
    let foster = |name, note, words: &[&str]| {
        let build = "cargo build --release -p foster-cli, into the directory that the bench is in";
        wrapper(name, note, profile.join("foster").into(), words, build)
    };
    let fixed = |name, note, words: &[&str]| {
        wrapper(name, note, installed.clone().into(), words, "just artifact, or name it in FOSTER_STATIC")
    };
    let peer = |name, note, program: &str, words: &[&str]| {
        wrapper(name, note, program.into(), words, "install it, it is in most distributions")
    };
    Ok(vec![
        Wrapper { name: BARE, note: "std::process, vfork", words: Vec::new(), from: "build.rs makes it" },
        foster("foster run", "a guard: descendants are found, and end with foster too", &["run", "--"]),
        foster(
            "foster run, group",
            "--contain group: no more than the peers",
            &["run", "--contain", "group", "--"],
        ),
        fixed("static foster run", "the same, of musl, without a dynamic linker", &["run", "--"]),
        fixed("static foster run, group", "the same", &["run", "--contain", "group", "--"]),
        peer("timeout", "a group and a timer", "timeout", &["60"]),
        peer("tini", "-s: a subreaper, which ends when the child does", "tini", &["-s", "--"]),
        peer("dumb-init", "a session", "dumb-init", &["--"]),
        peer("catatonit", "signals are forwarded", "catatonit", &["--"]),
    ])
}

fn is_absent(error: &Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

impl Wrapper {
    /// From its start to its end, in nanoseconds. It must end as the child does.
    fn sample(&self) -> Result<u64> {
        let began = Instant::now();
        let mut words =
            self.words.iter().map(OsString::as_os_str).chain([CHILD.as_ref(), Mode::Exit.as_str().as_ref()]);
        let program = words.next().ok_or("the child is always there")?;
        let status = Command::new(program).args(words).status()?;
        let time = began.elapsed();
        if !status.success() {
            return Err(format!("ended with {status}").into());
        }
        Ok(u64::try_from(time.as_nanos())?)
    }
}

impl Table {
    /// How far the child's own times lie apart.
    fn unrest(&self) -> f64 {
        self.rows[0].microseconds.unrest()
    }

    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "ratio": row.ratio.json(),
                "added_us": row.added.json(),
                "microseconds": row.microseconds.json(),
            })
        };
        json!({
            "task": LETTER.to_string(),
            "held_on_cpu": self.held_on,
            "unrest_of_child": self.unrest(),
            "too_noisy": self.unrest() > report::UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
            "absent": self.absent.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })
    }
}

pub(crate) fn table(table: &Table) -> String {
    let mut text = format!("\n{LETTER}. the program around a tiny child: from its start to its end\n");
    if let Some(cpu) = table.held_on {
        _ = writeln!(text, "   held on CPU {cpu}, children too");
    }
    if table.unrest() > report::UNREST {
        let percent = table.unrest() * 100.0;
        _ = writeln!(
            text,
            "   TOO NOISY TO TELL: the child alone varied by {percent:.0} % from round to round"
        );
    }
    _ = writeln!(
        text,
        "\n   {:<26} {:>8} {:>12} {:>9} {:>13} {:>9}",
        "", "÷ child", "p25–p75", "added µs", "p25–p75", "p50 µs"
    );
    for Row { name, microseconds, ratio, added, .. } in &table.rows {
        let ratios = format!("{:.2}–{:.2}", ratio.p25, ratio.p75);
        let adds = format!("{:.0}–{:.0}", added.p25, added.p75);
        let (ratio, added, time) = (ratio.median, added.median, microseconds.median);
        _ = writeln!(text, "   {name:<26} {ratio:>8.2} {ratios:>12} {added:>9.0} {adds:>13} {time:>9.0}");
    }
    text.push('\n');
    for Row { name, note, .. } in &table.rows {
        _ = writeln!(text, "   {name:<26} {note}");
    }
    for (name, from) in &table.absent {
        _ = writeln!(text, "   {name:<26} is not here: {from}");
    }
    text
}

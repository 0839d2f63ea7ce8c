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
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::args::Args;
use crate::machine::Held;
use crate::measure::{UNREST, interleaved, noise, ratio};
use crate::stage::{self, CHILD, Mode};
use crate::stats::{Spread, median};
use crate::table::{Bar, Chart, Table, Unit};
use crate::{Error, Result};

const LETTER: char = 'H';

const BARE: &str = "the child alone";

/// Less is to be added than by any of these, which do no more than [`GROUP`]; and by the static build less than by this
/// one, which is static too.
const PEERS: [&str; 3] = ["tini", "dumb-init", "timeout"];
const STATIC_PEER: &str = "catatonit";
const GROUP: &str = "foster run, group";
const STATIC_GROUP: &str = "static foster run, group";

/// What came out.
pub(crate) struct Wrapped {
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
    /// Of each round: that, less the child's of the same round.
    added: Vec<f64>,
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
pub(crate) fn measure(args: &Args) -> Result<Wrapped> {
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
    let medians = interleaved(here.len(), args.rounds, |turn| {
        let samples: Result<Vec<Duration>> = (0..args.iterations).map(|_| here[turn].sample()).collect();
        Ok(median(samples?).as_secs_f64() * 1e6)
    })?;
    let rows = here.into_iter().zip(&medians).map(|(Wrapper { name, note, .. }, own)| Row {
        name,
        note,
        microseconds: Spread::of(own.clone()),
        ratio: ratio(own, &medians[0]),
        added: own.iter().zip(&medians[0]).map(|(own, bare)| own - bare).collect(),
    });
    Ok(Wrapped { held_on: held.as_ref().map(Held::cpu), rows: rows.collect(), absent })
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
    /// From its start to its end. It must end as the child does.
    fn sample(&self) -> Result<Duration> {
        let began = Instant::now();
        let mut words =
            self.words.iter().map(OsString::as_os_str).chain([CHILD.as_ref(), Mode::Exit.as_str().as_ref()]);
        let program = words.next().ok_or("the child is always there")?;
        let status = Command::new(program).args(words).status()?;
        let time = began.elapsed();
        if !status.success() {
            return Err(format!("ended with {status}").into());
        }
        Ok(time)
    }
}

impl Wrapped {
    /// How far the child's own times lie apart.
    fn unrest(&self) -> f64 {
        self.rows[0].microseconds.unrest()
    }

    fn added(&self, name: &str) -> Option<&[f64]> {
        self.rows.iter().find(|row| row.name == name).map(|row| &*row.added)
    }

    /// What is added by the first, by the least that one of the others adds in the same round.
    fn beside(&self, name: &'static str, peers: &[&str], title: &str) -> Option<Chart> {
        let peers: Option<Vec<&[f64]>> = peers.iter().map(|peer| self.added(peer)).collect();
        let peers = peers?;
        let least = |round: usize| peers.iter().map(|added| added[round]).fold(f64::INFINITY, f64::min);
        let own = self.added(name)?;
        let least: Vec<f64> = (0..own.len()).map(least).collect();
        let figure = ratio(own, &least);
        let title = title.to_string();
        let (unit, is_noisy) = (Unit::TimeByPeer, self.unrest() > UNREST);
        Some(Chart { key: format!("H {name}"), title, unit, is_noisy, bars: vec![Bar { name, figure }] })
    }
}

impl Table for Wrapped {
    fn text(&self) -> String {
        let mut text = format!("\n{LETTER}. the program around a tiny child: from its start to its end\n");
        if let Some(cpu) = self.held_on {
            _ = writeln!(text, "   held on CPU {cpu}, children too");
        }
        text += &noise(self.unrest());
        _ = writeln!(
            text,
            "\n   {:<26} {:>8} {:>12} {:>9} {:>13} {:>9}",
            "", "÷ child", "p25–p75", "added µs", "p25–p75", "p50 µs"
        );
        for Row { name, microseconds, ratio, added, .. } in &self.rows {
            let added = Spread::of(added.clone());
            let ratios = format!("{:.2}–{:.2}", ratio.p25, ratio.p75);
            let adds = format!("{:.0}–{:.0}", added.p25, added.p75);
            let (ratio, added, time) = (ratio.median, added.median, microseconds.median);
            _ = writeln!(text, "   {name:<26} {ratio:>8.2} {ratios:>12} {added:>9.0} {adds:>13} {time:>9.0}");
        }
        text.push('\n');
        for Row { name, note, .. } in &self.rows {
            _ = writeln!(text, "   {name:<26} {note}");
        }
        for (name, from) in &self.absent {
            _ = writeln!(text, "   {name:<26} is not here: {from}");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "ratio": row.ratio.json(),
                "added_us": Spread::of(row.added.clone()).json(),
                "microseconds": row.microseconds.json(),
            })
        };
        json!({
            "task": LETTER.to_string(),
            "held_on_cpu": self.held_on,
            "unrest_of_limit": self.unrest(),
            "too_noisy": self.unrest() > UNREST,
            "contenders": self.rows.iter().map(row).collect::<Vec<_>>(),
            "absent": self.absent.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })
    }

    fn charts(&self) -> Vec<Chart> {
        let all = Chart {
            key: LETTER.to_string(),
            title: "the program around a tiny child".to_string(),
            unit: Unit::TimeByLimit,
            is_noisy: self.unrest() > UNREST,
            bars: self.rows.iter().map(|row| Bar { name: row.name, figure: row.ratio }).collect(),
        };
        let group = self.beside(GROUP, &PEERS, "what it adds, by the least of tini, dumb-init and timeout");
        let fixed = self.beside(STATIC_GROUP, &[STATIC_PEER], "what it adds, by catatonit");
        [Some(all), group, fixed].into_iter().flatten().collect()
    }
}

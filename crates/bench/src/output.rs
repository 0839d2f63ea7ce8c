//! What a child writes, taken by us: dropped, kept, and every line prefixed. It is the rate that counts here, and the
//! child is the same for all: it hands its pages to the pipe and copies nothing, so nobody waits for it (child.c).
//!
//! All take turns in rounds (measure.rs). What was taken is counted each time: who loses a byte, or a line, is no
//! contender. A block is 64 KiB for everybody who may choose. From 128 KiB on, glibc's mmap threshold, a block begins
//! 16 bytes behind a page, and the kernel's copy (`rep movsb`) is slow there: that, and not the size, made blocks of
//! 192 KiB and more three to four times as slow where this was written.

mod foster;
mod limits;
mod peers;

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::ExitStatus;
use std::time::Instant;

use crate::args::Args;
use crate::machine::Held;
use crate::rates::{self, race};
use crate::{Result, Tell, contenders, limit, stage};

const LETTER: char = 'E';

const MIB: u64 = 1 << 20;

/// What is read, and written, at a time.
const BLOCK: usize = 64 << 10;

/// What every line gets.
const PREFIX: &[u8] = b"[child] ";

/// A line of the child with its newline; child.c has it too.
const LINE: u64 = 14;

/// What is done with the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// It is read, and that is all.
    Drop,
    /// It is in memory at the end.
    Keep,
    /// Each line, with a word in front of it, goes to /dev/null.
    Prefix,
}

/// A job and its size: what the child is told.
#[derive(Clone, Copy)]
struct Load {
    job: Job,
    /// Bytes; lines, when they are prefixed.
    amount: u64,
}

/// What a contender has taken.
struct Taken {
    /// Bytes, or lines.
    amount: u64,
    /// Bytes that went on, prefixes and all.
    written: u64,
    /// Let go when the clock has stopped: who keeps something wants to use it.
    kept: Option<Box<dyn Any + Send>>,
}

struct Contender {
    name: &'static str,
    note: &'static str,
    run: Box<dyn Fn(Load) -> Result<Taken>>,
}

pub(crate) fn measure(args: &Args, tell: &mut Tell<'_>) -> Result<()> {
    stage::nothing_as_stdin()?;
    let held = args.pin.contains(LETTER).then(Held::on_one_cpu).transpose()?;
    for job in [Job::Drop, Job::Keep, Job::Prefix] {
        let load = Load::new(job, args.mebibytes as u64);
        let mut contenders = limits::contenders(load);
        contenders.push(foster::contender(job));
        contenders.extend(peers::contenders(job, &contenders::runtime()?));
        let racers = contenders.into_iter().map(|contender| {
            let (name, note) = (contender.name, contender.note);
            // Who starts for the first time pays for threads, caches and lazy symbols.
            contender.rate(Load::new(job, 1))?;
            Ok(rates::Contender::new(name, note, move || contender.rate(load)))
        });
        let racers: Result<_> = racers.collect();
        tell(Box::new(race(load.told(), racers?, args.output_rounds, &args.filter, held.as_ref())?))?;
    }
    Ok(())
}

impl Job {
    fn number(self) -> u8 {
        match self {
            Job::Drop => 1,
            Job::Keep => 2,
            Job::Prefix => 3,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Job::Drop => "output read and dropped",
            Job::Keep => "output kept in memory",
            Job::Prefix => "lines of 14 bytes, each prefixed, to /dev/null",
        }
    }

    /// The goal of the issue.
    fn target(self) -> &'static str {
        match self {
            Job::Drop => "0.9 of the limit",
            Job::Keep => "2 × std",
            Job::Prefix => "0.7 of the limit",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Job::Drop | Job::Keep => "GiB/s",
            Job::Prefix => "M lines/s",
        }
    }

    /// An amount in words.
    fn in_words(self, amount: u64) -> String {
        match self {
            Job::Drop | Job::Keep => format!("{} MiB", amount / MIB),
            Job::Prefix => format!("{amount} lines"),
        }
    }

    /// How much of its unit that is.
    #[expect(clippy::cast_precision_loss, reason = "an amount is far below 2^52")]
    fn in_units(self, amount: u64) -> f64 {
        match self {
            Job::Drop | Job::Keep => amount as f64 / (1024 * MIB) as f64,
            Job::Prefix => amount as f64 / 1e6,
        }
    }
}

impl Load {
    fn new(job: Job, mebibytes: u64) -> Load {
        let amount = match job {
            Job::Drop | Job::Keep => mebibytes * MIB,
            Job::Prefix => mebibytes * 20_000_000 / 1024,
        };
        Load { job, amount }
    }

    /// For the table.
    fn told(self) -> rates::Job {
        let Load { job, amount } = self;
        rates::Job {
            name: format!("{LETTER}{}", job.number()),
            title: job.title().to_string(),
            told: format!("{}; wanted of foster: {}", job.in_words(amount), job.target()),
            amount,
            unit: job.unit(),
            is_by_std: job == Job::Keep,
        }
    }

    /// The child's arguments.
    fn args(self) -> [String; 2] {
        let mode = match self.job {
            Job::Drop | Job::Keep => "fill",
            Job::Prefix => "lines",
        };
        [mode.to_string(), self.amount.to_string()]
    }

    /// What must have been written.
    fn written(self) -> u64 {
        match self.job {
            Job::Drop | Job::Keep => 0,
            Job::Prefix => self.amount * (LINE + PREFIX.len() as u64),
        }
    }
}

impl Taken {
    fn dropped(bytes: u64) -> Taken {
        Taken { amount: bytes, written: 0, kept: None }
    }

    fn kept(bytes: usize, memory: impl Any + Send) -> Taken {
        Taken { amount: bytes as u64, written: 0, kept: Some(Box::new(memory)) }
    }

    fn prefixed(lines: u64, sink: &Null) -> Taken {
        Taken { amount: lines, written: sink.written, kept: None }
    }
}

impl Contender {
    fn new(
        name: &'static str,
        note: &'static str,
        run: impl Fn(Load) -> Result<Taken> + 'static,
    ) -> Contender {
        Contender { name, note, run: Box::new(run) }
    }

    /// One turn: from the call to all of it taken and the child reaped.
    fn rate(&self, load: Load) -> Result<f64> {
        let start = Instant::now();
        let taken = (self.run)(load)?;
        let time = start.elapsed();
        drop(taken.kept);
        if (taken.amount, taken.written) != (load.amount, load.written()) {
            let told = load.job.in_words(load.amount);
            let Taken { amount, written, .. } = taken;
            return Err(format!("of {told} it took {amount} and wrote {written} bytes").into());
        }
        Ok(load.job.in_units(load.amount) / time.as_secs_f64())
    }
}

/// Reads to the end, in blocks, and counts.
fn drain(from: impl Read) -> io::Result<u64> {
    drain_by(from, &mut vec![0; BLOCK])
}

fn drain_by(mut from: impl Read, block: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match from.read(block)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// Who could not write everything says so by its status.
fn succeeded(status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(format!("the child: {status}").into()) }
}

/// Where prefixed lines go, counted.
struct Null {
    file: File,
    written: u64,
}

impl Null {
    fn open() -> io::Result<Null> {
        Ok(Null { file: OpenOptions::new().write(true).open("/dev/null")?, written: 0 })
    }
}

impl Write for Null {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn who_loses_a_byte_is_no_contender() {
    let takes = |job, short: u64| {
        let contender = Contender::new("forgetful", "", move |load| {
            let written = load.written();
            Ok(Taken { amount: load.amount - short, written, kept: None })
        });
        contender.rate(Load::new(job, 1)).map_err(|error| error.to_string())
    };
    for job in [Job::Drop, Job::Keep, Job::Prefix] {
        assert!(takes(job, 0).unwrap() > 0.0);
    }
    assert_eq!(takes(Job::Keep, 1).unwrap_err(), "of 1 MiB it took 1048575 and wrote 0 bytes");
    assert_eq!(takes(Job::Prefix, 1).unwrap_err(), "of 19531 lines it took 19530 and wrote 429682 bytes");
}

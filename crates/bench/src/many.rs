//! Many in flight: 64 children at any time, each started, waited for, and followed by the next, until the turn is
//! over. It is the rate that counts. Who blocks has a thread for each, the limit too; who awaits has a task for each,
//! on a runtime with a thread for each CPU. Beside the limit stands what needs neither: a thread for each CPU, which
//! starts what is missing and reaps what ends first.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use foster::Containment;
use tokio::runtime::Runtime;

use crate::args::Args;
use crate::machine::Held;
use crate::rates::{Contender, Job, Rates, STD, race};
use crate::stage::{self, CHILD};
use crate::{Result, limit};

const LETTER: char = 'F';

const IN_FLIGHT: usize = 64;

pub(crate) fn measure(args: &Args) -> Result<Rates> {
    stage::nothing_as_stdin()?;
    let held = args.pin.contains(LETTER).then(Held::on_one_cpu).transpose()?;
    let contenders = contenders(Duration::from_millis(args.many_ms as u64))?;
    for contender in &contenders {
        contender.turn()?;
    }
    let job = Job {
        name: LETTER.to_string(),
        title: format!("many: {IN_FLIGHT} in flight, children a second"),
        told: format!("turns of {} ms; wanted of foster: 0.85 of the limit", args.many_ms),
        amount: args.many_ms as u64,
        unit: "1,000/s",
        is_by_std: false,
    };
    race(job, contenders, args.rounds.div_ceil(3), &args.filter, held.as_ref())
}

fn contenders(turn: Duration) -> Result<Vec<Contender>> {
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build()?);
    let cpus = thread::available_parallelism()?.get();
    let each = IN_FLIGHT / cpus.min(IN_FLIGHT);
    Ok(vec![
        // As many threads as the others have: on a machine that others use too, more threads get more of it.
        rated(limit::NAME, "a thread for each: vfork, waitid", turn, |until| {
            on_threads(IN_FLIGHT, || limit::many(1, until))
        }),
        rated("limit: a thread for each CPU", "vfork, and waitid for whichever ends", turn, move |until| {
            on_threads(IN_FLIGHT / each, || limit::many(each, until))
        }),
        blocking("foster wait()", "own group; a thread for each child", turn, || {
            succeeded(group().spawn()?.wait().success())
        }),
        blocking("foster wait(), guarded", "two processes a start; a thread for each", turn, || {
            succeeded(command().spawn()?.wait().success())
        }),
        awaiting(&runtime, "foster exited(), tokio", "own group; a task for each", turn, async || {
            succeeded(group().spawn()?.exited().await.success())
        }),
        blocking(STD, "a thread for each", turn, || {
            succeeded(std::process::Command::new(CHILD).arg("exit").status()?.success())
        }),
        awaiting(&runtime, "tokio::process", "a task for each", turn, async || {
            succeeded(tokio::process::Command::new(CHILD).arg("exit").status().await?.success())
        }),
    ])
}

fn command() -> foster::Command {
    foster::Command::new(CHILD).arg("exit")
}

fn group() -> foster::Command {
    command().containment(Containment::Group)
}

/// A thread for each in flight.
fn blocking(
    name: &'static str,
    note: &'static str,
    turn: Duration,
    one: impl Fn() -> Result<()> + Copy + Sync + 'static,
) -> Contender {
    rated(name, note, turn, move |until| {
        on_threads(IN_FLIGHT, || {
            let mut count = 0;
            while Instant::now() < until {
                one()?;
                count += 1;
            }
            Ok(count)
        })
    })
}

/// A task for each in flight.
fn awaiting<F: Future<Output = Result<()>> + Send + 'static>(
    runtime: &Arc<Runtime>,
    name: &'static str,
    note: &'static str,
    turn: Duration,
    one: impl Fn() -> F + Copy + Send + Sync + 'static,
) -> Contender {
    let runtime = runtime.clone();
    let in_turn = move |until| async move {
        let mut count = 0;
        while Instant::now() < until {
            one().await?;
            count += 1;
        }
        Ok(count)
    };
    rated(name, note, turn, move |until| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..IN_FLIGHT).map(|_| tokio::spawn(in_turn(until))).collect();
            let mut count = 0;
            for task in tasks {
                let counted: Result<u64> = task.await?;
                count += counted?;
            }
            Ok(count)
        })
    })
}

/// Thousands of children a second, from the first start to the last one reaped.
#[expect(clippy::cast_precision_loss, reason = "a count is far below 2^52")]
fn rated(
    name: &'static str,
    note: &'static str,
    turn: Duration,
    children_until: impl Fn(Instant) -> Result<u64> + 'static,
) -> Contender {
    Contender::new(name, note, move || {
        let start = Instant::now();
        let count = children_until(start + turn)?;
        Ok(count as f64 / 1000.0 / start.elapsed().as_secs_f64())
    })
}

/// What all of them have counted.
fn on_threads(count: usize, each: impl Fn() -> Result<u64> + Sync) -> Result<u64> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&each)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    })
}

fn succeeded(success: bool) -> Result<()> {
    if success { Ok(()) } else { Err("a child has failed".into()) }
}

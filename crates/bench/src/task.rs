//! What is measured as a time: one sample of each.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::burden::{Burden, DESCRIPTORS};
use crate::contenders::Contender;
use crate::stage::{self, GRACE, Mode, Page, Ready};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run,
    /// In a parent with much memory.
    RunLarge,
    /// In a parent with many descriptors.
    RunOpen,
    Notice,
    Stop,
    /// Of a child that ignores SIGTERM.
    Overstay,
}

impl Task {
    pub(crate) const ALL: [Task; 6] =
        [Task::Run, Task::RunLarge, Task::RunOpen, Task::Notice, Task::Stop, Task::Overstay];

    pub(crate) fn letter(self) -> char {
        match self {
            Task::Run | Task::RunLarge | Task::RunOpen => 'A',
            Task::Notice => 'B',
            Task::Stop | Task::Overstay => 'C',
        }
    }

    /// The letter, and a number where several have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Run => "A1",
            Task::RunLarge => "A2",
            Task::RunOpen => "A3",
            Task::Notice => "B",
            Task::Stop => "C1",
            Task::Overstay => "C2",
        }
    }

    pub(crate) fn title(self, args: &Args) -> String {
        let title = match self {
            Task::Run => "spawn → reaped, one after the other",
            Task::RunLarge => return format!("the same in a parent that has touched {} MiB", args.touched),
            Task::RunOpen => return format!("the same in a parent with {DESCRIPTORS} open descriptors"),
            Task::Notice => "exit → waiter: from the child's last instruction to its waiter knowing",
            Task::Stop => "SIGTERM → reaped: from the call to the end known, for a child that dies at once",
            Task::Overstay => {
                "grace overshoot: what a stop takes beyond 50 ms of grace, for a child that ignores it"
            }
        };
        title.to_string()
    }

    /// Not everybody has a stop with a grace.
    pub(crate) fn is_for(self, contender: &Contender) -> bool {
        match self {
            Task::Run => true,
            Task::RunLarge | Task::RunOpen | Task::Notice | Task::Stop => !contender.only_runs,
            Task::Overstay => contender.has_grace,
        }
    }

    /// How many samples a turn has: fewer where each takes long.
    pub(crate) fn iterations(self, args: &Args) -> usize {
        match self {
            Task::Run | Task::RunLarge | Task::RunOpen | Task::Notice | Task::Stop => args.iterations,
            Task::Overstay => args.iterations.div_ceil(20),
        }
    }
}

/// A task, and what it needs: a parent that bears something, the standard input of its children. There is one at a
/// time.
pub(crate) enum Staged {
    Run { _parent: Burden },
    Notice(Page),
    Stop(Ready),
    Overstay(Ready),
}

impl Staged {
    pub(crate) fn new(task: Task, args: &Args) -> Result<Staged> {
        let run = |parent| {
            stage::nothing_as_stdin()?;
            Ok::<_, crate::Error>(Staged::Run { _parent: parent })
        };
        match task {
            Task::Run => run(Burden::Nothing),
            Task::RunLarge => run(Burden::memory(args.touched << 20)),
            Task::RunOpen => run(Burden::descriptors(DESCRIPTORS)?),
            Task::Notice => Ok(Staged::Notice(Page::as_stdin()?)),
            Task::Stop => Ok(Staged::Stop(Ready::as_stdin()?)),
            Task::Overstay => Ok(Staged::Overstay(Ready::as_stdin()?)),
        }
    }

    /// One time, and that the child has ended as it should: who loses the status is no contender.
    pub(crate) fn sample(&self, contender: &Contender) -> Result<Duration> {
        use rustix::process::Signal;
        let sampled = match self {
            Staged::Run { .. } => run(contender),
            Staged::Notice(page) => notice(contender, page),
            Staged::Stop(ready) => stop(contender, ready),
            Staged::Overstay(ready) => overstay(contender, ready),
        };
        let (time, status) = sampled.map_err(|error| format!("{}: {error}", contender.name))?;
        let expected = match self {
            Staged::Run { .. } | Staged::Notice(_) => 0,
            Staged::Stop(_) => Signal::TERM.as_raw(),
            Staged::Overstay(_) => Signal::KILL.as_raw(),
        };
        if status == ExitStatus::from_raw(expected) {
            Ok(time)
        } else {
            Err(format!("{}: {status}", contender.name).into())
        }
    }
}

/// The handle is dropped within the time: what it costs to let go is part of one after the other. So is what a
/// background thread still has to do, since it delays the next start.
fn run(contender: &Contender) -> Result<(Duration, ExitStatus)> {
    let start = Instant::now();
    let mut child = contender.start(Mode::Exit)?;
    let status = child.wait()?;
    drop(child);
    Ok((start.elapsed(), status))
}

fn notice(contender: &Contender, page: &Page) -> Result<(Duration, ExitStatus)> {
    let mut child = contender.start(Mode::Stamp)?;
    let status = child.wait()?;
    let noticed = stage::now()?;
    Ok((noticed.saturating_sub(page.take()?), status))
}

fn stop(contender: &Contender, ready: &Ready) -> Result<(Duration, ExitStatus)> {
    let mut child = contender.start(Mode::Pause)?;
    ready.wait()?;
    let start = Instant::now();
    child.terminate()?;
    let status = child.wait()?;
    Ok((start.elapsed(), status))
}

fn overstay(contender: &Contender, ready: &Ready) -> Result<(Duration, ExitStatus)> {
    let mut child = contender.start(Mode::Deaf)?;
    ready.wait()?;
    let start = Instant::now();
    let status = child.stop()?;
    let beyond = start.elapsed().checked_sub(GRACE).ok_or("the kill came before the grace was over")?;
    Ok((beyond, status))
}

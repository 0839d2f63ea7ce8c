//! What is measured: one sample of each of the three.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::Result;
use crate::contenders::Contender;
use crate::stage::{self, Mode, Page, Ready};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Run,
    Notice,
    Stop,
}

impl Task {
    pub(crate) const ALL: [Task; 3] = [Task::Run, Task::Notice, Task::Stop];

    pub(crate) fn letter(self) -> char {
        match self {
            Task::Run => 'A',
            Task::Notice => 'B',
            Task::Stop => 'C',
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Task::Run => "spawn → reaped, one after the other",
            Task::Notice => "exit → waiter: from the child's last instruction to its waiter knowing",
            Task::Stop => "SIGTERM → reaped: from the call to the end known, for a child that dies at once",
        }
    }
}

/// A task, and the standard input that its children need. There is one at a time.
pub(crate) enum Staged {
    Run,
    Notice(Page),
    Stop(Ready),
}

impl Staged {
    pub(crate) fn new(task: Task) -> Result<Staged> {
        Ok(match task {
            Task::Run => {
                stage::nothing_as_stdin()?;
                Staged::Run
            }
            Task::Notice => Staged::Notice(Page::as_stdin()?),
            Task::Stop => Staged::Stop(Ready::as_stdin()?),
        })
    }

    /// One time, and that the child has ended as it should: who loses the status is no contender.
    pub(crate) fn sample(&self, contender: &Contender) -> Result<Duration> {
        let (time, status) = match self {
            Staged::Run => run(contender)?,
            Staged::Notice(page) => notice(contender, page)?,
            Staged::Stop(ready) => stop(contender, ready)?,
        };
        let expected = match self {
            Staged::Run | Staged::Notice(_) => ExitStatus::from_raw(0),
            Staged::Stop(_) => ExitStatus::from_raw(rustix::process::Signal::TERM.as_raw()),
        };
        if status == expected { Ok(time) } else { Err(format!("{}: {status}", contender.name).into()) }
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

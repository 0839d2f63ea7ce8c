//! Foster, by each of its waits, at the level *group*, which is what its peers give, and once as it is by default. All
//! get the same for it: own group, pidfd, empty mask and default dispositions, no stray descriptors, resource usage,
//! and a background thread that watches and reaps.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use foster::{Child, Command, Containment, Status};
use tokio::runtime::Runtime;

use super::{Contender, Running};
use crate::Result;
use crate::stage::{CHILD, GRACE, Mode};

/// Which end is waited for: the leader's, or that of the whole tree.
#[derive(Clone, Copy)]
enum Until {
    Exit,
    Gone,
}

#[derive(Clone)]
enum By {
    /// The call that blocks the thread.
    Blocking,
    /// The future, polled by a thread that parks in between.
    Parking,
    /// The future, on tokio's single-threaded runtime.
    Tokio(Rc<Runtime>),
}

pub(crate) fn contenders(runtime: &Rc<Runtime>) -> Vec<Contender> {
    let tokio = By::Tokio(runtime.clone());
    vec![
        contender("foster wait()", Until::Exit, By::Blocking).with_grace(),
        guarded("foster wait(), guarded", Until::Exit).with_grace(),
        guarded("foster gone().wait(), guarded", Until::Gone),
        contender("foster gone().wait()", Until::Gone, By::Blocking),
        contender("foster exited(), parked thread", Until::Exit, By::Parking),
        contender("foster gone(), parked thread", Until::Gone, By::Parking),
        contender("foster exited(), tokio", Until::Exit, tokio.clone()).with_grace(),
        contender("foster gone(), tokio", Until::Gone, tokio),
    ]
}

/// As it is by default.
fn guarded(name: &'static str, until: Until) -> Contender {
    let note = match until {
        Until::Exit => "two processes a start: nothing escapes, and nothing survives us",
        Until::Gone => "the same, and everything is known to be gone",
    };
    Contender::new(name, note, move |mode| Ok(Run { child: command(mode).spawn()?, until, by: By::Blocking }))
}

fn contender(name: &'static str, until: Until, by: By) -> Contender {
    let note = match until {
        Until::Exit => {
            "own group, pidfd, clean signals, no stray descriptors, background engine; stop wakes (CONT)"
        }
        Until::Gone => "the same, and the whole group is known to be gone",
    };
    Contender::new(name, note, move |mode| {
        let child = command(mode).containment(Containment::Group).spawn()?;
        Ok(Run { child, until, by: by.clone() })
    })
}

fn command(mode: Mode) -> Command {
    let command = Command::new(CHILD).arg(mode.as_str());
    match mode {
        Mode::Deaf => command.grace(GRACE),
        Mode::Exit | Mode::Stamp | Mode::Pause | Mode::Hold => command,
    }
}

struct Run {
    child: Child,
    until: Until,
    by: By,
}

impl Running for Run {
    fn terminate(&mut self) -> Result<()> {
        drop(self.child.stop_now());
        Ok(())
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        // The grace is in the policy.
        self.terminate()?;
        self.wait()
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let child = &self.child;
        let exit = match (&self.by, self.until) {
            (By::Blocking, Until::Exit) => Ok(child.wait()),
            (By::Blocking, Until::Gone) => child.gone().wait().map(|end| end.exit),
            (By::Parking, Until::Exit) => Ok(block_on(child.exited())),
            (By::Parking, Until::Gone) => block_on(child.gone()).map(|end| end.exit),
            (By::Tokio(runtime), Until::Exit) => Ok(runtime.block_on(child.exited())),
            (By::Tokio(runtime), Until::Gone) => runtime.block_on(child.gone()).map(|end| end.exit),
        };
        match exit?.status {
            Status::Exited(code) => Ok(ExitStatus::from_raw(i32::from(code) << 8)),
            Status::Signaled { signal, .. } => Ok(ExitStatus::from_raw(signal.number())),
            Status::Unknown => Err("the status is unknown".into()),
        }
    }
}

/// The smallest executor: what a future costs when nothing else is there.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

//! [`Supervisor`]: many children, one close.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::short;
use crate::{Cause, Child, Command, Error, ErrorKind, Exit, Stuck};

/// Starts children until it is closed, and closes by stopping all of them, at the same time.
///
/// A spawn that races [`close`](Supervisor::close) is refused, or its child is stopped before `close` returns. Clones
/// are handles on the same supervisor; dropping the last one kills, as dropping the children does.
///
/// ```
/// use foster::{Command, ErrorKind, Outcome, Supervisor};
///
/// let supervisor = Supervisor::new();
/// assert!(matches!(supervisor.run(&Command::new("true"))?, Outcome::Success(_)));
/// assert!(matches!(supervisor.run(&Command::new("false"))?, Outcome::Failure(_)));
///
/// let sleep = supervisor.spawn(&Command::new("sleep").arg("60"))?;
/// supervisor.close().expect("nothing is stuck");
/// assert!(sleep.try_wait().is_some());
/// assert_eq!(supervisor.spawn(&Command::new("true")).unwrap_err().kind(), ErrorKind::Closing);
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A spawn that was in flight has landed.
    landed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closing: bool,
    in_flight: usize,
    next_id: u64,
    children: BTreeMap<u64, Child>,
}

/// How a run-and-wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with code 0.
    Success(Exit),
    /// It ended in any other way.
    Failure(Exit),
    /// We are closing: it was not started, or it was stopped because of that, with this exit.
    Closing(Option<Exit>),
}

impl Supervisor {
    /// A supervisor without children.
    pub fn new() -> Supervisor {
        Supervisor::default()
    }

    /// Starts a child that [`close`](Supervisor::close) will stop. The supervisor keeps a handle until the child's
    /// tree is gone, so that dropping the returned one does not kill.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closing`] once `close` has been called; otherwise those of [`Command::spawn`].
    pub fn spawn(&self, command: &Command) -> Result<Child, Error> {
        {
            let mut state = self.state();
            if state.closing {
                let message =
                    format!("cannot start `{}`: the supervisor is closing", short(&command.get_label()));
                return Err(Error::new(ErrorKind::Closing, message));
            }
            state.in_flight += 1;
        }
        // Not under the lock: a slow disk must not hold up another's spawn.
        let spawned = command.spawn();
        let mut state = self.state();
        state.in_flight -= 1;
        self.0.landed.notify_all();
        let child = spawned?;
        state.children.retain(|_, child| !child.is_gone());
        let id = state.next_id;
        state.next_id += 1;
        state.children.insert(id, child.clone());
        Ok(child)
    }

    /// Starts a child and blocks until it has exited.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub fn run(&self, command: &Command) -> Result<Outcome, Error> {
        match self.spawn(command) {
            Err(error) if error.kind() == ErrorKind::Closing => Ok(Outcome::Closing(None)),
            Err(error) => Err(error),
            Ok(child) => Ok(self.outcome(child.wait())),
        }
    }

    /// As [`run`](Supervisor::run), for a task. Dropping the future does not stop the child; closing does.
    ///
    /// # Errors
    ///
    /// Those of [`Command::spawn`].
    pub async fn run_async(&self, command: &Command) -> Result<Outcome, Error> {
        match self.spawn(command) {
            Err(error) if error.kind() == ErrorKind::Closing => Ok(Outcome::Closing(None)),
            Err(error) => Err(error),
            Ok(child) => Ok(self.outcome(child.exited().await)),
        }
    }

    /// Starts no more children, stops all that run, at the same time and without a splay, and returns when nothing
    /// is left of any. It may be called again, and from many threads: all return when all is gone.
    ///
    /// # Errors
    ///
    /// The [`Stuck`] of each tree that was killed and is still there.
    pub fn close(&self) -> Result<(), Vec<Stuck>> {
        let children: Vec<Child> = {
            let mut state = self.state();
            state.closing = true;
            while state.in_flight > 0 {
                state = self.0.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.children.values().cloned().collect()
        };
        let ends: Vec<_> = children.iter().map(Child::stop_now).collect();
        let stuck: Vec<Stuck> = ends.iter().filter_map(|end| end.wait().err()).collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck) }
    }

    /// The children whose trees are not gone.
    pub fn children(&self) -> Vec<Child> {
        let mut state = self.state();
        state.children.retain(|_, child| !child.is_gone());
        state.children.values().cloned().collect()
    }

    fn outcome(&self, exit: Exit) -> Outcome {
        if matches!(exit.cause, Cause::Stopped | Cause::Killed) && self.state().closing {
            Outcome::Closing(Some(exit))
        } else if exit.success() {
            Outcome::Success(exit)
        } else {
            Outcome::Failure(exit)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

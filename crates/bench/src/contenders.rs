//! Who is compared: each starts the child, sends it SIGTERM, and waits for it, as its users would.
//!
//! All inherit the three streams and build their command anew for each child. Each puts the child in a process
//! group of its own, except the limit. They do not all do the same for their money; each one's note says what it
//! gives, and the report prints it.

mod foster;
mod peers;
mod tokio;

pub(crate) use peers::terminate_group;

use std::process::ExitStatus;
use std::rc::Rc;

use crate::stage::Mode;
use crate::{Result, limit};

/// A child that was started.
pub(crate) trait Running {
    /// Sends SIGTERM, to the group where the API can. The end is not waited for.
    fn terminate(&mut self) -> Result<()>;

    /// Waits for the end.
    fn wait(&mut self) -> Result<ExitStatus>;

    /// Asks a child in [`Mode::Deaf`] with SIGTERM, kills it when [`GRACE`](crate::stage::GRACE) is over, waits for
    /// the end.
    fn stop(&mut self) -> Result<ExitStatus> {
        Err("it has no stop with a grace".into())
    }
}

type Start = dyn Fn(Mode) -> Result<Box<dyn Running>>;

pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    /// Whether it can stop with a grace.
    pub(crate) has_grace: bool,
    /// Whether it can do no more than to start the child that exits at once, and wait for it.
    pub(crate) only_runs: bool,
    start: Box<Start>,
}

impl Contender {
    pub(crate) fn new<R: Running + 'static>(
        name: &'static str,
        note: &'static str,
        start: impl Fn(Mode) -> Result<R> + 'static,
    ) -> Contender {
        // The box is paid by all, the limit too: a few tens of nanoseconds.
        let (has_grace, only_runs) = (false, false);
        Contender {
            name,
            note,
            has_grace,
            only_runs,
            start: Box::new(move |mode| Ok(Box::new(start(mode)?))),
        }
    }

    pub(crate) fn with_grace(mut self) -> Contender {
        self.has_grace = true;
        self
    }

    pub(crate) fn that_only_runs(mut self) -> Contender {
        self.only_runs = true;
        self
    }

    /// Starts the child; it has been executed on return.
    pub(crate) fn start(&self, mode: Mode) -> Result<Box<dyn Running>> {
        (self.start)(mode)
    }
}

/// All of them, the limit first.
pub(crate) fn all() -> Result<Vec<Contender>> {
    let mut all = vec![limit::contender()];
    all.extend(limit::guarded());
    all.extend(foster::contenders(&runtime()?));
    all.extend(peers::contenders());
    all.push(tokio::contender(runtime()?));
    Ok(all)
}

/// What a small asynchronous program has: one thread that is also the driver.
pub(crate) fn runtime() -> Result<Rc<::tokio::runtime::Runtime>> {
    Ok(Rc::new(::tokio::runtime::Builder::new_current_thread().enable_all().build()?))
}

//! Start other people's programs, know how they ended, and leave nothing behind.
#![deny(missing_docs)]

// Nouns: plain data, no I/O.
mod command;
mod error;
mod event;
mod exit;
mod policy;
mod signal;

// Decisions: pure.
mod lifecycle;

// Acts.
mod board;
mod engine;
mod spawn;
mod tree;
mod watch;

// Handles.
mod child;
mod supervisor;

pub use child::{Child, Events, Exited, Gone};
pub use command::{Command, Group, Stdio};
pub use error::{Error, ErrorKind, Stuck};
pub use event::{Event, EventKind};
pub use exit::{Cause, Exit, Status, Usage};
pub use policy::{Leftovers, Policy, Target};
pub use signal::{ParseSignalError, Signal};
pub use spawn::SignalState;
pub use supervisor::{Outcome, Supervisor};

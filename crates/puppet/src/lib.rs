//! Tests with real processes: the `puppet`, a child that obeys its arguments, and the [`Stage`] that directs it.
//!
//! A puppet speaks first, so no test sleeps to wait for a child: [`puppet`] gives the command for a script (the verbs
//! are in `main.rs`), [`Stage`] starts it and hears what it says, an [`Actor`] pins one process of the play and
//! tells whether it lives. A [`Terminal`] is a real one, and a [`Window`] has a screen for programs that draw. A
//! [`Host`] is a process that uses foster and can be killed; its [`Safety`] knows who is left of what it started.
//! [`long_enough`] finds a time in which what must come has come, where a time runs.
//! A [`Pattern`] is written and checked where no byte may be lost. [`alone`] gives a test a process of its own, for
//! what belongs to a whole process.
//!
//! Every deadline here only makes a test fail, never pass.

mod actor;
mod alone;
mod host;
mod look;
mod needs;
mod own;
mod patience;
mod pattern;
mod pty;
mod safety;
mod stage;
mod terminal;
mod window;

pub use actor::Actor;
pub use alone::{alone, alone_under};
pub use host::{Got, Host, NOBODY, Programs, User};
pub use look::{
    alive, children, command_line, descriptors, eventually, group_and_session, group_members, named_from,
    scratch, state, status_field, unique, zombies,
};
pub use needs::{Feature, needs};
pub use own::{block_signal, default_signal, filter_as_docker, ignore_signal, limit_life, set_our_group};
pub use patience::{Before, long_enough};
pub use pattern::Pattern;
pub use safety::{Cgroup, Safety};
pub use stage::{Stage, foster, program, puppet, within};
pub use terminal::{Terminal, Transcript};
pub use window::{Screen, Window};

use std::time::Duration;

/// How long a test waits for what must come. It is long because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long a puppet lives at most, whatever becomes of its test. Longer than [`DEADLINE`], so that no test takes a
/// puppet that ran out of time for one that was stopped.
pub const LIFE: Duration = Duration::from_secs(60);

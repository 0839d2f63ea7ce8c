//! Start other people's programs, know how they ended, and leave nothing behind.
//!
//! What people suffer from who start programs is always the same: a process that outlives its time or its parent, a
//! lost exit code, a wait that never returns. This crate makes those impossible as far as the system allows, states
//! each promise, and has a test for it.
//!
//! ```
//! use foster::{Cause, Command};
//! use std::time::Duration;
//!
//! let exit = Command::shell("sleep 60 & sleep 60")
//!     .timeout(Duration::from_millis(100))
//!     .grace(Duration::from_secs(2))
//!     .spawn()?
//!     .wait();
//! assert_eq!(exit.cause, Cause::TimedOut);
//! # Ok::<(), foster::Error>(())
//! ```
//!
//! From a task, of any runtime, the last step is `.exited().await`. The crate needs no runtime and brings none.
//!
//! Where one writes `output()` with the standard library, one writes it here, and it cannot hang:
//!
//! ```
//! use foster::Command;
//! use std::time::Duration;
//!
//! let output = Command::shell("echo hello; sleep 60 &").timeout(Duration::from_secs(10)).output()?;
//! assert_eq!(output.stdout.bytes(), b"hello\n"); // at once: the job in the background holds nobody up
//! # Ok::<(), foster::Error>(())
//! ```
//!
//! # The words
//!
//! The *leader* is the process we started; the *tree* is everything that came from it. To *signal* is to deliver one
//! signal, without an intent. To *stop* is to wait for a random part of the *splay*, to ask with the stop signal, to
//! wait for the *grace*, and then to kill; *stop now* leaves out the splay. To *kill* is to force the whole tree, at
//! once. The *timeout* is the longest the leader may run. *Leftovers* are what still lives when the leader has ended
//! by itself. At the *exit* the leader is dead and its status known; when the run is *gone*, nothing of the tree is
//! left. A tree that was killed and is still there is *stuck*.
//!
//! # The life of a run
//!
//! ```text
//!              spawn fails                     leader exits          tree empty
//!  Command ────────────────▶ Error    Running ─────────────▶ Exited ───────────▶ Gone
//!     └────────spawned──────────────▶  │  ▲                    │
//!                                      │  └ signal             └ leftovers: Stop | Kill | Wait | Leave
//!                              timeout │ stop │ kill
//!                                      ▼
//!              Splaying ──splay over, or stop now──▶ Asked ──grace over, or kill──▶ Killed ──still there──▶ Stuck
//! ```
//!
//! [`Command`] says what to run, and its [`Policy`] how it may end. [`Command::spawn`] returns a [`Child`], a handle
//! that can be cloned and used from any thread or task:
//!
//! - **Orders** — [`signal`](Child::signal), [`stop`](Child::stop), [`stop_now`](Child::stop_now),
//!   [`kill`](Child::kill) — have been carried out when they return, only bring the end nearer, and are `Ok` for what
//!   is gone. While a stop sits out its grace, every other call answers at once.
//! - **Waits** — [`wait`](Child::wait) for a thread, [`exited`](Child::exited) for a task — tell the [`Exit`]: the
//!   kernel's [`Status`] and our [`Cause`]. It is the same for every waiter, early or late.
//! - An order returns a [`Gone`], to wait for or to await the end of the whole tree; who does not care drops it.
//! - [`events`](Child::events) tells everything that happens, from the start.
//! - A [`Supervisor`] starts many and closes all at once.
//!
//! # Theory of operation
//!
//! Every decision is made by one pure state machine (`lifecycle.rs`), whose answers to every input in every phase
//! stand in a table that is searched by a test and reviewed as a diff. One background thread for the whole process,
//! named `foster`, started with the first child and blocking all signals, waits on an epoll and one timer; it brings
//! the machine its facts. So a timeout acts on the process, not on a wait: it is enforced though nobody waits, polls,
//! or holds a runtime. No `SIGCHLD` handler, no `waitpid(-1)`, no disposition of the host's changed.
//!
//! Between us and the leader stands a **guard**: one tiny process per tree (15 KB, no std, run from memory), which is
//! the leader's parent and to which the kernel gives every orphan of the tree. So nobody else in this process can
//! steal the exit status; that nothing is left is *proven* (`waitid` says ECHILD); and when this process dies,
//! however it dies, the guard ends the tree. Its death is noticed at once whatever our memory, by two sleeping
//! threads named `foster-bell`. The guard is helped by what the kernel offers; [`Child::containment`] tells what was
//! got, and what was tried in vain. A guarded run costs a process of about 30 KiB and four of our descriptors; who
//! holds many children raises `RLIMIT_NOFILE`, or takes [`Containment::Group`], which costs one.
//!
//! # Output and input
//!
//! [`Command::stdout`] and [`Command::stderr`] say where output goes, a [`Sink`]; [`Command::stdin`] where input comes from,
//! an [`Input`]. What is inherited, `/dev/null`, a descriptor, a file, or a bare pipe is given to the program itself.
//! The rest is *pumped*, by the library's threads and never by whoever waits: kept within bounds
//! ([`Sink::captured`]), streamed to a thread or a task ([`Sink::Streamed`]), handed to a function ([`Sink::lines`],
//! [`Sink::chunks`]), written to a file that is [rotated](LogFile::rotate), or to any two of them ([`Sink::and`]).
//!
//! - *Everything that was written before the exit is delivered before the exit is told.* A function has been called
//!   with the last line when [`wait`](Child::wait) returns.
//! - *Nobody waits for who holds a pipe.* After the exit, output is listened to until its end, until nothing has come
//!   for [`Policy::drain`] (500 ms), or for [`Policy::drain_max`] (5 s) in all. [`Captured::drained`] tells, and
//!   [`Captured::holders`] names who held it. Whoever holds it still may go on writing: it is read and dropped, or
//!   goes on to functions and files, so that nobody dies of it.
//! - *What is kept is bounded*, 8 MiB a stream by default, its beginning and its end, and what was left out is
//!   counted. A bound never stops a program; a slow function does, its own program and no other.
//!
//! Streams that only have to be remembered are read by the thread `foster` in short turns. One that proves big, or
//! has a function or a file to go to, has a thread `foster-pump` of its own.
//!
//! ```
//! use foster::{Command, Sink};
//!
//! let child = Command::shell("echo one; echo two >&2").stdout(Sink::Streamed).stderr(Sink::Streamed).spawn()?;
//! for line in child.take_lines().unwrap() {
//!     println!("{:?}: {line}", line.stream);
//! }
//! assert!(child.wait().success());
//! # Ok::<(), foster::Error>(())
//! ```
//!
//! # As whom, and how much
//!
//! [`Command::uid`], [`gid`](Command::gid) and [`groups`](Command::groups) say as whom a program runs,
//! [`limit`](Command::limit) how much of each [`Resource`] it may use, [`umask`](Command::umask) and
//! [`nice`](Command::nice) the rest. They are the leader's, from before its first instruction, and what comes from it
//! inherits them; this process and its guard stay as they are. What only root may is done before it is somebody else,
//! and the working directory is entered after. What is not said costs nothing.
//!
//! ```
//! use foster::{Command, Limit, Resource};
//!
//! let command = Command::shell("umask; ulimit -c; nice").umask(0o27).nice(19).limit(Resource::Core, 0, Limit::Inherited);
//! assert_eq!(command.read_to_string()?, "0027\n0\n19\n");
//! # Ok::<(), foster::Error>(())
//! ```
//!
//! # A terminal of its own
//!
//! [`Command::pty`] gives a program a terminal that is nobody else's: it starts in the foreground of a session of its own.
//! What is written to [`Child::take_stdin`] is typed: byte 3 is Ctrl-C and arrives as SIGINT, once; byte 26 is Ctrl-Z
//! and tells [`EventKind::Suspended`], once all that was shown before has been delivered. [`Child::resize`] changes
//! the size, and the program gets SIGWINCH. Our own terminal and session are left alone.
//!
//! # How firmly a tree is held
//!
//! | [`Level`] | promise | [`Mechanism`]s |
//! |---|---|---|
//! | `Sealed` | the tree also dies when we and the guard are killed together | pid namespace |
//! | `Grouped` | the kernel knows the members: nobody leaves, and a kill reaches all at once, fork bombs too | cgroup v2, freezer of v1, Landlock |
//! | `Tracked` | every descendant is found and proven gone; who forks without end in new sessions may delay that | guard alone |
//! | `Group` | the process group; who leaves it escapes, and SIGKILL of this process leaves it running | no guard |
//!
//! [`Containment::Auto`], the default, takes the strongest that *changes nothing the program can see*: a cgroup, the
//! freezer, the guard alone. A pid namespace and Landlock can be seen, so they are asked for:
//! [`Command::containment`], [`Command::require`]. What is asked for and not to be had is an error that names what was
//! tried, never less than that. `foster doctor` shows what a machine has.
//!
//! ```
//! use foster::{Command, Level};
//!
//! // A daemon in a session of its own, whose parent is gone.
//! let child = Command::shell("setsid sleep 60 & exit 0").require(Level::Tracked).spawn()?;
//! assert!(child.containment().survives.setsid);
//! let end = child.gone().wait()?; // the default policy kills what is left
//! assert!(end.exit.success());
//! # Ok::<(), foster::Error>(())
//! ```
//!
//! What no containment covers: work handed to somebody else's process (`systemd-run`, D-Bus activation, `docker`,
//! `at`, an already running `tmux`, `emacs` or build server); root in the tree that leaves its cgroup; processes that
//! the kernel cannot kill now (state `D`), which are named by [`Stuck`]; and, below *sealed*, SIGKILL of this process,
//! its guard, and the guard's [twin](Command::twin), all at once. What that leaves in a cgroup, the next foster there
//! [sweeps](sweep).
//!
//! # What is promised, and by what
//!
//! On Linux 5.9 and later; `PLATFORMS.md` has the kernel's floors and the test that shows each:
//!
//! | promise | by | caveat |
//! |---|---|---|
//! | the status is the kernel's, told to every waiter | the guard, which is the parent | at `Level::Group` a host that reaps our child (`waitpid(-1)`) makes it [`Status::Unknown`] before Linux 6.15 |
//! | a signal never reaches a stranger | pidfds; the group by its leader's pidfd (Linux 6.9) | before, each member pinned for itself |
//! | a stop ends everything the leader started | the level above | the soft signal goes to the leader's group; who left it is asked when the leader has gone |
//! | nothing survives us | the guard | not at `Level::Group`, and not after [`detach`](Child::detach) |
//! | the child starts clean | empty mask, default dispositions, only descriptors 0, 1, 2 | [`inherit_signals`](Command::inherit_signals), [`inherit_descriptors`](Command::inherit_descriptors) |
//! | it is who it was told to be, within its limits | one order of raw system calls between clone and exec | another user takes one small exec more at `Level::Group` |
//! | no process is left a zombie | the guard reaps the tree, the engine the guard | |
//! | what is killed and does not die is named | [`Stuck`], after [`Policy::patience`] | |
//! | output is whole up to the exit, and bounded after it | the pumps, `FIONREAD`, [`Policy::drain`] | a function that does not return for [`Policy::drain_max`] is left behind |
//! | no program holds another's pipe | close-on-exec from the start, and only 0, 1, 2 are handed on | what is piped to a leftover stays with it |
//!
//! Three things a host must not do. A `fork` without an exec takes the handles along and not the thread that serves
//! them: in the new process nothing is told, no timeout is enforced, and dropping a handle does nothing. Closing
//! descriptors that it did not open, as some daemons do with all from 3 on, takes away ours: a host does that before
//! its first run. And a waker, which the background thread runs, must return soon, as executors' wakers do: while it
//! runs, nobody else is told anything.
//!
//! # Errors
//!
//! An exit is not an error, whatever its code. [`Error`] is for what could not be done, on one line that names the
//! program; [`Error::kind`] tells the cases apart.
#![deny(missing_docs)]

// Nouns: plain data, no I/O.
mod command;
mod containment;
mod course;
mod error;
mod event;
mod exit;
mod input;
mod output;
mod policy;
mod signal;
mod standing;

// Decisions: pure.
mod lifecycle;

// Acts.
mod adopted;
mod board;
mod engine;
mod guard;
mod known;
mod pty;
mod pump;
mod roster;
mod run;
mod spawn;
mod tree;
mod watch;

// Handles.
mod child;
mod collected;
mod easy;
pub mod init;
mod supervisor;
mod survey;

pub use child::{Child, End, Events, Exited, Gone};
pub use collected::{Chunks, Collected, Lines};
pub use command::{Command, Group};
pub use containment::{
    Contained, Containment, Guard, GuardProgram, Level, Mechanism, Proof, Survives, Swept, Tried,
};
pub use error::{Error, ErrorKind, Stuck};
pub use event::{Event, EventKind};
pub use exit::{Cause, Exit, Status, Usage};
pub use guard::{guard_main, guard_program};
pub use input::Input;
pub use output::{Capture, Captured, Chunk, Line, LogFile, OnChunk, OnLine, Output, Sink, Stream};
pub use policy::{Leftovers, Policy, Target};
pub use pty::Pty;
pub use signal::{ParseSignalError, Signal};
pub use spawn::SignalState;
pub use standing::{Limit, Resource};
pub use supervisor::{Outcome, Supervisor};
pub use survey::{Kernel, Offer, Survey, survey, sweep};

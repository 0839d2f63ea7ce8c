//! The seam of watching: one handle on one process that says when it is dead without reaping it, tells how it
//! ended, and signals it, its group, and nobody else.
//!
//! What a platform provides, as [`Watch`]:
//!
//! | function | promise |
//! |---|---|
//! | `open(pid)` | pins a process that is not our child; `None` if it is gone |
//! | `ended(Peek or Reap)` | its end, if it has ended; `Peek` leaves the zombie |
//! | `stopped()` | the signal that stopped it, if it is stopped now |
//! | `sleep_until_dead()` | blocks until it is dead, and leaves the zombie |
//! | `wait_dead()` | blocks until it is dead, and reaps it |
//! | `signal(signal)` | `Ok` also when it is dead |
//! | `signal_group(signal)` | `None` where a group cannot be signalled by handle |
//! | `signal_group_by_number(leader, signal)` | for a caller who pins the number |

mod pidfd;

pub(crate) use pidfd::{Collect, Ended, Pidfd as Watch};

//! Linux: a leader that becomes another user or group, with nobody between us and it. It goes over a stepping stone:
//! the guard's program, which takes the leader's standing and then executes the program in its own place. So it is our
//! child as ever, and costs one small exec more.
//!
//! **Why not in our memory**, as [`super::direct`] starts all others? A change of user or group marks the *memory* of
//! the process (`commit_creds` of the kernel: `set_dumpable(mm, suid_dumpable)`), and until the child executes that
//! memory is ours. We would lose our core dumps, and to anybody but root our own `/proc/self`; and it stays so. To put
//! it back afterwards is worse than that: while one thread puts it back, the child of another is between its change
//! and its exec, and whoever has its new user could trace it and so write *our* memory. The new user could also stop
//! it there with SIGSTOP, and a thread that sleeps in the clone cannot continue it.
//!
//! **Why not a fork?** It copies our page tables and makes each page of ours copy itself again when next we write to
//! it. The stepping stone's memory is a few pages, and nobody else's. Only where no program can be run from memory or
//! from a file ([`Image::Copy`]) is it a fork.

use std::io;

use rustix::process::Pid;

use super::guarded::{Born, be_started, with_an_image};
use super::{Failed, Ready};
use crate::guard::wire::{self, FromGuard, Step};
use crate::guard::{Came, Guards, Image};
use crate::tree::strategy::Strategy;
use crate::watch::Watch;
use crate::{Signal, Status};

/// Starts the leader. It executes the program when this returns.
pub(super) fn start(ready: &Ready<'_>) -> Result<(Pid, Watch), Failed> {
    with_an_image(|image| step(ready, image)).map_err(|failed| match failed {
        Failed::Step(Step::Guard, errno) => {
            let why = io::Error::from_raw_os_error(errno);
            let hint = "it becomes another user by a program of ours, which cannot be run: let programs be \
                        executed from memory, or install foster-guard in /usr/libexec";
            Failed::Os(io::Error::new(why.kind(), format!("{hint}: {why}")))
        }
        failed => failed,
    })
}

fn step(ready: &Ready<'_>, image: &Image) -> Result<(Pid, Watch), Failed> {
    // Nothing is to hold it: no leaf, no namespace.
    let Born { link, watch, pid } = be_started(ready, &Strategy::Subreaper, wire::NO_GUARD, image)?;
    let mut stone = Guards::new(watch);
    let mut is_ours = false;
    loop {
        // It is continued now and then: the new user may have stopped it.
        match link.wait_for_start(&mut stone) {
            Came::News(FromGuard::Started { .. }, _) => is_ours = true,
            Came::News(FromGuard::Refused { step, errno }, _) => {
                stone.ours.wait_dead();
                return Err(Failed::Step(step, errno));
            }
            Came::Nothing => {}
            // Closed by the exec, or by a death, of which the tree will learn.
            Came::End if is_ours => return Ok((pid, stone.ours)),
            Came::News(..) => {
                _ = stone.ours.signal(Signal::KILL);
                stone.ours.wait_dead();
                return Err(Failed::Step(Step::Guard, libc::EPROTO));
            }
            Came::End => {
                return Err(match stone.ours.wait_dead() {
                    Some(Status::Exited(_)) => Failed::Step(Step::Guard, libc::ENOEXEC),
                    _ => Failed::Os(io::Error::other("it was killed while it started; start it again")),
                });
            }
        }
    }
}

//! Two guards, for long runs: the inner one holds the tree, the outer one watches it. Whichever of them is killed, also
//! together with the host, the other ends the tree.
//!
//! `unsafe` for the page that both share.
#![expect(unsafe_code, reason = "a page shared with a child")]

use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::hold::Hold;
use super::start::LockedIn;
use super::sys::{self, Fd, PollFd, Ret};
use super::wire::{FromGuard, Start};

/// The inner guard's view of the other.
#[derive(Clone, Copy)]
pub(crate) struct Twin {
    /// The outer guard's pidfd.
    pub(crate) outer: Fd,
    shared: &'static Shared,
}

/// What the outer guard must know when it takes over.
struct Shared {
    leader: AtomicI32,
    leader_reaped: AtomicBool,
    detached: AtomicBool,
}

impl Twin {
    pub(crate) fn note_leader(&self, pid: i32) {
        self.shared.leader.store(pid, Ordering::Release);
    }

    pub(crate) fn note_leader_reaped(&self) {
        self.shared.leader_reaped.store(true, Ordering::Release);
    }

    pub(crate) fn note_detached(&self) {
        self.shared.detached.store(true, Ordering::Release);
    }
}

/// Splits this guard in two. It returns in the inner one.
pub(crate) fn split(
    socket: Fd,
    start: &Start,
    leaf_path: *const c_char,
    locked_in: Option<LockedIn>,
) -> Result<Twin, Ret> {
    // SAFETY: a page of zeros, which is a `Shared`, aligned, and never given back.
    let shared: &'static Shared = unsafe { &*sys::shared_page()?.cast::<Shared>() };
    let outer_pid = sys::getpid();
    let mut inner = -1;
    let pid = sys::fork(&mut inner);
    if pid < 0 {
        return Err(pid);
    }
    if pid > 0 {
        watch(socket, start, leaf_path, locked_in, sys::int_of(pid), inner, shared);
    }
    sys::prctl(sys::PR_SET_CHILD_SUBREAPER, 1);
    super::hold::wake_when_the_parent_dies();
    let outer = sys::int_of(sys::pidfd_open(outer_pid));
    // The number was the outer guard's if that is our parent still.
    if outer < 0 || sys::getppid() != outer_pid {
        sys::exit(1);
    }
    // We are no child of the host's. If the outer one is killed, nobody else continues us when we are stopped.
    let us = sys::int_of(sys::pidfd_open(sys::getpid()));
    sys::send(socket, &FromGuard::Split.encode(), (us >= 0).then_some(us));
    sys::close(us);
    Ok(Twin { outer, shared })
}

/// The outer guard: sleeps until the inner one is dead.
fn watch(
    socket: Fd,
    start: &Start,
    leaf_path: *const c_char,
    locked_in: Option<LockedIn>,
    inner_pid: i32,
    inner: Fd,
    shared: &'static Shared,
) -> ! {
    let mut hold = Hold::new(socket, start, leaf_path, locked_in);
    hold.watch_children();
    hold.leader_pidfd = inner;
    sys::setpgid();
    _ = hold.open_what_ending_needs();
    super::start::close_all_but_all_of(&hold);
    // SAFETY: a string constant.
    unsafe { sys::chdir(c"/".as_ptr()) };
    wait_for(inner, inner_pid, hold.signals, start, shared);
    while sys::wait(inner_pid, sys::WEXITED | sys::WALL).is_err_and(|error| error == sys::EINTR) {}
    if sys::wait(0, sys::WEXITED | sys::WNOHANG | sys::WALL | sys::WNOWAIT)
        .is_err_and(|error| error == sys::ECHILD)
    {
        sys::exit(0);
    }
    // It was killed: what it held has come to us.
    hold.leader = shared.leader.load(Ordering::Acquire);
    // Reaped, and not noted before the inner guard was killed, its number would be anybody's.
    let is_ours = !sys::wait(hold.leader, sys::WEXITED | sys::WNOHANG | sys::WALL | sys::WNOWAIT)
        .is_err_and(|error| error == sys::ECHILD);
    hold.leader_lives = hold.leader != 0 && is_ours && !shared.leader_reaped.load(Ordering::Acquire);
    hold.detached = shared.detached.load(Ordering::Acquire);
    // What it did not come to read.
    hold.listen();
    hold.ending |= !hold.detached;
    sys::close(inner);
    hold.leader_pidfd = if hold.leader_lives { sys::int_of(sys::pidfd_open(hold.leader)) } else { -1 };
    if !hold.detached {
        sys::send(socket, &FromGuard::TwinLost.encode(), None);
    }
    hold.until_empty()
}

/// Until the inner guard is dead. One that somebody stops is continued: it would neither hear the host nor see its
/// death. And one that does not end the tree although the host is dead is killed.
fn wait_for(inner: Fd, inner_pid: i32, signals: Fd, start: &Start, shared: &Shared) {
    const PATIENCE: u64 = 1_000_000;
    let [bell, other_bell] = start.bells;
    let mut host = [start.supervisor, bell, other_bell];
    let mut patience = None;
    loop {
        let [supervisor, bell, other_bell] = host;
        let mut fds = [inner, supervisor, bell, other_bell, signals].map(|fd| PollFd {
            fd,
            events: sys::POLLIN,
            revents: 0,
        });
        let ready = sys::poll(&mut fds, patience);
        let [dead, supervisor, bell, other_bell, changed] = fds.map(|fd| fd.revents != 0);
        if dead {
            return;
        }
        if changed {
            sys::drain(signals);
            if let Ok(Some(_)) = sys::wait(inner_pid, sys::WSTOPPED | sys::WNOHANG) {
                sys::kill(inner_pid, sys::SIGCONT);
            }
        }
        if shared.detached.load(Ordering::Acquire) {
            // Nothing happens when the host ends.
            (host, patience) = ([-1; 3], None);
        } else if supervisor || bell || other_bell {
            (host, patience) = ([-1; 3], Some(PATIENCE));
        } else if ready == 0 {
            sys::kill(inner_pid, sys::SIGKILL);
        }
    }
}

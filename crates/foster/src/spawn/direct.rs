//! Any level of containment that needs nobody between us and the leader: we start it ourselves.
//!
//! `unsafe` for the child between its clone and its exec, which borrows our memory; see [`super::vfork`]. Everything
//! it reads was built before, and it owns nothing: it calls only system calls and writes only its [`Report`]. No
//! allocation, no lock, no panic, no destructor.
#![expect(unsafe_code, reason = "clone with shared memory, and the system calls between it and the exec")]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::io;
use std::ptr;

use rustix::process::Pid;

use super::vfork::vfork;
use super::words::Words;
use super::{Failed, Ready, SignalState, stepping};
use crate::Group;
use crate::guard::standing::Standing;
use crate::guard::wire::Step;
use crate::watch::Watch;

/// Starts the leader. It executes the program when this returns.
pub(super) fn start(ready: &Ready<'_>) -> Result<(Pid, Watch), Failed> {
    if ready.standing.as_ref().is_some_and(|standing| standing.marks_memory()) {
        return stepping::start(ready);
    }
    let report = Report::default();
    let plan = Plan {
        words: &ready.words,
        standing: ready.standing.as_deref(),
        directory: ready.words.directory(),
        streams: ready.sources(),
        group: ready.command.group,
        own_terminal: ready.pty.is_some(),
        terminal: ready.terminal(),
        signals: ready.signals,
        keep_descriptors: ready.command.inherit_descriptors,
        no_new_privs: ready.command.no_new_privs,
        report: &report,
    };
    let given = ptr::from_ref(&plan).cast_mut().cast();
    // SAFETY: the plan, and all that it refers to, live until the child has gone its own way.
    let (pid, watch) = unsafe { vfork(plan.sharing(), child, given) }.map_err(Failed::Os)?;
    match report.0.take() {
        None => Ok((pid, watch)),
        Some((step, errno)) => {
            watch.wait_dead();
            Err(Failed::Step(step, errno))
        }
    }
}

/// What this thread blocks and this process ignores.
pub(super) fn signal_state() -> SignalState {
    let mut state = SignalState { blocked: change_mask(None), ignored: 0 };
    for signal in crate::Signal::all() {
        if disposition(signal.number()) == libc::SIG_IGN {
            state.ignored |= super::bit(signal);
        }
    }
    state
}

/// Runs `act` with every signal of this thread blocked: for a moment.
pub(crate) fn with_signals_blocked<T>(act: impl FnOnce() -> T) -> T {
    with_mask(!0, act)
}

/// Starts a thread that stays, with every signal blocked but one: the one by which the C library asks each thread to
/// take part in `setuid(3)` and its like, and waits for its answer. A host whose thread blocks that too is taken at
/// its word.
pub(crate) fn start_thread(
    thread: std::thread::Builder,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let asks_each = if cfg!(target_env = "musl") { 34 } else { 33 };
    let mask = change_mask(None) | !(1 << (asks_each - 1));
    // Once more in the thread: the first start of a thread unblocks that signal, and each the one that cancels threads.
    with_mask(mask, || thread.spawn(move || with_mask(mask, work)))?;
    Ok(())
}

fn with_mask<T>(mask: u64, act: impl FnOnce() -> T) -> T {
    let before = change_mask(Some(mask));
    let result = act();
    change_mask(Some(before));
    result
}

/// What the child needs, and where it reports.
struct Plan<'a> {
    words: &'a Words,
    standing: Option<&'a Standing>,
    directory: Option<*const c_char>,
    /// The descriptor to place at 0, 1, 2; −1 leaves what is there. None of them is below 3.
    streams: [c_int; 3],
    group: Group,
    /// The terminal is its own: it leads the session, whatever the group.
    own_terminal: bool,
    terminal: c_int,
    signals: SignalState,
    keep_descriptors: bool,
    no_new_privs: bool,
    report: &'a Report,
}

impl Plan<'_> {
    /// A table of descriptors costs as much as there are in it to copy, and the child wants three of them: so it
    /// begins with ours, changes nothing there, and takes a copy of the few it needs.
    fn sharing(&self) -> c_int {
        if self.keep_descriptors { 0 } else { libc::CLONE_FILES }
    }

    /// The last descriptor that it needs.
    fn last_descriptor(&self) -> c_int {
        self.streams.into_iter().fold(2, c_int::max)
    }
}

/// Where the child writes which step failed, and why.
#[derive(Default)]
struct Report(Cell<Option<(Step, c_int)>>);

/// The child, from the clone to the exec.
extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: it is the plan that `clone_vfork` passed, alive while we run.
    let plan = unsafe { &*plan.cast::<Plan<'_>>() };
    // SAFETY: `prepare_and_execute` asks for a child that shares nothing but memory and may end at any time.
    let (step, errno) = unsafe { prepare_and_execute(plan) };
    plan.report.0.set(Some((step, errno)));
    // SAFETY: ends this process without running anything of the host's.
    unsafe { libc::_exit(127) }
}

/// Returns only what went wrong.
///
/// # Safety
///
/// Only in a fresh child with signals blocked and dispositions of its own, whose descriptor table is its own or, by
/// [`Plan::sharing`], ours.
unsafe fn prepare_and_execute(plan: &Plan<'_>) -> (Step, c_int) {
    // SAFETY: the caller promises the fresh child; below are system calls whose pointers are to NUL-terminated
    // strings and NULL-terminated lists that `Words` holds.
    unsafe {
        let grouped = match plan.group {
            _ if plan.own_terminal => libc::setsid(),
            Group::Own => libc::setpgid(0, 0),
            Group::Session => libc::setsid(),
            Group::Same => 0,
        };
        if grouped == -1 {
            return (Step::Group, errno());
        }
        if plan.own_terminal {
            // That puts it in front too.
            if libc::ioctl(plan.terminal, libc::TIOCSCTTY, 0) == -1 {
                return (Step::Terminal, errno());
            }
        } else if plan.terminal != -1 {
            // It may be somebody else's terminal by now; the program will notice.
            libc::tcsetpgrp(plan.terminal, libc::getpid());
        }
        let beyond = if plan.keep_descriptors { Some(2) } else { own_descriptors(plan.last_descriptor()) };
        let Some(beyond) = beyond else {
            return (Step::Streams, errno());
        };
        for (place, source) in (0..).zip(plan.streams) {
            if source != -1 && libc::dup2(source, place) == -1 {
                return (Step::Streams, errno());
            }
        }
        if beyond > 2 {
            close_from_3(beyond);
        }
        if let Some(Err((step, error))) = plan.standing.map(Standing::take) {
            return (step, c_int::try_from(-error).unwrap_or(0));
        }
        if plan.directory.is_some_and(|directory| libc::chdir(directory) == -1) {
            return (Step::Directory, errno());
        }
        if plan.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 {
            return (Step::Contain, errno());
        }
        for signal in 1..=64 {
            let ignored = plan.signals.ignored & (1 << (signal - 1)) != 0;
            set_disposition(signal, if ignored { libc::SIG_IGN } else { libc::SIG_DFL });
        }
        change_mask(Some(plan.signals.blocked));
        (Step::Execute, execute(plan.words))
    }
}

/// `execvpe(3)`: tries each candidate, goes on where the file is not there, remembers a refusal, and gives a file
/// without a known format to the shell. Returns the errno of the failure.
///
/// # Safety
///
/// As for [`prepare_and_execute`].
unsafe fn execute(words: &Words) -> c_int {
    let mut refused = None;
    let mut last = libc::ENOENT;
    for candidate in words.candidates() {
        // SAFETY: all are NUL-terminated strings in NULL-terminated lists.
        unsafe { libc::execve(candidate, words.argv(), words.envp()) };
        last = errno();
        if last == libc::ENOEXEC {
            let (shell, argv) = words.shell_argv(candidate);
            // SAFETY: as above.
            unsafe { libc::execve(shell, argv, words.envp()) };
            return libc::ENOEXEC;
        }
        match last {
            libc::EACCES => refused = Some(last),
            libc::ENOENT
            | libc::ENOTDIR
            | libc::ENAMETOOLONG
            | libc::ESTALE
            | libc::ENODEV
            | libc::ETIMEDOUT => {}
            _ => return last,
        }
    }
    refused.unwrap_or(last)
}

/// Makes the table this child's own, with what is in it up to `last`. Returns the last that may be open then, which
/// is another where the kernel cannot do that; or nothing, and errno.
///
/// # Safety
///
/// As for [`prepare_and_execute`].
unsafe fn own_descriptors(last: c_int) -> Option<c_int> {
    let beyond = last.cast_unsigned() + 1;
    // SAFETY: no memory is passed. The second is for Linux before 5.9, and for filters that forbid the first.
    unsafe {
        if libc::syscall(libc::SYS_close_range, beyond, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) == 0 {
            return Some(last);
        }
        (libc::unshare(libc::CLONE_FILES) == 0).then_some(c_int::MAX)
    }
}

/// Closes every descriptor from 3 to `last`.
///
/// # Safety
///
/// As for [`prepare_and_execute`], in a table of its own.
unsafe fn close_from_3(last: c_int) {
    // SAFETY: no memory is passed.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, last, 0) == -1 {
            let most = c_int::try_from(libc::sysconf(libc::_SC_OPEN_MAX)).unwrap_or(c_int::MAX);
            for descriptor in 3..=last.min(most.clamp(3, 65_536)) {
                libc::close(descriptor);
            }
        }
    }
}

fn errno() -> c_int {
    // Reads a thread-local that the child shares with the thread that sleeps in the clone.
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Sets this thread's signal mask, if one is given, and returns the one before. By number, since the C library's
/// function leaves out the two signals that it uses itself.
fn change_mask(new: Option<u64>) -> u64 {
    let mut old = 0_u64;
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or valid for reading, `old` for writing, 8 bytes each, as the last argument says.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, &raw mut old, size_of::<u64>())
    };
    old
}

/// The kernel's `struct sigaction`, which is not the C library's. A default or ignored signal has nothing but zeros
/// behind its handler, on every architecture.
type KernelAction = [usize; 4];

fn disposition(signal: c_int) -> libc::sighandler_t {
    let mut action: KernelAction = [0; 4];
    let none = ptr::null::<KernelAction>();
    // SAFETY: writes the kernel's structure, which is at most this large, into `action`.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, &raw mut action, size_of::<u64>()) };
    action[0]
}

/// # Safety
///
/// In a child whose dispositions are its own; `handler` is `SIG_DFL` or `SIG_IGN`.
unsafe fn set_disposition(signal: c_int, handler: libc::sighandler_t) {
    let action: KernelAction = [handler, 0, 0, 0];
    let none = ptr::null_mut::<KernelAction>();
    // SAFETY: reads the kernel's structure from `action`. KILL and STOP are refused, and so they should be.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, none, size_of::<u64>()) };
}

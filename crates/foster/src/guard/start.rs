//! The guard's first minutes: it becomes what the tree's orphans come to, locks itself in where that was asked for,
//! and starts the leader.
//!
//! `unsafe` for the leader between its clone and its exec, which borrows the guard's memory. It makes only system
//! calls, writes only its [`Report`], and the guard sleeps meanwhile.
#![expect(unsafe_code, reason = "the strings of the guard's own start, and a child in borrowed memory")]

use core::cell::Cell;
use core::ffi::{CStr, c_char, c_void};
use core::mem::{MaybeUninit, size_of_val};
use core::ptr;

use super::hold::{self, Hold};
use super::standing::Standing;
use super::sys::{self, Fd, Ret};
use super::twin;
use super::wire::{self, FromGuard, Packet, Start, Step, ToGuard, WORDS};

/// Everything, from the first packet on `socket` to the end of the tree. It ends the process.
///
/// # Safety
///
/// `strings` is a NULL-terminated list of NUL-terminated strings which the guard may write to, and the process is the
/// guard's alone: a fresh image, or a copy of the host's process that does nothing else.
pub(crate) unsafe fn run(socket: Fd, strings: *mut *const c_char) -> ! {
    sys::set_mask(!0);
    let mut packet: Packet = [0; WORDS];
    let start = match sys::receive(socket, &mut packet, true) {
        n if n == size_of_val(&packet).cast_signed() => ToGuard::decode(&packet),
        _ => None,
    };
    let Some(ToGuard::Start(start)) = start else { sys::exit(1) };
    // Large and seldom there: it has a place, is never moved, and costs nothing else.
    let mut standing = MaybeUninit::uninit();
    // SAFETY: the caller's; the counts are checked. The place lives as long as the guard.
    let Some(words) = (unsafe { Words::lay_out(strings, &start, &mut standing) }) else {
        refuse(socket, Step::Guard, sys::EACCES)
    };
    if start.flags & wire::NO_GUARD != 0 {
        become_leader(socket, start, &words);
    }
    match prepare(socket, &start, words.leaf) {
        Ok(hold) => started(hold, &start, &words),
        Err((step, error)) => refuse(socket, step, error),
    }
}

fn refuse(socket: Fd, step: Step, error: Ret) -> ! {
    let refused = FromGuard::Refused { step, errno: i32::try_from(-error).unwrap_or(0) };
    sys::send(socket, &refused.encode(), None);
    sys::exit(1)
}

/// The other use of a guard's program: a stepping stone between the host's memory and the leader's program. What it
/// takes of a guard's work is what the leader does itself.
fn become_leader(socket: Fd, mut start: Start, words: &Words) -> ! {
    // From here on there is a leader, whatever becomes of it.
    sys::send(socket, &FromGuard::Started { pid: 0, guard: 0, joined: false }.encode(), None);
    let own = [socket, start.terminal];
    if start.flags & wire::KEEP_DESCRIPTORS == 0 {
        close_all_but(&own);
    }
    for fd in own.into_iter().filter(|fd| *fd >= 0) {
        sys::close_on_exec(fd);
    }
    if start.group == wire::OWN_TERMINAL {
        // Nobody else is there to lead its session.
        for (step, result) in [
            (Step::Group, sys::setsid()),
            // That puts it in front too.
            (Step::Terminal, sys::take_terminal(start.terminal)),
        ] {
            if result < 0 {
                refuse(socket, step, result);
            }
        }
        (start.group, start.terminal) = (wire::SAME_GROUP, -1);
    }
    if start.flags & wire::NO_NEW_PRIVS != 0 {
        let set = sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1);
        if set < 0 {
            refuse(socket, Step::Contain, set);
        }
    }
    let plan = Plan { start: &start, words, join: false, report: &Report::default() };
    let (step, error) = match prepare_leader(&plan) {
        Ok(()) => (Step::Execute, execute(words)),
        Err(failed) => failed,
    };
    refuse(socket, step, error)
}

/// Everything before the leader.
fn prepare(socket: Fd, start: &Start, leaf_path: *const c_char) -> Result<Hold, (Step, Ret)> {
    let ok = |step: Step, result: Ret| if result < 0 { Err((step, result)) } else { Ok(sys::int_of(result)) };
    let has = |flag: u64| start.flags & flag != 0;

    sys::prctl(sys::PR_SET_NAME, NAME.as_ptr() as usize);
    // Nobody of our user may trace us: who is held would hold us.
    sys::prctl(sys::PR_SET_DUMPABLE, 0);
    hold::wake_when_the_parent_dies();
    ok(Step::Guard, sys::prctl(sys::PR_SET_CHILD_SUBREAPER, 1))?;
    // Ignored, it would have the kernel reap our children before we know how they ended.
    sys::dispose(sys::SIGCHLD, false);
    let own = [socket, start.supervisor, start.bells[0], start.bells[1], start.leaf, start.terminal];
    if !has(wire::KEEP_DESCRIPTORS) {
        close_all_but(&own);
    }
    // All of them at once where the kernel can (Linux 5.11) and they are all there is.
    if has(wire::KEEP_DESCRIPTORS) || sys::close_range(3, u32::MAX, sys::CLOSE_ON_EXEC) < 0 {
        for fd in own.into_iter().filter(|fd| *fd >= 0) {
            sys::close_on_exec(fd);
        }
    }
    // Dead already; or no such descriptors, and then its death would never be seen.
    if hold::any_is_ready([start.supervisor, start.bells[0], start.bells[1]]) {
        sys::exit(1);
    }
    let guards_namespace = has(wire::PID_NAMESPACE);
    if guards_namespace && sys::getpid() != 1 {
        return Err((Step::Contain, sys::EPERM));
    }
    if has(wire::NO_NEW_PRIVS) {
        ok(Step::Guard, sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1))?;
    }
    let locked_in = if has(wire::LANDLOCK) { Some(lock_in().map_err(|e| (Step::Contain, e))?) } else { None };
    let mut twin = None;
    if has(wire::TWIN) && !guards_namespace {
        twin = Some(twin::split(socket, start, leaf_path, locked_in).map_err(|error| (Step::Clone, error))?);
        if locked_in.is_some() {
            // The outer guard is in a domain around ours: who is in ours cannot signal it.
            ok(Step::Contain, sys::landlock_signals())?;
        }
    }
    if start.group == wire::OWN_TERMINAL {
        // We lead the session, not the leader. Its group then has somebody in the session beside it, is no orphan, and
        // can be suspended from the terminal, `setpgid(2)`.
        ok(Step::Terminal, sys::setsid())?;
        // What the session before was told does not concern this one.
        sys::dispose(sys::SIGHUP, true);
        ok(Step::Terminal, sys::take_terminal(start.terminal))?;
    }
    let mut hold = Hold::new(socket, start, leaf_path, locked_in);
    ok(Step::Guard, hold.watch_children())?;
    hold.join(twin);
    hold.open_what_ending_needs().map_err(|error| (Step::Guard, error))?;
    if !hold.can_end_it() {
        return Err((Step::Contain, sys::ENODEV));
    }
    Ok(hold)
}

const NAME: &CStr = c"foster-guard";

/// That this process is in a Landlock domain, which it can never leave: only then may it signal «everybody».
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockedIn(());

/// With a positive control: somebody outside could be signalled before, and cannot after. That it cannot after proves
/// nothing alone, since a stranger's process cannot be signalled anyway.
fn lock_in() -> Result<LockedIn, Ret> {
    const LANDLOCK_WITH_SIGNALS: Ret = 6;
    let outside = sys::getppid();
    if outside <= 1 {
        // Nobody in particular: there is no control to make.
        return Err(sys::ENODEV);
    }
    match sys::landlock_version() {
        version if version < 0 => return Err(version),
        version if version < LANDLOCK_WITH_SIGNALS => return Err(sys::ENOSYS),
        _ => {}
    }
    let before = sys::kill(outside, 0);
    if before != 0 {
        return Err(before);
    }
    let restricted = sys::landlock_signals();
    if restricted != 0 {
        return Err(restricted);
    }
    if sys::kill(outside, 0) == sys::EPERM { Ok(LockedIn(())) } else { Err(sys::ENODEV) }
}

/// Clones the leader, tells the host, and holds the tree until nothing is left of it.
fn started(mut hold: Hold, start: &Start, words: &Words) -> ! {
    let socket = hold.socket;
    let (leader, joined) = match clone_leader(start, words) {
        Ok(cloned) => cloned,
        Err((step, error)) => refuse(socket, step, error),
    };
    hold.leader = leader.pid;
    hold.leader_pidfd = leader.pidfd;
    hold.leader_lives = true;
    if let Some(twin) = &hold.twin {
        twin.note_leader(leader.pid);
    }
    // Out of the host's group, where a signal to the group would reach us too. Not before the leader, which may be
    // to stay there. Who leads a session is out already, and refused.
    sys::setpgid();
    if start.flags & wire::KEEP_DESCRIPTORS == 0 {
        // What else the host had is closed.
        close_these(0, 2);
        if start.terminal >= 0 {
            sys::close(start.terminal);
        }
    } else {
        close_all_but_all_of(&hold);
    }
    // SAFETY: a string constant.
    unsafe { sys::chdir(c"/".as_ptr()) };
    // In its namespace a leader's number is not the host's: there the host asks the pidfd.
    let here = |pid: i32| if hold.is_init { 0 } else { pid.cast_unsigned() };
    let started = FromGuard::Started { pid: here(leader.pid), guard: here(hold.pid), joined };
    sys::send(socket, &started.encode(), Some(leader.pidfd));
    if hold.is_init {
        // The host asks the pidfd for the number, which it has as long as we do not reap.
        hold.await_a_word();
    }
    hold.until_empty()
}

struct Leader {
    pid: i32,
    pidfd: Fd,
}

/// Clones the leader into its cgroup if it has one and that can be, and says whether it had to join it by itself.
fn clone_leader(start: &Start, words: &Words) -> Result<(Leader, bool), (Step, Ret)> {
    let in_leaf = start.flags & (wire::CGROUP | wire::FREEZER) != 0;
    let mut join = in_leaf && start.flags & (wire::JOIN | wire::FREEZER) != 0;
    loop {
        let cgroup = (in_leaf && !join).then_some(start.leaf);
        let report = Report::default();
        let plan = Plan { start, words, join, report: &report };
        let mut pidfd = -1;
        let given = ptr::from_ref(&plan).cast::<c_void>();
        // SAFETY: `leader` makes only system calls.
        let pid = unsafe { sys::vfork(leader, given, cgroup, &mut pidfd) };
        if pid < 0 {
            if cgroup.is_some() && matches!(pid, sys::ENOSYS | sys::EPERM) {
                // An old kernel, or a filter such as Docker's.
                join = true;
                continue;
            }
            let step = if cgroup.is_some() && pid != sys::EAGAIN { Step::Contain } else { Step::Clone };
            return Err((step, pid));
        }
        let leader = Leader { pid: sys::int_of(pid), pidfd };
        let failed = report.failed.get();
        if report.begun.get() && failed.is_none() {
            return Ok((leader, join && start.flags & wire::CGROUP != 0));
        }
        while sys::wait(leader.pid, sys::WEXITED | sys::WALL).is_err_and(|error| error == sys::EINTR) {}
        sys::close(leader.pidfd);
        match failed {
            Some((step, error)) => return Err((step, error)),
            // Killed at its birth: where a cgroup was ever killed, some kernels (6.14 and later) take a child that is
            // cloned from there into another for one that raced that kill.
            None if !join && in_leaf => join = true,
            None => return Err((Step::Clone, sys::EAGAIN)),
        }
    }
}

/// What the leader needs between its clone and its exec.
struct Plan<'a> {
    start: &'a Start,
    words: &'a Words,
    join: bool,
    report: &'a Report,
}

/// What became of it. It is final when the guard wakes up.
#[derive(Default)]
struct Report {
    begun: Cell<bool>,
    failed: Cell<Option<(Step, Ret)>>,
}

unsafe extern "C" fn leader(given: *const c_void) -> ! {
    // SAFETY: the plan that `clone_leader` passed, alive while we run.
    let plan = unsafe { &*given.cast::<Plan<'_>>() };
    plan.report.begun.set(true);
    if plan.start.flags & wire::NO_PROGRAM != 0 {
        if let Err(failed) = prepare_leader(plan) {
            plan.report.failed.set(Some(failed));
        }
        sys::exit(0);
    }
    let failed = match prepare_leader(plan) {
        Ok(()) => (Step::Execute, execute(plan.words)),
        Err(failed) => failed,
    };
    plan.report.failed.set(Some(failed));
    sys::exit(127)
}

fn prepare_leader(plan: &Plan<'_>) -> Result<(), (Step, Ret)> {
    let start = plan.start;
    if plan.join {
        let procs = sys::open(start.leaf, c"cgroup.procs", true);
        let joined = if procs < 0 { procs } else { sys::write(sys::int_of(procs), b"0") };
        if joined < 0 {
            return Err((Step::Contain, joined));
        }
        // It is close-on-exec.
    }
    let grouped = match start.group {
        wire::OWN_GROUP | wire::OWN_TERMINAL => sys::setpgid(),
        wire::OWN_SESSION => sys::setsid(),
        _ => 0,
    };
    if grouped < 0 {
        return Err((Step::Group, grouped));
    }
    if start.terminal >= 0 {
        // It may be somebody else's terminal by now; the program will notice.
        sys::put_in_front(start.terminal, sys::getpid());
    }
    if start.flags & wire::LANDLOCK != 0 {
        // A domain within the guard's: the tree cannot signal the guard, and the guard the tree.
        let restricted = sys::landlock_signals();
        if restricted < 0 {
            return Err((Step::Contain, restricted));
        }
    }
    for signal in 1..=64 {
        sys::dispose(signal, start.ignored & (1 << (signal - 1)) != 0);
    }
    // Late: from here on its new user may stop it, and whoever waits for its exec waits for that user.
    // SAFETY: null, or the place in `run`.
    if let Some(standing) = unsafe { plan.words.standing.as_ref() } {
        standing.take()?;
    }
    // As who it is now: it need not be able to enter what root can.
    if !plan.words.directory.is_null() {
        // SAFETY: one of the guard's strings.
        let entered = unsafe { sys::chdir(plan.words.directory) };
        if entered < 0 {
            return Err((Step::Directory, entered));
        }
    }
    sys::set_mask(start.blocked);
    Ok(())
}

/// `execvpe(3)`: tries each candidate, goes on where the file is not there, remembers a refusal, and gives a file
/// without a known format to the shell. Returns the error.
fn execute(words: &Words) -> Ret {
    let mut refused = None;
    let mut last = sys::ENOENT;
    for at in 0..words.candidates_len {
        // SAFETY: within the list that `lay_out` checked; all are NUL-terminated strings in NULL-terminated lists, and
        // the two places before the arguments are ours to write.
        unsafe {
            let candidate = *words.candidates.add(at);
            last = sys::execute(candidate, words.args, words.vars);
            if last == sys::ENOEXEC {
                let shell = words.args.sub(1);
                shell.write(c"sh".as_ptr());
                words.args.write(candidate);
                sys::execute(c"/bin/sh".as_ptr(), shell, words.vars);
                return sys::ENOEXEC;
            }
        }
        match last {
            sys::EACCES => refused = Some(last),
            sys::ENOENT | sys::ENOTDIR | sys::ENAMETOOLONG | sys::ESTALE | sys::ENODEV | sys::ETIMEDOUT => {}
            _ => return last,
        }
    }
    refused.unwrap_or(last)
}

/// The strings that the guard was started with, as the leader needs them.
struct Words {
    /// Null if there is none.
    directory: *const c_char,
    leaf: *const c_char,
    standing: *const Standing,
    candidates: *const *const c_char,
    candidates_len: usize,
    args: *mut *const c_char,
    vars: *const *const c_char,
}

impl Words {
    /// `None` if there are not as many as the host says.
    ///
    /// # Safety
    ///
    /// As for [`run`], and `place` lives as long as what is returned.
    unsafe fn lay_out(
        strings: *mut *const c_char,
        start: &Start,
        place: &mut MaybeUninit<Standing>,
    ) -> Option<Words> {
        let counts = start.strings;
        let [directory, leaf, standing] =
            [counts.directory, counts.leaf, counts.standing].map(|n| n as usize);
        let [candidates, args, vars] = [counts.candidates, counts.args, counts.vars].map(|n| n as usize);
        // SAFETY: the caller's, up to the NULL at the end, and no further.
        unsafe {
            let mut len = 0;
            while !(*strings.add(len)).is_null() {
                len += 1;
            }
            if len != directory + leaf + standing + candidates + 1 + args + 1 + vars {
                return None;
            }
            let optional = |there: usize, at: usize| if there == 1 { *strings.add(at) } else { ptr::null() };
            let standing_at = directory + leaf;
            let first_candidate = standing_at + standing;
            let first_arg = first_candidate + candidates + 1;
            // The end of the arguments, where a string kept the place.
            strings.add(first_arg + args).write(ptr::null());
            Some(Words {
                directory: optional(directory, 0),
                leaf: optional(leaf, directory),
                standing: if standing == 1 {
                    let standing = place.write(Standing::OURS);
                    standing.unpack((*strings.add(standing_at)).cast_mut())?;
                    standing
                } else {
                    ptr::null()
                },
                candidates: strings.add(first_candidate),
                candidates_len: candidates,
                args: strings.add(first_arg),
                vars: strings.add(first_arg + args + 1),
            })
        }
    }
}

/// Closes every descriptor above the three streams but these.
fn close_all_but(own: &[Fd]) {
    close_between(3, own);
}

/// Closes everything that the host had, the streams too.
pub(crate) fn close_all_but_all_of(hold: &Hold) {
    close_between(0, &hold.descriptors());
}

fn close_between(first: u32, own: &[Fd]) {
    let mut from = first;
    loop {
        let next = own.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd >= from).min();
        match next {
            Some(fd) => {
                if fd > from {
                    close_these(from, fd - 1);
                }
                from = fd + 1;
            }
            None => return close_these(from, u32::MAX),
        }
    }
}

fn close_these(first: u32, last: u32) {
    if sys::close_range(first, last, 0) < 0 {
        // Before Linux 5.9, or forbidden by a filter.
        for fd in first..=last.min(65_535) {
            sys::close(fd.cast_signed());
        }
    }
}

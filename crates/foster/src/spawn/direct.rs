//! Any level of containment that needs nobody between us and the leader: we start it ourselves.
//!
//! It is `clone(2)` with `CLONE_VM | CLONE_VFORK | CLONE_PIDFD`: the child borrows our memory and this thread sleeps
//! until it executes or exits, as in `posix_spawn(3)`. So the cost does not grow with our memory, an error of the
//! child's is read from a variable, and the pidfd is there from the first moment. `fork(2)` would copy the page
//! tables; `posix_spawn` cannot tell a missing directory from a missing program, and gives no pidfd.
//!
//! `unsafe` because of that. What keeps it sound:
//!
//! - Everything the child reads was built before the clone, and it owns nothing: it calls only system calls and
//!   writes only its [`Report`]. No allocation, no lock, no panic, no destructor.
//! - It runs on a stack of its own, and all signals are blocked from before the clone until its dispositions are
//!   its own (`CLONE_SIGHAND` is not set): no handler of the host can run in it.
//! - The descriptor table is copied (`CLONE_FILES` is not set): what it closes and places is its own.
#![expect(unsafe_code, reason = "clone with shared memory, and the system calls between it and the exec")]

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::fs::OpenOptions;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::{SignalState, Started};
use crate::command::StartSignals;
use crate::error::short;
use crate::watch::Watch;
use crate::{Command, Error, ErrorKind, Group, Stdio};

/// Starts the command's leader. It executes the program when this returns.
pub(crate) fn start(command: &Command) -> Result<Started, Error> {
    let doing = || format!("cannot start `{}`", short(&command.get_label()));
    let words = Words::new(command)
        .map_err(|why| Error::new(ErrorKind::InvalidInput, format!("{}: {why}", doing())))?;
    let os = |error: io::Error| Error::os(ErrorKind::of(&error), doing(), error);
    let mut streams = Streams::new(command).map_err(os)?;
    let terminal = (command.foreground && command.group == Group::Own).then(open_terminal).flatten();
    let signals = match command.signals {
        StartSignals::Clean => SignalState::clean(),
        StartSignals::Inherit => signal_state(),
        StartSignals::Exactly(state) => state,
    };
    let report = Report::default();
    let plan = Plan {
        words: &words,
        directory: words.directory.as_deref(),
        streams: streams.sources(),
        group: command.group,
        terminal: terminal.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        signals,
        keep_descriptors: command.inherit_descriptors,
        report: &report,
    };
    let mut patience = BUSY_RETRIES;
    loop {
        let (pid, watch) = clone_vfork(&plan).map_err(os)?;
        let Some((step, errno)) = report.0.take() else {
            let Streams { ours: [stdin, stdout, stderr], .. } = streams;
            return Ok(Started { pid, watch, stdin, stdout, stderr });
        };
        watch.wait_dead();
        match patience.split_first() {
            // Another thread of ours, or another process, is between its fork and its exec and still holds the
            // program open for writing: it lets go in a moment.
            Some((wait, rest)) if (step, errno) == (Step::Execute, libc::ETXTBSY) => {
                std::thread::sleep(Duration::from_millis(*wait));
                patience = rest;
            }
            _ => return Err(refused(command, &words, step, errno)),
        }
    }
}

/// How long, in milliseconds, to wait each time before a program that is busy (ETXTBSY) is tried again.
const BUSY_RETRIES: &[u64] = &[1, 2, 4, 8, 16, 32];

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

/// Runs `act` with every signal of this thread blocked.
pub(crate) fn with_signals_blocked<T>(act: impl FnOnce() -> T) -> T {
    let before = change_mask(Some(!0));
    let result = act();
    change_mask(Some(before));
    result
}

/// What the child needs, and where it reports.
struct Plan<'a> {
    words: &'a Words,
    directory: Option<&'a CStr>,
    /// The descriptor to place at 0, 1, 2; −1 leaves what is there. None of them is below 3.
    streams: [c_int; 3],
    group: Group,
    terminal: c_int,
    signals: SignalState,
    keep_descriptors: bool,
    report: &'a Report,
}

/// Where the child writes which step failed, and why.
#[derive(Default)]
struct Report(Cell<Option<(Step, c_int)>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Group,
    Streams,
    Directory,
    Execute,
}

/// Clones a child that carries out the plan. The plan's report is final when this returns.
fn clone_vfork(plan: &Plan<'_>) -> io::Result<(Pid, Watch)> {
    /// Enough for a handful of frames that call the kernel, in a debug build too.
    const STACK: usize = 64 * 1024;

    let mut stack: Box<[MaybeUninit<u128>]> = Box::new_uninit_slice(STACK / size_of::<u128>());
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let plan_for_child = ptr::from_ref(plan).cast_mut().cast();
    let (pid, error) = with_signals_blocked(|| {
        // SAFETY: the stack is ours, aligned to 16 and outlives the child's use of it, since CLONE_VFORK holds us
        // here until the child has executed or exited; so do the plan and all that it refers to. `pidfd` is where
        // CLONE_PIDFD has the kernel write.
        let pid = unsafe { libc::clone(child, top.cast(), flags, plan_for_child, &raw mut pidfd) };
        (pid, io::Error::last_os_error())
    });
    // -1 is a failure, and no pid that rustix would take.
    match Pid::from_raw(pid.max(0)) {
        Some(pid) => Ok((pid, Watch::from_clone(pidfd))),
        None => Err(error),
    }
}

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
/// Only in a fresh child with signals blocked and a descriptor table and dispositions of its own.
unsafe fn prepare_and_execute(plan: &Plan<'_>) -> (Step, c_int) {
    // SAFETY: the caller promises the fresh child; below are system calls whose pointers are to NUL-terminated
    // strings and NULL-terminated lists that `Words` holds.
    unsafe {
        let grouped = match plan.group {
            Group::Own => libc::setpgid(0, 0),
            Group::Session => libc::setsid(),
            Group::Same => 0,
        };
        if grouped == -1 {
            return (Step::Group, errno());
        }
        if plan.terminal != -1 {
            // It may be somebody else's terminal by now; the program will notice.
            libc::tcsetpgrp(plan.terminal, libc::getpid());
        }
        for (place, source) in (0..).zip(plan.streams) {
            if source != -1 && libc::dup2(source, place) == -1 {
                return (Step::Streams, errno());
            }
        }
        if !plan.keep_descriptors {
            close_all_from_3();
        }
        if plan.directory.is_some_and(|directory| libc::chdir(directory.as_ptr()) == -1) {
            return (Step::Directory, errno());
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
    for candidate in &words.candidates {
        // SAFETY: all are NUL-terminated strings in NULL-terminated lists.
        unsafe { libc::execve(candidate.as_ptr(), words.argv.as_ptr(), words.envp.as_ptr()) };
        last = errno();
        if last == libc::ENOEXEC {
            words.shell_argv[1].set(candidate.as_ptr());
            // SAFETY: as above; a `Cell` has the layout of what it holds.
            unsafe { libc::execve(SHELL.as_ptr(), words.shell_argv.as_ptr().cast(), words.envp.as_ptr()) };
            return libc::ENOEXEC;
        }
        match last {
            libc::EACCES => refused = Some(last),
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            _ => return last,
        }
    }
    refused.unwrap_or(last)
}

const SHELL: &CStr = c"/bin/sh";

/// Closes every descriptor but the three streams.
///
/// # Safety
///
/// As for [`prepare_and_execute`].
unsafe fn close_all_from_3() {
    // SAFETY: the table is this child's own.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) == -1 {
            // Before Linux 5.9, or forbidden by a filter.
            let limit =
                c_int::try_from(libc::sysconf(libc::_SC_OPEN_MAX)).unwrap_or(c_int::MAX).clamp(3, 65_536);
            for descriptor in 3..limit {
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

/// Program, arguments and environment as the kernel takes them.
struct Words {
    candidates: Vec<CString>,
    directory: Option<CString>,
    argv: Vec<*const c_char>,
    /// `sh`, the candidate, the arguments.
    shell_argv: Vec<Cell<*const c_char>>,
    envp: Vec<*const c_char>,
    /// What the pointers point into.
    _strings: Vec<CString>,
}

impl Words {
    fn new(command: &Command) -> Result<Words, String> {
        if command.program.is_empty() {
            return Err("the command is empty; name a program".to_string());
        }
        let nul = |what: &str, text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|error| {
                format!(
                    "there is a NUL in {what} `{}`, at byte {}; remove it",
                    text.display(),
                    error.nul_position()
                )
            })
        };
        let environment = environment(command)?;
        let candidates = candidates(&command.program, path_of(&environment))
            .iter()
            .map(|candidate| nul("the program", candidate))
            .collect::<Result<_, _>>()?;
        let directory = command
            .directory
            .as_ref()
            .map(|path| nul("the working directory", path.as_os_str()))
            .transpose()?;
        let mut strings = vec![nul("the program", &command.program)?];
        for arg in &command.args {
            strings.push(nul("the argument", arg)?);
        }
        let words = strings.len();
        for (name, value) in &environment {
            let mut pair = name.clone().into_vec();
            pair.push(b'=');
            pair.extend_from_slice(value.as_bytes());
            strings.push(nul("the variable", OsStr::from_bytes(&pair))?);
        }
        let pointers: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).collect();
        let end = [ptr::null()];
        let argv = [&pointers[..words], &end].concat();
        let shell_argv = [&[SHELL.as_ptr(), ptr::null()], &argv[1..]].concat();
        let shell_argv = shell_argv.into_iter().map(Cell::new).collect();
        let envp = [&pointers[words..], &end].concat();
        Ok(Words { candidates, directory, argv, shell_argv, envp, _strings: strings })
    }
}

/// The host's, as it is and in its order, with the command's changes.
fn environment(command: &Command) -> Result<Vec<(OsString, OsString)>, String> {
    let mut environment: Vec<(OsString, OsString)> =
        if command.env_clear { Vec::new() } else { std::env::vars_os().collect() };
    for (name, value) in &command.env {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            let name = short(&name.to_string_lossy());
            return Err(format!("the variable name `{name}` is empty or has a = in it"));
        }
        environment.retain(|(known, _)| known != name);
        environment.extend(value.iter().map(|value| (name.clone(), value.clone())));
    }
    Ok(environment)
}

fn path_of(environment: &[(OsString, OsString)]) -> Option<&OsStr> {
    environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str())
}

/// Where `execvp(3)` looks: the program itself if there is a slash in it, else each directory of PATH.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path).map(|directory| directory.join(program).into_os_string()).collect()
}

/// The child's streams: what to place, what must stay open until then, and our ends.
struct Streams {
    theirs: [Option<OwnedFd>; 3],
    ours: [Option<OwnedFd>; 3],
}

impl Streams {
    fn new(command: &Command) -> io::Result<Streams> {
        let mut streams = Streams { theirs: [None, None, None], ours: [None, None, None] };
        for (i, stdio) in [&command.stdin, &command.stdout, &command.stderr].into_iter().enumerate() {
            let (theirs, ours) = match stdio {
                Stdio::Inherit => (None, None),
                Stdio::Null => {
                    let null = OpenOptions::new().read(i == 0).write(i != 0).open("/dev/null")?;
                    (Some(above_2(null.into())?), None)
                }
                Stdio::Piped => {
                    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                    let (theirs, ours) = if i == 0 { (read, write) } else { (write, read) };
                    (Some(above_2(theirs)?), Some(ours))
                }
                Stdio::Descriptor(descriptor) => (Some(fcntl_dupfd_cloexec(descriptor, 3)?), None),
            };
            streams.theirs[i] = theirs;
            streams.ours[i] = ours;
        }
        Ok(streams)
    }

    fn sources(&mut self) -> [c_int; 3] {
        self.theirs.each_ref().map(|theirs| theirs.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }
}

/// A host that closed its own streams gets low numbers; placing one of ours must not overwrite another.
fn above_2(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(descriptor, 3)?) }
}

fn open_terminal() -> Option<OwnedFd> {
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty").ok()?;
    above_2(terminal.into()).ok()
}

/// The failed step and its errno in words.
fn refused(command: &Command, words: &Words, step: Step, errno: c_int) -> Error {
    let error = io::Error::from_raw_os_error(errno);
    let label = short(&command.get_label());
    match step {
        Step::Group => {
            Error::os(ErrorKind::of(&error), format!("cannot start `{label}` in its process group"), error)
        }
        Step::Streams => {
            Error::os(ErrorKind::of(&error), format!("cannot start `{label}` with its streams"), error)
        }
        Step::Directory => {
            let directory = command.directory.as_deref().unwrap_or(Path::new("")).to_string_lossy();
            let directory = short(&directory);
            let doing = format!(
                "cannot start `{label}`: cannot enter the working directory `{directory}`; make it or name another"
            );
            Error::os(ErrorKind::BadDirectory, doing, error)
        }
        Step::Execute => {
            let program = short(&command.program.to_string_lossy());
            let refuse = |kind, why: &str| Error::new(kind, format!("cannot start `{label}`: {why}"));
            match errno {
                libc::ENOENT if !command.program.as_bytes().contains(&b'/') => {
                    let why = format!("there is no `{program}` in PATH; check its name, or give its path");
                    return refuse(ErrorKind::NotFound, &why);
                }
                libc::ENOENT if words.candidates.iter().any(|file| exists(command, file)) => {
                    let why = format!(
                        "`{program}` is there, but the interpreter that it names is not; install that"
                    );
                    return refuse(ErrorKind::NotFound, &why);
                }
                libc::E2BIG => {
                    let why = "its arguments and environment are too large; hand the large part on in a file";
                    return refuse(ErrorKind::TooBig, why);
                }
                libc::EACCES if words.candidates.iter().any(|file| is_directory(command, file)) => {
                    let why = format!("`{program}` is a directory; name a program");
                    return refuse(ErrorKind::NotExecutable, &why);
                }
                _ => {}
            }
            let kind = match errno {
                libc::ENOENT => ErrorKind::NotFound,
                libc::EACCES
                | libc::EPERM
                | libc::ENOEXEC
                | libc::ENOTDIR
                | libc::ETXTBSY
                | libc::EISDIR
                | libc::ELIBBAD
                | libc::ELOOP
                | libc::ENAMETOOLONG => ErrorKind::NotExecutable,
                _ => ErrorKind::of(&error),
            };
            let fix = match errno {
                libc::ENOENT => "; check its path",
                libc::EACCES => "; is it executable, and are its directories?",
                libc::ENOEXEC => "; it is no program and no script",
                _ => "",
            };
            Error::os(kind, format!("cannot start `{label}`: cannot execute `{program}`{fix}"), error)
        }
    }
}

fn exists(command: &Command, file: &CStr) -> bool {
    from_its_directory(command, file).symlink_metadata().is_ok()
}

fn is_directory(command: &Command, file: &CStr) -> bool {
    from_its_directory(command, file).is_dir()
}

fn from_its_directory(command: &Command, file: &CStr) -> std::path::PathBuf {
    let file = Path::new(OsStr::from_bytes(file.to_bytes()));
    command.directory.as_deref().map_or(file.to_owned(), |directory| directory.join(file))
}

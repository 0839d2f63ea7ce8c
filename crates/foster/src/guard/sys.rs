//! The system calls that the guard makes: by number, with nothing between them and the kernel, because the guard has
//! no C library, and because in a copy of the host's process none of the host's may be run.
//!
//! `unsafe` because of that: two instructions for each architecture, and pointers that live as long as the call.
#![expect(unsafe_code, reason = "system calls")]

use core::arch::asm;
use core::ffi::{CStr, c_char, c_void};
use core::mem::size_of;
use core::ptr;

/// A descriptor by its number; −1 is none.
pub(crate) type Fd = i32;
/// A result as the kernel gives it: the negated errno, or what was asked for.
pub(crate) type Ret = isize;

mod clone;
mod number;

pub(crate) use clone::{fork, vfork};

// These have one number everywhere.
const PIDFD_SEND_SIGNAL: usize = 424;
const PIDFD_OPEN: usize = 434;
const CLOSE_RANGE: usize = 436;
const LANDLOCK_CREATE_RULESET: usize = 444;
const LANDLOCK_RESTRICT_SELF: usize = 446;

pub(crate) const EPERM: Ret = -1;
pub(crate) const ENOENT: Ret = -2;
pub(crate) const EINTR: Ret = -4;
pub(crate) const ENOEXEC: Ret = -8;
pub(crate) const ECHILD: Ret = -10;
pub(crate) const EAGAIN: Ret = -11;
pub(crate) const ENOMEM: Ret = -12;
pub(crate) const EACCES: Ret = -13;
pub(crate) const ENODEV: Ret = -19;
pub(crate) const ENOTDIR: Ret = -20;
pub(crate) const ENFILE: Ret = -23;
pub(crate) const EMFILE: Ret = -24;
pub(crate) const ENOSYS: Ret = -38;
pub(crate) const ECONNRESET: Ret = -104;
pub(crate) const ENAMETOOLONG: Ret = -36;
pub(crate) const ETIMEDOUT: Ret = -110;
pub(crate) const ESTALE: Ret = -116;

/// # Safety
///
/// As for the system call.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, args: [usize; 6]) -> Ret {
    let result;
    // SAFETY: the caller's; the kernel changes nothing but these registers and what the arguments point to.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// # Safety
///
/// As for the system call.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, args: [usize; 6]) -> Ret {
    let result;
    // SAFETY: the caller's; the kernel changes nothing but this register and what the arguments point to.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    result
}

/// A system call with as many numbers or addresses as it takes.
macro_rules! call {
    ($number:expr $(, $arg:expr)*) => {{
        // SAFETY: the functions below pass numbers, and addresses of what lives until the call is over.
        unsafe { call($number, six(&[$($arg),*])) }
    }};
}

mod standing;

pub(crate) use standing::{set_gid, set_groups, set_limit, set_nice, set_uid, set_umask};

fn six(given: &[usize]) -> [usize; 6] {
    let mut args = [0; 6];
    for (arg, given) in args.iter_mut().zip(given) {
        *arg = *given;
    }
    args
}

/// A signed number in a register.
fn int(number: i32) -> usize {
    (number as isize).cast_unsigned()
}

fn address<T>(of: *const T) -> usize {
    of as usize
}

/// A pid or a descriptor that a call gave, which are `int`s; −1 for an error.
pub(crate) fn int_of(result: Ret) -> i32 {
    if result < 0 { -1 } else { i32::try_from(result).unwrap_or(-1) }
}

pub(crate) fn read(fd: Fd, into: &mut [u8]) -> Ret {
    call!(number::READ, int(fd), address(into.as_mut_ptr()), into.len())
}

fn read_words(fd: Fd, into: &mut [i32]) -> Ret {
    call!(number::READ, int(fd), address(into.as_mut_ptr()), size_of_val(into))
}

pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Ret {
    call!(number::WRITE, int(fd), address(bytes.as_ptr()), bytes.len())
}

pub(crate) fn close(fd: Fd) {
    call!(number::CLOSE, int(fd));
}

/// Back to the beginning of a file of `/proc` or a cgroup, which is then written anew.
pub(crate) fn rewind(fd: Fd) -> Ret {
    call!(number::LSEEK, int(fd), 0, 0)
}

pub(crate) fn close_range(first: u32, last: u32, flags: usize) -> Ret {
    call!(CLOSE_RANGE, first as usize, last as usize, flags)
}

/// For [`close_range`]: only that they are closed when a program is executed.
pub(crate) const CLOSE_ON_EXEC: usize = 4;

pub(crate) fn close_on_exec(fd: Fd) -> Ret {
    const F_SETFD: usize = 2;
    call!(number::FCNTL, int(fd), F_SETFD, 1)
}

/// Opens a file, relative to a directory, close-on-exec.
pub(crate) fn open(directory: Fd, path: &CStr, write: bool) -> Ret {
    const O_CLOEXEC: usize = 0o2_000_000;
    call!(number::OPENAT, int(directory), address(path.as_ptr()), O_CLOEXEC | usize::from(write), 0)
}

/// The working directory, for [`open`].
pub(crate) const HERE: Fd = -100;

/// # Safety
///
/// `path` is a NUL-terminated string.
pub(crate) unsafe fn remove_directory(path: *const c_char) -> Ret {
    const AT_REMOVEDIR: usize = 0x200;
    call!(number::UNLINKAT, int(HERE), address(path), AT_REMOVEDIR)
}

/// # Safety
///
/// `path` is a NUL-terminated string.
pub(crate) unsafe fn chdir(path: *const c_char) -> Ret {
    call!(number::CHDIR, address(path))
}

pub(crate) fn getpid() -> i32 {
    int_of(call!(number::GETPID))
}

pub(crate) fn getppid() -> i32 {
    int_of(call!(number::GETPPID))
}

pub(crate) fn setpgid() -> Ret {
    call!(number::SETPGID, 0, 0)
}

pub(crate) fn setsid() -> Ret {
    call!(number::SETSID)
}

/// Makes a terminal the controlling one of the session that we lead.
pub(crate) fn take_terminal(terminal: Fd) -> Ret {
    const TIOCSCTTY: usize = 0x540E;
    call!(number::IOCTL, int(terminal), TIOCSCTTY, 0)
}

pub(crate) fn put_in_front(terminal: Fd, group: i32) {
    const TIOCSPGRP: usize = 0x5410;
    call!(number::IOCTL, int(terminal), TIOCSPGRP, address(&raw const group));
}

pub(crate) fn prctl(option: usize, value: usize) -> Ret {
    call!(number::PRCTL, option, value, 0, 0, 0)
}

pub(crate) const PR_SET_PDEATHSIG: usize = 1;
pub(crate) const PR_SET_DUMPABLE: usize = 4;
pub(crate) const PR_SET_NAME: usize = 15;
pub(crate) const PR_SET_CHILD_SUBREAPER: usize = 36;
pub(crate) const PR_SET_NO_NEW_PRIVS: usize = 38;

/// Ends this process, whatever it is in the middle of.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        call!(number::EXIT_GROUP, int(code));
    }
}

pub(crate) const SIGHUP: i32 = 1;
pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGCHLD: i32 = 17;
pub(crate) const SIGCONT: i32 = 18;

pub(crate) fn kill(pid: i32, signal: i32) -> Ret {
    call!(number::KILL, int(pid), int(signal))
}

/// Signals the process, or the group that it leads.
pub(crate) fn signal_pidfd(pidfd: Fd, signal: i32, group: bool) -> Ret {
    const PROCESS_GROUP: usize = 4;
    call!(PIDFD_SEND_SIGNAL, int(pidfd), int(signal), 0, if group { PROCESS_GROUP } else { 0 })
}

pub(crate) fn pidfd_open(pid: i32) -> Ret {
    call!(PIDFD_OPEN, int(pid), 0)
}

/// Above every ordinary process, where that is allowed; fork bombs share the processor with whoever ends them.
pub(crate) fn hurry() {
    const SCHED_FIFO: usize = 1;
    let priority = 1_i32;
    call!(number::SCHED_SETSCHEDULER, 0, SCHED_FIFO, address(&raw const priority));
}

/// Sets the mask of this thread.
pub(crate) fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    call!(number::RT_SIGPROCMASK, SIG_SETMASK, address(&raw const mask), 0, 8);
}

/// Ignores a signal, or gives it its default back. KILL and STOP refuse, as they should.
pub(crate) fn dispose(signal: i32, ignore: bool) {
    // The kernel's structure: behind a default or ignored handler everything is zero, on every architecture.
    let action = [usize::from(ignore), 0, 0, 0];
    call!(number::RT_SIGACTION, int(signal), address(&raw const action), 0, 8);
}

/// A descriptor that is readable when a child changes, and on request when a terminal whose session we lead is hung up.
pub(crate) fn child_signals(hang_ups: bool) -> Ret {
    const NONBLOCK_CLOEXEC: usize = 0o2_004_000;
    let mask = 1_u64 << (SIGCHLD - 1) | u64::from(hang_ups) << (SIGHUP - 1);
    call!(number::SIGNALFD4, int(-1), address(&raw const mask), 8, NONBLOCK_CLOEXEC)
}

/// Takes all signals that are there from such a descriptor. Says whether the kernel told of a hang-up.
pub(crate) fn drain(signals: Fd) -> bool {
    const SI_KERNEL: i32 = 0x80;
    // Each of the two is pending once at most; `struct signalfd_siginfo`: signo, errno, code.
    let mut infos = [[0_i32; 32]; 2];
    let n = usize::try_from(read_words(signals, infos.as_flattened_mut())).unwrap_or(0);
    infos
        .iter()
        .take(n / size_of::<[i32; 32]>())
        .any(|[signal, _, code, ..]| *signal == SIGHUP && *code == SI_KERNEL)
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PollFd {
    pub(crate) fd: Fd,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

pub(crate) const POLLIN: i16 = 1;

/// Microseconds, by a clock that nobody sets.
pub(crate) fn now() -> u64 {
    const MONOTONIC: usize = 1;
    let mut time = [0_u64; 2];
    call!(number::CLOCK_GETTIME, MONOTONIC, address(time.as_mut_ptr()));
    time[0] * 1_000_000 + time[1] / 1000
}

/// Without a time it waits for ever.
pub(crate) fn poll(fds: &mut [PollFd], microseconds: Option<u64>) -> Ret {
    let time = microseconds.map(|micros| [micros / 1_000_000, micros % 1_000_000 * 1000]);
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    call!(number::PPOLL, address(fds.as_mut_ptr()), fds.len(), address(time), 0, 8)
}

/// What waitid tells of a child.
#[derive(Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) pid: i32,
    pub(crate) code: i32,
    pub(crate) status: i32,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_kib: u64,
}

pub(crate) const WNOHANG: usize = 1;
pub(crate) const WSTOPPED: usize = 2;
pub(crate) const WEXITED: usize = 4;
pub(crate) const WCONTINUED: usize = 8;
pub(crate) const WNOWAIT: usize = 0x0100_0000;
pub(crate) const WALL: usize = 0x4000_0000;

/// `pid` 0 waits for any child. `Ok(None)`: there is one, and nothing to tell of it.
pub(crate) fn wait(pid: i32, options: usize) -> Result<Option<Waited>, Ret> {
    const P_ALL: usize = 0;
    const P_PID: usize = 1;
    let mut info = [0_i32; 32];
    let mut usage = [0_i64; 18];
    let which = if pid == 0 { P_ALL } else { P_PID };
    let waited = call!(
        number::WAITID,
        which,
        int(pid),
        address(info.as_mut_ptr()),
        options,
        address(usage.as_mut_ptr())
    );
    if waited < 0 {
        return Err(waited);
    }
    // siginfo of SIGCHLD: signo, errno, code, padding; pid, uid, status.
    let [_, _, code, _, pid, _, status, ..] = info;
    let micros = |at: usize| (usage[at] * 1_000_000 + usage[at + 1]).cast_unsigned();
    Ok((pid != 0).then(|| Waited {
        pid,
        code,
        status,
        user_us: micros(0),
        system_us: micros(2),
        peak_kib: usage[4].cast_unsigned(),
    }))
}

/// One packet, or whatever else came; 0 at the end.
pub(crate) fn receive(socket: Fd, into: &mut [u64], wait: bool) -> Ret {
    const MSG_DONTWAIT: usize = 0x40;
    const MSG_TRUNC: usize = 0x20;
    let flags = MSG_TRUNC | if wait { 0 } else { MSG_DONTWAIT };
    call!(number::RECVFROM, int(socket), address(into.as_mut_ptr()), size_of_val(into), flags, 0, 0)
}

#[repr(C)]
struct Message {
    name: usize,
    name_len: usize,
    parts: *const [usize; 2],
    parts_len: usize,
    control: *const Control,
    control_len: usize,
    flags: usize,
}

/// `struct cmsghdr` and one descriptor.
#[repr(C)]
struct Control {
    len: usize,
    level: i32,
    kind: i32,
    fd: Fd,
    _padding: i32,
}

/// Sends a packet, with a descriptor if there is one. Never waits: a host that does not read has news enough.
pub(crate) fn send(socket: Fd, packet: &[u64], fd: Option<Fd>) -> Ret {
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    const MSG_DONTWAIT_NOSIGNAL: usize = 0x4040;
    let part = [address(packet.as_ptr()), size_of_val(packet)];
    let control = Control {
        len: size_of::<usize>() + 2 * size_of::<i32>() + size_of::<Fd>(),
        level: SOL_SOCKET,
        kind: SCM_RIGHTS,
        fd: fd.unwrap_or(-1),
        _padding: 0,
    };
    let message = Message {
        name: 0,
        name_len: 0,
        parts: &raw const part,
        parts_len: 1,
        control: if fd.is_some() { &raw const control } else { ptr::null() },
        control_len: if fd.is_some() { size_of::<Control>() } else { 0 },
        flags: 0,
    };
    call!(number::SENDMSG, int(socket), address(&raw const message), MSG_DONTWAIT_NOSIGNAL)
}

/// # Safety
///
/// A NUL-terminated string and two NULL-terminated lists of them.
pub(crate) unsafe fn execute(
    program: *const c_char,
    args: *const *const c_char,
    vars: *const *const c_char,
) -> Ret {
    call!(number::EXECVE, address(program), address(args), address(vars))
}

/// A page of zeros that a later [`fork`] shares.
pub(crate) fn shared_page() -> Result<*mut c_void, Ret> {
    const READ_WRITE: usize = 3;
    const SHARED_ANONYMOUS: usize = 0x21;
    let page = call!(number::MMAP, 0, 4096, READ_WRITE, SHARED_ANONYMOUS, int(-1), 0);
    if (-4095..0).contains(&page) { Err(page) } else { Ok(page as *mut c_void) }
}

/// The version of Landlock, or an error.
pub(crate) fn landlock_version() -> Ret {
    call!(LANDLOCK_CREATE_RULESET, 0, 0, 1)
}

/// Puts this thread, and whom it starts, into a domain that no signal leaves; `landlock(7)`, version 6.
pub(crate) fn landlock_signals() -> Ret {
    const SCOPE_SIGNAL: u64 = 2;
    // handled_access_fs, handled_access_net, scoped
    let ruleset = [0, 0, SCOPE_SIGNAL];
    let fd = call!(LANDLOCK_CREATE_RULESET, address(&raw const ruleset), size_of_val(&ruleset), 0);
    if fd < 0 {
        return fd;
    }
    let restricted = call!(LANDLOCK_RESTRICT_SELF, fd.cast_unsigned(), 0);
    close(int_of(fd));
    restricted
}

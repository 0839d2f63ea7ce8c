//! What a test or a puppet does to its own process.
#![expect(
    unsafe_code,
    reason = "timers, dispositions, masks, filters and atexit, which no crate of the workspace wraps"
)]

use std::mem;
use std::ptr;
use std::sync::Once;
use std::time::Duration;

use foster::Signal;
use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, ENOSYS, EPERM, PR_SET_SECCOMP,
    SECCOMP_MODE_FILTER, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SYS_clone, SYS_clone3, SYS_mount, SYS_setns,
    SYS_umount2, SYS_unshare, c_int, c_long, sock_filter, sock_fprog,
};

/// Has the kernel kill this process after so long. An alarm would do no harm to a process that catches, blocks or
/// ignores it; this timer sends KILL.
pub fn limit_life(life: Duration) {
    // SAFETY: the structures are plain C for which all zeros is a value, and outlive the calls.
    let armed = unsafe {
        let mut event: libc::sigevent = mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer: libc::timer_t = mem::zeroed();
        let mut time: libc::itimerspec = mem::zeroed();
        time.it_value.tv_sec = life.as_secs().try_into().expect("a life of seconds");
        libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) == 0
            && libc::timer_settime(timer, 0, &raw const time, ptr::null_mut()) == 0
    };
    assert!(armed, "no timer: {}", std::io::Error::last_os_error());
}

/// Ignores a signal in this process: only in a test that runs alone.
pub fn ignore_signal(signal: Signal) {
    // SAFETY: no handler is installed.
    let before = unsafe { libc::signal(signal.number(), libc::SIG_IGN) };
    assert_ne!(before, libc::SIG_ERR, "{signal}: {}", std::io::Error::last_os_error());
}

/// Gives a signal its default action in this process: only in a test that runs alone.
pub fn default_signal(signal: Signal) {
    // SAFETY: no handler is installed.
    let before = unsafe { libc::signal(signal.number(), libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR, "{signal}: {}", std::io::Error::last_os_error());
}

/// A shell without job control has its background jobs ignore what is typed at a terminal, and `nohup` the loss of one:
/// what tests start is none of that, however they were started. For the whole process, once.
pub(crate) fn as_in_the_foreground() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| [Signal::INT, Signal::QUIT, Signal::HUP].into_iter().for_each(default_signal));
}

/// Sets our group to what it is: the C library asks each thread of ours to do the same, and waits for its answer.
pub fn set_our_group() {
    // SAFETY: no memory is passed.
    let set = unsafe { libc::setgid(libc::getgid()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Blocks a signal in this thread and those that it starts.
pub fn block_signal(signal: Signal) {
    // SAFETY: the set is plain C for which all zeros is a value, and outlives the calls.
    let failed = unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigaddset(&raw mut set, signal.number());
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
    };
    assert_eq!(failed, 0, "{signal}");
}

/// Forbids this process and all it starts what Docker's default filter forbids and foster would use: no new namespaces,
/// no mounts, no `clone3`. Only for root, in a test that runs alone.
pub fn filter_as_docker() {
    const NAMESPACES: u32 = 0x7E02_0000;
    let code_of = |code: u32| u16::try_from(code).expect("codes are short");
    let statement = |code: u32, k: u32| sock_filter { code: code_of(code), jt: 0, jf: 0, k };
    // Goes on with the next statement if it holds, else leaves that out.
    let jump = |test: u32, k: u32| sock_filter { code: code_of(BPF_JMP | test | BPF_K), jt: 0, jf: 1, k };
    let load = |offset: u32| statement(BPF_LD | BPF_W | BPF_ABS, offset);
    let refuse = |errno: c_int| statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno.cast_unsigned());
    let allow = statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    let number = |call: c_long| u32::try_from(call).expect("a number");
    let mut program = vec![load(0), jump(BPF_JEQ, number(SYS_clone3)), refuse(ENOSYS)];
    for call in [SYS_unshare, SYS_setns, SYS_mount, SYS_umount2] {
        program.extend([jump(BPF_JEQ, number(call)), refuse(EPERM)]);
    }
    // The first argument of `clone`, its lower half; of other calls nobody asks.
    program.extend([statement(BPF_JMP | BPF_JEQ | BPF_K, number(SYS_clone))]);
    program.last_mut().expect("not empty").jf = 3;
    program.extend([load(16), jump(BPF_JSET, NAMESPACES), refuse(EPERM), allow]);
    let filter =
        sock_fprog { len: u16::try_from(program.len()).expect("short"), filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call.
    let failed = unsafe { libc::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

/// Has this called when the process exits of its own accord.
pub(crate) fn at_exit(act: extern "C" fn()) {
    // SAFETY: it is a function that lives as long as the process and does not unwind into C, where a panic aborts.
    unsafe { libc::atexit(act) };
}

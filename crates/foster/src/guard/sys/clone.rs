//! The two ways in which a guard makes a child: in borrowed memory, and with a copy of everything.
//!
//! `unsafe` for the system call whose child begins somewhere else, on the stack below ours.
#![expect(unsafe_code, reason = "the child of a clone")]

use core::arch::asm;
use core::ffi::c_void;
use core::mem::size_of;
use core::ptr;

use super::{Fd, Ret, SIGCHLD, address, call, number, six};

/// A child that borrows our memory, the stack below ours too, until it executes or exits, while we sleep; it begins in
/// `cgroup`, if one is given, for which the kernel must know `clone3`.
///
/// # Safety
///
/// `entry` does nothing that a child in borrowed memory may not do, and this thread blocks all signals.
pub(crate) unsafe fn vfork(entry: Entry, given: *const c_void, cgroup: Option<Fd>, pidfd: &mut Fd) -> Ret {
    let flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    let pidfd = ptr::from_mut(pidfd) as usize;
    let Some(cgroup) = cgroup else {
        // SAFETY: the caller's. The order of the last two differs by architecture; both are 0.
        return unsafe {
            call_clone(number::CLONE, [flags | SIGCHLD as usize, 0, pidfd, 0, 0], None, entry, given)
        };
    };
    let mut args = CloneArgs {
        flags: flags as u64 | CLONE_INTO_CGROUP,
        pidfd: pidfd as u64,
        exit_signal: SIGCHLD as u64,
        stack_size: BORROWED,
        cgroup: u64::from(cgroup.cast_unsigned()),
        ..CloneArgs::default()
    };
    let place = ptr::from_mut(&mut args);
    let given_to_clone = [place as usize, size_of::<CloneArgs>(), 0, 0, 0];
    // SAFETY: the caller's, and the arguments live until the child has gone its own way.
    unsafe { call_clone(CLONE3, given_to_clone, Some(&mut (*place).stack), entry, given) }
}

/// A child with a copy of everything, as of `fork(2)`, and its pidfd. 0 in the child.
pub(crate) fn fork(pidfd: &mut Fd) -> Ret {
    let args = six(&[CLONE_PIDFD | SIGCHLD as usize, 0, address(ptr::from_mut(pidfd))]);
    // SAFETY: the child goes on with a copy of all that is ours; the pidfd outlives the call.
    unsafe { call(number::CLONE, args) }
}

/// Makes a child that calls `entry` and never returns, on the stack below ours. `args` are those of the system call,
/// but for where that stack is: `clone3` is told the lower end at `stack`, for a size of [`BORROWED`]; `clone` the upper
/// end as its second argument.
///
/// # Safety
///
/// As for `clone(2)` with these flags, of which one is `CLONE_VFORK`: we sleep while the child is on our stack. And no
/// signal is handled meanwhile.
#[cfg(target_arch = "x86_64")]
unsafe fn call_clone(
    number: usize,
    args: [usize; 5],
    stack: Option<&mut u64>,
    entry: Entry,
    given: *const c_void,
) -> Ret {
    let result;
    // SAFETY: the caller's. The child begins behind the system call and does not come back; what it writes is below all
    // that is ours, the red zone too.
    unsafe {
        asm!(
            "lea rcx, [rsp - 128]",
            "and rcx, -16",
            "test r14, r14",
            "jz 3f",
            "sub rcx, {borrowed}",
            "mov [r14], rcx",
            "jmp 4f",
            "3:",
            "mov rsi, rcx",
            "4:",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            borrowed = const BORROWED,
            inlateout("rax") number => result,
            inlateout("rsi") args[1] => _,
            in("rdi") args[0], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            in("r12") entry, in("r13") given, in("r14") stack.map_or(ptr::null_mut(), ptr::from_mut),
            out("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// See the other architecture's.
///
/// # Safety
///
/// As for `clone(2)` with these flags, of which one is `CLONE_VFORK`: we sleep while the child is on our stack. And no
/// signal is handled meanwhile.
#[cfg(target_arch = "aarch64")]
unsafe fn call_clone(
    number: usize,
    args: [usize; 5],
    stack: Option<&mut u64>,
    entry: Entry,
    given: *const c_void,
) -> Ret {
    let result;
    // SAFETY: the caller's. The child begins behind the system call and does not come back; what it writes is below all
    // that is ours.
    unsafe {
        asm!(
            "sub x9, sp, #128",
            "cbz x23, 3f",
            "sub x9, x9, #{borrowed}",
            "str x9, [x23]",
            "b 4f",
            "3:",
            "mov x1, x9",
            "4:",
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x22",
            "blr x21",
            "brk 1",
            "2:",
            borrowed = const BORROWED,
            in("x8") number,
            inlateout("x0") args[0] => result,
            inlateout("x1") args[1] => _,
            in("x2") args[2], in("x3") args[3], in("x4") args[4],
            in("x21") entry, in("x22") given, in("x23") stack.map_or(ptr::null_mut(), ptr::from_mut),
            out("x9") _, lateout("x30") _,
        );
    }
    result
}

/// What a child may use of our stack, for the kernel's account.
const BORROWED: u64 = 64 * 1024;

/// Where the child of a clone begins.
pub(crate) type Entry = unsafe extern "C" fn(*const c_void) -> !;

const CLONE3: usize = 435;
const CLONE_VM: usize = 0x100;
const CLONE_PIDFD: usize = 0x1000;
const CLONE_VFORK: usize = 0x4000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The kernel's `struct clone_args`, `clone(2)`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

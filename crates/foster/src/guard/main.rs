//! The guard as a program of its own: no std, no C library, a few pages of memory, and none of the host's.
//! `build.rs` compiles it with the rustc that compiles the library.
//!
//! `unsafe` for the entry point and the few functions that the compiler calls by name.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "an entry point without a C library")]

use core::arch::global_asm;
use core::ffi::c_char;

mod hold;
mod standing;
mod start;
mod sys;
mod twin;
mod wire;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {main}",
    "brk 1",
    main = sym main,
);

/// # Safety
///
/// `stack` is what the kernel left there: the number of arguments, they, a null, and the environment.
unsafe extern "C" fn main(stack: *mut usize) -> ! {
    // SAFETY: the caller's. The first argument is our name, the second the socket's number.
    unsafe {
        let count = *stack;
        if count != 2 {
            sys::exit(1);
        }
        let socket = number(*stack.add(2) as *const c_char);
        start::run(socket, stack.add(count + 2).cast())
    }
}

/// # Safety
///
/// `text` is a NUL-terminated string.
unsafe fn number(text: *const c_char) -> i32 {
    let mut number = 0_i32;
    let mut at = text;
    // SAFETY: up to the NUL.
    unsafe {
        while (*at as u8).is_ascii_digit() {
            number = number.wrapping_mul(10).wrapping_add(i32::from(*at as u8 - b'0'));
            at = at.add(1);
        }
    }
    number
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The host reads the end of the socket and takes the guard for lost.
    sys::exit(101)
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the caller's. Volatile, so that the compiler does not make a call of this loop.
    unsafe {
        for at in 0..len {
            to.add(at).write_volatile(from.add(at).read_volatile());
        }
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if (to as usize) < from as usize {
        // SAFETY: forwards, what is read has not been written.
        return unsafe { memcpy(to, from, len) };
    }
    // SAFETY: the caller's.
    unsafe {
        for at in (0..len).rev() {
            to.add(at).write_volatile(from.add(at).read_volatile());
        }
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe {
        for at in 0..len {
            to.add(at).write_volatile(byte as u8);
        }
    }
    to
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe {
        for at in 0..len {
            let (a, b) = (one.add(at).read_volatile(), other.add(at).read_volatile());
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
    }
    0
}

/// # Safety
///
/// As in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { memcmp(one, other, len) }
}

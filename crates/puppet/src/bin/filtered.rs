//! `filtered WORDS …`: executes the words under a seccomp filter that refuses what that of Docker refuses, as far as it
//! concerns foster: `clone3` is `ENOSYS`; `clone` with a namespace, `unshare`, `setns`, `mount`, `umount2` and
//! `pivot_root` are `EPERM`. Docker does not set `no_new_privs`, so that whoever calls this is root.
//!
//! `unsafe` for the system call that installs the filter, which no crate of the workspace wraps.
#![expect(unsafe_code, reason = "the system call that installs a filter")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, c_int, c_long, sock_filter};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let failed = match (words.split_first(), install(&filter())) {
        (Some((program, rest)), Ok(())) => Command::new(program).args(rest).exec(),
        (None, _) => io::Error::other("nothing to execute"),
        (_, Err(error)) => error,
    };
    eprintln!("filtered: {failed}");
    exit(125);
}

/// One test is a comparison and an answer, and nothing jumps further than over its own answer.
fn filter() -> Vec<sock_filter> {
    // Offsets in `struct seccomp_data`: the call's number, and the low half of its first argument.
    let (number, flags) = (0, if cfg!(target_endian = "little") { 16 } else { 20 });
    let load = |offset| instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
    let answer = |action| instruction(BPF_RET | BPF_K, 0, 0, action);
    let refuse = |errno: c_int| answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
    let mut filter = vec![load(number)];
    let refused = [
        (libc::SYS_clone3, libc::ENOSYS),
        (libc::SYS_unshare, libc::EPERM),
        (libc::SYS_setns, libc::EPERM),
        (libc::SYS_mount, libc::EPERM),
        (libc::SYS_umount2, libc::EPERM),
        (libc::SYS_pivot_root, libc::EPERM),
    ];
    for (call, errno) in refused {
        filter.extend([instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, of(call)), refuse(errno)]);
    }
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    filter.extend([
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, of(libc::SYS_clone)),
        allow,
        load(flags),
        instruction(BPF_JMP | BPF_JSET | BPF_K, 0, 1, namespaces.cast_unsigned()),
        refuse(libc::EPERM),
        allow,
    ]);
    filter
}

fn of(call: c_long) -> u32 {
    u32::try_from(call).expect("a small number")
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("two bytes"), jt, jf, k }
}

fn install(filter: &[sock_filter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).expect("a short filter");
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `length` instructions from `filter` and keeps no pointer to them.
    let failed =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

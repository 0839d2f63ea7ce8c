//! The entry point. It starts without std's runtime, which would ignore SIGPIPE before we could see how we were
//! started; so it is `unsafe`, and reads the arguments from where C has them.
#![no_main]
#![expect(unsafe_code, reason = "the entry point of a program without std's runtime")]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // Else each of our threads, which allocate next to nothing, has the kernel map an arena of its own.
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory is passed, and there are no threads yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    let args = || -> Vec<OsString> {
        (0..usize::try_from(argc).unwrap_or(0))
            // SAFETY: C promises `argc` pointers to strings that live as long as the program.
            .map(|i| OsStr::from_bytes(unsafe { CStr::from_ptr(*argv.add(i)) }.to_bytes()).to_owned())
            .collect()
    };
    foster_cli::main(args).into()
}

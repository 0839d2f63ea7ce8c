//! The program `foster`.
//!
//! It starts without std's runtime, which would ignore SIGPIPE before we could see how we were started; so this file
//! is `unsafe` for its entry point, and reads the arguments from where C has them.
#![no_main]
#![expect(unsafe_code, reason = "the entry point of a program without std's runtime")]

mod args;
mod descriptors;
mod duration;
mod env_file;
mod forward;
mod init;
mod records;
mod run;
mod say;
mod terminal;
mod values;
mod watch;

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let start = forward::Start::block_signals();
    let count = usize::try_from(argc).unwrap_or(0);
    let args: Vec<OsString> = (0..count)
        // SAFETY: C promises `argc` pointers to strings that live as long as the program.
        .map(|i| OsStr::from_bytes(unsafe { CStr::from_ptr(*argv.add(i)) }.to_bytes()).to_owned())
        .collect();
    // A panic is a bug of ours, said by its hook; never a hang, and never somebody else's exit code.
    std::panic::catch_unwind(|| args::dispatch(args, &start)).unwrap_or(args::FAILED).into()
}

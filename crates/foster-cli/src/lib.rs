//! The program `foster`, without its entry point.
//!
//! `args` is the command line, `plain` the same where it is one that most people write; `run` starts the program and
//! `watch` is there while it runs; the rest is what they need: signals (`forward`), the terminal, where the output goes
//! (`streams`), what people (`say`) and machines (`records`) are told. `doctor` tells what can hold programs on this
//! machine.

mod args;
mod descriptors;
mod doctor;
mod duration;
mod env_file;
mod forward;
mod plain;
mod records;
mod run;
mod say;
mod streams;
mod terminal;
mod typist;
mod values;
mod watch;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does what the arguments say, and returns the exit code. It takes over the signals of the whole process, first of
/// all.
pub fn main(args: impl FnOnce() -> Vec<OsString>) -> u8 {
    let start = forward::Start::block_signals();
    // A panic is a bug of ours, said by its hook; never a hang, and never somebody else's exit code.
    catch_unwind(AssertUnwindSafe(|| args::dispatch(args(), &start))).unwrap_or(args::FAILED)
}

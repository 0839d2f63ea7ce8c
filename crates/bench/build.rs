//! Builds what must not be Rust: the limit, and the program that all contenders start.

use std::path::PathBuf;
use std::{env, fs};

/// No libc, no dynamic linker, no position to relocate: what is left of the child's cost is the kernel's.
const BARE: &[&str] = &["-static", "-nostdlib", "-fno-pie", "-no-pie", "-fno-stack-protector", "-s"];

fn main() {
    for source in ["src/limit.c", "src/child.c"] {
        println!("cargo::rerun-if-changed={source}");
    }
    cc::Build::new().file("src/limit.c").opt_level(2).warnings_into_errors(true).compile("limit");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let child = out.join("child");
    // A program that somebody executes cannot be overwritten (ETXTBSY); it can be replaced.
    _ = fs::remove_file(&child);
    let compiler = cc::Build::new().opt_level(2).pic(false).debug(false).get_compiler();
    let mut compile = compiler.to_command();
    compile.args(BARE).arg("src/child.c").arg("-o").arg(&child);
    let status = compile.status().unwrap_or_else(|error| panic!("failed to run {compile:?}: {error}"));
    assert!(status.success(), "failed to build the child: {compile:?}");
    println!("cargo::rustc-env=BENCH_CHILD={}", child.display());
}

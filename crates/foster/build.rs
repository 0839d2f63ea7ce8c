//! Compiles the guard (`src/guard/main.rs`) into a program of its own, with the rustc that compiles the library. The
//! library carries it along and runs it from memory.
//!
//! Where that cannot be done, as without a linker for the target, the library is built without it: a guard is then
//! another copy of its host.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(guard_image)");
    println!("cargo::rerun-if-changed=src/guard");
    let var = |name: &str| env::var(name).unwrap_or_default();
    let known = ["x86_64", "aarch64"].contains(&var("CARGO_CFG_TARGET_ARCH").as_str());
    if var("CARGO_CFG_TARGET_OS") != "linux" || !known {
        return;
    }
    let image = PathBuf::from(var("OUT_DIR")).join("foster-guard");
    // Without std a program is the same for every C library: where there is no core for the target, the host's may do.
    let same = var("HOST").split('-').next() == var("TARGET").split('-').next();
    let build_for = |target: &str| {
        // A linker that does not know layouts makes a guard that starts more slowly, and no other.
        compile(target, &image, &[LINKER, LAYOUT]).or_else(|_| compile(target, &image, &[LINKER]))
    };
    let built = build_for(&var("TARGET")).or_else(|error| {
        if same && var("HOST").contains("linux") { build_for(&var("HOST")) } else { Err(error) }
    });
    match built {
        Ok(()) => {
            println!("cargo::rustc-cfg=guard_image");
            println!("cargo::rustc-env=FOSTER_GUARD_IMAGE={}", image.display());
        }
        Err(error) => println!("cargo::warning=the guard is not built for {}: {error}", var("TARGET")),
    }
}

fn compile(target: &str, image: &Path, linking: &[&str]) -> Result<(), String> {
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    rustc.args(["src/guard/main.rs", "--crate-name=foster_guard", "--crate-type=bin", "--edition=2024"]);
    // What is a lint here was looked at where the library includes the same files.
    rustc.args(["--cap-lints=allow", "--target", target, "-o"]).arg(image);
    for option in [
        "opt-level=s",
        "panic=abort",
        "lto=fat",
        "codegen-units=1",
        "strip=symbols",
        "debug-assertions=off",
        "overflow-checks=off",
        "relocation-model=static",
    ] {
        rustc.arg(format!("-C{option}"));
    }
    if target.ends_with("musl") {
        // For these rustc brings start files of its own.
        rustc.arg("-Clink-self-contained=no");
    }
    for option in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"].iter().chain(linking) {
        rustc.arg(format!("-Clink-arg={option}"));
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("-Clinker=");
        option.push(linker);
        rustc.arg(option);
    }
    let output = rustc.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().find(|line| line.contains("error")).unwrap_or("rustc failed").to_string())
}

/// No segment that it does not need, and no notes: it is started for every tree.
const LINKER: &str = "-Wl,--build-id=none,-z,noseparate-code,-z,norelro,--gc-sections,--no-eh-frame-hdr";
/// All in one segment.
const LAYOUT: &str = "-Wl,-T,src/guard/layout.ld";

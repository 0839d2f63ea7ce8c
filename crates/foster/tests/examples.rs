//! The examples run as they stand and do what they say.

use std::path::PathBuf;
use std::process::Command;

/// cargo builds the examples beside the tests: `target/PROFILE/examples/NAME`.
#[track_caller]
fn output_of(name: &str) -> String {
    let us = std::env::current_exe().expect("we run from a file");
    let example: PathBuf = us.ancestors().nth(2).expect("target/PROFILE").join("examples").join(name);
    let output =
        Command::new(&example).output().unwrap_or_else(|error| panic!("{}: {error}", example.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn blocking() {
    assert_eq!(output_of("blocking"), "deaf: killed by SIGKILL\nsleep: killed by SIGTERM, Stopped\n");
}

#[test]
fn tokio() {
    assert_eq!(output_of("tokio"), "codes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\nstopped: killed by SIGTERM\n");
}

#[test]
fn smol() {
    assert_eq!(output_of("smol"), "codes: Some(3) Some(4)\n");
}

#[test]
fn events() {
    let output = output_of("events");
    let (events, words): (Vec<_>, Vec<_>) = output.lines().partition(|line| line.starts_with("event: "));
    assert_eq!(
        events,
        ["event: started", "event: Asked(SIGTERM)", "event: exited with code 0, Stopped", "event: gone"]
    );
    assert_eq!(words, ["it says: ready", "it says: bye"]);
}

//! What the program prints about itself. How it runs programs is tested in `crates/puppet/tests/cli/`, which needs
//! puppets; that this file is here has cargo build the program for those tests too.

use std::process::{Command, Output, Stdio};

fn foster(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foster")).args(args).output().expect("foster starts")
}

fn printed(args: &[&str]) -> String {
    let output = foster(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_version() {
    assert_eq!(printed(&["--version"]), format!("foster {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_names_every_option_with_its_default() {
    let help = printed(&["run", "--help"]);
    for option in [
        "--timeout",
        "--stop-signal",
        "--grace",
        "--splay",
        "--signal-to",
        "--leftovers",
        "--rewrite",
        "--parent-death-signal",
        "--stop-on-stdin-eof",
        "--new-session",
        "--same-group",
        "--cwd",
        "--env",
        "--env-file",
        "--clear-env",
        "--init",
        "--preserve-status",
        "--ok-code",
        "--report",
        "--events",
        "--verbose",
        "--quiet",
    ] {
        assert!(help.contains(option), "{option}");
    }
    assert!(help.contains("[default: 5s]"));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("stop-signal") && script.contains("fix-leaks"), "{shell}");
    }
    // bash itself takes its own.
    let script = printed(&["completions", "bash"]);
    let status = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash starts");
    assert!(status.success());
}

#[test]
fn the_manual_page() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH foster 1"), "{page}");
    for word in ["FOSTER RUN", "stop\\-signal", "grace", "124", "FOSTER DOCTOR", "fix\\-leaks"] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_foster"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("foster starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("waitable");
    // It dies of SIGPIPE, as cat would, or is done before it notices.
    assert!(output.stderr.is_empty(), "{output:?}");
}

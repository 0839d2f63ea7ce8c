//! `foster run` hands on what it was started with, and never its own changes: contract 4, «a clean start».

use std::process::Command as StdCommand;

use foster::{Command, SignalState};
use puppet::{Stage, status_field};

use crate::common::foster;

/// `/proc/self/status` of a program that the command runs.
fn status_of(words: &[&str]) -> String {
    let output = StdCommand::new(words[0]).args(&words[1..]).output().expect("it starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn f21_mask_and_dispositions_are_those_foster_was_started_with() {
    let foster = foster();
    let foster = foster.to_str().expect("UTF-8");
    let read = ["cat", "/proc/self/status"];
    for prefix in [
        &[][..],
        &["nohup"],
        &["env", "--ignore-signal=USR1,TERM,CHLD,PIPE"],
        &["env", "--block-signal=USR2,TERM"],
    ] {
        let plain = status_of(&[prefix, &read].concat());
        let under = status_of(&[prefix, &[foster, "run", "--"], &read].concat());
        for field in ["SigBlk", "SigIgn", "SigCgt"] {
            assert_eq!(status_field(&under, field), status_field(&plain, field), "{field} under {prefix:?}");
        }
    }
}

#[test]
fn f18_a_foster_that_was_started_with_sigchld_ignored_still_knows_the_exit() {
    let output = StdCommand::new("env")
        .args(["--ignore-signal=CHLD"])
        .arg(foster())
        .args(["run", "sh", "-c", "exit 9"])
        .output()
        .expect("env starts");
    assert_eq!(output.status.code(), Some(9));
}

#[test]
fn descriptors_are_handed_on_and_not_kept() {
    // Descriptor 7 is a pipe; the program says what it has, then foster alone is left with it, and must not be.
    let script =
        "exec 7>&1; exec 1>/dev/null; exec \"$0\" run -- sh -c 'echo given >&7; exec 7>&-; exec sleep 60'";
    let command = Command::new("sh").args(["-c", script]).arg(foster()).inherit_descriptors(false);
    let stage = Stage::start(&command);
    stage.expect("given");
    // The end of the output comes while the program still runs: foster holds nothing of it.
    assert_eq!(stage.curtain(), ["given"]);
    assert!(stage.child().try_wait().is_none());
    puppet::within(&stage.child().stop());
}

#[test]
fn a_closed_stdout_is_no_problem() {
    let output = StdCommand::new("sh")
        .args(["-c", "exec <&- >&-; exec \"$0\" run --report /dev/stderr true"])
        .arg(foster())
        .output()
        .expect("sh starts");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"exit_code\":0"), "{output:?}");
}

#[test]
fn the_state_of_signals_can_be_read_and_handed_on() {
    let state = SignalState::current();
    let output = Stage::start(&Command::new("cat").arg("/proc/self/status").start_signals(state));
    let status = output.curtain().join("\n");
    let blocked = u64::from_str_radix(&status_field(&status, "SigBlk"), 16).expect("hexadecimal");
    for signal in foster::Signal::all() {
        assert_eq!(state.blocks(signal), blocked & (1 << (signal.number() - 1)) != 0, "{signal}");
    }
}

//! The exit code says how it ended: contract 7, scenario F27.

use std::os::unix::process::ExitStatusExt;
use std::process::Command as StdCommand;

use foster::{Signal, Status};
use puppet::long_enough;

use crate::common::{foster, run, said, seconds, stage};

#[test]
fn f27_every_exit_code_comes_through() {
    for code in 0..=255 {
        let output = run(["run", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    }
}

#[test]
fn f27_death_by_signal_n_is_128_plus_n() {
    for signal in Signal::all() {
        // Those that end nobody, and those that the C library keeps for itself.
        let harmless = [
            Signal::CHLD,
            Signal::CONT,
            Signal::URG,
            Signal::WINCH,
            Signal::STOP,
            Signal::TSTP,
            Signal::TTIN,
            Signal::TTOU,
        ];
        if harmless.contains(&signal) || [32, 33].contains(&signal.number()) {
            continue;
        }
        // A puppet, since bash ignores QUIT in all cases.
        let stage = stage("", &format!("raise {}", signal.number()));
        let status = stage.exit().status;
        assert_eq!(
            status,
            Status::Exited(128 + u8::try_from(signal.number()).expect("it is small")),
            "{signal}"
        );
    }
}

#[test]
fn a_timeout_is_124_and_with_preserve_status_the_programs_own_code() {
    let obedient = "trap 'exit 7' TERM; echo obeys; while :; do sleep 0.02; done";
    let deaf = "trap '' TERM; echo ignores; exec sleep 60";
    // Its code, when it had come so far as to say what it does about TERM.
    let code = |options: &str, script: &str| {
        long_enough(|timeout| {
            let timeout = seconds(timeout);
            let options = ["run", "-t", &timeout].into_iter().chain(options.split_whitespace());
            let output = run(options.chain(["--", "sh", "-c", script]));
            (!output.stdout.is_empty()).then(|| output.status.code())
        })
    };
    assert_eq!(code("-k 30", obedient), Some(124));
    assert_eq!(code("-k 30 --preserve-status", obedient), Some(7));
    assert_eq!(code("-k 0 --preserve-status", deaf), Some(137));
}

#[test]
fn d05_a_program_that_ends_in_time_has_not_timed_out() {
    let output = run(["run", "-t", "60", "--", "sh", "-c", "exit 5"]);
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(said(&output), "");
}

#[test]
fn no_such_program_is_127_and_one_that_cannot_be_executed_126() {
    assert_eq!(run(["run", "no-such-program-at-all"]).status.code(), Some(127));
    assert_eq!(run(["run", "/no/such/program"]).status.code(), Some(127));
    assert_eq!(run(["run", "/etc/passwd"]).status.code(), Some(126));
    assert_eq!(run(["run", "/tmp"]).status.code(), Some(126));
}

#[test]
fn a_code_that_is_ok_is_0() {
    let output = run(["run", "--ok-code", "3", "--ok-code", "143", "--", "sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(0));
    // It is for exit codes; a death by signal is none.
    let output = run(["run", "--ok-code", "143", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.code(), Some(143));
}

#[test]
fn a_program_that_interrupts_itself_is_130_and_foster_does_not_die_of_it() {
    let status =
        StdCommand::new(foster()).args(["run", "sh", "-c", "kill -INT $$"]).status().expect("foster starts");
    assert_eq!((status.code(), status.signal()), (Some(130), None));
}

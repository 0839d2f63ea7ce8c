//! A shell with jobs of its own, below foster: `bash -i`.

use puppet::program;

use crate::side_by_side::Sign::{At, Prompt, Shows};
use crate::side_by_side::Step::{Keys, Until};
use crate::side_by_side::{Scenario, play};

/// Says so before it sleeps: a key that is typed earlier would be the shell's.
const SLEEPER: (&str, &str) = ("sleeper", "#!/bin/sh\necho $1-sleeps\nexec sleep 100\n");

#[test]
fn a_shell_below_has_its_jobs() {
    let talker = format!("#!/bin/sh\nexec {} name talker trap CONT goes-on wait\n", program().display());
    play(&Scenario {
        files: &[SLEEPER, ("talker", &talker)],
        mask: Some(without_pids),
        steps: &[
            Keys("./it env PS1='in> ' bash --norc --noprofile -i\n"),
            Until(&[At("in> ")]),
            Keys("sleep 100 &\n"),
            Until(&[At("in> "), Shows("[1] ")]),
            Keys("jobs\n"),
            Until(&[At("in> "), Shows("[1]+  Running")]),
            Keys("./sleeper first\n"),
            Until(&[At(""), Shows("first-sleeps")]),
            Keys("\x1a"),
            Until(&[At("in> "), Shows("[2]+  Stopped")]),
            Keys("bg\n"),
            Until(&[At("in> "), Shows("[2]+ ./sleeper first &")]),
            Keys("kill %1; wait %1; echo waited-$?\n"),
            Until(&[At("in> "), Shows("waited-143")]),
            Keys("kill %2; wait %2; echo waited-again-$?\n"),
            Until(&[At("in> "), Shows("waited-again-143")]),
            Keys("./talker\n"),
            Until(&[At(""), Shows("talker: ready")]),
            Keys("\x1a"),
            Until(&[At("in> "), Shows("Stopped                 ./talker")]),
            Keys("fg\n"),
            // It goes on once it is in front.
            Until(&[At(""), Shows("talker: goes-on")]),
            Keys("\x03"),
            Until(&[At("in> "), Shows("^C")]),
            Keys("echo front-$?\n"),
            Until(&[At("in> "), Shows("front-130")]),
            Keys("jobs; echo left-$?\n"),
            Until(&[At("in> "), Shows("left-0")]),
            Keys("exit 5\n"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-5")]),
        ],
        ..Scenario::default()
    });
}

#[test]
fn f40_a_shell_below_suspends_itself() {
    play(&Scenario {
        files: &[SLEEPER],
        steps: &[
            Keys("./it env PS1='in> ' bash --norc --noprofile -i\n"),
            Until(&[At("in> ")]),
            // By STOP, as its manual does not say.
            Keys("suspend\n"),
            Until(&[Prompt, Shows("Stopped")]),
            Keys("fg\n"),
            Until(&[At("in> ")]),
            Keys("./sleeper second\n"),
            Until(&[At(""), Shows("second-sleeps")]),
            Keys("\x03"),
            Until(&[At("in> ")]),
            Keys("exit 6\n"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-6")]),
        ],
        ..Scenario::default()
    });
}

/// `[1] 4711`, as a shell says of a new job, and `ready 4711`, as a puppet does.
pub(crate) fn without_pids(row: &str) -> String {
    match row.rsplit_once(' ') {
        Some((what, pid)) if pid.parse::<u32>().is_ok() => format!("{what} PID"),
        _ => row.to_string(),
    }
}

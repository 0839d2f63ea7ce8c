//! Programs that ask for line after line.

use puppet::{Feature, needs};

use crate::side_by_side::Sign::{Asleep, At, Prompt, Shows};
use crate::side_by_side::Step::{Keys, Until};
use crate::side_by_side::{Scenario, play, play_without_shell};

/// Naps, and not one long sleep: python does not see a Ctrl-C that comes when it has just made up its mind to sleep.
const NAPS: &str = "for n in range(6000): x = n or print('a' + 'sleep', flush=True); time.sleep(0.01)\n";

#[test]
fn python_lives_through_ctrl_c_and_ends_with_ctrl_d() {
    if !needs(Feature::Program("python3")) {
        return;
    }
    play(&Scenario {
        steps: &[
            Keys("./it python3 -q -i\n"),
            Until(&[At(">>> ")]),
            Keys("6 * 7\n"),
            Until(&[At(">>> "), Shows("42")]),
            Keys("import time\n"),
            Until(&[At(">>> "), Shows("time")]),
            Keys(NAPS),
            Until(&[At("... ")]),
            Keys("\n"),
            Until(&[At(""), Shows("asleep")]),
            Keys("\x03"),
            Until(&[At(">>> "), Shows("KeyboardInterrupt")]),
            Keys("1 +"),
            Until(&[At(">>> 1 +"), Asleep("python3")]),
            // At the prompt too: what was typed is dropped.
            Keys("\x03"),
            Until(&[At(">>> ")]),
            Keys("'end' + 'less'\n"),
            Until(&[At(">>> "), Shows("endless")]),
            Keys("\x04"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-0")]),
        ],
        ..Scenario::default()
    });
}

#[test]
fn without_a_shell_above_too() {
    if !needs(Feature::Program("python3")) {
        return;
    }
    let steps = &[
        Until(&[At(">>> ")]),
        Keys("import time\n"),
        Until(&[At(">>> "), Shows("time")]),
        Keys(NAPS),
        Until(&[At("... ")]),
        Keys("\n"),
        Until(&[At(""), Shows("asleep")]),
        Keys("\x03"),
        Until(&[At(">>> "), Shows("KeyboardInterrupt")]),
        Keys("exit(7)\n"),
    ];
    play_without_shell(&["python3", "-q", "-i"], &Scenario { steps, ..Scenario::default() }, 7);
}

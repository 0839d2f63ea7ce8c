//! A child in a group of its own that touches the terminal is not stopped for it. Scenario F20.

use crate::side_by_side::Sign::{At, Hides, Prompt, Shows};
use crate::side_by_side::Step::{Keys, Until};
use crate::side_by_side::{Mode, Scenario, play};

#[test]
fn f20_who_is_in_front_reads_and_sets_the_terminal() {
    play(&Scenario {
        steps: &[
            Keys("./it sh -c 'echo $((40+2))-reads; cat'\n"),
            // Not before it runs: until then the keys would be the shell's.
            Until(&[At(""), Shows("42-reads")]),
            Keys("one line\n"),
            Until(&[At(""), Shows("one line")]),
            Keys("\x04"),
            Until(&[Prompt]),
            Keys("./it stty sane; echo code-$?\n"),
            Until(&[Prompt, Shows("code-0")]),
            // A child of the program's, with the terminal at a descriptor of its own.
            Keys("./it sh -c 'sh -c \"stty sane </dev/tty; echo sane-\\$?\"; true' </dev/null\n"),
            Until(&[Prompt, Shows("sane-0")]),
            Keys("echo x | ./it sh -c 'echo $((20+1))-reads; head -n 1 /dev/tty'; echo head-$?\n"),
            Until(&[At(""), Shows("21-reads")]),
            Keys("typed\n"),
            Until(&[Prompt, Shows("head-0")]),
        ],
        ..Scenario::default()
    });
}

#[test]
fn f20_in_the_background_it_waits_for_fg_as_any_job() {
    play(&Scenario {
        steps: &[
            Keys("./it sed -u s/one/other/ &\n"),
            Until(&[At("$ "), Shows("[1] ")]),
            Keys("until jobs | grep -q Stopped; do sleep 0.1; done; echo seen-$((1+1))\n"),
            Until(&[Prompt, Shows("Stopped      "), Shows("seen-2")]),
            Keys("clear; fg\n"),
            Until(&[At(""), Shows("./it sed -u s/one/other/"), Hides("seen")]),
            Keys("one line\n"),
            Until(&[At(""), Shows("other line")]),
            Keys("\x1a"),
            Until(&[Prompt, Shows("^Z")]),
            Keys("clear; fg\n"),
            Until(&[At(""), Shows("./it sed -u s/one/other/"), Hides("Stopped")]),
            Keys("one page\n"),
            Until(&[At(""), Shows("other page")]),
            Keys("\x04"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-0")]),
        ],
        mask: Some(crate::job_control::without_pids),
        // With a terminal of its own it has no reason to stop.
        modes: Some(&[Mode::Bare, Mode::Run]),
        ..Scenario::default()
    });
}

#[test]
fn f20_with_a_terminal_of_its_own_it_runs_on_in_the_background_and_hears_when_it_is_in_front() {
    play(&Scenario {
        steps: &[
            Keys("./it sed -u s/one/other/ &\n"),
            Until(&[At("$ "), Shows("[1] ")]),
            Keys("jobs; echo here-$((1+1))\n"),
            Until(&[Prompt, Shows("here-2"), Shows("Running"), Hides("Stopped")]),
            Keys("clear; fg\n"),
            Until(&[At(""), Shows("./it sed -u s/one/other/"), Hides("here")]),
            Keys("one line\n"),
            Until(&[At(""), Shows("other line")]),
            Keys("\x04"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-0")]),
        ],
        modes: Some(&[Mode::Pty]),
        ..Scenario::default()
    });
}

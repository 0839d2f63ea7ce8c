//! Programs that ask the person and not their standard input, and switch the echo off for it.

use puppet::{Feature, needs};

use crate::side_by_side::Sign::{At, Hides, Prompt, Shows};
use crate::side_by_side::Step::{Keys, Until};
use crate::side_by_side::{Scenario, play};

#[test]
fn ssh_keygen_asks_for_its_passphrase_twice() {
    if !needs(Feature::Program("ssh-keygen")) {
        return;
    }
    play(&Scenario {
        steps: &[
            Keys("./it ssh-keygen -q -t ed25519 -f key\n"),
            Until(&[At("Enter passphrase (empty for no passphrase): ")]),
            Keys("open sesame\n"),
            Until(&[At("Enter same passphrase again: "), Hides("sesame")]),
            Keys("open sesame\n"),
            Until(&[Prompt, Hides("sesame")]),
            Keys("echo code-$?; clear; ./it ssh-keygen -y -P 'open sesame' -f key | cut -c 1-11\n"),
            Until(&[Prompt, Shows("ssh-ed25519")]),
        ],
        ..Scenario::default()
    });
}

/// As `sudo` does it.
const ASKER: (&str, &str) = (
    "asker",
    "#!/bin/sh
     before=$(stty -g </dev/tty)
     stty -echo </dev/tty
     printf 'Password: ' >/dev/tty
     read answer </dev/tty
     stty $before </dev/tty
     echo >/dev/tty
     echo got-${#answer}-letters\n",
);

#[test]
fn f20_who_opens_the_terminal_itself_may_ask_whatever_its_stdin_is() {
    play(&Scenario {
        files: &[ASKER],
        steps: &[
            Keys("./it ./asker\n"),
            Until(&[At("Password: ")]),
            Keys("sesame\n"),
            Until(&[Prompt, Shows("got-6-letters"), Hides("sesame")]),
            Keys("clear; ./it ./asker </dev/null\n"),
            Until(&[At("Password: ")]),
            Keys("sesame7\n"),
            Until(&[Prompt, Shows("got-7-letters"), Hides("sesame")]),
            Keys("clear; echo x | ./it ./asker | cat\n"),
            Until(&[At("Password: ")]),
            Keys("sesame78\n"),
            Until(&[Prompt, Shows("got-8-letters"), Hides("sesame")]),
            // Ctrl-C leaves the echo off, and somebody must put it back.
            Keys("clear; ./it ./asker </dev/null\n"),
            Until(&[At("Password: "), Hides("letters")]),
            Keys("ses\x03"),
            Until(&[Prompt, Hides("letters")]),
        ],
        ..Scenario::default()
    });
}

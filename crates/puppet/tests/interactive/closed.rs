//! The window is closed: the program ends and foster with it, whatever they think of HUP, and nobody spins. Scenario
//! F24.

use std::path::Path;
use std::time::Duration;

use puppet::{Actor, Window, eventually, program, state};

use crate::side_by_side::{place, with_foster};

#[test]
fn f24_foster_waits_for_who_ignores_it_without_spinning() {
    for mode in with_foster() {
        let place = place(mode, &[]);
        let puppet = program();
        let puppet = puppet.to_str().expect("UTF-8");
        // In all the time of the grace the terminal is gone, and foster must not look at it over and over.
        let script = ["env", "OPTIONS=-k 2", "./it", puppet, "ignore", "HUP", "ignore", "TERM", "wait"];
        let window = Window::open(&script, &place, 24, 80);
        let leader = Actor::of(ready(&window));
        let foster = window.program.id();
        let before = cpu(foster);
        let mut program = window.hang_up();
        eventually("foster ends", || state(foster), |state| *state == Some('Z'));
        let spent = cpu(foster).saturating_sub(before);
        assert!(spent < Duration::from_millis(50), "{mode:?}: {spent:?}");
        leader.dies();
        assert_eq!(program.wait().expect("waitable").code(), Some(137), "{mode:?}");
    }
}

#[test]
fn f24_who_floods_the_terminal_that_is_gone_is_ended() {
    // It does not live long, whatever becomes of the test.
    let flooder = "#!/bin/sh\nulimit -t 20\ntrap '' HUP TERM\necho $$ >flood\nwhile :; do echo line; done\n";
    for mode in with_foster() {
        let place = place(mode, &[("flooder", flooder)]);
        let window = Window::open(&["env", "OPTIONS=-k 0.5", "./it", "./flooder"], &place, 24, 80);
        window.wait_for("it floods", |screen| screen.rows[..23].iter().all(|row| row == "line"));
        let leader = Actor::of(pid_in(&place.join("flood")));
        let mut program = window.hang_up();
        leader.dies();
        let foster = program.id();
        eventually("foster ends", || state(foster), |state| *state == Some('Z'));
        assert_eq!(program.wait().expect("waitable").code(), Some(137), "{mode:?}");
    }
}

#[test]
fn f24_below_a_shell_too() {
    for mode in with_foster() {
        let place = place(mode, &[]);
        let window = Window::open(&["bash", "--norc", "--noprofile", "-i"], &place, 24, 80);
        window.wait_for("the prompt", |screen| screen.before_cursor() == "$ ");
        window.type_keys(&format!(
            "OPTIONS='-k 0.5' ./it {} ignore HUP ignore TERM wait\n",
            program().display()
        ));
        let leader = Actor::of(ready(&window));
        let foster = Actor::of(pid_in(&place.join("pid")));
        let mut shell = window.hang_up();
        leader.dies();
        foster.dies();
        shell.wait().expect("waitable");
    }
}

/// The pid in `leader: ready PID`.
#[track_caller]
fn ready(window: &Window) -> u32 {
    let screen = window.wait_for("the program runs", |screen| {
        screen.shows("leader: ready ") && screen.before_cursor().is_empty()
    });
    let row = screen.rows.iter().find_map(|row| row.strip_prefix("leader: ready "));
    row.expect("it is there").parse().expect("a pid")
}

#[track_caller]
fn pid_in(file: &Path) -> u32 {
    std::fs::read_to_string(file).expect("it was written").trim().parse().expect("a pid")
}

/// What a process has used of the processors so far, until it is reaped; `proc(5)`, in hundredths of a second.
#[track_caller]
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("its name ends").1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(10 * ticks)
}

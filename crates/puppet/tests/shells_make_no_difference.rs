//! A shell in the middle, of whatever kind, keeps nothing from a stop.

use foster::Command;
use puppet::{Actor, Feature, Stage, command_line, eventually, group_members, needs, within};

/// Each shape has its own number of seconds, by which its process is recognized.
const SHAPES: [&str; 5] = ["sleep N", "sleep N; true", "sleep N | cat", "(sleep N)", "sleep N & wait"];

fn stop_leaves_nothing(shell: &[&str], first: u32) {
    for (seconds, shape) in (first..).zip(SHAPES) {
        for kill in [false, true] {
            let seconds = seconds.to_string();
            let line = shape.replace('N', &seconds);
            let command = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(&line);
            let stage = Stage::start(&command);
            let group = stage.child().pid().expect("it runs");
            let sleeps = |pid: &u32| {
                command_line(*pid).is_some_and(|words| {
                    // Busybox may be its own sleep.
                    words.last() == Some(&seconds) && words.iter().any(|word| word.ends_with("sleep"))
                })
            };
            let found = eventually(&line, || group_members(group).into_iter().find(sleeps), Option::is_some);
            let sleeper = Actor::of(found.expect("just found"));
            let gone = if kill { stage.child().kill() } else { stage.child().stop() };
            let exit = within(&gone);
            assert!(!sleeper.alive(), "{shell:?} -c {line:?}");
            assert_eq!(group_members(group), [0; 0], "{shell:?} -c {line:?}");
            assert!(!exit.forced, "{shell:?} -c {line:?}: {exit}");
            // Whoever had escaped would hold the pipe.
            stage.curtain();
        }
    }
}

#[test]
fn f13_dash() {
    if needs(Feature::Program("dash")) {
        stop_leaves_nothing(&["dash"], 301);
    }
}

#[test]
fn f13_bash() {
    if needs(Feature::Program("bash")) {
        stop_leaves_nothing(&["bash"], 311);
    }
}

#[test]
fn f13_busybox() {
    if needs(Feature::Program("busybox")) {
        stop_leaves_nothing(&["busybox", "sh"], 321);
    }
}

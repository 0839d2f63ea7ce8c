//! However the program ends, and be it with foster: the terminal has its modes again, and the shell is in front.
//! Scenario F41.

use foster::Signal;
use puppet::{Actor, Screen, Window, long_enough, program};

use crate::side_by_side::{place, with_foster};

/// Leaves the terminal as bad as it can.
fn spoiler() -> String {
    format!("#!/bin/sh\nstty raw -echo\nexec {} \"$@\"\n", program().display())
}

/// Who ends it.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Itself, or foster after its time.
    Itself,
    /// Somebody who sends the program this.
    Program(Signal),
    /// Somebody who sends foster this.
    Foster(Signal),
}

/// Foster's options, the program's script, and the code in the shell. `TIME` is long enough for the program to begin.
const ENDS: &[(&str, &str, End, &str)] = &[
    ("", "exit 3", End::Itself, "code-3."),
    ("", "raise SEGV", End::Itself, "code-139."),
    ("-t TIME -k 0", "wait", End::Itself, "code-124."),
    ("-t TIME -k 0.3", "ignore TERM wait", End::Itself, "code-124."),
    ("", "wait", End::Program(Signal::KILL), "code-137."),
    ("", "wait", End::Foster(Signal::TERM), "code-143."),
    ("", "wait", End::Foster(Signal::INT), "code-130."),
    ("-k 0", "wait", End::Foster(Signal::HUP), "code-129."),
    // Then it is the shell that puts it back: nobody else is left.
    ("", "wait", End::Foster(Signal::KILL), "code-137."),
];

#[test]
fn f41_after_any_end_the_terminal_is_as_it_was() {
    for mode in with_foster() {
        let place = place(mode, &[("spoiler", &spoiler())]);
        let window = Window::open(&["bash", "--norc", "--noprofile", "-i"], &place, 24, 80);
        let shell = window.program.id();
        window.wait_for("the prompt", |screen| screen.before_cursor() == "$ ");
        let before = window.modes();
        for (n, (options, script, end, code)) in ENDS.iter().enumerate() {
            let what = format!("{mode:?}, {options} {script}, {end:?}");
            // In which column the prompt stands depends on how raw the terminal was when it was written.
            let is_back = |screen: &Screen| {
                screen.before_cursor().ends_with("$ ")
                    && window.foreground() == Some(shell)
                    && window.modes() == before
            };
            let ended = place.join("ended");
            let ready = long_enough(|time| {
                _ = std::fs::remove_file(&ended);
                let options = options.replace("TIME", &time.as_secs_f64().to_string());
                let start = format!("OPTIONS='{options}' ./it ./spoiler {script}");
                window.type_keys(&format!("{start}; code=$?; : >ended; (exit $code)\n"));
                let seen =
                    |screen: &Screen| ready(&screen.rows).is_some() || ended.exists() && is_back(screen);
                let seen = window.wait_for(&what, seen);
                if ready(&seen.rows).is_none() {
                    window.type_keys("clear\n");
                    window.wait_for(&what, |screen| !screen.shows("spoiler") && is_back(screen));
                    return None;
                }
                Some(seen)
            });
            match end {
                End::Itself => {}
                End::Program(signal) => {
                    Actor::of(ready_pid(&ready.rows)).signal(*signal);
                }
                End::Foster(signal) => {
                    let foster = std::fs::read_to_string(place.join("pid")).expect("`it` wrote it");
                    Actor::of(foster.trim().parse().expect("a pid")).signal(*signal);
                }
            }
            window.wait_for(&what, is_back);
            // Typed and read as before.
            window.type_keys(&format!("echo code-$?. {n}-after\n"));
            window.wait_for(&what, |screen| {
                screen.shows(&format!("{code} {n}-after")) && screen.before_cursor() == "$ "
            });
            assert_eq!(window.modes(), before, "{what}");
            // What the next one says is not to be taken for what stands there already.
            window.type_keys("clear\n");
            window.wait_for(&what, |screen| !screen.shows("after") && screen.before_cursor() == "$ ");
        }
        window.type_keys("exit 0\n");
    }
}

/// The pid in `leader: ready PID`, when its row is done.
fn ready(rows: &[String]) -> Option<u32> {
    let row = rows.iter().position(|row| row.contains("leader: ready "))?;
    rows[row].rsplit_once(' ')?.1.parse().ok()
}

fn ready_pid(rows: &[String]) -> u32 {
    ready(rows).expect("it was there")
}

//! Programs that take the whole screen and give it back: `vim`, `less`, `top`.

use puppet::{Feature, Stage, needs, puppet};

use crate::side_by_side::Sign::{Asleep, At, Full, Hides, NoCursor, Prompt, Shows};
use crate::side_by_side::Step::{Each, Keys, Resize, Until};
use crate::side_by_side::{Scenario, play};

#[test]
fn f40_vim_writes_its_file_and_comes_back_after_ctrl_z() {
    if !needs(Feature::Program("vim")) {
        return;
    }
    play(&Scenario {
        steps: &[
            Keys("./it vim -u NONE -N -i NONE notes\n"),
            Until(&[Full, Shows("\"notes\" [New]")]),
            Keys("ifirst line\nsecond line"),
            Until(&[Full, Shows("second line"), Shows("-- INSERT --")]),
            Keys("\x1b"),
            Until(&[Full, Hides("-- INSERT --")]),
            Keys("\x1a"),
            Until(&[Prompt, Shows("Stopped")]),
            Keys("echo between-$((1+1))\n"),
            Until(&[Prompt, Shows("between-2")]),
            Keys("fg\n"),
            Until(&[Full, Shows("second line")]),
            Resize(30, 100),
            Keys("Go"),
            Until(&[Full, Shows("-- INSERT --")]),
            Keys("third line"),
            Until(&[Full, Shows("third line")]),
            // A second time: what is put back must be as good as it was.
            Keys("\x1b"),
            Until(&[Full, Hides("-- INSERT --")]),
            Keys("\x1a"),
            Until(&[Prompt]),
            Keys("fg\n"),
            Until(&[Full, Shows("third line")]),
            Keys(":wq\n"),
            Until(&[Prompt]),
            Keys("echo code-$?; cat notes; stty size\n"),
            Until(&[Prompt, Shows("code-0"), Shows("third line"), Shows("30 100")]),
        ],
        ..Scenario::default()
    });
}

#[test]
fn less_pages_searches_and_follows_the_size() {
    if !needs(Feature::Program("less")) {
        return;
    }
    let rows: Vec<String> = (1..=300).map(|n| format!("row {n} of many")).collect();
    let numbers = rows.join("\n");
    play(&Scenario {
        files: &[("numbers", &numbers)],
        steps: &[
            Keys("./it less numbers\n"),
            Until(&[Full, Shows("row 23 of"), Hides("row 24 of"), At("numbers")]),
            Keys(" "),
            Until(&[Full, Shows("row 46 of"), At(":")]),
            Keys("/row 150\n"),
            Until(&[Full, Shows("row 172 of"), At(":")]),
            // A key behind it: one that is told of its size just before it waits for a key looks only then.
            Resize(12, 60),
            Keys("r"),
            Until(&[Full, Shows("row 160 of"), Hides("row 161 of"), At(":")]),
            Resize(40, 120),
            Keys("r"),
            Until(&[Full, Shows("row 188 of"), At(":"), Asleep("less")]),
            Keys("\x1a"),
            Until(&[Prompt, Shows("Stopped")]),
            Keys("fg\n"),
            Until(&[Full, Shows("row 188 of"), At(":")]),
            Keys("g"),
            Until(&[Full, Shows("row 39 of"), At(":")]),
            Keys("q"),
            Until(&[Prompt]),
            Keys("cat numbers | ./it less; echo code-$?\n"),
            Until(&[Full, Shows("row 39 of"), At(":")]),
            Keys("G"),
            Until(&[Full, Shows("row 300 of"), At("(END)")]),
            Keys("q"),
            Until(&[Prompt, Shows("code-0")]),
        ],
        ..Scenario::default()
    });
}

#[test]
fn f40_top_draws_and_comes_back_after_ctrl_z() {
    if !needs(Feature::Program("top")) {
        return;
    }
    let watched = Stage::start(&puppet("wait"));
    let watched = watched.child().pid().expect("it runs");
    play(&Scenario {
        mask: Some(without_numbers),
        steps: &[
            Keys(&format!("./it top -d 100 -p {watched}\n")),
            Until(&[NoCursor, Shows("PID USER"), Shows(&format!("{watched} ")), Shows("puppet")]),
            // It stops itself with STOP, once it has put the terminal back.
            Keys("\x1a"),
            Until(&[Prompt, Shows("Stopped")]),
            Keys("fg\n"),
            // Whether it hides the cursor again before the next key is a matter of luck.
            Each(&[Shows("PID USER"), Hides("Stopped")]),
            Keys("h"),
            Until(&[Shows("Help for Interactive Commands")]),
            Keys("q"),
            Until(&[NoCursor, Shows("PID USER")]),
            Keys("q"),
            Until(&[Prompt]),
            Keys("echo code-$?\n"),
            Until(&[Prompt, Shows("code-0")]),
        ],
        ..Scenario::default()
    });
}

/// Loads, sizes and times change from one moment to the next, and with them the width of their columns.
fn without_numbers(row: &str) -> String {
    let words = row.split(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == ' ');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    // The time, and how long the machine has been up, in words of its own.
    if row.starts_with("top - ") { "top -".to_string() } else { words.join(" ") }
}

//! One scenario, played in several windows at the same time: without foster, and with it in each way. The same keys go
//! to all, and at each step all screens must become equal.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use puppet::{DEADLINE, Screen, Window, alive, eventually, foster, named_from, scratch, state};

/// How the program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Bare,
    Run,
    /// In a terminal of its own.
    Pty,
}

/// All of them, the one to compare with first.
pub(crate) const MODES: &[Mode] = &[Mode::Bare, Mode::Run, Mode::Pty];

/// What is played. `./it PROGRAM…` starts the program, and becomes it or the foster above it.
#[derive(Default)]
pub(crate) struct Scenario<'a> {
    /// What is in the working directory, apart from `it`; all may be executed.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Takes out of a row what differs each time.
    pub(crate) mask: Option<fn(&str) -> String>,
    pub(crate) steps: &'a [Step<'a>],
    /// In which modes it is played, where not in all.
    pub(crate) modes: Option<&'a [Mode]>,
}

/// The ways with foster.
pub(crate) fn with_foster() -> impl Iterator<Item = Mode> {
    MODES.iter().copied().filter(|mode| *mode != Mode::Bare)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Keys(&'a str),
    /// Rows and columns.
    Resize(u16, u16),
    /// Waits until all of these hold in all windows, and the screens are equal.
    Until(&'a [Sign<'a>]),
    /// Waits until all of these hold in all windows, and no more.
    Each(&'a [Sign<'a>]),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Sign<'a> {
    /// The text stands in a row.
    Shows(&'a str),
    /// It stands in none.
    Hides(&'a str),
    /// Nothing but this stands before the cursor in its row.
    At(&'a str),
    /// The program has taken the other screen.
    Full,
    /// The cursor is not to be seen.
    NoCursor,
    /// The program of this name waits for something, and a signal will wake it up. Many look whether a signal has come and
    /// wait for a key after that: one that comes in between is lost on them until the next key.
    Asleep(&'a str),
    /// The shell waits for a command: its group is in front, and the terminal has the modes it had at the first prompt.
    Prompt,
}

/// Plays it in shells with job control, and ends them.
#[track_caller]
pub(crate) fn play(scenario: &Scenario<'_>) {
    let mut windows = Windows::open(scenario, &["bash", "--norc", "--noprofile", "-i"]);
    windows.until(&[Sign::At("$ ")], true);
    // What programs that put it right put it to.
    windows.type_keys("stty sane; clear; echo ready-$((1+1))\n");
    windows.until(&[Sign::At("$ "), Sign::Shows("ready-2")], true);
    for (_, window) in &mut windows.all {
        window.modes_at_prompt = window.window.modes();
    }
    windows.play(scenario.steps);
    windows.until(&[Sign::Prompt], true);
    windows.type_keys("exit 0\n");
    windows.end_with(0);
}

/// Plays it with nobody between the window and `./it PROGRAM…`, which ends with this code.
#[track_caller]
pub(crate) fn play_without_shell(words: &[&str], scenario: &Scenario<'_>, code: i32) {
    let mut windows = Windows::open(scenario, &[&["./it"], words].concat());
    windows.play(scenario.steps);
    windows.end_with(code);
}

/// A directory with an `it` for this mode. What stands in `OPTIONS` in the environment goes to foster.
#[track_caller]
pub(crate) fn place(mode: Mode, files: &[(&str, &str)]) -> PathBuf {
    let place = scratch("window");
    let foster = foster();
    let it = match mode {
        Mode::Bare => String::new(),
        Mode::Run => format!("{} run $OPTIONS --", foster.display()),
        Mode::Pty => format!("{} run --pty $OPTIONS --", foster.display()),
    };
    // Its pid stays: a test that must hit foster itself finds it there.
    let it = format!("#!/bin/sh\necho $$ >pid\nexec {it} \"$@\"\n");
    // Another process writes what is to be executed. What we have open for writing, a child that another thread starts
    // has open too until its exec, and then it is busy (ETXTBSY).
    let mut install = Command::new("install");
    let drafts = scratch("drafts");
    for (name, text) in [("it", it.as_str())].iter().chain(files) {
        fs::write(drafts.join(name), text).expect("the file can be written");
        install.arg(drafts.join(name));
    }
    assert!(install.arg(&place).status().expect("install starts").success(), "{install:?}");
    place
}

struct Windows {
    all: Vec<(Mode, Side)>,
    mask: Option<fn(&str) -> String>,
    /// What stood in the first one when the first keys since then were typed.
    before: Option<Screen>,
}

struct Side {
    window: Window,
    modes_at_prompt: String,
}

impl Windows {
    #[track_caller]
    fn open(scenario: &Scenario<'_>, words: &[&str]) -> Windows {
        let open = |mode: &Mode| {
            let window = Window::open(words, &place(*mode, scenario.files), 24, 80);
            (*mode, Side { window, modes_at_prompt: String::new() })
        };
        Windows {
            all: scenario.modes.unwrap_or(MODES).iter().map(open).collect(),
            mask: scenario.mask,
            before: None,
        }
    }

    #[track_caller]
    fn play(&mut self, steps: &[Step<'_>]) {
        for step in steps {
            match step {
                Step::Keys(keys) => self.type_keys(keys),
                Step::Resize(rows, cols) => {
                    self.note_before();
                    self.all.iter().for_each(|(_, side)| side.window.resize(*rows, *cols));
                }
                Step::Until(signs) => self.until(signs, true),
                Step::Each(signs) => self.until(signs, false),
            }
        }
    }

    #[track_caller]
    fn type_keys(&mut self, keys: &str) {
        self.note_before();
        self.all.iter().for_each(|(_, side)| side.window.type_keys(keys));
    }

    fn note_before(&mut self) {
        let (_, first) = &self.all[0];
        self.before.get_or_insert_with(|| first.window.screen());
    }

    #[track_caller]
    fn until(&mut self, signs: &[Sign<'_>], and_equal: bool) {
        // The screens were equal when the keys were typed, so that one speaks for all.
        if let Some(before) = self.before.take() {
            let held = signs.iter().all(|sign| sign.stands_in(&before));
            assert!(!held, "{signs:?} held before the keys were typed, and would prove nothing");
        }
        let end = Instant::now() + DEADLINE;
        loop {
            let seen: Vec<Screen> = self.all.iter().map(|(_, side)| self.masked(side)).collect();
            let equal = !and_equal || seen.iter().all(|screen| *screen == seen[0]);
            let late = self.all.iter().find(|(_, side)| !signs.iter().all(|sign| sign.holds(side)));
            if equal && late.is_none() {
                return;
            }
            if Instant::now() > end {
                let late = late.map_or("the screens differ".to_string(), |(mode, side)| {
                    let modes = side.window.modes();
                    let same = if modes == side.modes_at_prompt { "" } else { "not " };
                    format!(
                        "not all of it holds in {mode:?}; in front is {:?}, the shell is {}, the modes are {same}those \
                         of the first prompt",
                        side.window.foreground(),
                        side.window.program.id()
                    )
                });
                let seen = self.all.iter().zip(&seen);
                let screens: Vec<String> =
                    seen.map(|((mode, _), screen)| format!("{mode:?}:\n{screen}")).collect();
                panic!("{signs:?}: {late}\n{}", screens.join("\n"));
            }
            let (_, side) = late.unwrap_or(&self.all[0]);
            side.window.wait_for_more(Duration::from_millis(10));
        }
    }

    fn masked(&self, side: &Side) -> Screen {
        let mut screen = side.window.screen();
        if let Some(mask) = self.mask {
            screen.rows.iter_mut().for_each(|row| *row = mask(row));
        }
        screen
    }

    #[track_caller]
    fn end_with(self, code: i32) {
        for (mode, Side { mut window, .. }) in self.all {
            let pid = window.program.id();
            eventually("the window's program ends", || alive(pid), |alive| !alive);
            assert_eq!(window.program.wait().expect("waitable").code(), Some(code), "{mode:?}");
        }
    }
}

impl Sign<'_> {
    fn holds(&self, side: &Side) -> bool {
        let of_the_terminal = match self {
            Sign::Prompt => {
                side.window.foreground() == Some(side.window.program.id())
                    && side.window.modes() == side.modes_at_prompt
            }
            Sign::Asleep(name) => {
                let named = named_from(side.window.program.id(), name);
                !named.is_empty() && named.iter().all(|pid| state(*pid) == Some('S'))
            }
            Sign::Shows(_) | Sign::Hides(_) | Sign::At(_) | Sign::Full | Sign::NoCursor => true,
        };
        of_the_terminal && self.stands_in(&side.window.screen())
    }

    fn stands_in(&self, screen: &Screen) -> bool {
        match self {
            Sign::Shows(text) => screen.shows(text),
            Sign::Hides(text) => !screen.shows(text),
            Sign::At(text) => screen.before_cursor() == *text,
            Sign::Full => screen.alternate,
            Sign::NoCursor => !screen.cursor_shown,
            Sign::Asleep(_) => true,
            Sign::Prompt => !screen.alternate && screen.before_cursor() == "$ ",
        }
    }
}

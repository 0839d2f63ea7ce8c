//! A process of its own for a test: for limits, dispositions, counts of zombies and descriptors, and whatever else
//! belongs to a whole process and not to one of its threads.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Actor, limit_life};

/// Set in the process that was started to run one test alone.
const MARK: &str = "FOSTER_TEST_ALONE";

/// Longer than anything in it waits.
const LIFE: Duration = Duration::from_secs(170);

/// Runs the test's body in a process of its own. It must be all that the test does, and the closure must stand
/// directly in the test function, whose name is read from the closure's type.
#[track_caller]
pub fn alone<F: FnOnce()>(body: F) {
    alone_under(&[], body);
}

/// As [`alone`], and the process is started by these words, such as `unshare -p -f` or `env PATH=/nonexistent`.
#[track_caller]
pub fn alone_under<F: FnOnce()>(words: &[&str], body: F) {
    let full = std::any::type_name::<F>();
    let path = full.strip_suffix("::{{closure}}").expect("the closure stands in the test");
    let test = path.split_once("::").expect("a crate and a function").1;
    if std::env::var_os(MARK).is_some_and(|mark| mark == test) {
        limit_life(LIFE);
        return body();
    }
    let us = std::env::current_exe().expect("we run from a file");
    let mut command = match words.split_first() {
        None => Command::new(&us),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&us);
            command
        }
    };
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(MARK, test);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let actor = Actor::of(child.id());
    // The body limits its own life, but not when it is pid 1 of a namespace: what a pid 1 sends itself does not
    // kill it.
    let done = std::thread::scope(|scope| {
        let (told, tell) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            if tell.recv_timeout(LIFE + Duration::from_secs(5))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                actor.signal(foster::Signal::KILL);
            }
        });
        let mut err = child.stderr.take().expect("piped");
        let errors = scope.spawn(move || std::io::read_to_string(&mut err).unwrap_or_default());
        let out = std::io::read_to_string(child.stdout.take().expect("piped")).unwrap_or_default();
        let status = child.wait().expect("it is our child");
        drop(told);
        (status, out, errors.join().expect("reading does not panic"))
    });
    let (status, out, errors) = done;
    // A name that fits no test would run nothing, successfully.
    let passed = status.success() && out.contains("test result: ok. 1 passed");
    assert!(passed, "{test}, alone: {status}\n{out}\n{errors}");
    // «not run» must be seen.
    _ = std::io::stderr().write_all(errors.as_bytes());
}

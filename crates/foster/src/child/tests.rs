//! What can only be seen from inside.

use std::thread;
use std::time::{Duration, Instant};

use crate::known::Known;
use crate::{Command, Containment};

/// Longer than any machine takes, and no longer than anybody waits.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn the_engine_waits_for_nobodys_lock() {
    let quick = Command::shell("read _; exit 3").stdin(crate::Input::Piped).containment(Containment::Group);
    let [one, other] = [&quick, &quick].map(|command| command.spawn().expect("sh is there"));
    one.0.run.while_locked(|| {
        drop(one.take_stdin());
        let end = Instant::now() + DEADLINE;
        while !one.0.run.has_something_to_take_in() {
            assert!(Instant::now() < end, "the engine has not seen it");
            thread::yield_now();
        }
        // It has gone on to others.
        drop(other.take_stdin());
        let exit = other.wait_timeout(DEADLINE).expect("the engine brings it");
        assert_eq!(exit.shell_code(), Some(3));
        assert!(one.0.run.read(|known| known.exit().is_none()), "nobody can have told");
    });
    // Who gave the lock back has taken in what was seen.
    assert_eq!(one.0.run.read(Known::exit).and_then(|exit| exit.shell_code()), Some(3));
}

//! From a thread: run a program with a timeout and a grace, and learn how it ended.

use std::time::Duration;

use foster::{Cause, Command};

fn main() -> Result<(), foster::Error> {
    // It ignores the polite request, as does what it started.
    let deaf = Command::shell("trap '' TERM; sleep 60 & sleep 60")
        .timeout(Duration::from_millis(300))
        .grace(Duration::from_millis(200));
    let exit = deaf.spawn()?.wait();
    assert_eq!((exit.cause, exit.forced), (Cause::TimedOut, true));
    println!("deaf: {}", exit.status);

    // One that obeys, stopped from here.
    let child = Command::new("sleep").arg("60").spawn()?;
    let exit = child.stop().wait()?.exit;
    println!("sleep: {}, {:?}", exit.status, exit.cause);
    Ok(())
}

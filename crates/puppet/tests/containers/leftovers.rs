//! What the program leaves: orphans are reaped while it runs, and whoever is there after it is asked and has time.

use foster::Status;
use puppet::eventually;

use crate::podman::Container;

#[test]
fn orphans_are_reaped_while_the_program_lives_on() {
    // Each `middle` dies at once and leaves one orphan to PID 1; all of them end at the same time.
    let orphan = "[ fork orphan [ trap-exit USR1 9 wait ] sleep 0.2 ]";
    let script = format!(
        "fork middle {orphan} fork middle {orphan} fork middle {orphan} \
         ignore USR1 trap-exit TERM 3 wait"
    );
    let Some(container) = Container::start("", &script) else { return };
    let leader = container.ready("leader");
    let mut expected = vec![1, leader];
    let orphans = [0; 3].map(|_| container.ready("orphan"));
    // The program itself reaps nobody: each `middle` is its zombie.
    let middles = [0; 3].map(|_| container.ready("middle"));
    expected.extend(middles);
    expected.sort_unstable();
    eventually(
        "the middles are dead",
        || container.room.states(),
        |states| middles.iter().all(|pid| states.get(pid) == Some(&'Z')),
    );
    for orphan in orphans {
        container.room.exec(&format!("kill -USR1 {orphan}"));
    }
    eventually(
        "no orphan is left, not even as a zombie",
        || container.room.states().into_keys().collect::<Vec<_>>(),
        |pids| *pids == expected,
    );
    container.stop();
    assert_eq!(container.exit().status, Status::Exited(3));
}

/// The program exits by itself while `rest`, which is set up by these verbs, is there.
#[track_caller]
fn rest_is_asked(set_up: &str) {
    let said = "append /out/said asked sleep 0.5 append /out/said done exit 0";
    let script = format!(
        "ignore USR1 fork rest [ {set_up} on TERM [ {said} ] append /out/said ready wait ] \
         trap-exit USR1 4 wait"
    );
    let Some(container) = Container::start("--grace 20s", &script) else { return };
    container.ready("leader");
    eventually("the rest is ready", || container.room.lines("said"), |lines| lines == &["ready"]);
    container.kill("USR1");
    assert_eq!(container.exit().status, Status::Exited(4));
    assert_eq!(container.room.lines("said"), ["ready", "asked", "done"]);
}

#[test]
fn a_leftover_in_the_programs_group_is_asked_and_has_its_grace() {
    rest_is_asked("");
}

#[test]
fn a_leftover_that_made_itself_a_daemon_is_asked_and_has_its_grace() {
    rest_is_asked("setsid");
}

#[test]
fn podman_stop_asks_a_daemon_too() {
    let said = "append /out/said asked sleep 0.5 append /out/said done exit 0";
    let script =
        format!("fork rest [ setsid on TERM [ {said} ] append /out/said ready wait ] trap-exit TERM 4 wait");
    let Some(container) = Container::start("--grace 20s", &script) else { return };
    container.ready("leader");
    eventually("the rest is ready", || container.room.lines("said"), |lines| lines == &["ready"]);
    container.stop();
    assert_eq!(container.exit().status, Status::Exited(4));
    assert_eq!(container.room.lines("said"), ["ready", "asked", "done"]);
}

#[test]
fn leftovers_that_ignore_term_are_killed_after_the_grace() {
    let script = "ignore TERM ignore USR1 fork rest [ append /out/said ready wait ] trap-exit USR1 5 wait";
    let Some(container) = Container::start("--grace 1s", script) else { return };
    container.ready("leader");
    eventually("the rest is ready", || container.room.lines("said"), |lines| lines == &["ready"]);
    container.kill("USR1");
    assert_eq!(container.exit().status, Status::Exited(5));
}

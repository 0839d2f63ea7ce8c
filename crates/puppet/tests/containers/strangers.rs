//! What `podman exec` starts has no parent in the container, and is nobody's business there: its orphans are reaped,
//! it is asked nothing, and it holds up nothing.

use std::time::{Duration, Instant};

use foster::Status;
use puppet::eventually;

use crate::podman::Container;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_orphan_of_a_stranger_is_reaped() {
    let Some(container) = Container::start("", "trap-exit TERM 3 wait") else { return };
    let leader = container.ready("leader");
    container.room.exec(
        "puppet name stranger fork orphan [ trap-exit USR1 9 append /out/orphan ready wait ] sleep 0.2 exit 7",
    );
    eventually("the orphan is ready", || container.room.lines("orphan"), |lines| lines == &["ready"]);
    // Those two and the orphan: the stranger itself is podman's to reap.
    let pids = || container.room.states().into_keys().collect::<Vec<_>>();
    let three = eventually("the stranger is gone", pids, |pids| pids.len() == 3);
    let orphan = three.into_iter().find(|pid| ![1, leader].contains(pid)).expect("the orphan is left");
    container.room.exec(&format!("kill -USR1 {orphan}"));
    eventually("the orphan is reaped", pids, |pids| *pids == [1, leader]);
    container.stop();
    assert_eq!(container.exit().status, Status::Exited(3));
}

#[test]
fn a_stranger_that_sleeps_does_not_hold_up_the_end() {
    let Some(container) = Container::start("--grace 40s", "trap-exit USR1 4 wait") else { return };
    container.ready("leader");
    container.room.exec("sleep 1000");
    container.room.exec(
        "puppet name stranger trap-exit USR1 5 on TERM [ append /out/stranger asked ] \
         append /out/stranger ready wait",
    );
    eventually("the stranger is ready", || container.room.lines("stranger"), |lines| lines == &["ready"]);
    let start = Instant::now();
    container.kill("USR1");
    assert_eq!(container.exit().status, Status::Exited(4));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(container.room.lines("stranger"), ["ready"], "it is not ours to ask");
}

#[test]
fn a_stranger_that_sleeps_does_not_hold_up_a_stop() {
    let Some(container) = Container::start("--grace 40s", "trap-exit TERM 4 wait") else { return };
    container.ready("leader");
    container.room.exec("puppet name stranger ignore TERM append /out/stranger ready wait");
    eventually("the stranger is ready", || container.room.lines("stranger"), |lines| lines == &["ready"]);
    let took = container.stop();
    assert!(took < SOON, "{took:?}");
    assert_eq!(container.exit().status, Status::Exited(4));
}

//! What is detached is left alone: it outlives its handles and its timeout, and is still reaped.

use std::time::Duration;

use foster::{Cause, EventKind, Signal, Status};
use puppet::{
    Actor, Before, DEADLINE, Feature, Host, Programs, Stage, User, alone, children, eventually, long_enough,
    needs, puppet, state, within,
};

#[test]
fn it_outlives_its_handles_and_is_reaped_when_it_ends() {
    alone(|| {
        let mut stage = Stage::play("trap USR2 here trap-exit USR1 0 wait");
        let leader = stage.leader();
        stage.child().detach();
        drop(stage.child().clone());
        stage.let_go();
        leader.signal(Signal::USR2);
        stage.expect("leader: here");
        leader.signal(Signal::USR1);
        leader.dies();
        eventually("it is reaped", children, Vec::is_empty);
    });
}

#[test]
fn it_has_no_timeout_any_more() {
    let (stage, timeout) = long_enough(|timeout| {
        let before = Before::begins(timeout);
        let stage = Stage::start(&puppet("trap-exit USR1 4 wait").timeout(timeout));
        stage.child().detach();
        before.still()?;
        Some((stage, timeout))
    });
    let leader = stage.leader();
    // The time is the promise here.
    std::thread::sleep(timeout + Duration::from_secs(1));
    leader.signal(Signal::USR1);
    let exit = within(&stage.child().gone());
    assert_eq!((exit.status, exit.cause), (Status::Exited(4), Cause::Own));
    assert!(!stage.child().events().any(|event| event.kind == EventKind::TimedOut));
}

#[test]
fn a_handle_can_still_wait_and_give_orders() {
    let stage = Stage::play("trap-exit TERM 5 wait");
    stage.leader();
    stage.child().detach();
    let exit = within(&stage.child().stop());
    assert_eq!((exit.status, exit.cause), (Status::Exited(5), Cause::Stopped));
}

#[test]
fn its_leftovers_stay() {
    let stage = Stage::play("fork worker [ trap USR1 here trap TERM asked wait ] trap-exit USR1 0 wait");
    let worker = stage.ready("worker");
    let leader = stage.leader();
    stage.child().detach();
    leader.signal(Signal::USR1);
    assert_eq!(within(&stage.child().gone()).leftovers, [worker.pid()]);
    worker.signal(Signal::USR1);
    stage.expect("worker: here");
    assert_eq!(stage.said("worker: asked"), 0);
    worker.signal(Signal::KILL);
    stage.curtain();
}

#[test]
fn an_order_given_before_stands() {
    let mut stage = Stage::start(&puppet("ignore TERM wait").grace(Duration::from_millis(200)));
    let leader = stage.leader();
    stage.child().stop();
    stage.child().detach();
    stage.let_go();
    leader.dies();
}

/// Also when a guard holds it, which ends what it holds when its supervisor ends. Here it learns both at the same time,
/// which was the end of the tree: it looked for the death first, and had not yet read that it was to let go.
#[test]
fn f16_it_outlives_the_supervisor() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for how in ["auto", "subreaper", "landlock", "freezer"] {
        let mut host = Host::start(&programs, User::Root, 100, &[]);
        let script = "fork daemon [ setsid trap USR2 here wait ] trap USR2 here wait";
        let got = host.run(how, script).unwrap_or_else(|why| panic!("{how}: {why}"));
        let pids = ["daemon: ready", "leader: ready"].map(|ready| host.hear(ready));
        let [daemon, leader] = pids.map(|pid| Actor::of(pid.parse().expect("a pid")));
        let guard = Actor::of(got.guard.expect("it has one"));
        guard.signal(Signal::STOP);
        eventually("the guard is stopped", || state(guard.pid()), |state| *state == Some('T'));
        let turns = sleeps(guard.pid());
        host.tell("detach");
        host.hear("supervisor: detached");
        host.kill();
        host.actor().dies();
        guard.signal(Signal::CONT);
        eventually("it has done what it then does", || sleeps(guard.pid()), |now| *now > turns);
        for (actor, says) in [(&daemon, "daemon: here"), (&leader, "leader: here")] {
            assert!(actor.alive(), "{how}: {says}");
            actor.signal(Signal::USR2);
            assert!(host.hear_within(says, DEADLINE).is_some(), "{how}: {says} was never said");
        }
    }
}

/// How often a process has gone to sleep; more than any number when it is dead.
fn sleeps(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.map_or(u64::MAX, |count| count.trim().parse().expect("a number"))
}

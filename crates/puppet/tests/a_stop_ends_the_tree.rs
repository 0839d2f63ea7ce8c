//! A stop asks, waits the grace, and kills what is left: of the whole tree, whatever the leader does meanwhile.

use std::time::Duration;

use foster::{Cause, Command, EventKind, Exit, Signal, Status};
use puppet::{Actor, Before, Feature, Stage, group_members, long_enough, needs, puppet, scratch, within};

const SHORT: Duration = Duration::from_millis(300);
const KILLED: Status = Status::Signaled { signal: Signal::KILL, core_dumped: false };

fn has_forced(stage: &Stage) -> bool {
    stage.child().events().any(|event| event.kind == EventKind::Forced)
}

#[test]
fn d02_the_forced_kill_reaches_more_than_the_leader() {
    let stage = Stage::start(&puppet("fork worker [ wait ] ignore TERM wait").grace(SHORT));
    let stubborn = Stage::start(&puppet("ignore TERM fork worker [ wait ] wait").grace(SHORT));
    for stage in [stage, stubborn] {
        let (worker, leader) = (stage.ready("worker"), stage.leader());
        let exit = within(&stage.child().stop());
        assert!(!leader.alive() && !worker.alive());
        assert_eq!((exit.status, exit.cause, exit.forced), (KILLED, Cause::Stopped, true));
    }
}

#[test]
fn d03_a_descendant_that_does_not_obey_does_not_stay() {
    let (stage, worker, exit) = the_leader_leaves_and_the_worker_does_not();
    assert!(!worker.alive());
    // The leader went by itself; the force was for the rest.
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(0), Cause::Stopped, false));
    assert_eq!(exit.leftovers, [worker.pid()]);
    assert!(has_forced(&stage));
}

/// A stop that the leader obeys within the grace.
#[track_caller]
fn the_leader_leaves_and_the_worker_does_not() -> (Stage, Actor, Exit) {
    long_enough(|grace| {
        let script = "fork worker [ ignore TERM wait ] trap-exit TERM 0 wait";
        let stage = Stage::start(&puppet(script).grace(grace));
        let (worker, leader) = (stage.ready("worker"), stage.leader());
        let grace = Before::begins(grace);
        let gone = stage.child().stop();
        leader.dies();
        grace.still()?;
        let exit = within(&gone);
        Some((stage, worker, exit))
    })
}

#[test]
fn d11_who_is_gone_is_dead() {
    for round in 0..40 {
        let stage = Stage::play("ignore TERM fork worker [ wait ] wait");
        let (worker, leader) = (stage.ready("worker"), stage.leader());
        let stop = (round % 2 == 0).then(|| stage.child().stop_now());
        let kill = stage.child().kill();
        within(&stop.unwrap_or(kill));
        assert!(!leader.alive() && !worker.alive());
        assert!(!puppet::alive(leader.pid()) && !puppet::alive(worker.pid()));
    }
}

#[test]
fn f01_leader_leaves_and_the_grace_goes_on() {
    let script = "fork worker [ trap TERM heard trap USR2 here on USR1 [ say done exit 0 ] wait ] trap-exit TERM 0 wait";
    let stage = Stage::start(&puppet(script).grace(Duration::from_secs(50)));
    let worker = stage.ready("worker");
    stage.leader();
    let gone = stage.child().stop();
    stage.expect("worker: heard");
    assert_eq!(stage.exit().status, Status::Exited(0));
    // The leader is dead, and the worker has its grace, which is not over; nobody calls that gone.
    stage.child().signal(Signal::USR2).expect("it is ours");
    stage.expect("worker: here");
    assert!(gone.wait_timeout(Duration::ZERO).is_none());
    worker.signal(Signal::USR1);
    stage.expect("worker: done");
    let exit = within(&gone);
    assert_eq!((exit.status, exit.cause), (Status::Exited(0), Cause::Stopped));
    assert!(!has_forced(&stage));
}

#[test]
fn f01_leader_leaves_and_the_escalation_is_not_cancelled() {
    let (stage, worker, _) = the_leader_leaves_and_the_worker_does_not();
    assert!(!worker.alive());
    let kinds: Vec<EventKind> = stage.child().events().map(|event| event.kind).collect();
    let [_, EventKind::Asked(Signal::TERM), EventKind::Exited(_), EventKind::Forced, EventKind::Gone(_)] =
        &kinds[..]
    else {
        panic!("{kinds:?}")
    };
}

#[test]
fn f02_more_than_the_direct_child_is_killed() {
    for how in ["kill", "stop", "timeout"] {
        // `; true` keeps the shell there: the sleep is its child.
        let mut command = Command::shell("echo ready; sleep 47; true");
        if how == "timeout" {
            command = command.timeout(Duration::from_secs(1));
        }
        let stage = Stage::start(&command);
        let group = stage.child().pid().expect("it runs");
        if how != "timeout" {
            stage.expect("ready");
        }
        let gone = match how {
            "kill" => stage.child().kill(),
            "stop" => stage.child().stop(),
            _ => stage.child().gone(),
        };
        within(&gone);
        assert_eq!(group_members(group), [0; 0], "{how}");
        // Nobody who could have left the group holds the pipe.
        stage.curtain();
    }
}

#[test]
fn f02_the_tree_of_a_leader_that_is_gone_is_killed() {
    let script = "fork one [ fork two [ ignore TERM wait ] ignore TERM wait ] trap-exit TERM 0 wait";
    let stage = Stage::start(&puppet(script).grace(Duration::from_secs(50)));
    let (one, two) = (stage.ready("one"), stage.ready("two"));
    stage.leader();
    stage.child().stop();
    stage.exit();
    assert!(one.alive() && two.alive());
    within(&stage.child().kill());
    assert!(!one.alive() && !two.alive());
}

#[test]
fn f10_who_ignores_the_signal_is_killed_when_the_grace_is_over() {
    let stage = Stage::start(&puppet("ignore TERM wait").grace(SHORT));
    stage.leader();
    let asked = std::time::Instant::now();
    let exit = within(&stage.child().stop());
    assert!(asked.elapsed() >= SHORT, "it had its grace");
    assert_eq!((exit.status, exit.cause, exit.forced), (KILLED, Cause::Stopped, true));
}

#[test]
fn f11_the_default_asks_before_it_kills() {
    let stage = Stage::play("on TERM [ say cleaned exit 3 ] wait");
    stage.leader();
    let exit = within(&stage.child().stop());
    stage.expect("leader: cleaned");
    assert_eq!((exit.status, exit.cause, exit.forced), (Status::Exited(3), Cause::Stopped, false));
}

#[test]
fn f11_a_shell_runs_its_exit_trap() {
    if !needs(Feature::Program("bash")) {
        return;
    }
    let directory = scratch("trap");
    let script = "trap 'echo cleaned > file' EXIT; trap 'exit 3' TERM; sleep 48 & echo ready; wait";
    let stage = Stage::start(&Command::new("bash").args(["-c", script]).current_dir(&directory));
    stage.expect("ready");
    let exit = within(&stage.child().stop());
    assert_eq!((exit.status, exit.forced), (Status::Exited(3), false));
    assert_eq!(std::fs::read_to_string(directory.join("file")).expect("the trap wrote it"), "cleaned\n");
}

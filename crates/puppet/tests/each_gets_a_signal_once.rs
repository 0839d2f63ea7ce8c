//! A signal reaches each process that is meant, once, and nobody else of the tree.
//!
//! The stop signal here is a real-time one: the kernel queues these, so that twice is heard as twice.

use std::time::Duration;

use foster::{Command, Signal, Target};
use puppet::{Stage, puppet, within};

const HOUR: Duration = Duration::from_secs(3600);

fn signal(name: &str) -> Signal {
    name.parse().expect("a signal's name")
}

/// A leader and a worker that count the stop signal, and leave at USR2.
fn counting(target: Target) -> Command {
    let script =
        "fork worker [ trap RTMIN+1 heard trap-exit USR2 0 wait ] trap RTMIN+1 heard trap-exit USR2 0 wait";
    puppet(script).stop_signal(signal("RTMIN+1")).target(target).grace(HOUR)
}

/// How often the leader and the worker have heard it, when both are dead.
fn counts(stage: &Stage) -> (usize, usize) {
    stage.curtain();
    (stage.said("leader: heard"), stage.said("worker: heard"))
}

#[test]
fn f07_the_group_hears_a_stop_once() {
    let stage = Stage::start(&counting(Target::Group));
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let gone = stage.child().stop();
    // Orders of the same strength join the first.
    stage.child().stop();
    stage.child().stop_now();
    stage.child().stop_with(signal("RTMIN+1"));
    stage.expect("leader: heard");
    stage.expect("worker: heard");
    leader.signal(Signal::USR2);
    stage.exit();
    stage.child().stop();
    worker.signal(Signal::USR2);
    within(&gone);
    assert_eq!(counts(&stage), (1, 1));
}

#[test]
fn f07_the_leader_alone_hears_a_stop_once() {
    let stage = Stage::start(&counting(Target::Leader));
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let gone = stage.child().stop();
    stage.expect("leader: heard");
    leader.signal(Signal::USR2);
    stage.exit();
    assert!(worker.alive());
    worker.signal(Signal::USR2);
    within(&gone);
    assert_eq!(counts(&stage), (1, 0));
}

#[test]
fn f07_the_rest_hears_a_stop_once_when_the_leader_took_its_time() {
    let stage = Stage::start(&counting(Target::LeaderThenGroup { after: Duration::from_millis(100) }));
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let gone = stage.child().stop();
    stage.expect("leader: heard");
    stage.expect("worker: heard");
    leader.signal(Signal::USR2);
    stage.exit();
    worker.signal(Signal::USR2);
    within(&gone);
    assert_eq!(counts(&stage), (1, 1));
}

#[test]
fn f07_the_rest_hears_a_stop_once_when_the_leader_leaves() {
    let stage = Stage::start(&counting(Target::LeaderThenGroup { after: HOUR }));
    let (worker, leader) = (stage.ready("worker"), stage.leader());
    let gone = stage.child().stop();
    stage.expect("leader: heard");
    assert_eq!(stage.said("worker: heard"), 0);
    leader.signal(Signal::USR2);
    stage.expect("worker: heard");
    worker.signal(Signal::USR2);
    within(&gone);
    assert_eq!(counts(&stage), (1, 1));
}

/// A master that hands the stop signal on to its worker and leaves after it.
fn cooperating(target: Target) -> Stage {
    let script = "fork worker [ trap RTMIN+1 heard trap-exit USR2 0 wait ] \
        on RTMIN+1 [ say heard tell-children RTMIN+1 say told ] on USR1 [ tell-children USR2 wait-children exit 0 ] wait";
    let command = puppet(script).stop_signal(signal("RTMIN+1")).target(target).grace(HOUR);
    let stage = Stage::start(&command);
    stage.ready("worker");
    let leader = stage.leader();
    let gone = stage.child().stop();
    stage.expect("leader: told");
    stage.expect("worker: heard");
    leader.signal(Signal::USR1);
    within(&gone);
    stage
}

#[test]
fn f32_a_cooperating_master_is_not_disturbed() {
    assert_eq!(counts(&cooperating(Target::Leader)), (1, 1));
    assert_eq!(counts(&cooperating(Target::LeaderThenGroup { after: HOUR })), (1, 1));
    // What the two are for: with the whole group, its worker hears it from us and from its master.
    assert_eq!(counts(&cooperating(Target::Group)), (1, 2));
}

#[test]
fn f12_every_signal_that_can_be_caught_is_delivered() {
    // 32 and 33 are the C library's own and cannot be caught with it.
    let all: Vec<Signal> =
        Signal::all().filter(|s| s.is_catchable() && ![32, 33].contains(&s.number())).collect();
    assert_eq!(all.len(), 60);
    let traps: Vec<String> = all.iter().map(|s| format!("trap {} {0}", s.name())).collect();
    let stage = Stage::play(&format!("{} wait", traps.join(" ")));
    stage.leader();
    for signal in &all {
        stage.child().signal(*signal).expect("it is ours");
        stage.expect(&format!("leader: {}", signal.name()));
    }
    within(&stage.child().kill());
    assert_eq!(stage.curtain().len(), 61, "each once, and nothing but these");
}

#[test]
fn f12_a_signal_goes_where_the_policy_says() {
    let script =
        "fork worker [ trap RTMIN+1 heard trap-exit USR2 0 wait ] trap RTMIN+1 heard trap-exit USR2 0 wait";
    for (target, expected) in [
        (Target::Group, (1, 1)),
        (Target::Leader, (1, 0)),
        (Target::LeaderThenGroup { after: Duration::ZERO }, (1, 0)),
    ] {
        let stage = Stage::start(&puppet(script).target(target));
        let (worker, leader) = (stage.ready("worker"), stage.leader());
        stage.child().signal(signal("RTMIN+1")).expect("it is ours");
        stage.expect("leader: heard");
        if expected.1 == 1 {
            // Of two pending signals the lower comes first, which ends it.
            stage.expect("worker: heard");
        }
        worker.signal(Signal::USR2);
        leader.signal(Signal::USR2);
        assert_eq!(counts(&stage), expected, "{target:?}");
    }
}

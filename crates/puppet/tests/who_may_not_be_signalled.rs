//! A process that we may not signal is no error of ours and no dead one: it is named, and everything else goes on.

use foster::{Proof, Signal, Status};
use puppet::{Actor, Cgroup, Feature, Host, NOBODY, Programs, Stage, User, needs, within};

const CROWD: u32 = 100;

/// What it becomes takes no signal from who is not root.
fn script(programs: &Programs) -> String {
    let setuid = programs.setuid();
    format!("fork-from {} daemon [ become-owner say out wait ] fork worker [ wait ] wait", setuid.display())
}

fn programs() -> Option<Programs> {
    let there = needs(Feature::Safety) && needs(Feature::Program("setpriv"));
    let programs = there.then(Programs::copy)?;
    assert!(programs.setuid_works(), "set TMPDIR to a place where setuid programs work");
    Some(programs)
}

#[test]
fn f33_who_became_somebody_else_is_named_and_the_others_end() {
    let Some(programs) = programs() else { return };
    let mut host = Host::start(&programs, User::Nobody, CROWD, &[]);
    let got = host.run("subreaper", &script(&programs)).expect("it is to be had");
    assert!(!got.setuid_child);
    host.hear("daemon: out");
    let pids = ["daemon: ready", "worker: ready", "leader: ready"].map(|ready| host.hear(ready));
    let [daemon, worker, leader] = pids.map(|pid| Actor::of(pid.parse().expect("a pid")));
    host.tell("stop");
    assert_eq!(host.hear("supervisor:"), format!("stuck [{}]", daemon.pid()));
    assert!(!worker.alive() && !leader.alive() && daemon.alive());
    // The supervisor is well.
    host.run("subreaper", "exit 0").expect("it starts another");
}

#[test]
fn f33_in_a_cgroup_it_ends_with_the_others() {
    let Some(programs) = programs() else { return };
    let Some(group) = Cgroup::unified().and_then(Cgroup::new) else { return };
    group.delegate(NOBODY);
    let mut host = Host::start(&programs, User::Nobody, CROWD, &[group.directory()]);
    let got = host.run("cgroup", &script(&programs)).expect("it is to be had");
    assert!(got.setuid_child);
    host.hear("daemon: out");
    let daemon = Actor::of(host.hear("daemon: ready").parse().expect("a pid"));
    host.tell("stop");
    assert_eq!(host.hear("supervisor:"), "gone Populated0");
    assert!(!daemon.alive());
    drop(host);
}

/// `kill(2)` of a group of zombies succeeds on Linux and is EPERM elsewhere: neither says that somebody lives.
#[test]
fn f33_orders_to_the_dead_are_no_errors_and_change_no_status() {
    let stage = Stage::play("trap-exit USR1 3 wait");
    let leader = stage.leader();
    leader.signal(Signal::USR1);
    leader.dies();
    // It may be a zombie still, or reaped already.
    for _ in 0..20 {
        stage.child().signal(Signal::USR2).expect("not an error");
    }
    let end = stage.child().kill().wait().expect("nobody is stuck");
    assert_eq!(end.exit.status, Status::Exited(3));
    assert!(matches!(end.proof, Proof::Populated0 | Proof::Echild | Proof::InitReaped), "{:?}", end.proof);
    stage.child().signal(Signal::USR2).expect("not an error");
    assert_eq!(within(&stage.child().stop()).status, Status::Exited(3));
}

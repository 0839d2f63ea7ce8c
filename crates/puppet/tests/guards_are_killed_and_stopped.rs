//! What becomes of a tree whose guard is killed, stopped or let go: of a twin, one is enough, and what it ends is told.

use std::fs;
use std::time::{Duration, Instant};

use foster::{Containment, EventKind, Leftovers, Mechanism, Signal, Status};
use puppet::{
    Actor, Feature, Host, Programs, Stage, User, alive, alone, children, eventually, needs, puppet, state,
    within, zombies,
};

const BOUND: Duration = Duration::from_secs(10);
const CROWD: u32 = 100;
const WILLFUL: &str = "fork one [ setsid ignore TERM wait ] ignore TERM wait";

fn mechanisms() -> Vec<Mechanism> {
    let mut all = vec![Mechanism::Subreaper];
    if needs(Feature::Safety) {
        all.push(Mechanism::Cgroup);
    }
    if needs(Feature::Freezer) {
        all.push(Mechanism::Freezer);
    }
    all
}

/// Of a twin the outer guard, which is the host's child, and the inner one.
fn guards(outer: u32) -> [Actor; 2] {
    let list = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).expect("it lives");
    let inner = list.trim().parse().expect("it has one child");
    assert_eq!(fs::read_to_string(format!("/proc/{inner}/comm")).expect("it lives"), "foster-guard\n");
    [outer, inner].map(Actor::of)
}

#[test]
fn either_of_a_twin_is_killed() {
    alone(|| {
        for mechanism in mechanisms() {
            for victim in [0, 1] {
                let command = puppet(WILLFUL).containment(Containment::Exactly(mechanism)).twin(true);
                let stage = Stage::start(&command);
                let (one, leader) = (stage.ready("one"), stage.leader());
                let guards = guards(stage.child().containment().guard.expect("a guard").pid);
                guards[victim].signal(Signal::KILL);
                let exit = within(&stage.child().gone());
                assert_eq!(exit.status, Status::Signaled { signal: Signal::KILL, core_dumped: false });
                assert!(!one.alive() && !leader.alive(), "{mechanism}, guard {victim}");
                guards.iter().for_each(Actor::dies);
                let lost = stage.child().events().filter(|event| event.kind == EventKind::GuardLost).count();
                assert_eq!(
                    lost,
                    1,
                    "{mechanism}, guard {victim}: {:?}",
                    stage.child().events().collect::<Vec<_>>()
                );
                eventually("no guard is left a zombie", zombies, Vec::is_empty);
            }
        }
    });
}

#[test]
fn the_host_and_either_of_a_twin_are_killed() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for mechanism in mechanisms() {
        for (victim, host_first) in [(0, false), (0, true), (1, false), (1, true)] {
            for _ in 0..5 {
                let mut host = Host::start(&programs, User::Root, CROWD, &[]);
                let got = host.run(&format!("{mechanism}+twin"), WILLFUL).expect("it is here");
                host.hear("one: ready");
                let guards = guards(got.guard.expect("a guard"));
                if host_first {
                    host.kill();
                }
                guards[victim].signal(Signal::KILL);
                host.kill();
                let left = host.safety.left_to(&[], BOUND);
                assert!(
                    left.is_some(),
                    "{mechanism}, guard {victim}, {host_first}: {:?}",
                    host.safety.members()
                );
            }
        }
    }
}

/// Stops it, as somebody might who stops everything.
#[track_caller]
fn stop(actor: &Actor) {
    actor.signal(Signal::STOP);
    eventually("it is stopped", || state(actor.pid()), |state| *state == Some('T'));
}

#[test]
fn the_inner_of_a_twin_does_not_stay_stopped() {
    alone(|| {
        for mechanism in mechanisms() {
            let command = puppet(WILLFUL).containment(Containment::Exactly(mechanism)).twin(true);
            let stage = Stage::start(&command);
            let (one, leader) = (stage.ready("one"), stage.leader());
            let [_, inner] = guards(stage.child().containment().guard.expect("a guard").pid);
            inner.signal(Signal::STOP);
            eventually("the other wakes it", || state(inner.pid()), |state| *state == Some('S'));
            within(&stage.child().kill());
            assert!(!one.alive() && !leader.alive());
        }
    });
}

#[test]
fn a_stopped_guard_is_continued_to_kill() {
    alone(|| {
        for mechanism in mechanisms() {
            for twin in [false, true] {
                let command = puppet(WILLFUL).containment(Containment::Exactly(mechanism)).twin(twin);
                let stage = Stage::start(&command.patience(Duration::from_secs(60)));
                let (one, leader) = (stage.ready("one"), stage.leader());
                let guard = Actor::of(stage.child().containment().guard.expect("a guard").pid);
                stop(&guard);
                let gone = stage.child().kill();
                // From here, at once.
                leader.dies();
                within(&gone);
                assert!(!one.alive());
                guard.dies();
            }
        }
    });
}

/// Until the engine watches its pidfd: the kernel tells what an epoll watches, and whom a pidfd pins, `proc_pid_fdinfo(5)`.
#[track_caller]
fn is_watched(leader: &Actor) {
    let told = |fd: &str| std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let word =
        |line: &str, name: &str| line.strip_prefix(name)?.split_whitespace().next().map(str::to_string);
    let look = || {
        let open = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").flatten();
        let watched: Vec<String> = open
            .flat_map(|fd| {
                let text = told(&fd.file_name().to_string_lossy());
                text.lines().filter_map(|line| word(line, "tfd:")).collect::<Vec<_>>()
            })
            .collect();
        let pids = watched.iter().flat_map(|fd| {
            let text = told(fd);
            text.lines().filter_map(|line| word(line, "Pid:")).collect::<Vec<_>>()
        });
        pids.collect::<Vec<_>>()
    };
    let wanted = leader.pid().to_string();
    eventually("the engine watches the leader", look, |pids| pids.contains(&wanted));
}

/// What says so is the leader's pidfd, which nobody can stop, and which is watched when it has run for a while: before
/// and after that.
#[test]
fn a_stopped_guard_is_continued_to_tell_the_exit() {
    alone(|| {
        for mechanism in mechanisms() {
            for (twin, later) in [(false, false), (false, true), (true, false), (true, true)] {
                let command = puppet("wait").containment(Containment::Exactly(mechanism)).twin(twin);
                let stage = Stage::start(&command);
                let leader = stage.leader();
                if later {
                    is_watched(&leader);
                }
                let outer = stage.child().containment().guard.expect("a guard").pid;
                let guards = if twin { guards(outer).into() } else { vec![Actor::of(outer)] };
                // The outer one first: it would wake the other.
                guards.iter().for_each(stop);
                leader.signal(Signal::KILL);
                leader.dies();
                let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
                assert_eq!(stage.exit().status, killed, "{mechanism}, twin {twin}, watched {later}");
                within(&stage.child().gone());
            }
        }
    });
}

#[test]
fn a_guard_that_is_stopped_while_leftovers_linger_tells_when_they_are_gone() {
    alone(|| {
        for mechanism in mechanisms() {
            let command =
                puppet("fork one [ setsid wait ] exit 3").containment(Containment::Exactly(mechanism));
            let stage = Stage::start(&command.leftovers(Leftovers::Wait { max: None }));
            let one = stage.ready("one");
            assert_eq!(stage.exit().status, Status::Exited(3), "{mechanism}");
            stop(&Actor::of(stage.child().containment().guard.expect("a guard").pid));
            one.signal(Signal::KILL);
            within(&stage.child().gone());
        }
    });
}

/// It is continued as often as it is stopped, by whom it holds, say: once is not enough.
#[test]
fn a_guard_that_is_stopped_again_and_again_tells_the_exit() {
    alone(|| {
        for mechanism in mechanisms() {
            for (kill, later) in [(false, false), (false, true), (true, false), (true, true)].repeat(5) {
                let stage = Stage::start(&puppet("wait").containment(Containment::Exactly(mechanism)));
                let leader = stage.leader();
                if later {
                    is_watched(&leader);
                }
                let guard = Actor::of(stage.child().containment().guard.expect("a guard").pid);
                stop(&guard);
                if kill {
                    drop(stage.child().kill());
                } else {
                    leader.signal(Signal::KILL);
                }
                let until = Instant::now() + Duration::from_millis(120);
                while Instant::now() < until {
                    guard.signal(Signal::STOP);
                }
                let killed = Status::Signaled { signal: Signal::KILL, core_dumped: false };
                assert_eq!(stage.exit().status, killed, "{mechanism}, killed {kill}, watched {later}");
                within(&stage.child().gone());
            }
        }
    });
}

/// An orphan's group that is stopped is continued by the kernel, `setpgid(2)`; but it is no orphan while who adopted it is
/// in its session. So are we, where a program that foster holds uses foster.
fn adopt_orphans() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("Linux has it");
}

/// Who would see to the stopped one is dead, and it is no child of ours.
#[test]
fn one_of_a_twin_is_killed_and_the_other_stopped() {
    alone(|| {
        adopt_orphans();
        for mechanism in mechanisms() {
            for kill in [false, true].repeat(3) {
                let command = puppet(WILLFUL).containment(Containment::Exactly(mechanism)).twin(true);
                let stage = Stage::start(&command.patience(Duration::from_secs(60)));
                let (one, leader) = (stage.ready("one"), stage.leader());
                let [outer, inner] = guards(stage.child().containment().guard.expect("a guard").pid);
                // Before it can say that it is alone.
                let until = Instant::now() + Duration::from_millis(200);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        while Instant::now() < until {
                            inner.signal(Signal::STOP);
                        }
                    });
                    stop(&outer);
                    stop(&inner);
                    outer.signal(Signal::KILL);
                    outer.dies();
                });
                if kill {
                    drop(stage.child().kill());
                }
                assert_eq!(
                    stage.exit().status,
                    Status::Signaled { signal: Signal::KILL, core_dumped: false }
                );
                within(&stage.child().gone());
                assert!(!one.alive() && !leader.alive(), "{mechanism}, killed {kill}");
                inner.dies();
            }
        }
    });
}

#[test]
fn a_stopped_guard_sees_its_host_die() {
    if !needs(Feature::Safety) {
        return;
    }
    alone(|| {
        adopt_orphans();
        let programs = Programs::copy();
        for mechanism in mechanisms() {
            for twin in ["", "+twin"] {
                let mut host = Host::start(&programs, User::Root, CROWD, &[]);
                let got = host.run(&format!("{mechanism}{twin}"), WILLFUL).expect("it is here");
                host.hear("one: ready");
                let outer = got.guard.expect("a guard");
                let guards = if twin.is_empty() { vec![Actor::of(outer)] } else { guards(outer).into() };
                // The outer one first: it would wake the other.
                guards.iter().for_each(stop);
                host.kill();
                let left = host.safety.left_to(&[], BOUND);
                assert!(left.is_some(), "{mechanism}{twin}: {:?}", host.safety.members());
            }
        }
    });
}

/// It has no run any more that could be late.
#[test]
fn a_guard_that_outlives_its_run_is_continued() {
    alone(|| {
        let held: Vec<(Stage, Actor, Vec<Actor>)> = mechanisms()
            .into_iter()
            .flat_map(|mechanism| [(mechanism, false), (mechanism, true)])
            .map(|(mechanism, twin)| {
                let command =
                    puppet("fork left [ wait ] exit 0").containment(Containment::Exactly(mechanism));
                let stage = Stage::start(&command.twin(twin).leftovers(Leftovers::Leave));
                let outer = stage.child().containment().guard.expect("a guard").pid;
                let guards = if twin { guards(outer).into() } else { vec![Actor::of(outer)] };
                let left = stage.ready("left");
                within(&stage.child().gone());
                guards.iter().for_each(stop);
                (stage, left, guards)
            })
            .collect();
        for (_stage, left, guards) in held {
            left.signal(Signal::KILL);
            guards.iter().for_each(Actor::dies);
            eventually("nobody is left a zombie", || state(left.pid()), Option::is_none);
        }
        eventually("no guard is left a zombie", zombies, Vec::is_empty);
    });
}

#[test]
fn stopped_when_the_host_is_killed() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for mechanism in mechanisms() {
        for victim in [None, Some(0), Some(1)] {
            let mut host = Host::start(&programs, User::Root, CROWD, &[]);
            let twin = if victim.is_some() { "+twin" } else { "" };
            let got = host.run(&format!("{mechanism}{twin}"), WILLFUL).expect("it is here");
            host.hear("one: ready");
            let guard = Actor::of(got.guard.expect("a guard"));
            match victim {
                None => stop(&guard),
                Some(0) => stop(&guards(guard.pid())[0]),
                Some(_) => guards(guard.pid())[1].signal(Signal::STOP),
            }
            host.kill();
            if victim.is_none() {
                // Nobody else is there; it does it when it can.
                guard.signal(Signal::CONT);
            }
            // The outer one of a twin stays stopped, and with it alone nothing is left running.
            let stopped = if victim == Some(0) { vec![guard.pid()] } else { vec![] };
            let left = host.safety.left_to(&stopped, BOUND);
            assert!(left.is_some(), "{mechanism}, guard {victim:?}: {:?}", host.safety.members());
            guard.signal(Signal::CONT);
            assert!(host.safety.left_to(&[], BOUND).is_some(), "{:?}", host.safety.members());
        }
    }
}

#[test]
fn a_detached_program_outlives_its_host_and_its_guard() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for mechanism in mechanisms() {
        for how in [format!("{mechanism}"), format!("{mechanism}+twin")] {
            for kill_guard in [false, true] {
                let mut host = Host::start(&programs, User::Root, CROWD, &[]);
                let got = host.run(&how, "fork one [ setsid wait ] wait").expect("it is here");
                let pid = |line: String| Actor::of(line.parse().expect("a pid"));
                let (one, leader) = (pid(host.hear("one: ready")), pid(host.hear("leader: ready")));
                let guard = Actor::of(got.guard.expect("a guard"));
                host.tell("detach");
                // Not a moment later: both reach the guard at once.
                host.tell("exit");
                host.actor().dies();
                if kill_guard {
                    guard.signal(Signal::KILL);
                    guard.dies();
                }
                // Nobody says that nothing happens; whoever is to end it would do so within a second.
                std::thread::sleep(Duration::from_millis(1200));
                assert!(one.alive() && leader.alive(), "{how}, {kill_guard}: {:?}", host.safety.members());
                assert_eq!(guard.alive(), !kill_guard);
                leader.signal(Signal::KILL);
                leader.dies();
                assert!(one.alive(), "{how}: its leftovers stay");
                one.signal(Signal::KILL);
                let left = host.safety.left_to(&[], BOUND);
                assert!(left.is_some(), "{how}, {kill_guard}: {:?}", host.safety.members());
                if !kill_guard {
                    let leaves = || leaves(host.actor().pid());
                    eventually("the guard removes its leaf", leaves, Vec::is_empty);
                }
            }
        }
    }
}

/// What a host has made for its trees in the freezer.
fn leaves(host: u32) -> Vec<String> {
    let entries = fs::read_dir("/sys/fs/cgroup/freezer").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("foster.{host}."))).collect()
}

#[test]
fn leftovers_that_are_left_keep_their_guard_which_is_reaped() {
    alone(|| {
        for mechanism in mechanisms() {
            for twin in [false, true] {
                let command = puppet("fork one [ setsid wait ] trap-exit TERM 0 wait");
                let command = command.containment(Containment::Exactly(mechanism)).twin(twin);
                let stage = Stage::start(&command.leftovers(foster::Leftovers::Leave));
                let (one, leader) = (stage.ready("one"), stage.leader());
                let guard = Actor::of(stage.child().containment().guard.expect("a guard").pid);
                leader.signal(Signal::TERM);
                let exit = within(&stage.child().gone());
                assert_eq!((exit.status, exit.leftovers), (Status::Exited(0), vec![one.pid()]));
                drop(stage);
                assert!(one.alive() && guard.alive());
                one.signal(Signal::KILL);
                guard.dies();
                eventually("the guard is reaped", children, Vec::is_empty);
            }
        }
    });
}

#[test]
fn a_guard_tells_of_stops() {
    alone(|| {
        for mechanism in mechanisms() {
            for twin in [false, true] {
                let command = puppet("wait").containment(Containment::Exactly(mechanism)).twin(twin);
                let stage = Stage::start(&command);
                let leader = stage.leader();
                // Each is waited for: of two changes that come close together the kernel tells the second.
                let mut events = stage.child().events();
                for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN] {
                    leader.signal(signal);
                    assert!(events.any(|event| event.kind == EventKind::Suspended(signal)));
                    assert_eq!(stage.child().stopped(), Some(signal));
                    leader.signal(Signal::CONT);
                    assert!(events.any(|event| event.kind == EventKind::Continued));
                    assert_eq!(stage.child().stopped(), None);
                }
                within(&stage.child().stop());
                let told: Vec<EventKind> = stage
                    .child()
                    .events()
                    .map(|event| event.kind)
                    .filter(|kind| matches!(kind, EventKind::Suspended(_) | EventKind::Continued))
                    .collect();
                let on = EventKind::Continued;
                let story = [
                    EventKind::Suspended(Signal::STOP),
                    on.clone(),
                    EventKind::Suspended(Signal::TSTP),
                    on.clone(),
                    EventKind::Suspended(Signal::TTIN),
                    on,
                ];
                assert_eq!(told, story);
                assert!(!alive(leader.pid()));
            }
        }
    });
}

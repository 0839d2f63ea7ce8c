//! What a host does besides does not take the guard away, and a guard is no burden on its host.

use std::fs::File;

use foster::{Command, Containment, ErrorKind, Mechanism, Signal, Status};
use puppet::{Actor, DEADLINE, alone, puppet, set_our_group, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn it_may_become_somebody_else() {
    // setuid(3) and its like wait for every thread of the process: ours must answer.
    for containment in [Containment::Group, Containment::Auto] {
        let child = puppet("wait").containment(containment).spawn().expect("it starts");
        set_our_group();
        within(&child.kill());
    }
}

#[test]
fn it_may_have_a_leader_that_stops_its_guard() {
    for mechanism in [Mechanism::Cgroup, Mechanism::Freezer, Mechanism::Subreaper, Mechanism::PidNamespace] {
        for _ in 0..10 {
            let command = Command::shell("kill -STOP $PPID; exit 3");
            let command = command.containment(Containment::Exactly(mechanism));
            let Ok(child) = command.spawn() else {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{mechanism}");
                eprintln!("not run: {mechanism}");
                break;
            };
            let exit = child.wait_timeout(DEADLINE).expect("it ends");
            assert_eq!(exit.status, Status::Exited(3), "{mechanism}");
            within(&child.gone());
        }
    }
}

#[test]
fn it_may_write_no_large_files() {
    alone(|| {
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(4096), ..before }).expect("lower is allowed");
        let child = Command::new("true").spawn().expect("it starts");
        assert!(child.containment().guard.is_some());
        assert!(within(&child.gone()).success());
    });
}

#[test]
fn what_it_lacks_for_a_moment_it_does_not_lack_for_ever() {
    alone(|| {
        let command = puppet("quiet").containment(Containment::Exactly(Mechanism::Subreaper));
        within(&command.spawn().expect("it starts").gone());
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).expect("lower is allowed");
        let all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        // With none, one, two … left.
        let mut refused = 0;
        for left in 0..all.len() {
            setrlimit(Resource::Nofile, Rlimit { current: Some(64 + left as u64), ..before })
                .expect("allowed");
            match command.spawn() {
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoDescriptors, "{left}: {error}"),
                Ok(child) => {
                    within(&child.gone());
                    break;
                }
            }
            refused += 1;
        }
        assert!(refused > 2, "{refused}");
        drop(all);
        setrlimit(Resource::Nofile, before).expect("it was so before");
        let child = command.spawn().expect("nothing lacks any more");
        assert_eq!(child.containment().mechanism, Mechanism::Subreaper);
        within(&child.gone());
    });
}

#[test]
fn it_hears_the_end_of_a_namespace_whose_init_is_killed() {
    // The init closes its socket before it has torn the namespace down: in between it is neither there nor reaped.
    for _ in 0..60 {
        let Ok(child) = puppet("wait").containment(Containment::Sealed).spawn() else {
            assert!(std::env::var_os("FOSTER_CI").is_none(), "a pid namespace can be made in CI");
            return eprintln!("not run: no pid namespace can be made");
        };
        let guard = child.containment().guard.expect("it has one");
        Actor::of(guard.pid).signal(Signal::KILL);
        within(&child.gone());
    }
}

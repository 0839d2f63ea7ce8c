//! A start that fails half-way, at whatever step, leaves no process and no descriptor behind.

use std::fs;

use foster::{Command, Containment, ErrorKind, Input, Sink};
use puppet::{Feature, alone, children, descriptors, needs, puppet};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs it with a lower limit, and puts the limit back.
fn limited<T>(resource: Resource, to: u64, act: impl FnOnce() -> T) -> T {
    let before = getrlimit(resource);
    setrlimit(resource, Rlimit { current: Some(to), ..before }).expect("lower is allowed");
    let result = act();
    setrlimit(resource, before).expect("it was so before");
    result
}

fn piped() -> Command {
    puppet("quiet wait").stdin(Input::Piped).stdout(Sink::Piped).stderr(Sink::Piped)
}

/// Our descriptors without those of the engine, which there is once, from the first start that came so far.
fn descriptors_but_the_engines() -> Vec<String> {
    let mut all = descriptors();
    for own in ["anon_inode:[eventpoll]", "anon_inode:[timerfd]"] {
        if let Some(place) = all.iter().position(|line| line.ends_with(own)) {
            all.remove(place);
        }
    }
    all
}

/// Fails at every step that needs a descriptor, one after the other; then it starts. `once`: how many descriptors the
/// first start of this kind leaves open for the life of the process.
fn starts_after_every_failure(containment: Containment, once: usize) {
    let before = descriptors_but_the_engines();
    let mut failures = 0;
    for limit in 3..64 {
        match limited(Resource::Nofile, limit, || piped().containment(containment).spawn()) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoDescriptors, "{error}");
                let text = error.to_string();
                assert!(text.contains("puppet quiet wait") && text.lines().count() == 1, "{text}");
                let mut now = descriptors_but_the_engines();
                let more = now.len() - before.len();
                now.retain(|line| before.contains(line));
                assert_eq!(now, before, "after {error} with {limit}");
                assert!(more <= once, "{more} more after {error} with {limit}");
                assert_eq!(children(), [0; 0], "after {error} with {limit}");
                failures += 1;
            }
            Ok(child) => {
                assert!(failures > 6, "{failures}");
                child.kill().wait().expect("it is not stuck");
                return;
            }
        }
    }
    panic!("sixty descriptors must be enough");
}

#[test]
fn f30_without_descriptors() {
    alone(|| {
        // Once with the library's first start of all, and once when it has its thread.
        starts_after_every_failure(Containment::Group, 0);
        starts_after_every_failure(Containment::Group, 0);
        // The first guard needs its program, our pidfd and two bells.
        starts_after_every_failure(Containment::Auto, 4);
        starts_after_every_failure(Containment::Auto, 0);
    });
}

#[test]
fn f30_without_processes() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        let nobody = rustix::process::Uid::from_raw(65534);
        let fails = || {
            // Root has no such limit, so a thread becomes somebody else, who has no process yet.
            let attempt = std::thread::spawn(move || {
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("we are root");
                limited(Resource::Nproc, 0, || Command::new("/bin/true").stdout(Sink::Piped).spawn())
            });
            let error = attempt.join().expect("no panic").expect_err("no process can be made");
            assert_eq!(error.kind(), ErrorKind::NoProcesses, "{error}");
            assert!(error.to_string().contains("/bin/true"), "{error}");
        };
        let before = descriptors_but_the_engines();
        fails();
        fails();
        assert_eq!(
            descriptors_but_the_engines(),
            before,
            "an engine that could not be started left something"
        );
        let end = Command::new("/bin/true").spawn().expect("it starts").gone().wait();
        assert!(end.expect("nobody is stuck").exit.success());
        let before = descriptors_but_the_engines();
        fails();
        assert_eq!(descriptors_but_the_engines(), before);
        assert_eq!(children(), [0; 0]);
        let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        assert_eq!(puppet::status_field(&status, "SigBlk"), "0".repeat(16));
    });
}

#[test]
fn f30_what_the_program_itself_refuses() {
    alone(|| {
        let end = Command::new("true").spawn().expect("it starts").gone().wait();
        assert!(end.expect("nobody is stuck").exit.success());
        let before = descriptors_but_the_engines();
        let all = |command: Command| command.stdin(Input::Piped).stdout(Sink::Piped).stderr(Sink::Null);
        for command in [
            all(Command::new("/no/such/program")),
            all(Command::new("/dev")),
            all(Command::new("true").current_dir("/no/such/directory")),
            all(Command::new("true").arg("x".repeat(256 * 1024))),
            all(Command::new("")),
            all(Command::new("true").arg("a\0b")),
        ] {
            for _ in 0..20 {
                command.spawn().expect_err("it cannot be started");
            }
            assert_eq!(descriptors_but_the_engines(), before, "{command:?}");
            assert_eq!(children(), [0; 0], "{command:?}");
        }
    });
}

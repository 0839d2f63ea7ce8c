//! The host and its guard stay as they are, what a start promises else is kept, and the tree ends as any other.

use std::fs;
use std::os::fd::AsRawFd;
use std::time::Duration;

use foster::{Command, Containment, Group, Input, Mechanism, Resource, Signal, SignalState, Sink, Status};
use puppet::{
    Feature, Host, NOBODY, Programs, Stage, User, alone, block_signal, eventually, group_and_session,
    ignore_signal, needs, status_field, within,
};
use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use crate::{cat, each, ours, output, who};

#[test]
fn the_guard_stays_who_it_is() {
    if !needs(Feature::Root) {
        return;
    }
    let command =
        Command::shell("echo; exec sleep 57").uid(NOBODY).gid(NOBODY).groups(&[7]).umask(0o77).nice(9).limit(
            Resource::Nofile,
            20,
            20,
        );
    for twin in [false, true] {
        let command = command.clone().twin(twin).containment(Containment::Exactly(Mechanism::Subreaper));
        let child = command.stdout(Sink::Streamed).spawn().expect("it starts");
        assert!(child.take_lines().expect("streamed").next().is_some());
        let guard = child.containment().guard.expect("it has one").pid;
        let of = |pid: u32, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).expect("it lives");
        assert_eq!(who(&of(guard, "status")), who(&ours("status")));
        assert_eq!(of(guard, "limits"), ours("limits"));
        let nice = |pid: u32| {
            let stat = of(pid, "stat");
            let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
            fields[16].to_string()
        };
        assert_eq!(nice(guard), nice(std::process::id()));
        let leader = child.pid().expect("it runs");
        assert_eq!(nice(leader), "9");
        assert_eq!(who(&of(leader, "status"))[2..4], ["7".to_string(), "0077".to_string()]);
        within(&child.kill());
    }
}

/// The kernel marks the memory of who changes his user; ours must not be that memory. Others of ours go on being
/// started as ever.
#[test]
fn the_host_may_still_be_traced_and_dumped() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        for marked in [DumpableBehavior::Dumpable, DumpableBehavior::NotDumpable] {
            set_dumpable_behavior(marked).expect("it is ours to say");
            each(&Command::new("id").arg("-u").uid(NOBODY).gid(NOBODY), |how, command| {
                assert_eq!(output(command), format!("{NOBODY}\n"), "{how}");
                assert_eq!(dumpable_behavior(), Ok(marked), "{how}");
            });
        }
    });
}

/// What a start promises else, on the way over a stepping stone too.
#[test]
fn somebody_else_starts_as_clean() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        let file = fs::File::open("/dev/null").expect("it is there");
        // Not close-on-exec.
        let leaky = rustix::io::dup(&file).expect("a descriptor");
        let leaked = leaky.as_raw_fd().to_string();
        ignore_signal(Signal::HUP);
        block_signal(Signal::USR1);
        let signals = |text: &str| (status_field(text, "SigBlk"), status_field(text, "SigIgn"));
        let dirty = signals(&fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted"));
        let clean = ("0".repeat(16), "0".repeat(16));
        let (our_group, our_session) = group_and_session(std::process::id());
        let nobody = cat("status").uid(NOBODY).gid(NOBODY);
        each(&nobody, |how, command| {
            assert_eq!(signals(&output(command)), clean, "{how}");
            assert_eq!(signals(&output(&command.clone().inherit_signals(true))), dirty, "{how}");
            let exactly = command.clone().start_signals(SignalState::current());
            assert_eq!(signals(&output(&exactly)), dirty, "{how}");
            let text = output(&command.clone().no_new_privs(true));
            assert_eq!(status_field(&text, "NoNewPrivs"), "1", "{how}");
        });
        let open =
            Command::shell("for fd in /proc/self/fd/*; do echo ${fd##*/}; done").uid(NOBODY).gid(NOBODY);
        each(&open, |how, command| {
            let has = |command: &Command| output(command).lines().any(|fd| fd == leaked);
            assert!(!has(command), "{how}");
            assert!(has(&command.clone().inherit_descriptors(true)), "{how}");
        });
        for group in [Group::Own, Group::Session, Group::Same] {
            let command = Command::shell("echo; exec sleep 57").uid(NOBODY).gid(NOBODY).group(group);
            for containment in [Containment::Group, Containment::Exactly(Mechanism::Subreaper)] {
                let command = command.clone().containment(containment).stdout(Sink::Streamed);
                let child = command.spawn().expect("it starts");
                assert!(child.take_lines().expect("streamed").next().is_some());
                let pid = child.pid().expect("it runs");
                let asked = match group {
                    Group::Own => (pid, our_session),
                    Group::Session => (pid, pid),
                    Group::Same => (our_group, our_session),
                };
                assert_eq!(group_and_session(pid), asked, "{group:?}");
                within(&child.kill());
            }
        }
    });
}

/// The orders reach it, and so does our death.
#[test]
fn a_tree_of_another_user_ends_as_any_other() {
    if !needs(Feature::Safety) || !needs(Feature::Freezer) {
        return;
    }
    let programs = Programs::copy();
    let id = NOBODY;
    let script = "fork daemon [ setsid ignore TERM wait ] fork worker [ wait ] wait";
    for how in ["subreaper", "subreaper+twin", "freezer", "landlock", "pid-namespace", "auto"] {
        for end in ["stop", "kill", "our death"] {
            let mut host = Host::start(&programs, User::Root, 100, &[]);
            let got =
                host.run(&format!("{how}+uid={id}"), script).unwrap_or_else(|why| panic!("{how}: {why}"));
            for ready in ["daemon: ready", "worker: ready", "leader: ready"] {
                host.hear(ready);
            }
            assert!(got.guard.is_some(), "{how}");
            if end == "our death" {
                host.kill();
            } else {
                host.tell(end);
                host.hear("supervisor: gone");
            }
            let kept: Vec<u32> = if end == "our death" { vec![] } else { vec![host.actor().pid()] };
            host.safety.left_to(&kept, Duration::from_secs(10)).unwrap_or_else(|| panic!("{how}: {end}"));
        }
    }
    for containment in [Containment::Group, Containment::Auto] {
        for drops in [false, true] {
            let puppet = programs.directory().join("puppet");
            let command = Command::new(puppet).args(["fork", "other", "[", "wait", "]", "wait"]);
            let command =
                command.stdin(Input::Null).current_dir("/").uid(id).gid(id).containment(containment);
            let mut stage = Stage::start(&command);
            let actors = [stage.leader(), stage.ready("other")];
            if drops {
                stage.let_go();
                actors.iter().for_each(puppet::Actor::dies);
            } else {
                let exit = within(&stage.child().stop());
                assert_eq!(exit.status, Status::Signaled { signal: Signal::TERM, core_dumped: false });
                assert!(actors.iter().all(|actor| !actor.alive()));
            }
        }
    }
}

/// Without a guard nobody but the leader was started.
#[test]
fn nobody_stays_of_the_stepping_stone() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        let before = puppet::descriptors();
        let command = Command::new("true").uid(NOBODY).gid(NOBODY).containment(Containment::Group);
        command.spawn().expect("it starts").wait();
        let after_one = puppet::descriptors();
        for _ in 0..50 {
            assert!(command.spawn().expect("it starts").wait().success());
            command.clone().current_dir("/no/such").spawn().expect_err("there is none");
        }
        eventually("no child, no zombie", puppet::children, Vec::is_empty);
        eventually("no more descriptors", || puppet::descriptors().len(), |len| *len <= after_one.len());
        assert!(before.len() <= after_one.len());
    });
}

//! A signal goes only to what is ours, also when its number has become somebody else's.
//!
//! In a pid namespace one can say which number is next, and so make the kernel use one again.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use foster::{Child, Containment, Leftovers, Signal, Status};
use puppet::{Actor, DEADLINE, Feature, Stage, alone_under, needs, program, puppet, within};

/// What makes a body pid 1 of a pid namespace with a `/proc` of its own, which ends with the first of them.
const NAMESPACE: &[&str] = &["unshare", "-p", "-f", "--mount-proc", "--kill-child"];

/// Somebody else's child that has got a number of ours, for its pid and its group.
struct Stranger {
    child: std::process::Child,
    says: BufReader<ChildStdout>,
}

impl Stranger {
    fn with_pid(pid: u32) -> Stranger {
        for _ in 0..200 {
            std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("we are root here");
            let script = ["name", "stranger", "trap", "TERM", "asked", "trap", "USR1", "here", "wait"];
            let mut command = Command::new(program());
            let mut child =
                command.args(script).process_group(0).stdout(Stdio::piped()).spawn().expect("a puppet");
            if child.id() == pid {
                let mut stranger =
                    Stranger { says: BufReader::new(child.stdout.take().expect("piped")), child };
                assert_eq!(stranger.hear(), format!("stranger: ready {pid}"));
                return stranger;
            }
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
        panic!("the kernel does not use {pid} again");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it speaks UTF-8");
        line.trim_end().to_string()
    }

    /// Whatever had been sent to it before would be heard, or have killed it, before this is answered.
    #[track_caller]
    fn answers(mut self) {
        Actor::of(self.child.id()).signal(Signal::USR1);
        assert_eq!(self.hear(), "stranger: here");
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }
}

fn every_order(child: &Child) {
    for signal in [Signal::TERM, Signal::HUP, Signal::KILL] {
        child.signal(signal).expect("to nobody is no error");
        child.stop_with(signal);
    }
    child.stop();
    child.stop_now();
    child.kill();
    child.pause();
    child.resume();
    child.detach();
}

#[test]
fn d15_f08_orders_to_what_is_gone_reach_nobody() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(NAMESPACE, || {
        for _ in 0..10 {
            let stage = Stage::play("exit 3");
            let pid = stage.child().pid();
            assert_eq!(within(&stage.child().gone()).status, Status::Exited(3));
            // It may have ended before we asked.
            let Some(pid) = pid else { continue };
            let stranger = Stranger::with_pid(pid);
            every_order(stage.child());
            drop(stage);
            stranger.answers();
        }
    });
}

#[test]
fn f08_orders_to_what_was_stopped_reach_nobody() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(NAMESPACE, || {
        for _ in 0..10 {
            let stage = Stage::start(&puppet("wait").splay(Duration::from_millis(1)));
            let leader = stage.leader();
            within(&stage.child().stop());
            let stranger = Stranger::with_pid(leader.pid());
            every_order(stage.child());
            stranger.answers();
        }
    });
}

#[test]
fn f08_a_group_that_emptied_during_its_grace_is_not_taken_for_its_successor() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(NAMESPACE, || {
        for _ in 0..10 {
            let script = "fork worker [ trap TERM heard wait ] trap-exit TERM 0 wait";
            // It is the group's number that is used again, and the orphan that is ours to reap.
            let command = puppet(script).grace(Duration::from_secs(50)).containment(Containment::Group);
            let stage = Stage::start(&command);
            let (worker, leader) = (stage.ready("worker"), stage.leader());
            stage.child().stop();
            stage.expect("worker: heard");
            stage.exit();
            worker.signal(Signal::KILL);
            // Orphans are pid 1's, and that is us; reaped, the group's number is free.
            let pid = rustix::process::Pid::from_raw(worker.pid().cast_signed());
            rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).expect("it is ours");
            let stranger = Stranger::with_pid(leader.pid());
            // The tree is empty and the library may not have looked yet.
            every_order(stage.child());
            within(&stage.child().gone());
            stranger.answers();
        }
    });
}

#[test]
fn f08_what_was_left_alone_is_nobody_of_ours() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(NAMESPACE, || {
        let script = "fork worker [ trap TERM asked trap USR1 here wait ] on USR1 [ exit 0 ] wait";
        let stage = Stage::start(&puppet(script).leftovers(Leftovers::Leave));
        let (worker, leader) = (stage.ready("worker"), stage.leader());
        leader.signal(Signal::USR1);
        within(&stage.child().gone());
        every_order(stage.child());
        worker.signal(Signal::USR1);
        stage.expect("worker: here");
        assert_eq!(stage.said("worker: asked"), 0);
        assert!(stage.child().wait_timeout(DEADLINE).is_some());
    });
}

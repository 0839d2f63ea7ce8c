//! A child starts clean: no signal blocked or ignored, no descriptor but those it was given, a group of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use foster::{Command, Containment, Group, Input, Signal, SignalState, Sink, Status};
use puppet::{Stage, alone, block_signal, eventually, ignore_signal, puppet, status_field, within};

/// Which signals are blocked and ignored, as the kernel has it for the thread whose status this is.
fn signals(status: &str) -> (String, String) {
    (status_field(status, "SigBlk"), status_field(status, "SigIgn"))
}

fn ours() -> (String, String) {
    signals(&fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted"))
}

fn started_with(command: &Command) -> (String, String) {
    let child = command.clone().stdout(Sink::Piped).spawn().expect("it starts");
    let status = std::io::read_to_string(child.take_stdout().expect("piped")).expect("UTF-8");
    assert!(child.wait().success());
    signals(&status)
}

/// Its output tells with what it was started; it changes nothing of it.
fn cat() -> Command {
    Command::new("cat").arg("/proc/self/status").stdin(Input::Null)
}

#[test]
fn f21_mask_and_dispositions_are_clean_or_as_asked() {
    alone(|| {
        let none = "0".repeat(16);
        let (before, state_before) = (ours(), SignalState::current());
        for name in ["TERM", "USR1", "RTMIN+2", "64"] {
            block_signal(name.parse().expect("a signal's name"));
        }
        for name in ["HUP", "CHLD", "RTMAX"] {
            ignore_signal(name.parse().expect("a signal's name"));
        }
        let dirty = ours();
        assert_ne!(dirty, before);

        assert_eq!(started_with(&cat()), (none.clone(), none.clone()));
        assert_eq!(started_with(&cat().start_signals(SignalState::clean())), (none.clone(), none));
        assert_eq!(started_with(&cat().inherit_signals(true)), dirty);
        assert_eq!(started_with(&cat().start_signals(SignalState::current())), dirty);
        assert_eq!(started_with(&cat().start_signals(state_before)), before);

        Command::new("/no/such/program").spawn().expect_err("there is none");
        assert_eq!(ours(), dirty, "our own are as we left them");
        let state = SignalState::current();
        assert!(state.blocks(Signal::TERM) && state.ignores(Signal::HUP));
        assert!(!state.blocks(Signal::HUP) && !state.ignores(Signal::TERM));
    });
}

#[test]
fn f21_a_host_that_blocks_the_stop_signal_can_stop_its_children() {
    alone(|| {
        block_signal(Signal::TERM);
        ignore_signal(Signal::TERM);
        let stage = Stage::play("wait");
        stage.leader();
        let exit = within(&stage.child().stop());
        assert_eq!(exit.status, Status::Signaled { signal: Signal::TERM, core_dumped: false });
    });
}

#[test]
fn f21_the_engines_thread_takes_no_signal_of_the_host() {
    alone(|| {
        assert!(Command::new("true").spawn().expect("it starts").wait().success());
        let engine = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten().find_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            (status_field(&status, "Name") == "foster").then_some(status)
        });
        let (blocked, _) = signals(&engine.expect("its name is in the documentation"));
        // All but KILL and STOP, which cannot be blocked, and the two that the C library keeps for itself.
        let blocked = u64::from_str_radix(&blocked, 16).expect("the kernel writes hexadecimal");
        let bit = |number: i32| 1_u64 << (number - 1);
        let free = bit(Signal::KILL.number()) | bit(Signal::STOP.number()) | bit(32) | bit(33);
        assert_eq!(blocked | free, u64::MAX, "{blocked:x}");
    });
}

#[test]
fn a_child_has_no_descriptor_but_its_streams() {
    alone(|| {
        let file = fs::File::open("/dev/null").expect("it is there");
        // Not close-on-exec: a host's carelessness, or its intention.
        let leaky = rustix::io::dup(&file).expect("a descriptor");
        let leaked = leaky.as_raw_fd();
        let ours = open_in(std::process::id()).into_iter().filter(|number| {
            let flags = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
            let flags = flags
                .lines()
                .find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
            *number > 2 && flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
        });
        let open: Vec<i32> = ours.collect();
        assert!(open.contains(&leaked), "{open:?}");
        // Its loader opens files for a moment; what was leaked would stay.
        let waits = Command::new("cat").stdin(Input::Piped).stdout(Sink::Null);
        let child = waits.spawn().expect("it starts");
        let pid = child.pid().expect("it runs");
        eventually("exactly three", || open_in(pid), |all| *all == [0, 1, 2]);
        let child = waits.inherit_descriptors(true).spawn().expect("it starts");
        let pid = child.pid().expect("it runs");
        eventually(
            "three and the leaked one",
            || open_in(pid),
            |all| *all == [&[0, 1, 2], &open[..]].concat(),
        );
    });
}

/// The descriptors of a process.
fn open_in(pid: u32) -> Vec<i32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let mut all: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    all.sort_unstable();
    all
}

#[test]
fn f35_no_sibling_holds_the_end_of_a_pipe() {
    // Some stay while others come and go, from many threads; a leaked end would keep a stage open.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let stays =
                        Command::new("sleep").arg("51").stdout(Sink::Piped).spawn().expect("it starts");
                    let stage = Stage::play("say bye");
                    stage.curtain();
                    assert!(stays.try_wait().is_none());
                }
            });
        }
    });
}

/// Who starts the leader has its streams for a moment; the leader closes them, and the guard lives on.
#[test]
fn f35_no_guard_holds_the_end_of_a_pipe() {
    for twin in [false, true] {
        let command = puppet("trap-exit USR1 0 drop-stdout wait").twin(twin);
        let child = command.stdin(Input::Piped).stdout(Sink::Piped).spawn().expect("it starts");
        assert_eq!(child.containment().guard.map(|guard| guard.twin), Some(twin));
        let mut input = child.take_stdin().expect("piped");
        let mut said = String::new();
        // It ends when the leader has dropped it. Would the guard have it, that would be at the end of the puppet's
        // life, which is no success.
        child.take_stdout().expect("piped").read_to_string(&mut said).expect("UTF-8");
        assert!(child.try_wait().is_none());
        child.signal(Signal::USR1).expect("it is ours");
        assert_eq!(child.wait().status, Status::Exited(0));
        within(&child.gone());
        let error = input.write_all(b"x").expect_err("nobody has the other end");
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_child_gets_the_group_that_was_asked_for() {
    let (group, session) = puppet::group_and_session(std::process::id());
    for asked in [Group::Own, Group::Session, Group::Same] {
        let stage = Stage::start(&puppet("ids wait").group(asked));
        let pid = stage.leader().pid();
        stage.expect(&match asked {
            Group::Own => format!("leader: pid {pid} group {pid} session {session}"),
            Group::Session => format!("leader: pid {pid} group {pid} session {pid}"),
            Group::Same => format!("leader: pid {pid} group {group} session {session}"),
        });
        within(&stage.child().stop());
    }
}

#[test]
fn who_shares_our_group_is_stopped_without_us() {
    // Without a group of its own, what the group holds is the leader alone.
    let command = puppet("fork other [ trap TERM heard trap-exit USR1 0 wait ] wait").group(Group::Same);
    let stage = Stage::start(&command.containment(Containment::Group));
    let other = stage.ready("other");
    stage.leader();
    let exit = within(&stage.child().stop());
    assert_eq!(exit.status, Status::Signaled { signal: Signal::TERM, core_dumped: false });
    assert!(other.alive(), "it is in a group that we are in");
    other.signal(Signal::USR1);
    stage.curtain();
    assert_eq!(stage.said("other: heard"), 0);
}

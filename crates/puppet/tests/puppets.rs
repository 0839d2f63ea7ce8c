//! The puppet does what its script says: everything else is built on that.

use foster::{Cause, Input, Signal, Sink, Status};
use puppet::{Stage, alone, puppet, within};

#[test]
fn it_speaks_first_and_ends_with_its_script() {
    let stage = Stage::play("say hello exit 3");
    let leader = stage.leader();
    stage.expect("leader: hello");
    assert_eq!(stage.exit().status, Status::Exited(3));
    assert!(!leader.alive());
    assert_eq!(stage.curtain(), [format!("leader: ready {}", leader.pid()), "leader: hello".to_string()]);
}

#[test]
fn it_hears_every_single_signal() {
    let stage = Stage::play("trap RTMIN+1 heard trap-exit USR1 4 wait");
    stage.leader();
    let signal = "RTMIN+1".parse().expect("a name");
    for _ in 0..20 {
        stage.child().signal(signal).expect("it is ours");
    }
    for _ in 0..20 {
        stage.expect("leader: heard");
    }
    stage.child().signal(Signal::USR1).expect("it is ours");
    assert_eq!(stage.exit().status, Status::Exited(4));
    assert_eq!(stage.said("leader: heard"), 20);
}

#[test]
fn its_forks_play_their_own_scripts() {
    let script = "fork worker [ on USR1 [ say one say two exit 0 ] wait ] forward USR1 wait-children exit 6";
    let stage = Stage::play(script);
    let worker = stage.ready("worker");
    stage.leader().signal(Signal::USR1);
    stage.expect("worker: one");
    stage.expect("worker: two");
    assert_eq!(stage.exit().status, Status::Exited(6));
    assert!(!worker.alive());
}

#[test]
fn it_reads_and_tells_where_and_who_it_is() {
    let directory = puppet::scratch("where");
    let command = puppet("read read env WORD env NO_SUCH where ids").env("WORD", "word");
    let stage = Stage::start(&command.current_dir(&directory).stdin(Input::Piped));
    let pid = stage.leader().pid();
    std::io::Write::write_all(&mut stage.child().take_stdin().expect("piped"), b"a line\n")
        .expect("it reads");
    for said in ["a line", "end of input", "word", "unset", &directory.to_string_lossy()] {
        stage.expect(&format!("leader: {said}"));
    }
    let (_, session) = puppet::group_and_session(std::process::id());
    stage.expect(&format!("leader: pid {pid} group {pid} session {session}"));
}

#[test]
fn a_script_without_sense_is_refused() {
    let exit = puppet("quiet dance").stderr(Sink::Null).spawn().expect("it starts").wait();
    assert_eq!((exit.status, exit.cause), (Status::Exited(2), Cause::Own));
}

#[test]
fn alone_runs_the_body_elsewhere() {
    let outside = std::process::id();
    alone(|| {
        println!("{outside}");
        assert_eq!(puppet::children(), [0; 0]);
        within(&Stage::play("wait").child().kill());
    });
}

#[test]
#[should_panic(expected = "alone: ")]
fn what_fails_alone_fails() {
    alone(|| panic!("on purpose"));
}

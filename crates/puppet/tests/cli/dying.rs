//! `foster run` that is killed, at whatever moment, leaves nothing of the tree.

use std::process::{Command as StdCommand, Stdio as StdStdio};
use std::time::{Duration, Instant};

use foster::{Command, Input, Signal};
use puppet::{Feature, Safety, Stage, needs, program};

use crate::common::foster;

/// It is promised in a tenth of a second; the machine may be busy.
const BOUND: Duration = Duration::from_secs(10);

const ENTER: &str = "echo 0 > \"$1/cgroup.procs\" || exit 9; shift; exec \"$@\"";

#[test]
fn f05_the_tree_dies_with_foster() {
    if !needs(Feature::Safety) {
        return;
    }
    for options in ["", "--contain subreaper", "--contain sealed", "--twin"] {
        let safety = Safety::new(200);
        // The test holds it only by its group, so that it is foster alone who ends the tree.
        let command = Command::new("sh").args(["-c", ENTER, "sh"]).arg(safety.directory()).arg(foster());
        let command = command.arg("run").args(options.split_whitespace()).arg("--").arg(program());
        let script = "fork worker [ ignore TERM wait ] daemons setsid 1 daemons double-setsid 2 say out wait";
        let command = command.args(script.split_whitespace()).stdin(Input::Null);
        let stage = Stage::start(&command.containment(foster::Containment::Group));
        stage.expect("leader: out");
        let pid = stage.child().pid().expect("it runs");
        assert!(safety.members().len() >= 6, "{options}: {:?}", safety.members());
        puppet::Actor::of(pid).signal(Signal::KILL);
        let time = safety.left_to(&[], BOUND);
        println!("foster run {options}: gone after {time:?}");
        assert!(time.is_some(), "{options}: {:?}", safety.members());
    }
}

#[test]
fn f23_foster_that_dies_while_it_starts_leaves_nobody() {
    if !needs(Feature::Safety) {
        return;
    }
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut times = Vec::new();
    for round in 0..50 {
        let safety = Safety::new(200);
        let mut command = StdCommand::new("sh");
        command.args(["-c", ENTER, "sh"]).arg(safety.directory()).arg(foster()).args(["run", "--"]);
        command.arg(program()).args("quiet daemons double-setsid 1 wait".split(' ')).stdin(StdStdio::null());
        let mut started = command.spawn().expect("a shell");
        // From the moment that it is foster, which takes 3 ms or so to start a program.
        let comm = format!("/proc/{}/comm", started.id());
        puppet::eventually(
            "foster runs",
            || std::fs::read_to_string(&comm).unwrap_or_default(),
            |name| name == "foster\n",
        );
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (moment, start) = (Duration::from_micros(random % 6000), Instant::now());
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        started.kill().expect("it is our child");
        started.wait().expect("it is our child");
        let time = safety.left_to(&[], BOUND);
        times.push(time.unwrap_or_else(|| panic!("round {round}, {moment:?}: {:?}", safety.members())));
    }
    times.sort();
    println!("gone after {:?}, worst {:?}", times[25], times[49]);
}

//! A child is the whole process's, not of the thread that started it: `PR_SET_PDEATHSIG` would kill it with that.

use foster::{Signal, Status};
use puppet::{Feature, Host, Programs, Stage, User, needs, puppet, within};
use std::path::Path;
use std::time::Duration;

const SCRIPT: &str = "trap USR2 here trap-exit USR1 5 wait";

/// A join comes a moment before the thread's end.
#[track_caller]
fn ended(thread: u32) {
    let task = format!("/proc/self/task/{thread}");
    puppet::eventually("the thread has ended", || Path::new(&task).exists(), |there| !there);
}

fn us() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

#[track_caller]
fn lives(stage: &Stage) {
    let leader = stage.leader();
    leader.signal(Signal::USR2);
    stage.expect("leader: here");
    leader.signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(5));
    within(&stage.child().gone());
}

#[test]
fn f22_a_child_outlives_the_thread_that_started_it() {
    for twin in [false, true] {
        let command = puppet(SCRIPT).twin(twin);
        let (thread, stage) =
            std::thread::spawn(move || (us(), Stage::start(&command))).join().expect("it does not panic");
        ended(thread);
        lives(&stage);
    }
}

#[test]
fn f22_a_child_outlives_the_worker_of_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let started = runtime.spawn(async { (us(), Stage::play(SCRIPT)) });
    let blocking = runtime.spawn_blocking(|| (us(), Stage::play(SCRIPT)));
    let started = [started, blocking].map(|task| runtime.block_on(task).expect("it does not panic"));
    drop(runtime);
    for (thread, stage) in started {
        ended(thread);
        lives(&stage);
    }
}

/// Where the kernel's signal of the parent's death is not used, something else has to do what it is for.
#[test]
fn f22_f05_it_dies_with_the_process_whichever_thread_started_it() {
    if !needs(Feature::Safety) || !needs(Feature::Root) {
        return;
    }
    let programs = Programs::copy();
    for how in ["auto", "subreaper", "subreaper+twin", "pid-namespace"] {
        let mut host = Host::start(&programs, User::Root, 100, &[]);
        host.run(&format!("{how}+thread"), "daemons double-setsid 2 say out trap USR2 here wait").expect(how);
        host.hear("leader: out");
        // It outlived its thread; and now the process.
        assert!(
            host.safety.members().len() >= 5,
            "{how}: itself, a guard, a leader, two daemons: {:?}",
            host.safety.members()
        );
        host.kill();
        let time = host.safety.left_to(&[], Duration::from_secs(10));
        println!("{how}: gone after {time:?}");
        assert!(time.is_some(), "{how}: {:?}", host.safety.members());
    }
}

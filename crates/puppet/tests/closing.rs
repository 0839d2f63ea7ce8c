//! A supervisor that is closed starts nothing more, leaves nothing, and tells a stop of its own from a failure.

use std::thread;
use std::time::{Duration, Instant};

use foster::{Child, Command, ErrorKind, Input, Outcome, Signal, Sink, Status, Supervisor};
use puppet::{Stage, alone, children, eventually, puppet, within};

#[test]
fn f29_a_spawn_that_races_a_close_is_refused_or_stopped() {
    alone(|| {
        let sleep = Command::new("sleep").arg("30").stdin(Input::Null);
        for round in 0..200 {
            let supervisor = Supervisor::new();
            let started: Vec<Child> = thread::scope(|scope| {
                let spawners: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            // It ends at the first refusal, and after a few if the close is late.
                            (0..4)
                                .map_while(|_| match supervisor.spawn(&sleep) {
                                    Ok(child) => Some(child),
                                    Err(error) => {
                                        assert_eq!(error.kind(), ErrorKind::Closing, "{error}");
                                        None
                                    }
                                })
                                .collect::<Vec<_>>()
                        })
                    })
                    .collect();
                // The dial of the race: closing comes before, between and after the spawns.
                thread::sleep(Duration::from_micros(round % 20 * 100));
                supervisor.close().expect("nobody is stuck");
                // At this very moment, and not only when the spawners are done.
                let left = children();
                assert!(left.is_empty(), "round {round}: {left:?}");
                spawners.into_iter().flat_map(|spawner| spawner.join().expect("no panic")).collect()
            });
            for child in started {
                assert!(child.try_wait().is_some());
                assert_eq!(child.pid(), None);
            }
        }
    });
}

#[test]
fn f29_a_closed_supervisor_refuses_and_says_so() {
    let supervisor = Supervisor::new();
    supervisor.close().expect("there is nobody");
    let error = supervisor.spawn(&puppet("quiet")).expect_err("it is closed");
    assert_eq!(error.kind(), ErrorKind::Closing);
    assert!(error.to_string().contains("puppet quiet") && !error.to_string().contains('\n'), "{error}");
    assert_eq!(supervisor.run(&puppet("quiet")).expect("that is no error"), Outcome::Closing(None));
    let outcome = smol::block_on(supervisor.run_async(&puppet("quiet")));
    assert_eq!(outcome.expect("that is no error"), Outcome::Closing(None));
}

#[test]
fn a_close_is_idempotent_and_all_who_close_wait_for_all() {
    let supervisor = Supervisor::new();
    let script = "fork worker [ ignore TERM wait ] trap-exit TERM 0 wait";
    let command = puppet(script).grace(Duration::from_millis(300)).stdout(Sink::Piped);
    let stages: Vec<Stage> =
        (0..4).map(|_| Stage::listen(supervisor.spawn(&command).expect("it starts"))).collect();
    let workers: Vec<_> = stages.iter().map(|stage| (stage.ready("worker"), stage.leader())).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                supervisor.close().expect("nobody is stuck");
                assert!(workers.iter().all(|(worker, leader)| !worker.alive() && !leader.alive()));
            });
        }
    });
    supervisor.close().expect("again");
    assert_eq!(supervisor.children().len(), 0);
}

#[test]
fn f38_a_close_stops_all_at_the_same_time() {
    const GRACE: Duration = Duration::from_secs(1);
    let supervisor = Supervisor::new();
    let command = puppet("ignore TERM wait").grace(GRACE).stdout(Sink::Piped);
    let stages: Vec<Stage> =
        (0..20).map(|_| Stage::listen(supervisor.spawn(&command).expect("it starts"))).collect();
    for stage in &stages {
        stage.leader();
    }
    assert_eq!(supervisor.children().len(), 20);
    let begun = Instant::now();
    supervisor.close().expect("nobody is stuck");
    // One after the other would take all of their graces.
    assert!(begun.elapsed() < GRACE * 20, "{:?}", begun.elapsed());
    assert!(begun.elapsed() >= GRACE);
    assert!(stages.iter().all(|stage| stage.exit().forced));
}

#[test]
fn a_close_does_not_wait_for_a_splay() {
    let supervisor = Supervisor::new();
    let command = puppet("wait").splay(Duration::from_secs(3600)).stdout(Sink::Piped);
    let stage = Stage::listen(supervisor.spawn(&command).expect("it starts"));
    stage.leader();
    let splayed = stage.child().stop();
    supervisor.close().expect("nobody is stuck");
    within(&splayed);
}

#[test]
fn f28_a_run_that_was_closed_is_told_from_one_that_failed() {
    let supervisor = Supervisor::new();
    let status = |outcome: &Outcome| match outcome {
        Outcome::Success(exit) => ("success", exit.status),
        Outcome::Failure(exit) => ("failure", exit.status),
        Outcome::Closing(exit) => ("closing", exit.as_ref().expect("it was started").status),
    };
    let run = |script: &str| supervisor.run(&puppet(script)).expect("it starts");
    assert_eq!(status(&run("quiet exit 0")), ("success", Status::Exited(0)));
    assert_eq!(status(&run("quiet exit 3")), ("failure", Status::Exited(3)));
    let signaled = Status::Signaled { signal: Signal::TERM, core_dumped: false };
    assert_eq!(status(&run("quiet raise TERM")), ("failure", signaled));

    // It ends with 0 when it is asked: that is no success of its own.
    let command = puppet("trap-exit TERM 0 wait").stdout(Sink::Piped);
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| supervisor.run(&command).expect("it starts"));
        // The runs before it have ended and may not be gone yet.
        let running = || supervisor.children().into_iter().find(|child| child.try_wait().is_none());
        Stage::listen(eventually("it runs", running, Option::is_some).expect("just seen")).leader();
        supervisor.close().expect("nobody is stuck");
        run.join().expect("no panic")
    });
    assert_eq!(status(&outcome).0, "closing");
}

#[test]
fn a_supervisor_keeps_its_children_until_it_is_dropped() {
    let supervisor = Supervisor::new();
    let command = puppet("trap USR2 here wait").stdout(Sink::Piped);
    let mut stage = Stage::listen(supervisor.spawn(&command).expect("it starts"));
    let leader = stage.leader();
    stage.let_go();
    drop(supervisor.clone());
    leader.signal(Signal::USR2);
    stage.expect("leader: here");
    assert_eq!(supervisor.children().len(), 1);
    drop(supervisor);
    leader.dies();
}

#[test]
fn what_cannot_be_started_does_not_hold_up_a_close() {
    let supervisor = Supervisor::new();
    let error = supervisor.spawn(&Command::new("/no/such/program")).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(supervisor.children().len(), 0);
    supervisor.close().expect("there is nobody");
}

//! The library needs no helper program: no `ps`, no `pkill`, no shell.

use std::time::Duration;

use foster::{Command, ErrorKind, Leftovers, Supervisor};
use puppet::{Stage, alone_under, puppet, within};

#[test]
fn f44_everything_works_without_a_path() {
    alone_under(&["env", "PATH=/nonexistent"], || {
        assert_eq!(std::env::var("PATH").as_deref(), Ok("/nonexistent"));
        let error = Command::new("sleep").spawn().expect_err("there is nothing in PATH");
        assert_eq!(error.kind(), ErrorKind::NotFound);

        let script = "fork worker [ ignore TERM wait ] trap-exit TERM 0 wait";
        let stage = Stage::start(&puppet(script).grace(Duration::from_millis(100)));
        let worker = stage.ready("worker");
        stage.leader();
        within(&stage.child().stop());
        assert!(!worker.alive());

        let command = puppet("fork worker [ wait ] trap-exit TERM 0 wait");
        let stage = Stage::start(&command.leftovers(Leftovers::Kill));
        let worker = stage.ready("worker");
        stage.leader().signal(foster::Signal::TERM);
        assert_eq!(within(&stage.child().gone()).leftovers, [worker.pid()]);
        assert!(!worker.alive());

        let supervisor = Supervisor::new();
        let child = supervisor.spawn(&puppet("quiet wait")).expect("it starts");
        supervisor.close().expect("nobody is stuck");
        assert!(child.try_wait().is_some());
    });
}

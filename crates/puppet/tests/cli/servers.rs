//! Programs that nobody here wrote, stopped as their manuals ask: PostgreSQL and nginx from Debian.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command as StdCommand;

use foster::{Command, Signal, Status, Target};
use puppet::{Actor, Feature, Stage, eventually, group_members, needs, scratch};

use crate::common::{foster, send};

/// PostgreSQL refuses to run as root; Debian's package brings a user for it.
const UNPRIVILEGED: &str = "setpriv --reuid=postgres --regid=postgres --clear-groups --";

struct Postgres {
    folder: PathBuf,
    run_as: &'static str,
}

impl Postgres {
    /// A fresh data directory, or `None` if there is no PostgreSQL here.
    fn new() -> Option<Postgres> {
        if !needs(Feature::Program("postgres")) || !needs(Feature::Program("initdb")) {
            return None;
        }
        let folder = scratch("postgres");
        let run_as = if rustix::process::geteuid().is_root() { UNPRIVILEGED } else { "" };
        if !run_as.is_empty() {
            let chown = StdCommand::new("chown").arg("postgres").arg(&folder).status().expect("chown starts");
            assert!(chown.success());
        }
        let data = folder.join("data");
        let initdb = format!("{run_as} initdb --auth=trust --no-sync -D {}", data.display());
        let output = StdCommand::new("sh").args(["-c", &initdb]).output().expect("sh starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Postgres { folder, run_as })
    }

    /// `foster run OPTIONS -- postgres`, once it accepts connections.
    fn start(&self, options: &str) -> Stage {
        let folder = self.folder.display();
        let line = format!(
            "exec {} run {options} -- {} postgres -D {folder}/data -k {folder} -c listen_addresses= -F 2>&1",
            foster().display(),
            self.run_as
        );
        let stage = Stage::start(&Command::shell(line).target(Target::Leader).current_dir(&self.folder));
        eventually(
            "PostgreSQL is ready",
            || stage.heard(),
            |lines| lines.iter().any(|line| line.contains("ready to accept connections")),
        );
        stage
    }

    fn lock_file(&self) -> PathBuf {
        self.folder.join("data/postmaster.pid")
    }
}

/// The processes that a server has started.
fn helpers(server: u32) -> Vec<Actor> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Actor::of).collect()
}

/// The group of the server that foster runs: its pid is the first line of its pid file.
fn server_group(pid_file: &Path) -> u32 {
    let text = eventually(
        "the pid file",
        || fs::read_to_string(pid_file).unwrap_or_default(),
        |text| text.contains('\n'),
    );
    text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a pid")
}

#[test]
fn postgres_stops_fast_on_int_and_leaves_no_lock_file() {
    let Some(postgres) = Postgres::new() else { return };
    let stage = postgres.start("--stop-signal INT --signal-to leader -k 30");
    let group = server_group(&postgres.lock_file());
    let helpers = eventually("its helpers", || helpers(group), |helpers| helpers.len() > 3);
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(0), "{:?}", stage.heard());
    assert!(!postgres.lock_file().exists());
    assert!(stage.heard().iter().any(|line| line.contains("fast shutdown")), "{:?}", stage.heard());
    assert!(helpers.iter().all(|helper| !helper.alive()));
}

#[test]
fn postgres_with_no_grace_is_forced() {
    let Some(postgres) = Postgres::new() else { return };
    is_forced(|| {
        let stage = postgres.start("--stop-signal INT --signal-to leader -k 0");
        let group = server_group(&postgres.lock_file());
        let helpers = helpers(group);
        send(&stage, Signal::TERM);
        let status = stage.exit().status;
        assert_eq!(group_members(group), [0; 0]);
        // Its helpers have sessions of their own, so that a kill of the group does not reach them; PostgreSQL's own way
        // ends them when their master is dead.
        helpers.iter().for_each(Actor::dies);
        status
    });
}

/// It is asked and then killed; where foster has no processor in between, it may obey, and shows nothing.
#[track_caller]
fn is_forced(play: impl Fn() -> Status) {
    let last = (0..5).map(|_| play()).find(|status| *status != Status::Exited(0));
    assert_eq!(last, Some(Status::Exited(137)));
}

struct Nginx {
    folder: PathBuf,
}

impl Nginx {
    fn new() -> Option<Nginx> {
        if !needs(Feature::Program("nginx")) {
            return None;
        }
        let folder = scratch("nginx");
        let place = folder.display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("  {what}_temp_path {place}/{what};\n"))
            .concat();
        let config = format!(
            "daemon off;\npid {place}/pid;\nerror_log {place}/log notice;\nworker_processes 2;\nevents {{}}\n\
             http {{\n{temp}  access_log off;\n  server {{ listen unix:{place}/socket; return 200 ok; }}\n}}\n"
        );
        fs::write(folder.join("nginx.conf"), config).expect("written");
        Some(Nginx { folder })
    }

    fn start(&self, options: &str) -> Stage {
        let command = Command::new(foster())
            .arg("run")
            .args(options.split_whitespace())
            .args(["--", "nginx", "-e"])
            .arg(self.folder.join("log"))
            .arg("-c")
            .arg(self.folder.join("nginx.conf"))
            .target(Target::Leader);
        let stage = Stage::start(&command);
        eventually(
            "nginx answers",
            || UnixStream::connect(self.folder.join("socket")).is_ok(),
            |answers| *answers,
        );
        stage
    }
}

#[test]
fn nginx_stops_gracefully_on_quit() {
    let Some(nginx) = Nginx::new() else { return };
    let stage = nginx.start("--stop-signal QUIT --signal-to leader -k 30");
    let group = server_group(&nginx.folder.join("pid"));
    eventually("a master and its workers", || group_members(group), |members| members.len() >= 3);
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(0));
    assert!(!nginx.folder.join("pid").exists());
    assert_eq!(group_members(group), [0; 0]);
}

#[test]
fn nginx_with_no_grace_is_forced() {
    let Some(nginx) = Nginx::new() else { return };
    is_forced(|| {
        let stage = nginx.start("--stop-signal QUIT --signal-to leader -k 0");
        let group = server_group(&nginx.folder.join("pid"));
        send(&stage, Signal::TERM);
        let status = stage.exit().status;
        assert_eq!(group_members(group), [0; 0]);
        status
    });
}

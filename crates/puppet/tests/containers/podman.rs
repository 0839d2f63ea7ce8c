//! Containers of podman's, with runc. Nothing is pulled, no network is made, and all of podman's state is in a scratch
//! folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use foster::{Command, Exit, Input, Leftovers, Target};
use puppet::{Feature, Stage, eventually, foster, needs, program, scratch, unique};

use crate::room::{self, Cgroup};

/// Podman, in a folder of its own.
#[derive(Debug)]
struct Podman {
    folder: PathBuf,
}

impl Podman {
    fn new() -> Podman {
        // Its runroot may have 50 letters.
        let folder = scratch("pod");
        let place = folder.display();
        room::furnish(&folder.join("root"), &[foster(), program()]);
        // Its own limits are higher than those of a container that we may be in ourselves. Its locks would lie in one
        // shared memory for all its stores.
        let config = format!(
            "[containers]\nlog_driver = \"none\"\nnetns = \"none\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=16384:16384\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             lock_type = \"file\"\nstatic_dir = \"{place}/static\"\ntmp_dir = \"{place}/tmp\"\n\
             volume_path = \"{place}/volumes\"\n"
        );
        fs::write(folder.join("containers.conf"), config).expect("written");
        Podman { folder }
    }

    /// The words that run podman with these.
    fn words(&self, rest: &[&str]) -> Vec<String> {
        let place = self.folder.display();
        let mut words = vec![
            "env".to_string(),
            format!("CONTAINERS_CONF={place}/containers.conf"),
            "podman".to_string(),
            // By flags: podman's monitor, which cleans up, has not got the variable that could say it.
            format!("--root={place}/store"),
            format!("--runroot={place}/run"),
            "--storage-driver=vfs".to_string(),
            format!("--runtime-flag=root={place}/runc"),
        ];
        words.extend(rest.iter().map(ToString::to_string));
        words
    }
}

/// A container that is to be.
#[derive(Debug)]
pub(crate) struct Room {
    podman: &'static Podman,
    pub(crate) name: String,
    // Removed after the container.
    _cgroup: Cgroup,
    /// It is `/out` in there.
    pub(crate) out: PathBuf,
}

impl Room {
    /// `None` if there can be none here.
    pub(crate) fn new() -> Option<Room> {
        static PODMAN: OnceLock<Podman> = OnceLock::new();
        if !needs(Feature::Podman) {
            return None;
        }
        let podman = PODMAN.get_or_init(Podman::new);
        let name = unique("test");
        Some(Room { podman, _cgroup: Cgroup(name.clone()), name, out: scratch("out") })
    }

    /// The words that run these as PID 1 in this container.
    pub(crate) fn run(&self, options: &str, words: &[&str]) -> Vec<String> {
        let out = format!("{}:/out", self.out.display());
        let root = self.podman.folder.join("root").display().to_string();
        // Whatever becomes of the test, the container ends.
        let mut all = vec!["run", "--timeout", "100", "--name", &self.name, "--cgroup-parent", &self.name];
        all.extend(["--volume", &out, "--sig-proxy=false"]);
        all.extend(options.split_whitespace());
        all.extend(["--rootfs", &root]);
        all.extend(words);
        self.podman.words(&all)
    }

    /// Runs podman to its end.
    #[track_caller]
    pub(crate) fn podman(&self, words: &[&str]) -> Output {
        room::output(&self.podman.words(words))
    }

    /// As [`Room::podman`], and it must succeed. Returns what it says.
    #[track_caller]
    pub(crate) fn told(&self, words: &[&str]) -> String {
        let output = self.podman(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// Runs something in the container, besides.
    #[track_caller]
    pub(crate) fn exec(&self, line: &str) {
        let mut words = vec!["exec", "--detach", &self.name];
        words.extend(line.split_whitespace());
        self.told(&words);
    }

    /// The lines that were appended to a file in `/out`.
    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.out.join(file)).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    /// The state letters of all processes in the container, by the numbers that they have there.
    pub(crate) fn states(&self) -> BTreeMap<u32, char> {
        let init = self.told(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        let entries = fs::read_dir(format!("/proc/{init}/root/proc")).expect("it has a /proc").flatten();
        let state = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, stat.rsplit_once(") ")?.1.chars().next()?))
        };
        entries.filter_map(state).collect()
    }

    /// What podman takes for its exit code. Not by `podman wait`, which takes its time after an end.
    #[track_caller]
    pub(crate) fn exit_code(&self) -> String {
        let told = eventually(
            "the container has ended",
            || self.told(&["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", &self.name]),
            // It is «stopped» until podman has cleaned up.
            |told| told.starts_with("exited ") || told.starts_with("stopped "),
        );
        told.split(' ').nth(1).expect("a code").to_string()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        _ = self.podman(&["rm", "--force", "--time", "0", &self.name]);
    }
}

/// A container that runs, and what is said in it.
#[derive(Debug)]
pub(crate) struct Container {
    // First the container is removed, then what listens to it.
    pub(crate) room: Room,
    pub(crate) stage: Stage,
}

impl Container {
    /// `foster run OPTIONS -- puppet SCRIPT` as PID 1.
    #[track_caller]
    pub(crate) fn start(options: &str, script: &str) -> Option<Container> {
        let mut words = vec!["foster", "run"];
        words.extend(options.split_whitespace());
        words.extend(["--", "puppet"]);
        words.extend(script.split_whitespace());
        let room = Room::new()?;
        let all = room.run("", &words);
        Some(Container::of(room, &all))
    }

    /// The container that these words start.
    #[track_caller]
    pub(crate) fn of(room: Room, words: &[String]) -> Container {
        // What it leaves behind is podman's own monitor, which must not be disturbed.
        let command = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Input::Null)
            .target(Target::Leader)
            .leftovers(Leftovers::Leave);
        Container { room, stage: Stage::start(&command) }
    }

    /// The number that a puppet has in there, once it is ready.
    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> u32 {
        self.stage.ready(name).pid()
    }

    /// `podman kill`: sends PID 1 a signal.
    #[track_caller]
    pub(crate) fn kill(&self, signal: &str) {
        self.room.told(&["kill", "--signal", signal, &self.room.name]);
    }

    /// `podman stop`, with a grace of its own that no test lives to see. Returns how long it took.
    #[track_caller]
    pub(crate) fn stop(&self) -> Duration {
        let start = Instant::now();
        self.room.told(&["stop", "--time", "60", &self.room.name]);
        start.elapsed()
    }

    /// The exit of `podman run`, which is that of PID 1.
    #[track_caller]
    pub(crate) fn exit(&self) -> Exit {
        let exit = self.stage.exit();
        // A code that podman made up would be another.
        assert_eq!(Some(self.room.exit_code()), exit.status.shell_code().map(|code| code.to_string()));
        exit
    }
}

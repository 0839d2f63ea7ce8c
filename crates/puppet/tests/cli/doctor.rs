//! `foster doctor` says what `foster run` then gives, wherever it is asked; and it ends what dead fosters left.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use foster::{Level, Mechanism, Signal};
use puppet::{
    Actor, Cgroup, Feature, Host, NOBODY, Programs, User, alive, alone, children, descriptors, eventually,
    filter_as_docker, needs, scratch, state,
};
use serde_json::{Value, json};

use crate::common::{foster, said};
use crate::records::{keeps_to, schema};

const LEVELS: [Level; 4] = [Level::Sealed, Level::Grouped, Level::Tracked, Level::Group];

/// From where foster is asked: words before its name, and a copy of it that everybody can reach.
struct Place {
    before: Vec<String>,
    folder: PathBuf,
}

impl Place {
    fn new(before: &[&str]) -> Place {
        let folder = scratch("doctor");
        fs::copy(foster(), folder.join("foster")).expect("there is space");
        for (path, mode) in [(folder.clone(), 0o777), (folder.join("foster"), 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        Place { before: before.iter().map(ToString::to_string).collect(), folder }
    }

    #[track_caller]
    fn foster(&self, words: &[&str]) -> Output {
        let program = self.folder.join("foster").into_os_string();
        let mut all = self.before.iter().map(Into::into).chain([program]);
        Command::new(all.next().expect("a word"))
            .args(all)
            .args(words)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("it starts")
    }

    /// What doctor says, which the page says too.
    #[track_caller]
    fn doctor(&self) -> Value {
        let output = self.foster(&["doctor", "--json"]);
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
        let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        keeps_to(&schema("doctor.json"), &told);
        let output = self.foster(&["doctor"]);
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
        let page = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
        assert!(!page.contains('\x1b'), "{page}");
        for offer in told["mechanisms"].as_array().expect("an array") {
            let name = offer["mechanism"].as_str().expect("a name");
            let row = page.lines().find(|line| line.trim_start().starts_with(name)).expect("it has a row");
            let here = row.split_whitespace().nth(2).expect("a word").starts_with("yes");
            assert_eq!(offer["available"], here, "{name}: {page}");
        }
        let offers = told["mechanisms"].as_array().expect("an array").iter();
        for hint in offers.filter_map(|offer| offer["tried"]["hint"].as_str()) {
            // On how many lines, its length says.
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words(&page).contains(hint), "{hint}: {page}");
        }
        told
    }

    /// What holds a program that asks for this: its mechanism and level, or the one line that refuses.
    #[track_caller]
    fn run(&self, options: &[&str]) -> Result<(String, String), String> {
        let report = self.folder.join("report");
        _ = fs::remove_file(&report);
        // Not `true`: of a leader that is dead and reaped before we look, a pid namespace tells no pid, which breaks
        // the report's schema.
        let words = [&["run", "--report", "report"], options, &["--", "sleep", "0.1"]].concat();
        let output = self.foster(&words);
        let said = said(&output);
        let report: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
        keeps_to(&schema("report.schema.json"), &report);
        if output.status.code() == Some(0) {
            assert_eq!(said, "", "{options:?}");
            let word = |name: &str| report["containment"][name].as_str().expect("a name").to_string();
            return Ok((word("mechanism"), word("level")));
        }
        assert_eq!(output.status.code(), Some(125), "{options:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{options:?}: {said}");
        assert_eq!(report["error"]["kind"], "no_containment", "{options:?}");
        Err(said)
    }

    /// Each mechanism and each level is had, or is refused, as doctor said.
    #[track_caller]
    fn check(&self) -> Value {
        let told = self.doctor();
        for mechanism in Mechanism::ALL {
            let offer = offer(&told, mechanism.name());
            // Who names it says that he is what PID 1 must be.
            if mechanism == Mechanism::Init {
                continue;
            }
            for level in LEVELS {
                let asked = ["--contain", mechanism.name(), "--require", level.name()];
                let with_no_new_privs = [&asked[..], &["--no-new-privs"]].concat();
                let got = Ok((mechanism.name().to_string(), mechanism.level().name().to_string()));
                if mechanism.level() < level {
                    let line = self.run(&asked).expect_err("it contradicts itself");
                    assert!(line.contains("does not hold it as firmly"), "{line}");
                } else if offer["no_new_privs"] == true {
                    assert_eq!(self.run(&with_no_new_privs), got);
                    let line = self.run(&asked).expect_err("it was told so");
                    assert!(line.contains("allow no_new_privs"), "{line}");
                } else if offer["available"] == true {
                    assert_eq!(self.run(&asked), got);
                } else {
                    let line = self.run(&asked).expect_err("it was told so");
                    let hint = offer["tried"]["hint"].as_str().expect("a hint");
                    assert!(line.contains(mechanism.name()) && line.contains(hint), "{line}");
                }
            }
        }
        let name = |got: Result<(String, String), String>| got.ok().map(|(mechanism, _)| mechanism);
        for level in LEVELS {
            let got = name(self.run(&["--require", level.name()]));
            assert_eq!(json!(got), told["required"][level.name()], "{level}");
        }
        assert_eq!(json!(name(self.run(&[]))), told["default"]);
        told
    }
}

#[track_caller]
fn offer<'a>(told: &'a Value, name: &str) -> &'a Value {
    let offers = told["mechanisms"].as_array().expect("an array");
    offers.iter().find(|offer| offer["mechanism"] == name).expect("each is told")
}

/// Why there is no such thing: the number of the error.
#[track_caller]
fn errno(told: &Value, name: &str) -> Option<i64> {
    offer(told, name)["tried"]["errno"].as_i64()
}

#[test]
fn as_we_are() {
    let told = Place::new(&["env"]).check();
    assert_eq!(told["guard"]["runs_from"], "memory");
}

#[test]
fn as_nobody() {
    if needs(Feature::Root) {
        let id = NOBODY.to_string();
        let told = Place::new(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]).check();
        assert_eq!(told["user"], NOBODY);
        assert_eq!(offer(&told, "subreaper")["survives"]["setuid_child"], false);
        assert_eq!(errno(&told, "cgroup"), Some(libc::EACCES.into()));
    }
}

#[test]
fn with_cgroups_that_are_read_only() {
    if needs(Feature::PidNamespace) {
        let remount = "for at in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do \
                       mount -o remount,bind,ro $at || exit 9; done; exec \"$@\"";
        let told = Place::new(&["unshare", "-m", "sh", "-c", remount, "sh"]).check();
        for mechanism in ["cgroup", "freezer"] {
            // Where there is no such hierarchy, nothing is read-only.
            assert!([Some(libc::EROFS.into()), None].contains(&errno(&told, mechanism)), "{told}");
            assert_eq!(offer(&told, mechanism)["available"], false);
        }
    }
}

#[test]
fn with_a_proc_of_another_pid_namespace() {
    if needs(Feature::PidNamespace) {
        let told = Place::new(&["unshare", "-p", "-f", "sh", "-c", "\"$@\"; exit $?", "sh"]).check();
        assert_eq!(offer(&told, "subreaper")["available"], false);
        assert_eq!(errno(&told, "subreaper"), None);
    }
}

#[test]
fn under_a_filter_like_dockers() {
    if needs(Feature::Root) {
        alone(|| {
            filter_as_docker();
            let id = NOBODY.to_string();
            for before in [&["env"][..], &["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]] {
                let told = Place::new(before).check();
                assert_eq!(errno(&told, "pid-namespace"), Some(libc::EPERM.into()), "{before:?}");
                assert_eq!(offer(&told, "subreaper")["available"], true, "{before:?}");
            }
        });
    }
}

#[test]
fn a_survey_leaves_nothing_behind() {
    alone(|| {
        let first = foster::survey();
        assert_eq!(children(), [0; 0]);
        let before = descriptors();
        assert_eq!(foster::survey(), first);
        assert_eq!((children(), descriptors()), (vec![], before));
        assert_eq!(first.offers.iter().map(|offer| offer.mechanism).collect::<Vec<_>>(), Mechanism::ALL);
        let all = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup"];
        let ours = format!("foster.{}.", std::process::id());
        let entries = all.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        assert!(entries.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(&ours)));
    });
}

/// A program in these cgroups, started by a shell, since what `std` could do between fork and exec is unsafe.
fn in_groups(groups: &[Cgroup], words: &[&str]) -> Command {
    let enter =
        "while [ \"$1\" != -- ]; do echo 0 > \"$1/cgroup.procs\" || exit 9; shift; done; shift; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", enter, "sh"]).args(groups.iter().map(Cgroup::directory)).arg("--");
    command.arg(foster()).args(words).stdin(Stdio::null());
    command
}

/// `foster run` of a sleeper under a cgroup: foster, its guard, and the sleeper.
fn run_in(groups: &[Cgroup], events: &Path) -> (Child, Actor, Actor) {
    let file = events.to_str().expect("UTF-8");
    let words = ["run", "--contain", "cgroup", "--events", file, "--", "sleep", "60"];
    let child = in_groups(groups, &words).spawn().expect("a shell");
    let line = eventually(
        "it has started",
        || fs::read_to_string(events).unwrap_or_default(),
        |text| text.ends_with('\n'),
    );
    let started: Value = serde_json::from_str(line.lines().next().expect("a line")).expect("JSON");
    let pid = |value: &Value| Actor::of(value.as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid"));
    (child, pid(&started["containment"]["guard"]["pid"]), pid(&started["pid"]))
}

#[test]
fn what_a_dead_foster_left_is_ended_and_nothing_else() {
    let Some(unified) = Cgroup::unified().filter(|_| needs(Feature::Root)) else { return };
    // One in the other, in each hierarchy: whoever sweeps beside itself finds only what is ours.
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    let above: Vec<Cgroup> = [unified, freezer].into_iter().filter_map(Cgroup::new).collect();
    let groups: Vec<Cgroup> = above.iter().filter_map(|group| Cgroup::new(group.directory())).collect();
    let folder = scratch("leak");
    let (mut foster, guard, leader) = run_in(&groups, &folder.join("leak"));
    let (mut other, _, other_leader) = run_in(&groups, &folder.join("other"));
    let text = fs::read_to_string(format!("/proc/{}/cgroup", leader.pid())).expect("it lives");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup v2");
    let leaf = unified.join(own);

    // Together: neither sees the other die.
    let us = Actor::of(foster.id());
    for one in [&us, &guard] {
        one.signal(Signal::STOP);
        eventually("it stands still", || state(one.pid()), |state| *state == Some('T'));
    }
    // The guard first: if its parent died, the kernel would continue it, as a stopped one in an orphaned group.
    guard.signal(Signal::KILL);
    us.signal(Signal::KILL);
    foster.wait().expect("our child");
    eventually("the guard is dead", || alive(guard.pid()), |alive| !alive);
    assert!(alive(leader.pid()), "nobody was there to end it");

    // A young leaf might be about to be locked: younger than 10 seconds it is left alone.
    let age = || {
        let made = fs::metadata(&leaf).expect("it is there").ctime();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        now.saturating_sub(made.try_into().expect("after 1970"))
    };
    eventually("it is old enough", age, |age| *age > 10);
    let doctor = |words: &[&str]| {
        let output = in_groups(&groups, words).output().expect("a shell");
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let told: Value = serde_json::from_str(&doctor(&["doctor", "--fix-leaks", "--json"])).expect("JSON");
    keeps_to(&schema("doctor.json"), &told);
    let swept = json!([{ "path": leaf.to_str(), "killed": [leader.pid()], "removed": true }]);
    assert_eq!(told["swept"], swept);
    assert!(!alive(leader.pid()) && !leaf.exists());
    assert!(alive(other_leader.pid()) && alive(other.id()), "it has an owner");
    assert!(doctor(&["doctor", "--fix-leaks"]).starts_with("Nothing was left behind"));

    Actor::of(other.id()).signal(Signal::TERM);
    other.wait().expect("our child");
}

#[test]
fn what_one_command_lacks_is_not_refused_to_the_next() {
    // Nobody gets a Landlock domain without no_new_privs. That was remembered as if this machine had none, and the
    // command that brought it was refused too.
    if needs(Feature::Safety) {
        let mut host = Host::start(&Programs::copy(), User::Nobody, 50, &[]);
        let refused = host.run("landlock", "exit 0").expect_err("it lacks no_new_privs");
        assert!(refused.contains("allow no_new_privs"), "{refused}");
        let got = host.run("landlock+nnp", "exit 0").expect("it brings them");
        assert_eq!(got.mechanism, "landlock");
    }
}

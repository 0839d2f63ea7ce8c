//! As a service: systemd boots in a container of nspawn's, with the host's `/usr`, and a unit runs foster. Nothing of
//! it is on the host but a scratch folder and, for as long as it runs, a control group.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use puppet::{Feature, foster, needs, program, scratch, unique};

use crate::room::{self, Cgroup};

/// What becomes of a unit.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// What the program said, without its pid.
    program: Vec<String>,
    /// Its result, and what systemd saw of foster's end; systemd.exec(5), `$SERVICE_RESULT`, `$EXIT_CODE`,
    /// `$EXIT_STATUS`.
    end: String,
}

/// Runs a service whose program is `foster run OPTIONS -- puppet SCRIPT` and, once that is ready, these words.
/// `None` if that cannot be here.
#[track_caller]
fn service(settings: &str, options: &str, script: &str, then: &str) -> Option<Told> {
    if !needs(Feature::Nspawn) {
        return None;
    }
    let name = unique("unit");
    let (root, out) = (scratch("root"), scratch("out"));
    let start = format!("/under-test/foster run {options} -- /under-test/puppet {script}");
    furnish(&root, &start, settings, then);

    let cgroup = Cgroup(name.clone());
    let mut words =
        ["sh", "-c", "while [ \"$1\" != -- ]; do echo $$ >\"$1\"; shift; done; shift; exec \"$@\"", "sh"]
            .map(str::to_string)
            .to_vec();
    words.extend(cgroup.make().iter().map(|list| list.display().to_string()));
    words.push("--".to_string());
    words.extend(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"].map(str::to_string));
    words.extend(["--private-network", "--link-journal=no", "--console=pipe"].map(str::to_string));
    words.push(format!("--machine={name}"));
    words.push(format!("--directory={}", root.display()));
    words.push("--bind-ro=/usr".to_string());
    words.push(format!("--bind={}:/out", out.display()));
    for program in [foster(), program()] {
        let file = program.file_name().expect("a name").display().to_string();
        words.push(format!("--bind-ro={}:/under-test/{file}", program.display()));
    }
    let output = room::output(&words);
    // nspawn removes it itself where `/run` is no part of a disk.
    _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(&name));

    let read = |file: &str| fs::read_to_string(out.join(file)).unwrap_or_default();
    let end = read("end").trim().to_string();
    let console = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(!end.is_empty(), "{}: {}\n{}\n{}", output.status, console(), read("program"), read("story"));
    let said = read("program");
    let without_pid = |line: &str| line.split_once("ready ").map_or(line, |_| "leader: ready").to_string();
    let program = said.lines().map(without_pid).collect();
    Some(Told { program, end })
}

/// A root folder in which systemd starts two units and nothing else: the program, and the story, which ends the
/// container.
fn furnish(root: &Path, start: &str, settings: &str, then: &str) {
    let units = root.join("etc/systemd/system");
    for folder in ["dev", "out", "proc", "run", "sys", "tmp", "usr", "var", "under-test"] {
        fs::create_dir(root.join(folder)).expect("a folder");
    }
    fs::create_dir_all(units.join("default.target.wants")).expect("a folder");
    for folder in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{folder}"), root.join(folder)).expect("a link");
    }
    let write = |path: &Path, text: &str| fs::write(path, text).expect("written");
    write(&root.join("etc/os-release"), "ID=test\n");
    write(&root.join("etc/machine-id"), "");
    write(&units.join("default.target"), "[Unit]\nAllowIsolate=yes\n");
    write(
        &units.join("program.service"),
        &format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={start}\n{settings}\n\
             StandardOutput=append:/out/program\nStandardError=append:/out/program\nTimeoutStopSec=30\n\
             ExecStopPost=/bin/sh -c 'echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >>/out/end'\n"
        ),
    );
    let story = format!(
        "systemctl start program; until grep -q ': ready ' /out/program; do sleep 0.05; done; {then}; \
         until [ -s /out/end ]; do sleep 0.05; done"
    );
    write(&root.join("etc/story"), &story);
    write(
        &units.join("story.service"),
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh /etc/story\n\
         StandardOutput=append:/out/story\nStandardError=append:/out/story\nTimeoutStartSec=35\n\
         ExecStopPost=/bin/systemctl --no-block exit 0\n",
    );
    symlink("../story.service", units.join("default.target.wants/story.service")).expect("a link");
}

fn told(program: &[&str], end: &str) -> Told {
    Told { program: program.iter().map(ToString::to_string).collect(), end: end.to_string() }
}

#[test]
fn systemctl_stop_asks_once_and_the_exit_code_reaches_systemd() {
    let script = "on TERM [ say asked sleep 0.5 exit 3 ] wait";
    let Some(seen) = service("KillMode=mixed", "", script, "systemctl stop program") else { return };
    assert_eq!(seen, told(&["leader: ready", "leader: asked"], "exit-code exited 3"));
}

#[test]
fn systemctl_stop_of_a_program_that_ends_well_is_a_success() {
    let script = "on TERM [ say asked sleep 0.5 exit 0 ] wait";
    let Some(seen) = service("KillMode=mixed", "", script, "systemctl stop program") else { return };
    assert_eq!(seen, told(&["leader: ready", "leader: asked"], "success exited 0"));
}

#[test]
fn with_systemds_default_kill_mode_the_program_is_asked_and_its_code_arrives_too() {
    // systemd then sends TERM to everybody in the unit, to foster and to the program itself, which foster cannot know:
    // the two may arrive as one or as two.
    let script = "on TERM [ say asked sleep 0.5 exit 3 ] wait";
    let Some(mut seen) = service("", "", script, "systemctl stop program") else { return };
    seen.program.dedup();
    assert_eq!(seen, told(&["leader: ready", "leader: asked"], "exit-code exited 3"));
}

#[test]
fn a_program_that_ignores_term_is_ended_by_fosters_grace_not_by_systemds() {
    let Some(seen) = service("KillMode=mixed", "--grace 1s -q", "ignore TERM wait", "systemctl stop program")
    else {
        return;
    };
    // Its end by systemd would be a «timeout».
    assert_eq!(seen, told(&["leader: ready"], "exit-code exited 137"));
}

#[test]
fn a_program_that_term_kills_is_143_which_a_unit_may_call_a_success() {
    let settings = "KillMode=mixed\nSuccessExitStatus=143";
    let Some(seen) = service(settings, "", "wait", "systemctl stop program") else { return };
    assert_eq!(seen, told(&["leader: ready"], "success exited 143"));
}

#[test]
fn a_program_that_ends_by_itself_tells_systemd_its_code() {
    let Some(seen) = service("", "", "say working exit 7", ":") else { return };
    assert_eq!(seen, told(&["leader: ready", "leader: working"], "exit-code exited 7"));
}

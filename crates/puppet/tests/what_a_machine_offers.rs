//! Whatever a machine offers, the strongest of it holds the tree, what is got is told as it is, with what was tried
//! before, and what is required and not to be had is an error that names the reasons.
//!
//! The machines are made of this one, by taking things away.

use std::path::Path;
use std::time::Duration;

use puppet::{Actor, Cgroup, Feature, Got, Host, NOBODY, Programs, needs};

const CROWD: u32 = 300;

/// It is promised in a tenth of a second; the machine may be busy.
const BOUND: Duration = Duration::from_secs(10);

const DAEMONS: &str = "daemons setsid 1 daemons double-setsid 2 say out wait";

/// Errors, as the tests write them.
const NO_RIGHT: i32 = libc::EACCES;
const READ_ONLY: i32 = libc::EROFS;
/// It was not the system that refused.
const NONE: i32 = 0;

const NOBODY_IN_A_NAMESPACE: [&str; 3] = ["unshare", "-U", "-r"];

/// Where `SCRIPT` runs first and is then replaced.
const IN_A_MOUNT_NAMESPACE: [&str; 4] = ["unshare", "-m", "sh", "-c"];

/// A machine.
struct Machine {
    programs: Programs,
    words: Vec<String>,
    door: Option<Cgroup>,
}

impl Machine {
    /// `None`: it cannot be made here.
    fn new() -> Option<Machine> {
        let there =
            [Feature::Safety, Feature::Freezer, Feature::Program("setpriv"), Feature::Program("unshare")];
        let there = there.into_iter().all(needs) && Cgroup::unified().is_some();
        there.then(|| Machine { programs: Programs::copy(), words: Vec::new(), door: None })
    }

    /// Under these words.
    fn under(mut self, words: &[&str]) -> Machine {
        self.words.extend(words.iter().map(ToString::to_string));
        self
    }

    /// Where these lines have been carried out, in a mount namespace.
    fn after(self, lines: &str) -> Machine {
        let script = format!("mount --make-rslave / && {lines} && exec \"$@\"");
        self.under(&IN_A_MOUNT_NAMESPACE).under(&[&script, "sh"])
    }

    /// Under a filter like that of Docker.
    fn filtered(self) -> Machine {
        let filtered = self.programs.filtered();
        self.under(&[filtered.to_str().expect("UTF-8")])
    }

    /// As somebody without privileges.
    fn without_privileges(self) -> Machine {
        let id = NOBODY.to_string();
        self.under(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
    }

    /// In a cgroup of version 2 of its own, that somebody without privileges may divide.
    fn delegated(mut self) -> Machine {
        let door = Cgroup::unified().and_then(Cgroup::new).expect("we are root");
        door.delegate(NOBODY);
        self.door = Some(door);
        self
    }

    /// In a cgroup of version 2 that was killed when nobody was in it.
    fn once_killed(mut self) -> Machine {
        let door = match self.door.take() {
            Some(door) => door,
            None => Cgroup::unified().and_then(Cgroup::new).expect("we are root"),
        };
        std::fs::write(door.directory().join("cgroup.kill"), "1").expect("Linux 5.14");
        self.door = Some(door);
        self
    }

    fn host(&self) -> Host {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let doors: Vec<&Path> = self.door.iter().map(Cgroup::directory).collect();
        Host::start_under(&self.programs, &words, CROWD, &doors)
    }

    /// What holds a tree here is this, and it does what it promises.
    #[track_caller]
    fn gives(&self, how: &str, level: &str, mechanism: &str, tried: &[(&str, i32)]) -> Got {
        let mut host = self.host();
        let before = settled(&mut host);
        let got = host.run(how, DAEMONS).unwrap_or_else(|why| panic!("{how}: {why}"));
        host.tell("tried");
        let told = host.hear("supervisor: tried");
        let wanted: Vec<String> = tried.iter().map(|(name, errno)| format!("{name} {errno}")).collect();
        let summary = (got.level.as_str(), got.mechanism.as_str(), told);
        assert_eq!(summary, (level, mechanism, wanted.join("; ")));
        let guarded = mechanism != "process-group";
        // A process of our own `/proc`, where that is not the host's.
        assert_eq!((got.guard.is_some(), got.setsid, got.supervisor_killed), (guarded, guarded, guarded));

        // The daemons die at the stop.
        host.hear("leader: out");
        host.tell("stop");
        let end = host.hear("supervisor:");
        let left = host.safety.left_to(&before, if guarded { BOUND } else { Duration::ZERO });
        if guarded {
            assert!(end.starts_with("gone"), "{end}");
            assert!(left.is_some(), "still there: {:?}", host.safety.members());
        } else {
            // Nothing was promised; if that were to change, so should what is told.
            assert_eq!(left, None);
        }
        drop(host);

        // They die when the supervisor does.
        let mut host = self.host();
        let before = settled(&mut host);
        let supervisor = supervisor_in(&before);
        host.run(how, DAEMONS).unwrap_or_else(|why| panic!("{how}: {why}"));
        host.hear("leader: out");
        supervisor.signal(foster::Signal::KILL);
        supervisor.dies();
        let left = host.safety.left_to(&before, if guarded { BOUND } else { Duration::ZERO });
        println!("{level} by {mechanism}: gone {left:?} after the supervisor");
        assert_eq!(left.is_some(), guarded, "{:?}", host.safety.members());
        got
    }

    /// Here it is refused, for these reasons.
    #[track_caller]
    fn refuses(&self, how: &str, reasons: &[&str]) {
        let mut host = self.host();
        let before = settled(&mut host);
        let why = host.run(how, DAEMONS).expect_err("it cannot be had here");
        let missing: Vec<_> = reasons.iter().filter(|reason| !why.contains(**reason)).collect();
        assert!(missing.is_empty(), "{missing:?} are not in: {why}");
        assert!(!why.contains('\n'), "{why}");
        let left = host.safety.left_to(&before, BOUND);
        assert!(left.is_some(), "something was started: {:?}", host.safety.members());
    }
}

/// Who is there before anything is run.
fn settled(host: &mut Host) -> Vec<u32> {
    host.tell("touch 0");
    host.hear("supervisor: touched");
    host.safety.members()
}

/// Words such as `unshare -f` have the supervisor for a child.
fn supervisor_in(members: &[u32]) -> Actor {
    let is = |pid: &&u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "supervisor\n")
    };
    Actor::of(*members.iter().find(is).expect("it runs"))
}

#[test]
fn root_gets_a_cgroup() {
    let Some(machine) = Machine::new() else { return };
    let got = machine.gives("auto", "grouped", "cgroup", &[]);
    assert!(got.fork_bomb && got.guard_killed && !got.both_killed, "{got:?}");
}

#[test]
fn somebody_without_a_cgroup_gets_a_guard_alone() {
    let Some(machine) = Machine::new().map(Machine::without_privileges) else { return };
    let got = machine.gives("auto", "tracked", "subreaper", &[("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)]);
    assert!(!got.fork_bomb && !got.setuid_child && !got.guard_killed, "{got:?}");
}

#[test]
fn somebody_with_a_delegated_cgroup_gets_one() {
    let Some(machine) = Machine::new().map(Machine::delegated) else { return };
    let got = machine.without_privileges().gives("auto", "grouped", "cgroup", &[]);
    assert!(got.setuid_child && got.fork_bomb, "{got:?}");
}

#[test]
fn somebody_in_a_user_namespace_gets_a_guard_alone() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.without_privileges().under(&NOBODY_IN_A_NAMESPACE);
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)]);
}

/// Their supervisor is not pid 1, whose end would be everybody's.
const IN_A_PID_NAMESPACE: [&str; 4] = ["unshare", "-p", "-f", "--kill-child"];
const NOT_FIRST: [&str; 4] = ["sh", "-c", "\"$@\"; exec sleep 50", "sh"];

#[test]
fn a_pid_namespace_with_its_proc_changes_nothing() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.under(&IN_A_PID_NAMESPACE).under(&["--mount-proc"]).under(&NOT_FIRST);
    machine.gives("auto", "grouped", "cgroup", &[]);
    let Some(machine) = Machine::new() else { return };
    let machine =
        machine.under(&IN_A_PID_NAMESPACE).under(&["--mount-proc"]).under(&NOT_FIRST).without_privileges();
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)]);
}

#[test]
fn a_pid_namespace_without_its_proc_lets_nobody_promise_more_than_a_group() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.under(&IN_A_PID_NAMESPACE).under(&NOT_FIRST).without_privileges();
    let tried = [("cgroup", NO_RIGHT), ("freezer", NO_RIGHT), ("subreaper", NONE)];
    let got = machine.gives("auto", "group", "process-group", &tried);
    assert!(!got.double_fork && !got.fork_bomb && !got.guard_killed && !got.both_killed, "{got:?}");
    machine.refuses("auto+tracked", &["cgroup: ", "freezer: ", "subreaper: ", "another pid namespace"]);
}

#[test]
fn root_in_a_pid_namespace_without_its_proc_gets_a_cgroup() {
    let Some(machine) = Machine::new() else { return };
    machine.under(&IN_A_PID_NAMESPACE).under(&NOT_FIRST).gives("auto", "grouped", "cgroup", &[]);
}

#[test]
fn under_dockers_filter_a_cgroup_is_joined() {
    let Some(machine) = Machine::new().map(Machine::filtered) else { return };
    machine.gives("auto", "grouped", "cgroup", &[]);
}

#[test]
fn in_docker_there_is_a_guard_alone() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.after(READ_ONLY_CGROUPS).filtered();
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", READ_ONLY), ("freezer", READ_ONLY)]);
    machine.gives("auto+grouped", "grouped", "landlock", &[("cgroup", READ_ONLY), ("freezer", READ_ONLY)]);
    let machine = machine.without_privileges();
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", READ_ONLY), ("freezer", READ_ONLY)]);
}

/// All of them, as a container has them.
const READ_ONLY_CGROUPS: &str = "for at in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do mount -o remount,bind,ro $at || exit 9; done";

#[test]
fn a_cgroup_that_is_read_only_is_told() {
    let Some(machine) = Machine::new() else { return };
    let at = Cgroup::unified().expect("it is there").display();
    let machine = machine.after(&format!("mount -o remount,bind,ro {at}"));
    machine.gives("auto", "grouped", "freezer", &[("cgroup", READ_ONLY)]);
    machine.refuses("cgroup", &["cgroup: mkdir ", "Read-only file system", "foster doctor"]);
}

#[test]
fn without_cgroups_there_is_a_guard_alone() {
    let Some(machine) = Machine::new() else { return };
    let machine = machine.after("umount -R -l /sys/fs/cgroup");
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", NONE), ("freezer", NONE)]);
    machine.refuses("cgroup", &["cgroup: "]);
    machine.refuses("freezer", &["freezer: "]);
}

#[test]
fn f31_what_is_required_and_not_there_is_an_error_with_the_reasons() {
    let Some(machine) = Machine::new().map(Machine::without_privileges) else { return };
    let reasons =
        ["cgroup: ", "Permission denied", "freezer: ", "landlock: ", "no_new_privs", "delegate a cgroup"];
    machine.refuses("auto+grouped", &reasons);
    machine.refuses("cgroup", &["cgroup: mkdir ", "Permission denied", "delegate a cgroup"]);
    machine.refuses("freezer", &["freezer: mkdir ", "Permission denied"]);
    machine.refuses("landlock", &["landlock: ", "Operation not permitted", "no_new_privs"]);
    machine.refuses("subreaper+grouped", &["subreaper does not hold it as firmly as grouped"]);
    machine.refuses("group+tracked", &["process-group does not hold it as firmly as tracked"]);
    // What is there is not refused.
    machine.gives("auto+tracked", "tracked", "subreaper", &[("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)]);
    let tried = [("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)];
    machine.gives("auto+grouped+nnp", "grouped", "landlock", &tried);
}

#[test]
fn sealed_is_to_be_had_by_root_and_by_others() {
    let Some(machine) = Machine::new() else { return };
    for how in ["sealed", "auto+sealed"] {
        let got = machine.gives(how, "sealed", "pid-namespace", &[]);
        assert!(got.both_killed && got.guard_killed && got.fork_bomb, "{got:?}");
    }
    let machine = machine.without_privileges();
    for how in ["sealed", "auto+sealed"] {
        let got = machine.gives(how, "sealed", "pid-namespace", &[]);
        assert!(got.both_killed && got.guard_killed && got.fork_bomb, "{got:?}");
    }
}

#[test]
fn sealed_is_refused_under_dockers_filter() {
    let Some(machine) = Machine::new().map(Machine::filtered) else { return };
    let reasons =
        ["pid-namespace: make a pid namespace", "Operation not permitted", "Docker's seccomp profile"];
    for how in ["sealed", "auto+sealed"] {
        machine.refuses(how, &reasons);
    }
    machine.without_privileges().refuses("sealed", &reasons);
}

#[test]
fn sealed_is_refused_where_no_user_namespace_may_be_made() {
    let Some(machine) = Machine::new() else { return };
    // Of a namespace of our own, so that nobody else's limit is changed; and then without what it gave us.
    let limit = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let machine =
        machine.without_privileges().under(&NOBODY_IN_A_NAMESPACE).under(&["sh", "-c", limit, "sh"]);
    let machine = machine.under(&["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]);
    machine.refuses("sealed", &["pid-namespace: ", "No space left on device", "user.max_user_namespaces"]);
    machine.gives("auto", "tracked", "subreaper", &[("cgroup", NO_RIGHT), ("freezer", NO_RIGHT)]);
}

/// Linux 6.14 to 6.18 kill a process at birth that is cloned into a cgroup, when its parent's cgroup was killed once
/// and the other never was, or the other way round: each cgroup counts its kills, and the child gets its parent's
/// count. The guard sees that its child died so, and has the next one join. (containment.md, 2, “kill counter bug”.)
#[test]
fn a_supervisor_in_a_cgroup_that_was_killed_once_can_start_somebody() {
    let Some(machine) = Machine::new().map(Machine::once_killed) else { return };
    machine.gives("auto", "grouped", "cgroup", &[]);
    machine.gives("cgroup+twin", "grouped", "cgroup", &[]);
    let Some(machine) = Machine::new().map(Machine::delegated) else { return };
    machine.once_killed().without_privileges().gives("auto", "grouped", "cgroup", &[]);
}

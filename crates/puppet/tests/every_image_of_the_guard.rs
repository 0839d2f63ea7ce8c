//! However a guard can be run on a machine, it holds a tree as well: from memory, from an installed file, as another
//! start of the host's own program, or as a copy of its process. What cannot be run is not tried again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use puppet::{Actor, Feature, Host, Programs, User, alone_under, command_line, eventually, needs};

const BOUND: Duration = Duration::from_secs(10);
const CROWD: u32 = 100;

#[test]
fn from_memory() {
    alone_under(&["env", "FOSTER_GUARD=memory"], || plays("/memfd:foster-guard (deleted)", true));
}

#[test]
fn from_a_file() {
    alone_under(&["env", "FOSTER_GUARD=file"], || plays("foster-guard", true));
}

#[test]
fn as_the_hosts_own_program() {
    alone_under(&["env", "FOSTER_GUARD=host"], || plays("supervisor", true));
}

#[test]
fn as_a_copy_of_the_host() {
    alone_under(&["env", "FOSTER_GUARD=copy"], || plays("supervisor", false));
}

/// The same play under each, with and without a twin.
fn plays(image: &str, has_words: bool) {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    install(&programs, 0o755);
    for how in ["subreaper", "subreaper+twin", "freezer", "freezer+twin", "landlock", "pid-namespace"] {
        if how.starts_with("freezer") && !needs(Feature::Freezer) {
            continue;
        }
        let script =
            "fork one [ setsid ignore TERM daemons double-setsid 3 wait ] trap-exit TERM 5 say out wait";
        let begin = || {
            let mut host = Host::start(&programs, User::Root, CROWD, &[]);
            let got = host.run(how, script).unwrap_or_else(|why| panic!("{how}: {why}"));
            assert_eq!(got.twin, how.ends_with("twin"));
            host.hear("leader: out");
            host.hear("one: ready");
            let guard = got.guard.expect("a guard");
            let ran = fs::read_link(format!("/proc/{guard}/exe")).expect("it lives");
            assert!(
                ran.ends_with(image.trim_start_matches('/')) || ran == Path::new(image),
                "{how}: {}",
                ran.display()
            );
            assert_eq!(
                fs::read_to_string(format!("/proc/{guard}/comm")).expect("it lives"),
                "foster-guard\n"
            );
            let words = command_line(guard).expect("it lives");
            if has_words {
                assert!(words.len() == 2 && words[0] == "foster-guard", "{words:?}");
            }
            assert!(!words.iter().any(|word| word.contains("daemons")), "{words:?}");
            (host, guard)
        };
        // Its end is told.
        let (mut host, guard) = begin();
        let leaves = descriptors(guard);
        assert!(
            leaves
                .iter()
                .all(|is| !is.starts_with('/') || is.contains("/sys/fs/cgroup/") || is.contains("/children")),
            "{how}: {leaves:?}"
        );
        host.tell("stop");
        assert!(host.hear("supervisor: gone").len() > 1);
        let left = host.safety.left_to(&[host.actor().pid()], BOUND);
        assert!(left.is_some(), "{how}: {:?}", host.safety.members());
        let before = descriptors(host.actor().pid()).len();
        for _ in 0..3 {
            host.run(how, "exit 3").expect("as before");
            host.tell("stop");
            host.hear("supervisor: gone");
        }
        let count = || descriptors(host.actor().pid()).len();
        eventually("no descriptor stays open", count, |count| *count <= before);
        // The host's end is the tree's.
        let (host, _) = begin();
        host.kill();
        assert!(host.safety.left_to(&[], BOUND).is_some(), "{how}: {:?}", host.safety.members());
    }
}

/// What its descriptors are.
fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

fn install(programs: &Programs, mode: u32) {
    let file = programs.directory().join("foster-guard");
    fs::write(&file, foster::guard_program().expect("it was built")).expect("there is space");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// The sysctl is a pid namespace's own.
#[test]
fn the_next_is_taken_and_remembered() {
    if !needs(Feature::PidNamespace) || !needs(Feature::Safety) {
        return;
    }
    let none_in_memory = "echo 2 > /proc/sys/vm/memfd_noexec && exec \"$@\"";
    alone_under(
        &["unshare", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", none_in_memory, "sh"],
        || {
            let programs = Programs::copy();
            let ran = |host: &mut Host| {
                let guard = host.run("subreaper", "wait").expect("some way is left").guard.expect("a guard");
                let ran = fs::read_link(format!("/proc/{guard}/exe")).expect("it lives");
                let actor = Actor::of(guard);
                host.tell("kill");
                host.hear("supervisor: gone");
                actor.dies();
                ran.file_name().expect("a file").to_string_lossy().into_owned()
            };
            let mut host = Host::start(&programs, User::Root, CROWD, &[]);
            assert_eq!(ran(&mut host), "supervisor");
            drop(host);
            install(&programs, 0o755);
            let mut host = Host::start(&programs, User::Root, CROWD, &[]);
            assert_eq!(ran(&mut host), "foster-guard");
            drop(host);
            install(&programs, 0o644);
            let mut host = Host::start(&programs, User::Root, CROWD, &[]);
            assert_eq!(ran(&mut host), "supervisor");
            install(&programs, 0o755);
            assert_eq!(ran(&mut host), "supervisor", "it was tried, and need not be tried again");
        },
    );
}

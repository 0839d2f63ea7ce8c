//! A guard is next to nothing: a few KiB of program and memory, no descriptor of its host's, no word of the program's,
//! and no system call that a machine without memory or processes could refuse it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use foster::{Command, Containment, Mechanism};
use puppet::{
    Cgroup, Feature, Stage, alone, command_line, eventually, group_and_session, needs, puppet, scratch,
    status_field, within,
};

#[test]
fn its_program_is_small() {
    let program = foster::guard_program().expect("it was built");
    println!("the guard's program: {} bytes", program.len());
    assert!(program.len() < 16 * 1024, "{} bytes", program.len());
    assert!(program.starts_with(b"\x7fELF"));
    assert_eq!(loaded_segments(program), 1, "each is mapped for every tree");
}

/// As a program does whose last line is a wait: it does not wait until the guard is gone.
#[test]
fn a_host_that_ends_with_its_program_leaves_no_cgroup() {
    const HOST: &str = "FOSTER_TEST_HOST";
    if std::env::var_os(HOST).is_some() {
        let command = Command::new("true").containment(Containment::Exactly(Mechanism::Cgroup));
        let exit = command.status().expect("it starts");
        std::process::exit(exit.shell_code().unwrap_or(1).into());
    }
    let Some(top) = Cgroup::unified().filter(|_| needs(Feature::Root)) else {
        assert!(std::env::var_os("FOSTER_CI").is_none(), "there is no cgroup v2");
        return eprintln!("not run: there is no cgroup v2 that is ours");
    };
    let us = std::env::current_exe().expect("we run from a file");
    let mut command = std::process::Command::new(us);
    command
        .args(["a_host_that_ends_with_its_program_leaves_no_cgroup", "--exact"])
        .env(HOST, "1")
        .stdout(Stdio::null());
    let hosts: Vec<String> = (0..40)
        .map(|_| {
            let mut host = command.spawn().expect("it starts");
            let name = format!("foster.{}.", host.id());
            assert!(host.wait().expect("it is our child").success());
            name
        })
        .collect();
    let left = || -> Vec<String> {
        let own = fs::read_to_string("/proc/self/cgroup").expect("it is there");
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let folder = fs::read_dir(top.join(own)).expect("we are in it");
        let names = folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| hosts.iter().any(|host| name.starts_with(host))).collect()
    };
    eventually("the guards have removed them", left, Vec::is_empty);
}

/// An administrator may move us, and back.
#[test]
fn each_tree_is_below_the_cgroup_that_its_host_is_in_now() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        let Some(aside) = Cgroup::unified().and_then(Cgroup::new) else {
            assert!(std::env::var_os("FOSTER_CI").is_none(), "there is no cgroup v2");
            return eprintln!("not run: there is no cgroup v2");
        };
        // `0::/path`; cgroups(7).
        let of = |process: &str| {
            let all = fs::read_to_string(format!("/proc/{process}/cgroup")).expect("it is there");
            let line = all.lines().find_map(|line| line.strip_prefix("0::"));
            Path::new(line.expect("it has one of version 2")).to_path_buf()
        };
        let home = of("self");
        let list = Cgroup::unified().expect("it is there").join(home.strip_prefix("/").expect("a path"));
        let here = [list.as_path(), aside.directory(), list.as_path(), aside.directory(), list.as_path()]
            .map(|place| {
                fs::write(place.join("cgroup.procs"), "0").expect("we may move");
                let stage =
                    Stage::start(&puppet("wait").containment(Containment::Exactly(Mechanism::Cgroup)));
                let leaf = of(&stage.leader().pid().to_string());
                within(&stage.child().kill());
                assert_eq!(leaf.parent(), Some(of("self").as_path()));
                of("self")
            });
        assert!(here[0] == home && here[1] != home && here[2] == home && here[3] == here[1], "{here:?}");
    });
}

/// `elf(5)`, 64 bits, in our byte order.
fn loaded_segments(program: &[u8]) -> usize {
    const LOAD: [u8; 4] = 1_u32.to_ne_bytes();
    let half = |at: usize| usize::from(u16::from_ne_bytes([program[at], program[at + 1]]));
    // Where the table begins, whose upper half is 0; how large an entry is; how many there are.
    let (table, size, count) = (half(32), half(54), half(56));
    (0..count).filter(|entry| program[table + entry * size..].starts_with(&LOAD)).count()
}

#[test]
fn it_takes_a_few_pages() {
    for twin in [false, true] {
        let stage = Stage::start(&puppet("wait").containment(SUBREAPER).twin(twin));
        stage.leader();
        for guard in guards(&stage) {
            let status = fs::read_to_string(format!("/proc/{guard}/status")).expect("it lives");
            let rollup = fs::read_to_string(format!("/proc/{guard}/smaps_rollup")).expect("it lives");
            let [rss, pss, private] = ["Rss", "Pss", "Private_Dirty"].map(|name| status_field(&rollup, name));
            println!(
                "twin {twin}: VmRSS {}, Rss {rss}, Pss {pss}, private {private}",
                status_field(&status, "VmRSS")
            );
            let kib: u32 = pss.trim_end_matches(" kB").parse().expect("kB");
            assert!(kib < 100, "Pss {pss}");
            assert_eq!(status_field(&status, "Threads"), "1");
        }
    }
}

const SUBREAPER: Containment = Containment::Exactly(Mechanism::Subreaper);

/// Of a twin both.
fn guards(stage: &Stage) -> Vec<u32> {
    let guard = stage.child().containment().guard.expect("a guard");
    let mut all = vec![guard.pid];
    if guard.twin {
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guard.pid)).expect("it lives");
        all.push(list.trim().parse().expect("it has one child"));
    }
    all
}

/// What the host has open, not close-on-exec, so that nothing but the guard's own care keeps it out.
struct Open(Vec<File>, TcpListener, (UnixStream, UnixStream), (PipeReader, PipeWriter));

impl Open {
    fn new() -> Open {
        let file = || File::open("/etc/passwd").expect("it is there");
        let open = Open(
            (0..300).map(|_| file()).collect(),
            TcpListener::bind("127.0.0.1:0").expect("a port"),
            UnixStream::pair().expect("sockets"),
            std::io::pipe().expect("a pipe"),
        );
        let sockets = [open.1.as_raw_fd(), open.2.0.as_raw_fd(), open.3.0.as_raw_fd(), open.3.1.as_raw_fd()];
        for number in open.0.iter().map(AsRawFd::as_raw_fd).chain(sockets) {
            keep(number);
        }
        open
    }
}

/// Has a descriptor inherited.
#[expect(unsafe_code, reason = "the descriptor by its number")]
fn keep(number: i32) {
    // SAFETY: it is open, and stays so.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).expect("it is open");
}

#[test]
fn it_has_nothing_of_its_host() {
    alone(|| {
        let open = Open::new();
        let listener = format!("socket:[{}]", inode(open.1.as_raw_fd()));
        let mut mechanisms = vec![Mechanism::Subreaper, Mechanism::Landlock];
        mechanisms.extend(needs(Feature::Freezer).then_some(Mechanism::Freezer));
        for mechanism in mechanisms {
            for (inherit, twin) in [(false, false), (true, false), (false, true), (true, true)] {
                let command = puppet("trap USR1 secret-word wait").inherit_descriptors(inherit);
                let command = command.containment(Containment::Exactly(mechanism)).twin(twin);
                let stage = Stage::start(&command.env("SECRET", "secret-value"));
                let leader = stage.leader();
                // The leader has them exactly where it was to have them.
                let leaders = descriptors(leader.pid());
                assert_eq!(leaders.iter().any(|(_, is)| *is == listener), inherit, "{leaders:?}");
                for guard in guards(&stage) {
                    holds_its_own_only(guard, mechanism);
                }
                within(&stage.child().kill());
            }
        }
        drop(open);
    });
}

fn inode(number: i32) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/self/fd/{number}")).expect("it is open").ino()
}

fn holds_its_own_only(guard: u32, mechanism: Mechanism) {
    let all = eventually("it has closed the host's", || descriptors(guard), |all| all.len() < 20);
    let mut counts = [0; 4];
    for (number, is) in &all {
        assert!(*number > 2, "no stdio: {all:?}");
        let leaf = is.starts_with("/sys/fs/cgroup/") && is.contains("/foster.");
        match is.as_str() {
            socket if socket.starts_with("socket:") => counts[0] += 1,
            "anon_inode:[pidfd]" => counts[1] += 1,
            pipe if pipe.starts_with("pipe:") => counts[2] += 1,
            "anon_inode:[signalfd]" => counts[3] += 1,
            own if own == format!("/proc/{guard}/task/{guard}/children") => {}
            _ if leaf && mechanism == Mechanism::Freezer => {}
            other => panic!("{other} is not the guard's: {all:?}"),
        }
    }
    let [sockets, pidfds, bells, signals] = counts;
    assert!(sockets == 1 && signals == 1 && bells == 2 && (2..=3).contains(&pidfds), "{all:?}");
    let proc = |name: &str| format!("/proc/{guard}/{name}");
    assert_eq!(fs::read_link(proc("cwd")).expect("it lives"), Path::new("/"));
    assert_eq!(group_and_session(guard).0, guard);
    assert_eq!(fs::read_to_string(proc("comm")).expect("it lives"), "foster-guard\n");
    let status = fs::read_to_string(proc("status")).expect("it lives");
    // All but KILL and STOP.
    assert_eq!(status_field(&status, "SigBlk"), "fffffffffffbfeff");
    let words = command_line(guard).expect("it lives");
    assert!(words.len() == 2 && words[0] == "foster-guard" && words[1].parse::<u32>().is_ok(), "{words:?}");
}

fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
    let look = |entry: fs::DirEntry| {
        let is = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, is))
    };
    entries.filter_map(look).collect()
}

/// A fork bomb may have taken all there is to be had, so that a guard must have it already.
#[test]
fn once_it_has_started_it_asks_for_nothing() {
    if !needs(Feature::Program("strace")) {
        return;
    }
    let mut mechanisms = vec![Mechanism::Subreaper];
    mechanisms.extend(needs(Feature::Freezer).then_some(Mechanism::Freezer));
    for mechanism in mechanisms {
        let trace = trace(mechanism);
        let began = trace.find("execveat(").expect("it was executed");
        let started = trace.find("SCM_RIGHTS").expect("it tells that it has started");
        let started = started + trace[started..].find('\n').expect("a line");
        let (before, after) = (&trace[began..started], &trace[started..]);
        println!("{mechanism}: {} calls until it has started: {:?}", before.lines().count(), names(before));
        println!("{mechanism}: {} calls from then on: {:?}", after.lines().count(), names(after));
        let few = [
            "close",
            "exit_group",
            "kill",
            "lseek",
            "openat",
            "pidfd_send_signal",
            "ppoll",
            "read",
            "recvfrom",
            "clock_gettime",
            "sched_setscheduler",
            "sendmsg",
            // Its leaf, when all is over.
            "unlinkat",
            "waitid",
            "write",
        ];
        let more: Vec<String> =
            names(after).into_iter().filter(|name| !few.contains(&name.as_str())).collect();
        assert!(more.is_empty(), "{more:?}: {after}");
        assert!(names(after).contains("kill"), "it had to: {after}");
        // The freezer's list is opened anew, because the kernel keeps that of an open file.
        let is_list = |line: &str| mechanism == Mechanism::Freezer && line.contains("\"cgroup.procs\"");
        let opens: Vec<&str> = after.lines().filter(|line| line.starts_with("openat(")).collect();
        assert!(opens.iter().all(|line| is_list(line)), "{opens:?}");
    }
}

/// The names of the system calls.
fn names(trace: &str) -> BTreeSet<String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let name = |line: &str| line.split_once('(').map(|(name, _)| name.to_string());
    trace.lines().filter_map(name).filter(|name| is_name(name)).collect()
}

/// What a guard does that has to kill: its system calls from its clone on.
fn trace(mechanism: Mechanism) -> String {
    let traces = scratch("traces");
    let supervisor = puppet::program().with_file_name("supervisor");
    let mut command = std::process::Command::new("strace");
    command.args(["-ff", "-qq", "-o"]).arg(traces.join("of")).arg(supervisor);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is there");
    let mut input = child.stdin.take().expect("piped");
    let mut tell = |order: &str| input.write_all(format!("{order}\n").as_bytes()).expect("it reads");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    tell(&format!(
        "run {mechanism} fork one [ setsid ignore TERM daemons double-setsid 5 say out wait ] wait"
    ));
    // Who speaks first is chance.
    let mut wanted = vec!["supervisor: got", "leader: ready", "one: out"];
    let mut guard = None;
    while !wanted.is_empty() {
        let line = lines.next().expect("all of it is said");
        wanted.retain(|start| !line.starts_with(start));
        if line.starts_with("supervisor: got") {
            guard = line.split(' ').nth(4).map(str::to_string);
        }
    }
    tell("stop");
    assert!(lines.any(|line| line.starts_with("supervisor: gone")));
    tell("exit");
    assert!(child.wait().expect("it is our child").success());
    fs::read_to_string(traces.join(format!("of.{}", guard.expect("a guard")))).expect("it was traced")
}

//! A guard believes its host nothing: whatever comes that is no packet of theirs, or none at all, it ends its tree and
//! itself, and neither hangs, nor crashes, nor spins.
//!
//! `unsafe` to start a guard by hand: its environment is a list of words that are no variables, which `std` cannot say.
#![expect(unsafe_code, reason = "posix_spawn with any environment, and wait4")]

use std::ffi::{CString, c_char};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, mem, ptr};

use foster::Signal;
use puppet::{Actor, DEADLINE, alive, alone, children, eventually, scratch, state};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags,
    SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use wire::{FromGuard, Start, Step, Strings, ToGuard, WORDS};

#[expect(dead_code, reason = "the guard's own half, and what only the library uses")]
#[path = "../../foster/src/guard/wire.rs"]
mod wire;

/// How the program plays that nobody but a guard ends.
const WILLFUL: &str = "quiet ignore TERM ignore HUP fork away [ quiet setsid ignore TERM wait ] wait";

#[test]
fn a_guard_started_by_hand_holds_a_program() {
    alone(|| {
        let guard = Guard::with("quiet exit 7");
        guard.says(ToGuard::Start(guard.start()));
        let FromGuard::Started { pid, guard: number, joined: false } = guard.hears() else {
            panic!("not started")
        };
        assert_eq!(number, guard.actor.pid());
        let FromGuard::Exited(exited) = guard.hears() else { panic!("not exited") };
        // Alone: there is no more to say.
        assert_eq!((exited.code, exited.status, exited.alone), (libc::CLD_EXITED, 7, true));
        assert_eq!(guard.end().0, 0);
        assert!(!alive(pid));
    });
}

/// Nothing is started, and the guard is gone.
#[test]
fn before_the_start_anything_else_ends_it() {
    alone(|| {
        let mut random = 0x9E37_79B9_7F4A_7C15;
        let start = |guard: &Guard| bytes(ToGuard::Start(guard.start()));
        let mut cases: Vec<Vec<u8>> = vec![
            vec![],
            vec![0],
            vec![0; WORDS * 8],
            vec![0xFF; WORDS * 8],
            bytes(ToGuard::Kill),
            bytes(ToGuard::Detach),
            vec![0; 100_000],
        ];
        for _ in 0..40 {
            let mut garbage = vec![0; usize::try_from(next(&mut random) % 400).expect("small")];
            garbage.fill_with(|| next(&mut random).to_le_bytes()[0]);
            cases.push(garbage);
        }
        let begin = |case: usize| {
            let guard = Guard::with(WILLFUL);
            let good = start(&guard);
            match case {
                0 => guard.sends(&good[..good.len() - 1]),
                1 => guard.sends(&[good, vec![0]].concat()),
                2 => guard.sends(&[good.clone(), good].concat()),
                // The version.
                3 => guard
                    .sends(&good.iter().enumerate().map(|(at, b)| b ^ u8::from(at == 2)).collect::<Vec<_>>()),
                // A flag that is not known.
                4 => guard.sends(
                    &good.iter().enumerate().map(|(at, b)| b | u8::from(at == 15)).collect::<Vec<_>>(),
                ),
                5 => shutdown(guard.link(), Shutdown::Write).expect("it is ours"),
                6 => shutdown(guard.link(), Shutdown::Both).expect("it is ours"),
                _ => guard.sends(&cases[case - 7]),
            }
            guard
        };
        for case in 0..cases.len() + 7 {
            let (code, cpu) = begin(case).end();
            assert_eq!(code, 1, "case {case}");
            assert!(cpu < SPIN, "case {case}: {cpu:?}");
        }
        // Somebody who says nothing and goes.
        let mut guard = Guard::with(WILLFUL);
        guard.goes();
        assert_eq!(guard.end().0, 1);
        assert_eq!(children(), Vec::<u32>::new());
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    alone(|| {
        let begins = |change: &dyn Fn(&mut Start)| {
            let guard = Guard::with(WILLFUL);
            let mut start = guard.start();
            change(&mut start);
            guard.says(ToGuard::Start(start));
            let answer = guard.answer();
            let (code, _) = guard.end();
            assert_eq!(code, 1, "{start:?}");
            answer
        };
        for counts in [
            |counts: &mut Strings| counts.args += 1,
            |counts: &mut Strings| counts.args -= 1,
            |counts: &mut Strings| counts.vars = 1,
            |counts: &mut Strings| counts.directory = 1,
            |counts: &mut Strings| counts.leaf = 1,
            |counts: &mut Strings| counts.candidates = 0,
            |counts: &mut Strings| {
                (counts.args, counts.vars, counts.candidates) = (1 << 24, 1 << 24, 1 << 24);
            },
            |counts: &mut Strings| *counts = Strings::default(),
        ] {
            let refused = FromGuard::Refused { step: Step::Guard, errno: libc::EACCES };
            assert_eq!(begins(&|start| counts(&mut start.strings)), Some(refused));
        }
        // No descriptor has this number: who is to be watched by it cannot be.
        for bad in [77, 1 << 20, i32::MAX] {
            assert_eq!(begins(&|start| start.supervisor = bad), None);
            assert_eq!(begins(&|start| start.bells[0] = bad), None, "bell {bad}");
            assert_eq!(begins(&|start| start.bells[1] = bad), None, "bell {bad}");
        }
        for flag in [wire::CGROUP, wire::CGROUP | wire::JOIN, wire::FREEZER] {
            for bad in [-1, 77, i32::MIN, i32::MAX] {
                let answer = begins(&|start| (start.flags, start.leaf) = (flag, bad));
                assert!(matches!(answer, Some(FromGuard::Refused { step: Step::Contain, .. })), "{answer:?}");
            }
        }
        let answer = begins(&|start| start.flags = wire::PID_NAMESPACE);
        assert_eq!(answer, Some(FromGuard::Refused { step: Step::Contain, errno: libc::EPERM }));
        // The first argument as the working directory: it is none.
        let answer =
            begins(&|start| (start.strings.directory, start.strings.args) = (1, start.strings.args - 1));
        let refused = FromGuard::Refused { step: Step::Directory, errno: libc::ENOTDIR };
        assert_eq!(answer, Some(refused));
        assert_eq!(children(), Vec::<u32>::new());
    });
}

#[test]
fn whatever_a_host_says_later_that_is_no_order_ends_the_tree() {
    alone(|| {
        let mut random = 0x0DDB_1A5E_5BAD_5EED;
        let good = |guard: &Guard| bytes(ToGuard::Start(guard.start()));
        for case in 0..24 {
            for twin in [0, wire::TWIN] {
                let (mut guard, leader) = Guard::started(WILLFUL, twin);
                match case {
                    0 => guard.sends(&[]),
                    1 => guard.sends(&[1]),
                    2 => guard.sends(&good(&guard)),
                    3 => guard.sends(&vec![0; 100_000]),
                    4 => guard.sends(&[bytes(ToGuard::Kill), vec![0]].concat()),
                    5 => guard.says(ToGuard::Kill),
                    6 => guard.goes(),
                    7 => shutdown(guard.link(), Shutdown::Write).expect("it is ours"),
                    8 => shutdown(guard.link(), Shutdown::Both).expect("it is ours"),
                    9 => {
                        shutdown(guard.link(), Shutdown::Read).expect("it is ours");
                        assert!(leader.alive());
                        guard.says(ToGuard::Kill);
                    }
                    _ => {
                        let mut garbage = vec![0; usize::try_from(next(&mut random) % 400).expect("small")];
                        garbage.fill_with(|| next(&mut random).to_le_bytes()[0]);
                        guard.sends(&garbage);
                    }
                }
                leader.dies();
                let (code, cpu) = guard.end();
                assert_eq!(code, 0, "case {case}");
                assert!(cpu < SPIN, "case {case}: {cpu:?}");
                nobody_is_left();
            }
        }
    });
}

#[test]
fn a_host_that_never_reads_does_not_hold_it_up() {
    alone(|| {
        // How many it sees depends on how quick it is; the socket holds fewer than two hundred.
        let (mut guard, leader) = Guard::started("quiet trap-exit TERM 3 wait", 0);
        for _ in 0..10_000 {
            leader.signal(Signal::STOP);
            leader.signal(Signal::CONT);
        }
        for _ in 0..500 {
            stop(&leader);
            leader.signal(Signal::CONT);
            eventually("it goes on", || state(leader.pid()), |state| *state != Some('T'));
        }
        leader.signal(Signal::TERM);
        leader.dies();
        let before = cpu(guard.actor.pid());
        // It must wait for somebody to read, and the time is what is measured.
        std::thread::sleep(Duration::from_secs(2));
        let spent = cpu(guard.actor.pid()).saturating_sub(before);
        println!("with news that nobody reads: {spent:?} of 2 s");
        assert!(spent < Duration::from_millis(200), "it spins: {spent:?}");
        let mut read = 0;
        let exited = loop {
            match guard.hears() {
                FromGuard::Stopped { .. } | FromGuard::Continued => read += 1,
                FromGuard::Exited(exited) => break exited,
                other => panic!("{other:?}"),
            }
        };
        println!("{read} stops and continues had room");
        assert_eq!((exited.code, exited.status, exited.alone), (libc::CLD_EXITED, 3, true));
        assert_eq!(guard.end().0, 0);

        // And one that goes without having read.
        let (again, leader) = Guard::started(WILLFUL, 0);
        guard = again;
        for _ in 0..500 {
            stop(&leader);
            leader.signal(Signal::CONT);
            eventually("it goes on", || state(leader.pid()), |state| *state != Some('T'));
        }
        guard.goes();
        leader.dies();
        assert_eq!(guard.end().0, 0);
        nobody_is_left();
    });
}

/// The guard hears of the host's death and of what it said before at the same time. Once it took the death first, and
/// killed what had been detached; and a socket that is closed with something unread in it tells of that first.
#[test]
fn what_was_said_before_the_death_counts() {
    alone(|| {
        for (flags, unread) in [(0, false), (0, true), (wire::TWIN, false), (wire::TWIN, true)] {
            let (bell, rings) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
            let mut guard = Guard::with_bell("quiet wait", Some(bell));
            let leader = guard.begins(Start { flags, bells: [BELL, -1], ..guard.start() });
            if unread {
                leader.signal(Signal::STOP);
                assert!(guard.readable(), "it tells of the stop");
                leader.signal(Signal::CONT);
            }
            let all = guard.all();
            assert_eq!(all.len(), if flags == 0 { 1 } else { 2 });
            // The outer one first: it would wake the other.
            for actor in &all {
                stop(actor);
            }
            guard.says(ToGuard::Detach);
            drop(rings);
            guard.goes();
            // And here the other first, because the outer one's patience with it is not what is tried.
            for actor in all.iter().rev() {
                actor.signal(Signal::CONT);
            }
            let holder = all.last().expect("one at least").pid();
            eventually("it has closed its socket", || sockets(holder), |sockets| *sockets == 0);
            // Nobody says that nothing happens. A guard that ends its tree does it at once.
            std::thread::sleep(Duration::from_millis(100));
            assert!(leader.alive(), "flags {flags}, unread {unread}: it was detached");
            leader.signal(Signal::KILL);
            assert_eq!(guard.end().0, 0);
        }
    });
}

/// Stops it, as somebody might who stops everything.
#[track_caller]
fn stop(actor: &Actor) {
    actor.signal(Signal::STOP);
    eventually("it is stopped", || state(actor.pid()), |state| *state == Some('T'));
}

fn sockets(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// More than a guard needs for a tree of two, less than one that spins takes in a second.
const SPIN: Duration = Duration::from_millis(500);

/// We are what orphans would come to.
#[track_caller]
fn nobody_is_left() {
    eventually("nobody is left", children, Vec::is_empty);
}

/// A guard, and the other end of its socket.
struct Guard {
    link: Option<OwnedFd>,
    actor: Actor,
    args: u32,
}

/// By what numbers it finds them.
const SOCKET: i32 = 9;
const BELL: i32 = 8;

impl Guard {
    /// Runs, and waits for its first packet. The program will be a puppet.
    fn with(script: &str) -> Guard {
        Guard::with_bell(script, None)
    }

    /// The bell is a pipe whose end says that the host is dead.
    fn with_bell(script: &str, bell: Option<OwnedFd>) -> Guard {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("Linux has it");
        let kind = SocketType::SEQPACKET;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("sockets");
        let puppet = puppet::program().to_string_lossy().into_owned();
        let words: Vec<&str> = script.split_whitespace().collect();
        let mut strings = vec![puppet.as_str(), "", "puppet"];
        strings.extend(&words);
        strings.push("");
        let mut descriptors = vec![(theirs, SOCKET)];
        descriptors.extend(bell.map(|bell| (bell, BELL)));
        let pid = spawn(program(), &["foster-guard", &SOCKET.to_string()], &strings, &descriptors);
        let args = u32::try_from(words.len()).expect("few") + 1;
        Guard { link: Some(ours), actor: Actor::of(pid), args }
    }

    fn start(&self) -> Start {
        let strings = Strings { candidates: 1, args: self.args, ..Strings::default() };
        Start { strings, supervisor: -1, bells: [-1; 2], leaf: -1, terminal: -1, ..Start::default() }
    }

    /// A guard that has started its program.
    #[track_caller]
    fn started(script: &str, flags: u64) -> (Guard, Actor) {
        let guard = Guard::with(script);
        let leader = guard.begins(Start { flags, ..guard.start() });
        (guard, leader)
    }

    #[track_caller]
    fn begins(&self, start: Start) -> Actor {
        self.says(ToGuard::Start(start));
        if start.flags & wire::TWIN != 0 {
            assert_eq!(self.hears(), FromGuard::Split);
        }
        let FromGuard::Started { pid, .. } = self.hears() else { panic!("not started") };
        Actor::of(pid)
    }

    /// It, and the inner one of a twin.
    fn all(&self) -> Vec<Actor> {
        let ours = self.actor.pid();
        let list = fs::read_to_string(format!("/proc/{ours}/task/{ours}/children")).expect("it lives");
        // Not by its name, which a program gets a moment after it has been executed.
        let is_guard = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == *self::program())
        };
        let children = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        [ours].into_iter().chain(children.filter(is_guard)).map(Actor::of).collect()
    }

    fn link(&self) -> &OwnedFd {
        self.link.as_ref().expect("the host has not gone")
    }

    #[track_caller]
    fn sends(&self, bytes: &[u8]) {
        let mut none = SendAncillaryBuffer::default();
        match sendmsg(self.link(), &[IoSlice::new(bytes)], &mut none, SendFlags::NOSIGNAL) {
            Ok(sent) => assert_eq!(sent, bytes.len()),
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn says(&self, order: ToGuard) {
        self.sends(&bytes(order));
    }

    fn readable(&self) -> bool {
        let time = Timespec::try_from(DEADLINE).expect("seconds");
        poll(&mut [PollFd::new(self.link(), PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready == 1)
    }

    #[track_caller]
    fn hears(&self) -> FromGuard {
        self.answer().expect("the guard says something")
    }

    /// `None` at the end.
    #[track_caller]
    fn answer(&self) -> Option<FromGuard> {
        assert!(self.readable(), "it neither says anything nor ends");
        let mut buffer = [0; WORDS * 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let got = recvmsg(self.link(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
        let n = got.map_or(0, |got| got.bytes);
        if n == 0 {
            return None;
        }
        assert_eq!(n, WORDS * 8);
        let mut packet = [0; WORDS];
        for (word, bytes) in packet.iter_mut().zip(buffer.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Some(FromGuard::decode(&packet).expect("a packet"))
    }

    /// The host's end is closed.
    fn goes(&mut self) {
        self.link = None;
    }

    /// How it ended, which it does by itself, and what it used; a signal is a negative number.
    #[track_caller]
    fn end(self) -> (i32, Duration) {
        let end = Instant::now() + DEADLINE;
        let number = self.actor.pid().cast_signed();
        loop {
            let mut status = 0;
            // SAFETY: plain C for which all zeros is a value.
            let mut usage = unsafe { mem::zeroed::<libc::rusage>() };
            // SAFETY: both are ours and outlive the call.
            let pid = unsafe { libc::wait4(number, &raw mut status, libc::WNOHANG, &raw mut usage) };
            if pid != 0 {
                assert!(pid > 0, "it is our child");
                let time = |time: libc::timeval| {
                    Duration::from_secs(time.tv_sec.cast_unsigned())
                        + Duration::from_micros(time.tv_usec.cast_unsigned())
                };
                let exited = libc::WIFEXITED(status);
                let code = if exited { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) };
                return (code, time(usage.ru_utime) + time(usage.ru_stime));
            }
            if Instant::now() > end {
                self.actor.signal(Signal::KILL);
                panic!("the guard does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn bytes(order: ToGuard) -> Vec<u8> {
    order.encode().iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The guard's program, in a file.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = scratch("guard").join("foster-guard");
        fs::write(&path, foster::guard_program().expect("it was built")).expect("there is space");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    })
}

/// Runs a program with these words, with these as its environment, and with descriptors by these numbers.
fn spawn(program: &Path, args: &[&str], strings: &[&str], descriptors: &[(OwnedFd, i32)]) -> u32 {
    let program = CString::new(program.as_os_str().as_bytes()).expect("a path");
    let owned = |words: &[&str]| -> Vec<CString> {
        words.iter().map(|word| CString::new(*word).expect("no NUL")).collect()
    };
    let listed = |words: &[CString]| -> Vec<*mut c_char> {
        words.iter().map(|word| word.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
    };
    let (args, strings) = (owned(args), owned(strings));
    let (args, strings) = (listed(&args), listed(&strings));
    let mut pid = 0;
    // SAFETY: NUL-terminated strings in NULL-terminated lists, and a list of actions that is made and destroyed here.
    let failed = unsafe {
        let mut actions = mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        for (descriptor, number) in descriptors {
            libc::posix_spawn_file_actions_adddup2(&raw mut actions, descriptor.as_raw_fd(), *number);
        }
        let (args, strings) = (args.as_ptr(), strings.as_ptr());
        let failed =
            libc::posix_spawn(&raw mut pid, program.as_ptr(), &raw const actions, ptr::null(), args, strings);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        failed
    };
    assert_eq!(failed, 0, "posix_spawn: {failed}");
    pid.cast_unsigned()
}

/// What it has used so far.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}

/// xorshift: the same in every run.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

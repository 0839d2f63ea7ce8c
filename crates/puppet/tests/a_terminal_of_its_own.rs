//! A program gets a terminal of its own: it is in front of it, hears its keys, is suspended as under a shell where a
//! guard leads the session, and when the run is gone nothing of the session, of the terminal or of its descriptors is
//! left.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ChildStdin;
use std::time::Duration;

use foster::{
    Cause, Child, Command, Containment, ErrorKind, EventKind, Input, Leftovers, Mechanism, Pty, Signal, Sink,
    Status,
};
use puppet::{
    Actor, Feature, Transcript, alone, alone_under, children, descriptors, eventually, group_and_session,
    needs, puppet, scratch, state, within,
};
use rustix::process::{getpid, getsid, ioctl_tiocsctty};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{tcgetpgrp, tcgetsid};

/// Each that has a guard.
const GUARDED: [Mechanism; 5] = [
    Mechanism::Cgroup,
    Mechanism::Freezer,
    Mechanism::Landlock,
    Mechanism::Subreaper,
    Mechanism::PidNamespace,
];

/// Each way to hold it that has a guard, as far as this machine has it.
fn each_guarded(command: &Command, test: impl Fn(&str, &Command)) {
    test("by default", command);
    test("twin", &command.clone().twin(true));
    if !needs(Feature::Root) {
        return;
    }
    for mechanism in GUARDED {
        let command = command.clone().containment(Containment::Exactly(mechanism));
        match command.clone().stdout(Sink::Null).spawn() {
            Ok(child) => _ = within(&child.kill()),
            Err(error) => {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{error}");
                eprintln!("not run: {error}");
                continue;
            }
        }
        test(mechanism.name(), &command);
    }
}

/// Those, and the one without.
fn each(command: &Command, test: impl Fn(&str, &Command)) {
    each_guarded(command, &test);
    test("group", &command.clone().containment(Containment::Group));
}

/// A program at its terminal, at which we sit.
struct Play {
    child: Child,
    keyboard: ChildStdin,
    screen: Transcript,
}

impl Play {
    #[track_caller]
    fn start(command: &Command) -> Play {
        let command = command.clone().stdin(Input::Piped).stdout(Sink::Piped);
        let child = command.spawn().unwrap_or_else(|error| panic!("{error}"));
        let keyboard = child.take_stdin().expect("it has a terminal");
        let screen = Transcript::of(child.take_stdout().expect("it has a terminal"));
        Play { child, keyboard, screen }
    }

    #[track_caller]
    fn type_keys(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits for the event.
    #[track_caller]
    fn happens(&self, kind: &EventKind) {
        let all = || {
            let mut events = self.child.events();
            std::iter::from_fn(move || events.try_next()).map(|event| event.kind).collect::<Vec<_>>()
        };
        eventually("the event comes", all, |all| all.contains(kind));
    }
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";
const CTRL_BACKSLASH: &str = "\x1c";

/// The fields of stat: 5 the group, 6 the session, 8 the group in front.
const LOOK: &str = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all three
                    stty size
                    : <>/dev/tty && echo it opens
                    set -- $(cat /proc/self/stat)
                    [ $5 = $$ ] && echo a group of its own
                    [ $5 = $8 ] && echo in front
                    [ $5 = $6 ] && echo leads the session || echo is led
                    ls /proc/self/fd";

#[test]
fn the_program_sees_it_on_all_three_streams_and_is_in_front() {
    let look = Command::new("sh").args(["-c", LOOK]).pty(Pty::new(33, 77));
    let seen = |led: &str| {
        let lines =
            ["all three", "33 77", "it opens", "a group of its own", "in front", led, "0  1  2  3", ""];
        lines.join("\r\n")
    };
    each_guarded(&look, |how, command| {
        let play = Play::start(command);
        assert_eq!(play.screen.end(), seen("is led"), "{how}");
        assert!(within(&play.child.gone()).success(), "{how}");
    });
    let play = Play::start(&look.containment(Containment::Group));
    assert_eq!(play.screen.end(), seen("leads the session"));
}

/// Neither the group that was asked for nor our own foreground have anything to do with it.
#[test]
fn the_group_and_the_foreground_are_of_no_account() {
    for group in [foster::Group::Same, foster::Group::Session, foster::Group::Own] {
        let look = "set -- $(cat /proc/self/stat); [ $5 = $$ ] && [ $5 = $8 ] && echo in front";
        let command = Command::shell(look).group(group).foreground(true).pty(Pty::default());
        each(&command, |how, command| {
            assert_eq!(Play::start(command).screen.end(), "in front\r\n", "{how}, {group:?}");
        });
    }
}

#[test]
fn an_init_gives_it_too() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(&["unshare", "-p", "-f", "--mount-proc", "--kill-child"], || {
        let command = Command::new("sh").args(["-c", LOOK]).pty(Pty::new(33, 77));
        let play = Play::start(&command.containment(Containment::Exactly(Mechanism::Init)));
        let screen = play.screen.end();
        assert!(screen.contains("33 77") && screen.contains("leads the session"), "{screen}");
        within(&play.child.gone());
    });
}

#[test]
fn ctrl_c_arrives_once() {
    let command = puppet("trap INT int trap QUIT quit trap-exit USR1 3 wait").pty(Pty::default());
    each(&command, |how, command| {
        let play = Play::start(command);
        play.screen.ready("leader");
        play.type_keys(CTRL_C);
        play.screen.expect("leader: int");
        play.type_keys(CTRL_BACKSLASH);
        play.screen.expect("leader: quit");
        play.child.signal(Signal::USR1).expect("it is ours");
        let screen = play.screen.end();
        let times = |text: &str| screen.matches(text).count();
        assert_eq!((times("leader: int"), times("leader: quit")), (1, 1), "{how}: {screen}");
        let exit = within(&play.child.gone());
        assert_eq!((exit.status, exit.cause), (Status::Exited(3), Cause::Own), "{how}");
    });
}

#[test]
fn ctrl_c_ends_who_does_not_catch_it() {
    each(&puppet("wait").pty(Pty::default()), |how, command| {
        let play = Play::start(command);
        play.screen.ready("leader");
        play.type_keys(CTRL_C);
        let exit = within(&play.child.gone());
        let interrupted = Status::Signaled { signal: Signal::INT, core_dumped: false };
        assert_eq!((exit.status, exit.cause), (interrupted, Cause::Own), "{how}");
    });
}

#[test]
fn ctrl_z_suspends_and_it_goes_on() {
    each_guarded(&Command::new("cat").pty(Pty::default()), |how, command| {
        let play = Play::start(command);
        play.type_keys("one\n");
        // What the terminal echoes, and what the program says.
        play.screen.expect("one\r\none\r\n");
        for round in 0..3 {
            play.type_keys(CTRL_Z);
            eventually("it is suspended", || play.child.stopped(), |stopped| *stopped == Some(Signal::TSTP));
            let pid = play.child.pid().expect("it lives");
            assert_eq!(state(pid), Some('T'), "{how}");
            play.child.signal(Signal::CONT).expect("it is ours");
            // It is in front as before, or it could not read.
            play.type_keys(&format!("round {round}\n"));
            play.screen.expect(&format!("round {round}\r\nround {round}\r\n"));
        }
        play.happens(&EventKind::Suspended(Signal::TSTP));
        play.happens(&EventKind::Continued);
        play.type_keys(CTRL_D);
        assert!(within(&play.child.gone()).success(), "{how}");
    });
}

/// Without a guard nobody in the session would continue it.
#[test]
fn without_a_guard_ctrl_z_does_nothing() {
    let command = Command::new("cat").pty(Pty::default()).containment(Containment::Group);
    let play = Play::start(&command);
    play.type_keys("one\n");
    play.screen.expect("one\r\none\r\n");
    play.type_keys(CTRL_Z);
    play.type_keys("two\n");
    play.screen.expect("two\r\ntwo\r\n");
    play.type_keys(CTRL_D);
    assert!(within(&play.child.gone()).success());
}

#[test]
fn a_shell_with_jobs_leaves_nothing_when_it_is_stopped() {
    if !needs(Feature::Program("bash")) {
        return;
    }
    let shell = Command::new("bash").args(["--norc", "--noprofile", "--noediting", "-i"]);
    let shell = shell.env("PS1", "$ ").env("HISTFILE", "/dev/null").pty(Pty::new(24, 200));
    each_guarded(&shell.grace(Duration::from_millis(50)), |how, command| {
        let play = Play::start(command);
        play.screen.expect("$ ");
        let (_, session) = group_and_session(play.child.pid().expect("it lives"));
        play.type_keys("sleep 50 & sleep 51 | cat & (trap '' HUP TERM; sleep 52; true) &\n");
        play.screen.expect("$ ");
        play.type_keys("sleep 53\n");
        // The echo comes from the terminal; the shell has put it in front when it is in a group of its own.
        eventually("it runs", || in_session(session, "sleep\x0053"), |found| found.len() == 1);
        eventually(
            "it is in front",
            || front(session),
            |front| *front == in_session(session, "sleep\x0053").first().copied(),
        );
        play.type_keys(CTRL_Z);
        play.screen.expect("Stopped");
        play.screen.expect("$ ");
        // The guard, the shell, a sleep, a sleep and a cat, a shell and a sleep, and the last one.
        eventually("all are there", || in_session(session, ""), |all| all.len() == 8);
        let exit = within(&play.child.stop());
        assert_eq!(exit.cause, Cause::Stopped, "{how}");
        play.screen.end();
        eventually("the guard ends too", || in_session(session, ""), Vec::is_empty);
    });
}

/// Who is in the session and has this in its command line.
fn in_session(session: u32, words: &str) -> Vec<u32> {
    let fields = |pid: u32| -> Option<(char, u32)> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some((fields.next()?.chars().next()?, fields.nth(2)?.parse().ok()?))
    };
    let here = |pid: &u32| fields(*pid).is_some_and(|(state, its)| its == session && state != 'Z');
    let says = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(words)
    };
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(here).filter(says).collect()
}

/// The group that is in front of this session's terminal.
fn front(session: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{session}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(5)?.parse().ok()
}

#[test]
fn a_stop_and_a_kill_end_who_left_the_session_too() {
    let command = puppet("trap-exit TERM 0 fork daemon [ setsid ignore TERM ignore HUP wait ] wait");
    each(&command.pty(Pty::default()).grace(Duration::from_millis(50)), |how, command| {
        for kill in [false, true] {
            let play = Play::start(command);
            let daemon = play.screen.ready("daemon");
            let daemon = (how == "group").then(|| Actor::of(daemon));
            let exit = within(&if kill { play.child.kill() } else { play.child.stop() });
            assert_eq!(exit.cause, if kill { Cause::Killed } else { Cause::Stopped }, "{how}");
            if let Some(daemon) = daemon {
                // Whoever leaves the group escapes at that level.
                daemon.signal(Signal::KILL);
            }
            // It comes when nobody holds the terminal.
            play.screen.end();
        }
    });
}

#[test]
fn the_size_changes_and_is_told() {
    let command = puppet("on WINCH [ size ] trap-exit USR1 0 size wait").pty(Pty::new(10, 20));
    each(&command, |how, command| {
        let play = Play::start(command);
        play.screen.ready("leader");
        play.screen.expect("leader: 10 x 20\r\n");
        play.child.resize(11, 21).expect("it has a terminal");
        play.screen.expect("leader: 11 x 21\r\n");
        // The same again is no change.
        play.child.resize(11, 21).expect("it has a terminal");
        play.child.resize(u16::MAX, 1).expect("it has a terminal");
        play.screen.expect("leader: 65535 x 1\r\n");
        play.child.signal(Signal::USR1).expect("it is ours");
        assert_eq!(play.screen.end().matches("leader: 11 x 21").count(), 1, "{how}");
        within(&play.child.gone());
        play.child.resize(1, 1).expect("nobody is left to be told");
    });
    let none = puppet("wait").spawn().expect("a puppet");
    let error = none.resize(1, 1).expect_err("it has no terminal");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Command::pty"), "{error}");
}

#[test]
fn the_last_words_are_there_before_the_end() {
    let last_words = Command::shell("seq 1 2000; echo END").pty(Pty::default());
    let mut wanted: String = (1..=2000).map(|n: u32| n.to_string() + "\r\n").collect();
    wanted += "END\r\n";
    let test = |command: &Command, rounds: u32| {
        for round in 0..rounds {
            let play = Play::start(command);
            assert_eq!(play.screen.end(), wanted, "round {round}");
            assert!(within(&play.child.gone()).success());
        }
    };
    test(&last_words, 100);
    test(&last_words.clone().twin(true), 50);
    test(&last_words.containment(Containment::Group), 50);
}

/// Nobody has it open for a moment; that is no end as long as the leader lives.
#[test]
fn a_program_may_let_go_of_it_and_open_it_again() {
    let line = "echo one; exec >/dev/null 2>&1 </dev/null; sleep 0.1; seq 2000 >/dev/tty; echo END >/dev/tty; exit 8";
    let command = Command::shell(line).pty(Pty::default());
    each(&command, |how, command| {
        let play = Play::start(command);
        let shown = play.screen.end();
        assert!(shown.starts_with("one\r\n1\r\n") && shown.ends_with("\n2000\r\nEND\r\n"), "{how}: {shown}");
        assert_eq!(within(&play.child.gone()).shell_code(), Some(8), "{how}");
    });
}

#[test]
fn we_keep_three_descriptors_and_in_the_end_none() {
    alone(|| {
        let command = puppet("wait").pty(Pty::default());
        each(&command, |how, command| {
            let open = |kind: &str| descriptors().iter().filter(|line| line.contains(kind)).count();
            // The engine has made its own by now.
            let start = |command: &Command| command.spawn().unwrap_or_else(|error| panic!("{error}"));
            within(&start(command).kill());
            eventually("all is given back", || open("/ptmx"), |open| *open == 0);
            let before = eventually("it is quiet", descriptors, |now| *now == descriptors());
            let child = start(command);
            // One to read from, one to resize it by, and the program's side until its leader is dead.
            let held = (open("/pts/") - open("/pts/ptmx"), open("/ptmx"));
            assert_eq!(held, (1, 2), "{how}: {:?}", descriptors());
            within(&child.kill());
            drop(child);
            let stays = |now: &Vec<String>| now.iter().all(|descriptor| before.contains(descriptor));
            eventually("all is given back", descriptors, stays);
        });
    });
}

#[test]
fn a_failed_start_leaves_nothing() {
    alone(|| {
        each(&puppet("wait").pty(Pty::default()), |how, command| {
            within(&command.spawn().expect("it starts").kill());
            eventually("nobody is left", children, Vec::is_empty);
            // The engine gives back the last of a run a moment after it has told its end.
            let is_a_runs = |line: &String| line.ends_with("/ptmx") || line.ends_with("[eventfd]");
            let before = eventually("all is given back", descriptors, |all| !all.iter().any(is_a_runs));
            let missing = Command::new("/nonexistent/program").pty(Pty::default());
            let missing = missing.containment(command.get_containment()).twin(command.has_twin());
            let error = missing.spawn().expect_err("there is no such program");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{how}");
            let error = missing.current_dir("/nonexistent").spawn().expect_err("there is no such place");
            assert_eq!(error.kind(), ErrorKind::BadDirectory, "{how}");
            assert!(children().is_empty(), "{how}");
            assert_eq!(descriptors(), before, "{how}");
        });
    });
}

/// We lead a session without a terminal, which would get the first that is opened without care.
#[test]
fn a_host_without_a_terminal_gets_none() {
    if !needs(Feature::Program("setsid")) {
        return;
    }
    alone_under(&["setsid", "--wait"], || {
        assert_eq!(getsid(None), Ok(getpid()), "we lead a session");
        each(&Command::shell("echo out").pty(Pty::default()), |how, command| {
            assert_eq!(Play::start(command).screen.end(), "out\r\n", "{how}");
            assert!(File::open("/dev/tty").is_err(), "{how}: we have a terminal");
            assert_eq!(getsid(None), Ok(getpid()), "{how}");
        });
    });
}

#[test]
fn the_hosts_own_terminal_is_left_alone() {
    if !needs(Feature::Program("setsid")) {
        return;
    }
    alone_under(&["setsid", "--wait"], || {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        unlockpt(&master).expect("it is ours");
        let ours: OwnedFd = ioctl_tiocgptpeer(&master, flags).expect("a terminal");
        ioctl_tiocsctty(&ours).expect("we lead a session");
        let look = || (tcgetpgrp(&ours), tcgetsid(&ours), getsid(None), rustix::process::getpgrp());
        let before = look();
        assert_eq!(before.0, Ok(getpid()));
        let command = puppet("trap INT int trap-exit TERM 0 wait").foreground(true).pty(Pty::default());
        each(&command, |how, command| {
            let play = Play::start(command);
            play.screen.ready("leader");
            assert_eq!(look(), before, "{how}");
            // The one's keys are not the other's: INT would end us.
            play.type_keys(CTRL_C);
            play.screen.expect("leader: int");
            within(&play.child.stop());
            assert_eq!(look(), before, "{how}");
        });
        // Hung up, it would end us, before the test is told to have passed.
        std::mem::forget(master);
    });
}

/// As a window is closed: who leads the session is told, which is the guard, and it hands that on. Not before we end:
/// until then a detached program is left alone.
#[test]
fn a_detached_program_hears_when_its_terminal_goes_with_us() {
    const PLACE: &str = "FOSTER_TEST_PLACE";
    let place = std::env::var_os(PLACE).map_or_else(|| scratch("hang-up"), Into::into);
    alone_under(&["env", &format!("{PLACE}={}", place.display())], || {
        let place = PathBuf::from(std::env::var_os(PLACE).expect("it was given"));
        each(&puppet(""), |how, command| {
            let file = place.join(how.replace(' ', "-"));
            File::create(&file).expect("it is ours");
            let script = format!(
                "on HUP [ append {0} hup ] on CONT [ append {0} cont exit 0 ] trap USR1 alive \
                 fork other [ on HUP [ append {0} other exit 0 ] wait ] wait",
                file.display()
            );
            let (containment, twin) = (command.get_containment(), command.has_twin());
            let command = puppet(&script).pty(Pty::default()).containment(containment).twin(twin);
            let Play { child, keyboard, screen } =
                Play::start(&command.leftovers(Leftovers::Wait { max: None }));
            // The leader, whose ears are open before it forks.
            screen.ready("other");
            child.detach();
            let leader = Actor::of(child.pid().expect("it lives"));
            drop((child, keyboard));
            leader.signal(Signal::USR1);
            screen.expect("leader: alive");
        });
    });
    if std::env::var_os(PLACE).is_some() {
        return;
    }
    let mut ways = 0;
    for entry in std::fs::read_dir(&place).expect("it is ours") {
        let file = entry.expect("it can be read").path();
        // Without a guard the kernel tells the leader alone, and its group when it has ended.
        let heard = || std::fs::read_to_string(&file).unwrap_or_default();
        eventually("all hear it", heard, |heard| heard.lines().count() == 3);
        let mut heard: Vec<String> = heard().lines().map(str::to_string).collect();
        heard.sort();
        assert_eq!(heard, ["cont", "hup", "other"], "{}", file.display());
        ways += 1;
    }
    assert!(ways >= 3, "{ways}");
}

/// Who waits for the suspension, to take the terminal's place in front, must not wait for a reader who has gone home.
#[test]
fn a_suspension_is_told_though_nobody_reads_what_was_shown() {
    let gate = std::sync::Arc::new(std::sync::Mutex::new(()));
    let closed = gate.lock().expect("nobody else has it");
    let theirs = gate.clone();
    let reads_not = Sink::chunks(move |_| drop(theirs.lock()));
    let command = Command::shell("echo shown; kill -TSTP 0; exit 5").pty(Pty::default()).stdout(reads_not);
    let child = command.spawn().expect("a shell");
    let ends = |kind: &EventKind| matches!(kind, EventKind::Suspended(_) | EventKind::Exited(_));
    let suspended = child.events().find(|event| ends(&event.kind));
    assert!(matches!(suspended.map(|event| event.kind), Some(EventKind::Suspended(Signal::TSTP))));
    child.signal(Signal::CONT).expect("it is ours");
    drop(closed);
    assert_eq!(within(&child.gone()).status, Status::Exited(5));
}

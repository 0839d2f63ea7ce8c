//! It is who it was told to be, when it enters its directory, executes its program and opens its terminal too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use foster::{Command, Containment, ErrorKind, Input, Mechanism, Pty, Signal, Sink, Status};
use puppet::{Feature, Host, NOBODY, Programs, alone_under, needs, scratch};
use rustix::process::dumpable_behavior;

use crate::{STRANGER, cat, each, ours, output, us, who};

#[test]
fn it_becomes_who_it_is_told_to_be() {
    if !needs(Feature::Root) {
        return;
    }
    let before = us();
    let four = |id: u32| format!("{id} {id} {id} {id}");
    let [our_user, our_group, our_groups, our_umask, everything] = who(&ours("status"));
    let nothing = "0".repeat(16);
    each(&cat("status"), |how, command| {
        let is = |command: &Command, all: [&str; 5]| {
            let text = output(command);
            assert_eq!(who(&text), all, "{how}");
        };
        let nobody = command.clone().uid(NOBODY).gid(STRANGER);
        is(&nobody, [&four(NOBODY), &four(STRANGER), "", &our_umask, &nothing]);
        let groups = nobody.clone().groups(&[5, 1 << 31, 7]).umask(0o27);
        is(&groups, [&four(NOBODY), &four(STRANGER), "5 7 2147483648", "0027", &nothing]);
        is(&nobody.groups(&[]), [&four(NOBODY), &four(STRANGER), "", &our_umask, &nothing]);
        // Each for itself.
        is(&command.clone().uid(NOBODY), [&four(NOBODY), &our_group, "", &our_umask, &nothing]);
        is(&command.clone().gid(7), [&our_user, &four(7), &our_groups, &our_umask, &everything]);
        is(&command.clone().groups(&[9]), [&our_user, &our_group, "9", &our_umask, &everything]);
        is(&command.clone().umask(0), [&our_user, &our_group, &our_groups, "0000", &everything]);
        is(command, [&our_user, &our_group, &our_groups, &our_umask, &everything]);
    });
    assert_eq!(us(), before);
}

/// As many as can be handed on, and one more.
#[test]
fn it_can_have_many_groups() {
    if !needs(Feature::Root) {
        return;
    }
    let many: Vec<u32> = (1000..26_000).collect();
    for containment in [Containment::Group, Containment::Exactly(Mechanism::Subreaper)] {
        let command = cat("status").uid(NOBODY).containment(containment);
        let text = output(&command.clone().groups(&many));
        let words: Vec<String> = many.iter().map(ToString::to_string).collect();
        assert_eq!(who(&text)[2], words.join(" "));
        let error = command.groups(&[&many[..], &[1]].concat()).spawn().expect_err("one too many");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("25001 groups; at most 25000"), "{error}");
    }
}

/// `std` goes into the directory as the new user too.
#[test]
fn it_enters_its_directory_and_executes_as_who_it_is() {
    if !needs(Feature::Root) {
        return;
    }
    let ours = scratch("ours");
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let theirs = scratch("theirs");
    std::os::unix::fs::chown(&theirs, Some(STRANGER), Some(STRANGER)).expect("we are root");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let program = |directory: &Path, text: &str, mode: u32| {
        let path = directory.join("program");
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        std::os::unix::fs::chown(&path, Some(STRANGER), None).expect("we are root");
        path
    };
    let hidden = program(&ours, "#!/bin/sh\n", 0o755);
    // Without a first line it is the shell's, which `execvp(3)` finds.
    let bare = program(&theirs, "pwd; umask", 0o700);
    each(&Command::new("pwd").uid(STRANGER).gid(STRANGER), |how, command| {
        assert_eq!(output(&command.clone().current_dir(&theirs)), format!("{}\n", theirs.display()), "{how}");
        let error = command.clone().current_dir(&ours).spawn().expect_err("it may not");
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (ErrorKind::BadDirectory, Some(libc::EACCES)),
            "{how}"
        );
    });
    each(&Command::new(&bare).uid(STRANGER).umask(0o1).current_dir(&theirs), |how, command| {
        assert_eq!(output(command), format!("{}\n0001\n", theirs.display()), "{how}");
    });
    each(&Command::new(&hidden).uid(STRANGER).gid(STRANGER), |how, command| {
        let error = command.spawn().expect_err("it may not");
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (ErrorKind::NotExecutable, Some(libc::EACCES)),
            "{how}: {error}"
        );
    });
    // Where it may look.
    each(&Command::new("no-such-program").uid(STRANGER).env("PATH", "/usr/bin:/bin"), |how, command| {
        assert_eq!(command.spawn().expect_err("there is none").kind(), ErrorKind::NotFound, "{how}");
    });
}

/// Programs open their terminal by its name.
#[test]
fn its_terminal_is_its_own() {
    if !needs(Feature::Root) {
        return;
    }
    let script = r#"stat -c %u "$(tty)" && : > "$(tty)" && : > /dev/tty && stty size"#;
    for containment in [Containment::Group, Containment::Exactly(Mechanism::Subreaper)] {
        let command = Command::shell(script).pty(Pty::new(7, 33)).uid(STRANGER).gid(STRANGER);
        assert_eq!(output(&command.containment(containment)), format!("{STRANGER}\n7 33\n"));
        // It is in front of it: Ctrl-C arrives.
        let command =
            Command::shell("echo; exec sleep 57").pty(Pty::default()).uid(STRANGER).containment(containment);
        let child = command.stdin(Input::Piped).stdout(Sink::Streamed).spawn().expect("it starts");
        assert!(child.take_lines().expect("streamed").next().is_some());
        let mut keys = child.take_stdin().expect("piped");
        std::io::Write::write_all(&mut keys, b"\x03").expect("it is open");
        assert_eq!(child.wait().status, Status::Signaled { signal: Signal::INT, core_dumped: false });
    }
}

/// Where no program can be run from memory, and none is installed.
#[test]
fn a_copy_of_the_host_will_do() {
    if !needs(Feature::Root) {
        return;
    }
    alone_under(&["env", "FOSTER_GUARD=copy"], || {
        let before = us();
        each(&cat("status"), |how, command| {
            let text = output(&command.clone().uid(NOBODY).gid(7).groups(&[8, 9]).umask(0o11).nice(1));
            let four = |id: u32| format!("{id} {id} {id} {id}");
            let [user, group, groups, umask, _] = who(&text);
            let told = [user.as_str(), &group, &groups, &umask];
            assert_eq!(told, [four(NOBODY).as_str(), &four(7), "8 9", "0011"], "{how}");
        });
        assert_eq!(us(), before);
    });
}

/// In the place of an init there is no guard either.
#[test]
fn as_pid_1_too() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    alone_under(&["unshare", "--pid", "--fork", "--mount-proc"], || {
        let dumpable = dumpable_behavior();
        let command =
            cat("status").uid(NOBODY).gid(NOBODY).containment(Containment::Exactly(Mechanism::Init));
        assert_eq!(who(&output(&command))[0], format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}"));
        assert_eq!(dumpable_behavior(), dumpable);
    });
}

/// However a program of ours can be run on a machine, the stepping stone is one.
#[test]
fn over_every_stepping_stone() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    let path = programs.directory().join("foster-guard");
    fs::write(&path, foster::guard_program().expect("it is built")).expect("it is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    for image in ["memory", "file", "host", "copy"] {
        let mut host = Host::start_under(&programs, &["env", &format!("FOSTER_GUARD={image}")], 100, &[]);
        let got =
            host.run(&format!("group+uid={NOBODY}"), "wait").unwrap_or_else(|why| panic!("{image}: {why}"));
        assert_eq!((got.mechanism.as_str(), got.guard), ("process-group", None), "{image}");
        let leader = host.hear("leader: ready");
        let status = fs::read_to_string(format!("/proc/{leader}/status")).expect("it lives");
        assert_eq!(who(&status)[0], format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}"), "{image}");
        // Its words are its own, whatever was run before.
        let words = puppet::command_line(leader.parse().expect("a pid")).expect("it lives");
        assert_eq!(words[1..], ["wait"], "{image}");
        host.tell("kill");
        host.hear("supervisor: gone");
    }
}

//! A command is data: it can be looked at, cloned and run again, and says who it is.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use foster::{Command, Containment, Input, Sink, Status};
use puppet::{Feature, Stage, needs, program, puppet, scratch};

#[test]
fn it_can_be_cloned_and_run_twice() {
    let first = puppet("env WORD exit 3").env("WORD", "one");
    let second = first.clone().env("WORD", "two");
    for (command, word) in [(&first, "one"), (&second, "two"), (&first, "one")] {
        let stage = Stage::start(command);
        stage.expect(&format!("leader: {word}"));
        assert_eq!(stage.exit().status, Status::Exited(3));
    }
}

/// As `execvpe(3)`: such a directory cannot have it, and another may.
#[test]
fn a_part_of_path_that_is_too_long_is_passed_over() {
    let path = format!("/{}:/no/such/directory:/bin:/usr/bin", "long/".repeat(1000));
    for containment in [Containment::Group, Containment::Auto] {
        let command = Command::new("true").env("PATH", &path).containment(containment);
        assert_eq!(command.status().expect("it is found").status, Status::Exited(0), "{containment:?}");
    }
}

/// Who starts itself once more by this name does not mean its guard.
#[test]
fn the_host_itself_is_the_host_itself() {
    let list = ["--list", "--exact", "the_host_itself_is_the_host_itself"];
    for containment in [Containment::Group, Containment::Auto] {
        for name in ["/proc/self/exe", "/proc/thread-self/exe"] {
            let said = Command::new(name).args(list).containment(containment).read_to_string();
            let said = said.unwrap_or_else(|error| panic!("{name}, {containment:?}: {error}"));
            assert!(said.starts_with("the_host_itself_is_the_host_itself: test"), "{name}: {said}");
        }
    }
}

#[test]
fn two_runs_of_one_command_know_nothing_of_each_other() {
    let command = puppet("trap-exit TERM 1 trap-exit USR1 2 wait");
    let (one, two) = (Stage::start(&command), Stage::start(&command));
    let (one_leader, two_leader) = (one.leader(), two.leader());
    assert_ne!(one_leader.pid(), two_leader.pid());
    puppet::within(&one.child().stop());
    assert!(two_leader.alive());
    two_leader.signal(foster::Signal::USR1);
    assert_eq!(two.exit().status, Status::Exited(2));
}

#[test]
fn it_is_taken_over_from_the_standard_library() {
    let directory = scratch("std");
    let mut theirs = std::process::Command::new(program());
    theirs.args(["env", "WORD", "env", "GONE", "where", "exit", "7"]);
    theirs.env("WORD", "word").env_remove("GONE").current_dir(&directory);
    // Safe here: the variable is the child's.
    let stage = Stage::start(&Command::from(&theirs));
    for said in ["word", "unset", &directory.to_string_lossy()] {
        stage.expect(&format!("leader: {said}"));
    }
    assert_eq!(stage.exit().status, Status::Exited(7));
    assert_eq!(Command::from(theirs).get_current_dir(), Some(directory.as_path()));
}

#[test]
fn its_label_is_its_directory_and_its_words_or_what_it_is_given() {
    let command = Command::new("printf").args(["%s", "two words"]).current_dir("/");
    assert_eq!(command.get_label(), "(/) printf %s 'two words'");
    assert_eq!(command.to_string(), "printf %s 'two words'");
    let child = command.clone().stdout(Sink::Null).spawn().expect("it starts");
    assert_eq!(child.label(), command.get_label());
    child.wait();
    assert_eq!(child.label(), command.get_label());
    let child = command.label("printer").stdout(Sink::Null).spawn().expect("it starts");
    assert_eq!(child.label(), "printer");
}

/// What bash makes of the printed command; control characters are written as it has them, `$'\n'`.
fn read_by_a_shell(words: &[&str]) -> Vec<String> {
    let command = Command::new("printf").arg("%s\\0").args(words);
    let child = Command::new("bash").arg("-c").arg(command.to_string()).stdout(Sink::Piped).spawn();
    let child = child.expect("it starts");
    let output = std::io::read_to_string(child.take_stdout().expect("piped")).expect("UTF-8");
    output.split_terminator('\0').map(str::to_string).collect()
}

#[test]
fn a_shell_reads_its_words_as_they_are() {
    if !needs(Feature::Program("bash")) {
        return;
    }
    let words = [
        "plain",
        "two words",
        "it's",
        "$HOME",
        "`id`",
        "\"x\"",
        "a\\b",
        "\u{e4}\u{1f600}",
        "",
        "*",
        "~",
        "#x",
        "a;b",
        "!x",
        "{a,b}",
        "[a]",
        "a&b",
        "<x",
        "(x)",
        "x|y",
    ];
    assert_eq!(read_by_a_shell(&words), words);
    assert_eq!(Command::new("a").args(words).to_string().lines().count(), 1);
}

#[test]
fn a_shell_reads_control_characters_as_they_are() {
    if !needs(Feature::Program("bash")) {
        return;
    }
    for word in [
        "a\tb",
        "new\nline",
        "\u{1b}[0m",
        "\u{7f}",
        "\u{1}2",
        "it's\n",
        "\"x\"\n",
        "a\\\n",
        "\u{e4}\n",
        "\u{85}",
    ] {
        assert_eq!(read_by_a_shell(&[word]), [word], "{}", Command::new(word));
        assert!(!Command::new(word).to_string().contains(char::is_control));
    }
}

#[test]
fn the_environment_is_ours_with_the_changes() {
    let ours = std::env::var("PATH").expect("tests have one");
    let stage = Stage::start(
        &puppet("env PATH env NEW env CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_DIR").env("NEW", "x"),
    );
    for said in [&ours, "x", "unset"] {
        stage.expect(&format!("leader: {said}"));
    }
    let stage = Stage::start(&puppet("env PATH env NEW").env("NEW", "y").env_clear());
    for said in ["unset", "y"] {
        stage.expect(&format!("leader: {said}"));
    }
}

#[test]
fn streams_go_where_they_are_told() {
    let directory = scratch("streams");
    let mut input = std::fs::File::create_new(directory.join("input")).expect("it is new");
    input.write_all(b"from a file\n").expect("it is ours");
    let input = std::fs::File::open(directory.join("input")).expect("it is there");
    let output = directory.join("output");
    let mut both =
        std::fs::File::options().read(true).write(true).create_new(true).open(&output).expect("it is new");
    let same = Sink::from(both.try_clone().expect("a descriptor"));
    let command = puppet("quiet read err error").stdin(input).stdout(same.clone()).stderr(same);
    assert!(command.spawn().expect("it starts").wait().success());
    let mut text = String::new();
    both.seek(SeekFrom::Start(0)).expect("it is a file");
    both.read_to_string(&mut text).expect("UTF-8");
    assert_eq!(text, "leader: from a file\nleader: error\n");
}

#[test]
fn pipes_are_taken_once() {
    let command = puppet("quiet read err error").stdin(Input::Piped).stdout(Sink::Piped).stderr(Sink::Piped);
    let child = command.spawn().expect("it starts");
    let again = child.clone();
    let (mut stdin, stdout, stderr) = (child.take_stdin(), child.take_stdout(), child.take_stderr());
    assert!(again.take_stdin().is_none() && again.take_stdout().is_none() && again.take_stderr().is_none());
    stdin.as_mut().expect("piped").write_all(b"over a pipe\n").expect("it reads");
    drop(stdin);
    assert_eq!(std::io::read_to_string(stdout.expect("piped")).expect("UTF-8"), "leader: over a pipe\n");
    assert_eq!(std::io::read_to_string(stderr.expect("piped")).expect("UTF-8"), "leader: error\n");
    assert!(child.wait().success());
}

#[test]
fn no_pipe_is_there_where_none_was_asked_for() {
    let child = puppet("quiet").stdout(Sink::Null).spawn().expect("it starts");
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none() && child.take_stderr().is_none());
    assert!(child.wait().success());
    assert!(Path::new("/dev/null").exists());
}

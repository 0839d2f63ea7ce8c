//! What PID 1 was given is the program's, and only the program's.

use std::fs;

use foster::Status;

use crate::podman::{Container, Room};

#[test]
fn the_program_has_the_descriptors_that_podman_handed_on_and_no_other() {
    let Some(room) = Room::new() else { return };
    fs::write(room.out.join("in"), "from outside\n").expect("written");
    // `exec`, because a shell that only redirects keeps a descriptor for the way back; and a last word, because one
    // that has nothing left to do becomes its last command.
    let in_there = "read line <&3; echo \"$line\" >&4; exec >/out/program; ls /proc/$$/fd; \
                    exec >/out/init; ls -l /proc/1/fd; :";
    let run = room.run("--preserve-fds 2", &["foster", "run", "--", "sh", "-c", in_there]);
    let out = room.out.display().to_string();
    let mut words =
        ["sh", "-c", "folder=$1; shift; exec \"$@\" 3<\"$folder/in\" 4>\"$folder/answer\"", "sh", &out]
            .map(str::to_string)
            .to_vec();
    words.extend(run);
    let container = Container::of(room, &words);
    assert_eq!(container.exit().status, Status::Exited(0));
    let room = &container.room;
    assert_eq!(room.lines("answer"), ["from outside"]);
    assert_eq!(room.lines("program"), ["0", "1", "2", "3", "4"]);
    // foster has let go of them, so that whoever waits for the end of such a pipe waits for the program only.
    let kept = room.lines("init");
    assert!(kept.len() > 3, "{kept:?}");
    assert!(!kept.iter().any(|what| what.ends_with("/in") || what.ends_with("/answer")), "{kept:?}");
}

#[test]
fn without_any_the_program_has_its_streams() {
    let Some(room) = Room::new() else { return };
    let words = room.run("", &["foster", "run", "--", "sh", "-c", "exec >/out/program; ls /proc/$$/fd; :"]);
    let container = Container::of(room, &words);
    assert_eq!(container.exit().status, Status::Exited(0));
    assert_eq!(container.room.lines("program"), ["0", "1", "2"]);
}

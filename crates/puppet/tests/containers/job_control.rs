//! `podman run -it`: a shell that foster runs as PID 1 has a terminal, and job control in it.

use puppet::{Terminal, eventually};

use crate::podman::Room;

#[test]
fn a_shell_has_job_control() {
    let Some(room) = Room::new() else { return };
    let words = room.run("--interactive --tty --env PS1=%", &["foster", "run", "--", "sh"]);
    let mut terminal = Terminal::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let first = terminal.expect("%");
    assert!(!first.contains("job control turned off") && !first.contains("access tty"), "{first}");

    // One job in the background, which no key may reach.
    terminal.type_keys("puppet name back trap INT wrong trap TSTP wrong trap-exit USR1 0 wait &\n");
    let back = terminal.ready("back");
    // And one in front.
    terminal.type_keys("puppet name front on INT [ say cut exit 5 ] wait\n");
    let front = terminal.ready("front");
    let state = |pid: u32| room.states().get(&pid).copied();

    terminal.type_keys("\x1a");
    terminal.expect("Stopped");
    eventually("the job is stopped", || state(front), |state| *state == Some('T'));
    terminal.expect("%");
    terminal.type_keys("echo shell-$((40+2))\n");
    terminal.expect("shell-42");
    assert_eq!(state(back), Some('S'), "the other job runs on");
    terminal.type_keys("fg\n");
    eventually("the job goes on", || state(front), |state| matches!(state, Some('S' | 'R')));

    terminal.type_keys("\x03");
    terminal.expect("front: cut");
    terminal.expect("%");
    terminal.type_keys("echo code-$?\n");
    terminal.expect("code-5");
    assert_eq!(state(back), Some('S'), "the other job runs on");

    // Ctrl-C at the prompt harms neither the shell nor foster.
    terminal.expect("%");
    terminal.type_keys("\x03");
    terminal.expect("%");
    terminal.type_keys(&format!("kill -USR1 {back}; wait; echo waited-$?\n"));
    terminal.expect("waited-0");
    assert_eq!(terminal.count("back: wrong"), 0);
    terminal.type_keys("exit 7\n");
    assert_eq!(room.exit_code(), "7");
    assert_eq!(terminal.program.wait().expect("waitable").code(), Some(7));
}

#[test]
fn ctrl_c_reaches_a_program_that_is_alone_in_its_container() {
    let Some(room) = Room::new() else { return };
    let script =
        ["foster", "run", "--", "puppet", "trap", "INT", "counted", "trap-exit", "USR1", "8", "wait"];
    let words = room.run("--interactive --tty", &script);
    let mut terminal = Terminal::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    terminal.ready("leader");
    for n in 1..=2 {
        terminal.type_keys("\x03");
        terminal.expect("leader: counted");
        assert_eq!(terminal.count("leader: counted"), n);
    }
    room.told(&["kill", "--signal", "USR1", &room.name]);
    assert_eq!(room.exit_code(), "8");
    assert_eq!(terminal.program.wait().expect("waitable").code(), Some(8));
    assert_eq!(terminal.count("leader: counted"), 2);
}

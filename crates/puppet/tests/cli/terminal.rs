//! In a real terminal: who is in front, who hears Ctrl-C, and that Ctrl-Z and `fg` work. Scenarios F6, F7, F40.

use std::os::unix::process::ExitStatusExt;

use foster::Signal;
use puppet::{Actor, Feature, eventually, needs, program, state};

use crate::common::{Terminal, foster};

/// `foster run OPTIONS -- puppet SCRIPT`, for a shell.
fn line(options: &str, script: &str) -> String {
    let quoted: Vec<String> = script.split_whitespace().map(|word| format!("'{word}'")).collect();
    format!("{} run {options} -- {} {}", foster().display(), program().display(), quoted.join(" "))
}

#[test]
fn f07_a_typed_ctrl_c_arrives_once_in_a_group_of_its_own_and_in_ours() {
    for options in ["", "--same-group"] {
        let terminal = Terminal::shell();
        terminal.type_keys(&format!("{}\n", line(options, "trap INT counted trap-exit USR1 0 wait")));
        let leader = Actor::of(terminal.ready("leader"));
        for n in 1..=3 {
            terminal.type_keys("\x03");
            terminal.expect("leader: counted");
            assert_eq!(terminal.count("leader: counted"), n, "{options}");
        }
        leader.signal(Signal::USR1);
        leader.dies();
        // A second delivery would have come before the program's end.
        terminal.expect("$ ");
        assert_eq!(terminal.count("leader: counted"), 3, "{options}");
        terminal.type_keys("exit\n");
    }
}

#[test]
fn f06_a_program_that_cleans_up_on_ctrl_c_is_waited_for() {
    let terminal = Terminal::shell();
    terminal
        .type_keys(&format!("{}; echo code-$?\n", line("", "on INT [ sleep 0.5 say cleaned exit 3 ] wait")));
    terminal.ready("leader");
    terminal.type_keys("\x03");
    let between = terminal.expect("leader: cleaned");
    assert!(!between.contains("$ "), "no prompt before the program is done: {between}");
    terminal.expect("code-3");
    terminal.type_keys("exit\n");
}

#[test]
fn a_group_that_has_no_number_here_hands_on_the_terminal_too() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    let terminal = Terminal::shell();
    // What `unshare` starts is in a group from outside its namespace.
    let inside = line("", "trap-exit INT 4 read wait");
    terminal.type_keys(&format!("unshare -p -f --mount-proc {inside}; echo code-$?\n"));
    terminal.expect("leader: ready ");
    terminal.type_keys("typed\n");
    terminal.expect("leader: typed");
    terminal.type_keys("\x03");
    terminal.expect("code-4");
    terminal.type_keys("exit\n");
}

#[test]
fn a_repl_lives_through_its_ctrl_c() {
    let terminal = Terminal::shell();
    terminal.type_keys(&format!("{} run -- bash --norc --noprofile --noediting\n", foster().display()));
    terminal.type_keys("echo in-$((40+2))\n");
    terminal.expect("in-42");
    for n in 0..5 {
        terminal.expect("$ ");
        terminal.type_keys("\x03");
        // bash throws away what it has read when it is interrupted, so that only its next prompt is safe to answer.
        terminal.expect("^C");
        terminal.expect("$ ");
        terminal.type_keys(&format!("echo still-$((100+{n}))\n"));
        terminal.expect(&format!("still-{}", 100 + n));
    }
    terminal.type_keys("exit 7\n");
    terminal.type_keys("echo code-$?\n");
    terminal.expect("code-7");
    terminal.type_keys("exit\n");
}

#[test]
fn a_program_that_ctrl_c_kills_takes_foster_and_the_shell_loop_with_it() {
    // A shell ends its loop only when its child died of INT, not when it exited with 130.
    let terminal = Terminal::shell();
    let sleep = format!("{} run -- {} name $i wait", foster().display(), program().display());
    terminal.type_keys(&format!("for i in 1 2 3; do {sleep}; done; echo loop-$((1+1))\n"));
    terminal.ready("1");
    terminal.type_keys("\x03");
    terminal.type_keys("echo after-$((2+2))\n");
    let between = terminal.expect("after-4");
    assert!(!between.contains("2: ready"), "{between}");
    terminal.type_keys("exit\n");

    // And as the kernel tells it.
    let mut terminal = Terminal::start(&[
        foster().to_str().expect("UTF-8"),
        "run",
        "--",
        program().to_str().expect("UTF-8"),
        "wait",
    ]);
    terminal.ready("leader");
    terminal.type_keys("\x03");
    assert_eq!(terminal.program.wait().expect("waitable").signal(), Some(2));
}

#[test]
fn f40_ctrl_z_stops_the_tree_and_its_timers_and_fg_continues_both() {
    // With one group for both, only the program itself is foster's to end; so it has no worker there.
    for (options, worker) in [("-t 6", "fork worker [ wait ]"), ("-t 6 --same-group", "")] {
        let terminal = Terminal::shell();
        let script = format!("{worker} trap USR1 alive trap-exit USR2 5 wait");
        terminal.type_keys(&format!("{}; echo code-$?\n", line(options, &script)));
        let leader = terminal.ready("leader");
        let worker = (!worker.is_empty()).then(|| {
            let members = puppet::group_members(leader);
            members.into_iter().find(|pid| *pid != leader).expect("its worker is in its group")
        });
        terminal.type_keys("\x1a");
        terminal.expect("Stopped");
        eventually("the program is stopped", || state(leader), |state| *state == Some('T'));
        if let Some(worker) = worker {
            eventually("its worker too", || state(worker), |state| *state == Some('T'));
        }
        // Longer than the timeout: while it is stopped, the time stands still.
        std::thread::sleep(std::time::Duration::from_millis(6_500));
        terminal.type_keys("fg\n");
        eventually("it goes on", || state(leader), |state| matches!(state, Some('S' | 'R')));
        let actor = Actor::of(leader);
        actor.signal(Signal::USR1);
        terminal.expect("leader: alive");
        actor.signal(Signal::USR2);
        // A loop's `;` part was run when the job stopped; `fg` gives the code.
        actor.dies();
        terminal.type_keys("echo now-$?\n");
        terminal.expect("now-5");
        terminal.type_keys("exit\n");
    }
}

#[test]
fn f40_after_bg_the_program_runs_in_the_background() {
    let terminal = Terminal::shell();
    terminal.type_keys(&format!("{}\n", line("", "trap USR1 alive trap-exit USR2 0 wait")));
    let leader = terminal.ready("leader");
    terminal.type_keys("\x1a");
    terminal.expect("Stopped");
    terminal.type_keys("bg\n");
    let actor = Actor::of(leader);
    eventually("it goes on", || state(leader), |state| matches!(state, Some('S' | 'R')));
    terminal.type_keys("echo shell-$((3+4))\n");
    terminal.expect("shell-7");
    actor.signal(Signal::USR1);
    terminal.expect("leader: alive");
    actor.signal(Signal::USR2);
    actor.dies();
    terminal.type_keys("exit\n");
}

#[test]
fn the_terminal_comes_back_to_the_shell_as_it_was() {
    let terminal = Terminal::shell();
    // A program that leaves it raw and is killed.
    terminal.type_keys(&format!(
        "{} run -t 0.5 -k 0 -- sh -c 'stty raw -echo; sleep 100'; stty -a | tr ' ' '\\n' | grep -x -e '-\\?icanon' -e '-\\?echo'\n",
        foster().display()
    ));
    terminal.expect("\nicanon");
    terminal.expect("\necho");
    terminal.type_keys("echo mine-$((5+6))\n");
    terminal.expect("mine-11");
    terminal.type_keys("exit\n");
}

#[test]
fn a_program_in_the_middle_of_a_pipe_may_read_the_terminal() {
    let terminal = Terminal::shell();
    // Its stdin is a pipe, so that it is not put in front; when it reads the terminal, it is.
    terminal.type_keys(&format!(
        "echo x | {} run -- sh -c 'read answer < /dev/tty; echo got-$answer'\n",
        foster().display()
    ));
    terminal.type_keys("typed\n");
    terminal.expect("got-typed");
    terminal.type_keys("exit\n");
}

#[test]
fn a_terminal_that_goes_away_stops_the_program() {
    let terminal = Terminal::start(&[
        foster().to_str().expect("UTF-8"),
        "run",
        "--",
        program().to_str().expect("UTF-8"),
        "ignore",
        "HUP",
        "trap-exit",
        "TERM",
        "6",
        "wait",
    ]);
    let leader = Actor::of(terminal.ready("leader"));
    let mut foster = terminal.hang_up();
    leader.dies();
    assert_eq!(foster.wait().expect("waitable").code(), Some(6));
}

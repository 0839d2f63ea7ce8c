//! `--pty`: the program has a terminal of its own, with ours on its other side, or with none at all, as in CI.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as StdCommand, Output, Stdio as StdStdio};
use std::time::Duration;

use foster::Signal;
use puppet::{Actor, Window, alive, eventually, program, scratch, state};

use crate::common::{Terminal, foster, said};

/// `foster run --pty OPTIONS -- WORDS`, in a session without a terminal.
fn without_terminal(options: &str, words: &[&str]) -> StdCommand {
    let mut command = StdCommand::new("setsid");
    command.arg("--wait").arg(foster()).args(["run", "--pty"]).args(options.split_whitespace()).arg("--");
    command.args(words).stdin(StdStdio::null());
    command
}

#[track_caller]
fn shown(options: &str, script: &str) -> (String, Option<i32>) {
    let output: Output = without_terminal(options, &["sh", "-c", script]).output().expect("setsid starts");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn is(text: &str, code: i32) -> (String, Option<i32>) {
    (text.to_string(), Some(code))
}

/// `foster run --pty OPTIONS -- puppet SCRIPT`, for a shell.
fn line(options: &str, script: &str) -> String {
    let words: Vec<String> = script.split_whitespace().map(|word| format!("'{word}'")).collect();
    format!("{} run --pty {options} -- {} {}", foster().display(), program().display(), words.join(" "))
}

/// The same, with nobody between it and the terminal.
#[track_caller]
fn alone(options: &str, words: &[&str]) -> Terminal {
    let foster = foster();
    let mut all = vec![foster.to_str().expect("UTF-8"), "run", "--pty"];
    all.extend(options.split_whitespace());
    all.push("--");
    all.extend(words);
    Terminal::start(&all)
}

#[track_caller]
fn puppet_alone(options: &str, script: &str) -> Terminal {
    let puppet = program();
    let words = [puppet.to_str().expect("UTF-8")].into_iter().chain(script.split_whitespace());
    alone(options, &words.collect::<Vec<_>>())
}

#[test]
fn without_any_terminal_the_program_has_one_and_its_input_is_fosters() {
    let look =
        "for n in 0 1 2; do test -t $n && echo $n; done; stty size <&1; cat; tty <&1 >/dev/null && echo tty";
    for options in ["", "--stdin null"] {
        assert_eq!(shown(options, look), is("1\r\n2\r\n24 80\r\ntty\r\n", 0), "{options}");
    }
    let alias = StdCommand::new(foster()).args(["run", "--tty", "--", "sh", "-c", "test -t 1"]).output();
    assert_eq!(alias.expect("foster starts").status.code(), Some(0));
    assert_eq!(shown("", "echo out; echo err >&2"), is("out\r\nerr\r\n", 0));
    let folder = scratch("pty-log");
    let to_file = without_terminal("--stdout log", &["sh", "-c", "echo out; echo err >&2"])
        .current_dir(&folder)
        .output()
        .expect("setsid starts");
    assert_eq!((to_file.stdout, to_file.status.code()), (vec![], Some(0)));
    assert_eq!(fs::read(folder.join("log")).expect("it was written"), b"out\r\nerr\r\n");
}

#[test]
fn what_is_piped_in_arrives_as_it_is() {
    let folder = scratch("pty-binary");
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(10 << 20);
    while bytes.len() < 10 << 20 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes.extend(random.to_ne_bytes());
    }
    fs::write(folder.join("sent"), &bytes).expect("written");
    let mut command = without_terminal("", &["sh", "-c", "cat >got; echo copied"]);
    let mut foster = command
        .current_dir(&folder)
        .stdin(StdStdio::piped())
        .stdout(StdStdio::piped())
        .spawn()
        .expect("setsid starts");
    foster.stdin.take().expect("it is piped").write_all(&bytes).expect("it is read");
    let output = foster.wait_with_output().expect("waitable");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "copied\r\n");
    assert!(fs::read(folder.join("got")).expect("it was written") == bytes, "the bytes differ");
}

#[test]
fn a_reader_that_goes_away_ends_the_program() {
    let folder = scratch("pty-head");
    let script = "\"$@\" | head -n 1; echo \"code-${PIPESTATUS[0]}\"";
    let mut command = StdCommand::new("bash");
    command.args(["-c", script, "bash"]).arg(foster()).args(["run", "--pty", "--"]);
    command.args(["sh", "-c", "echo $$ >pid; exec yes"]).current_dir(&folder).stdin(StdStdio::null());
    let output = command.output().expect("bash starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\r\ncode-129\n", "{}", said(&output));
    assert!(!alive(number(&folder, "pid")));
}

/// After `cat` has let go, nobody has read what is still on its way, for longer than foster listens to leftovers.
#[test]
fn a_slow_reader_gets_everything() {
    let script = "stty raw <&1; head -c 300000 /dev/zero; exit 3";
    let mut foster =
        without_terminal("", &["sh", "-c", script]).stdout(StdStdio::piped()).spawn().expect("setsid");
    let mut stdout = foster.stdout.take().expect("piped");
    let mut got = vec![0; 1000];
    stdout.read_exact(&mut got).expect("it is shown");
    // Longer than any drain. Nothing has to happen meanwhile.
    std::thread::sleep(Duration::from_secs(6));
    stdout.read_to_end(&mut got).expect("it is shown");
    assert_eq!((got.len(), foster.wait().expect("waitable").code()), (300_000, Some(3)));
}

/// A program that has ended, and a reader that neither reads nor goes away: only a stop ends that wait.
#[test]
fn who_waits_for_a_reader_can_be_stopped() {
    let pid = scratch("reader").join("pid");
    let script = format!("echo $$ >{}; stty raw <&1; head -c 67000 /dev/zero; exit 3", pid.display());
    let mut command = without_terminal("", &["sh", "-c", &script]);
    let mut foster = command.stdout(StdStdio::piped()).spawn().expect("setsid starts");
    let stdout = foster.stdout.take().expect("piped");
    let leader = || fs::read_to_string(&pid).ok().and_then(|pid| pid.trim().parse().ok());
    let leader: u32 = eventually("it says its pid", leader, Option::is_some).expect("it did");
    eventually("the program ends", || alive(leader), |alive| !alive);
    // `setsid` has become foster.
    Actor::of(foster.id()).signal(Signal::TERM);
    assert_eq!(foster.wait().expect("waitable").code(), Some(3));
    drop(stdout);
}

#[test]
fn a_file_is_its_input() {
    let file = scratch("input").join("file");
    fs::write(&file, "from a file\n").expect("it is ours");
    let options = format!("--stdin {}", file.display());
    assert_eq!(shown(&options, "cat; test -t 1 && exit 5"), is("from a file\r\n", 5));
}

/// What the program has left hears no Ctrl-C of its terminal's any more.
#[test]
fn when_the_program_has_ended_ctrl_c_is_for_foster() {
    let terminal = Terminal::shell();
    // It has left what it leaves when that has said so.
    let words =
        "mkfifo $0; setsid sh -c 'trap \"\" INT; echo left >$0; exec sleep 50' $0 & read left <$0; exit 4";
    let foster = foster();
    terminal.type_keys(&format!(
        "{} run --pty -v -k 1 --leftovers wait -- sh -c '{}' {}; echo code-$?\n",
        foster.display(),
        words.replace('\'', "'\\''"),
        scratch("left").join("fifo").display()
    ));
    terminal.expect("exited with code 4");
    terminal.type_keys("\x03");
    terminal.expect("code-4");
    terminal.type_keys("exit\n");
}

#[test]
fn it_ends_as_without() {
    assert_eq!(shown("", "exit 9").1, Some(9));
    assert_eq!(shown("", "kill -SEGV $$").1, Some(139));
    assert_eq!(shown("--ok-code 9", "exit 9").1, Some(0));
    let puppet = program();
    for (options, script) in [("-t 0.3", "trap-exit TERM 4 wait"), ("-t 0.3 -k 0.3", "ignore TERM wait")] {
        let words: Vec<&str> =
            [puppet.to_str().expect("UTF-8")].into_iter().chain(script.split(' ')).collect();
        let output = without_terminal(options, &words).output().expect("setsid starts");
        assert_eq!(output.status.code(), Some(124), "{options} {script}");
    }
    assert_eq!(shown("", "exec no-such-program 2>/dev/null").1, Some(127));
    let none = without_terminal("", &["no-such-program"]).output().expect("setsid starts");
    assert_eq!((none.status.code(), said(&none).lines().count()), (Some(127), 1));
}

#[test]
fn the_tail_of_what_it_showed() {
    let output = without_terminal("-q --capture-tail 2", &["sh", "-c", "seq 3; echo err >&2; exit 2"]);
    let output = { output }.output().expect("setsid starts");
    assert_eq!(
        (said(&output).as_str(), output.stdout.len(), output.status.code()),
        ("3\r\nerr\r\n", 0, Some(2))
    );
}

#[test]
fn signals_that_foster_gets_reach_it() {
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::QUIT, 7), (Signal::USR1, 7)] {
        let mut terminal = puppet_alone("", "trap-exit QUIT 7 trap-exit USR1 7 wait");
        let leader = Actor::of(terminal.ready("leader"));
        Actor::of(terminal.program.id()).signal(sent);
        leader.dies();
        assert_eq!(terminal.program.wait().expect("waitable").code(), Some(code), "{sent}");
    }
}

/// A window of 30 × 100, in which this has begun with saying so.
fn in_a_window(name: &str, script: &str) -> Window {
    let words = line("", script);
    let words: Vec<&str> = words.split_whitespace().map(|word| word.trim_matches('\'')).collect();
    let window = Window::open(&words, &scratch(name), 30, 100);
    window.wait_for("its first size", |screen| screen.shows("leader: 30 x 100"));
    window
}

#[test]
fn the_size_is_that_of_the_outer_terminal_and_follows_it() {
    let window = in_a_window("pty-size", "trap-exit HUP 3 trap-exit TERM 3 on WINCH [ size ] size wait");
    for (rows, cols) in [(25, 90), (40, 132), (30, 100)] {
        let size = format!("leader: {rows} x {cols}");
        let seen = |screen: &puppet::Screen| screen.rows.iter().filter(|row| row.contains(&size)).count();
        let before = seen(&window.screen());
        window.resize(rows, cols);
        window.wait_for(&size, |screen| seen(screen) > before);
    }
    let mut foster = window.hang_up();
    assert_eq!(foster.wait().expect("waitable").code(), Some(3));
}

/// We hear of it by a signal, by our output and by our terminal: that is one wish, and no reason to kill.
#[test]
fn a_closed_window_asks_once() {
    // It says something yet, which nobody reads.
    let hears = "[ say bye sleep 0.4 exit 3 ]";
    let window = in_a_window("pty-closed", &format!("on HUP {hears} on TERM {hears} size wait"));
    assert_eq!(window.hang_up().wait().expect("waitable").code(), Some(3));
}

#[test]
fn f07_typed_keys_do_there_what_they_do_in_ours() {
    // A shell ends its loop only when its child died of INT, not when it exited with 130.
    let terminal = Terminal::shell();
    let command = format!("{} run --pty -- {} name $i wait", foster().display(), program().display());
    terminal.type_keys(&format!("for i in 1 2 3; do {command}; done; echo loop-$((1+1))\n"));
    terminal.ready("1");
    terminal.type_keys("\x03");
    // What is typed before the prompt is typed at the program's terminal, which is gone in a moment.
    let between = terminal.expect("$ ");
    assert!(!between.contains("2: ready"), "{between}");
    terminal.type_keys("echo after-$((2+2))\n");
    let between = terminal.expect("after-4");
    assert!(!between.contains("2: ready"), "{between}");
    terminal.type_keys("exit\n");

    for (key, signal) in [("\x03", 2), ("\x1c", 3)] {
        let mut terminal = puppet_alone("", "wait");
        terminal.ready("leader");
        terminal.type_keys(key);
        assert_eq!(terminal.program.wait().expect("waitable").signal(), Some(signal));
    }
}

#[test]
fn f40_ctrl_z_stops_its_time_and_fg_goes_on() {
    let terminal = Terminal::shell();
    terminal.type_keys(&format!("{}\n", line("-t 6", "trap USR1 alive trap-exit USR2 5 wait")));
    let leader = terminal.ready("leader");
    terminal.type_keys("\x1a");
    terminal.expect("Stopped");
    eventually("the program is stopped", || state(leader), |state| *state == Some('T'));
    // Longer than the timeout: while it is stopped, the time stands still.
    std::thread::sleep(Duration::from_millis(6_500));
    terminal.type_keys("fg\n");
    eventually("it goes on", || state(leader), |state| matches!(state, Some('S' | 'R')));
    let actor = Actor::of(leader);
    actor.signal(Signal::USR1);
    terminal.expect("leader: alive");
    actor.signal(Signal::USR2);
    actor.dies();
    terminal.expect("$ ");
    terminal.type_keys("echo now-$?\n");
    terminal.expect("now-5");
    terminal.type_keys("exit\n");
}

#[test]
fn what_is_typed_ahead_is_read_later() {
    let folder = scratch("pty-ahead");
    let go = folder.join("go");
    let script = format!(
        "echo started; until [ -e {} ]; do sleep 0.05; done; read a; read b; echo $b-$a",
        go.display()
    );
    let mut terminal = alone("", &["sh", "-c", &script]);
    terminal.expect("started");
    terminal.type_keys("first\nsecond\n");
    // They are echoed by the program's terminal, which has them then.
    terminal.expect("second");
    fs::write(&go, "").expect("written");
    terminal.expect("second-first");
    assert_eq!(terminal.program.wait().expect("waitable").code(), Some(0));
}

#[test]
fn a_long_paste_into_a_program_that_reads_late_is_whole() {
    const MANY: usize = 1 << 20;
    let folder = scratch("pty-paste");
    let (go, got) = (folder.join("go"), folder.join("got"));
    let script = format!(
        "stty raw -echo; echo started; until [ -e {} ]; do sleep 0.05; done; head -c {MANY} >{}; echo done",
        go.display(),
        got.display()
    );
    let mut terminal = alone("", &["sh", "-c", &script]);
    terminal.expect("started");
    let lines: Vec<String> = (0..MANY / 8).map(|n| format!("{n:07}\n")).collect();
    let text = lines.concat();
    std::thread::scope(|scope| {
        scope.spawn(|| terminal.type_keys(&text));
        fs::write(&go, "").expect("written");
        terminal.expect("done");
    });
    assert_eq!(terminal.program.wait().expect("waitable").code(), Some(0));
    assert!(fs::read_to_string(got).expect("it was written") == text, "what arrived is not what was pasted");
}

#[test]
fn a_paste_that_nobody_reads_does_not_keep_foster_from_its_signals() {
    let mut terminal = alone("", &["sh", "-c", "stty raw -echo; echo started; exec sleep 60"]);
    terminal.expect("started");
    // It stands still all the way back to the keyboard.
    assert!(terminal.type_what_fits() < 1 << 20);
    let foster = Actor::of(terminal.program.id());
    foster.signal(Signal::TERM);
    foster.dies();
    assert_eq!(terminal.program.wait().expect("waitable").code(), Some(143));
}

#[test]
fn foster_that_is_killed_leaves_nothing() {
    let mut terminal = puppet_alone("", "ignore HUP ignore TERM fork worker [ setsid wait ] say out wait");
    // Who of them is the first is not known.
    let actors = [(); 2].map(|()| {
        terminal.expect("ready ");
        Actor::of(terminal.expect("\n").trim().parse().expect("a pid"))
    });
    terminal.program.kill().expect("it is our child");
    actors.iter().for_each(Actor::dies);
    terminal.program.wait().expect("waitable");
}

#[test]
fn fosters_own_lines_end_as_the_terminal_wants_it() {
    let terminal = Terminal::shell();
    // So it ignores TERM from its beginning.
    terminal.type_keys("trap '' TERM\n");
    terminal.expect("$ ");
    terminal.type_keys(&format!("{}; echo code-$?\n", line("-v -t 0.3 -k 0.3", "wait")));
    let text = terminal.expect("code-124\r\n");
    assert!(text.contains("foster: timed out") && text.contains("foster: killed after its grace"), "{text}");
    let rest = text.replace("\r\n", "");
    assert!(!rest.contains(['\r', '\n']), "{text:?}");
    terminal.type_keys("exit\n");
}

#[track_caller]
fn number(folder: &Path, name: &str) -> u32 {
    fs::read_to_string(folder.join(name)).expect("it was written").trim().parse().expect("a number")
}

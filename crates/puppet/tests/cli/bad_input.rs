//! Bad input: one line that names the thing and the fix, the right code, and nothing started. Contract 6.
//!
//! The table in `bad_input.txt` is compared whole; `BLESS=1` writes it anew, and review reads the diff.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command as StdCommand;

use puppet::scratch;

use crate::common::foster;

#[test]
#[expect(clippy::too_many_lines, reason = "a list")]
fn each_mistake_has_its_message_and_its_code() {
    let folder = scratch("bad-input");
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("written");
    file("not-utf8.env", b"A=1\nB=\xff\xfe\n");
    file("no-equals.env", b"A=1\n\nB 2\n");
    file("open-quote.env", b"A='x\n");
    file("script-without-interpreter", b"#!/no/such/interpreter\n");
    file("not-executable", b"echo no\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.join("script-without-interpreter"), executable).expect("chmod");
    let long = "9".repeat(400);
    // A pipe that nobody reads is no reason to wait for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::Mode::RWXU).expect("a fifo");
    let long_name = format!("./{}", "n".repeat(300));
    // Larger than one string of the environment may be, execve(2); such an argument would not reach foster either.
    file("large.env", format!("LARGE={}\n", "x".repeat(200_000)).as_bytes());
    let started = "touch started";

    let cases: &[&[&str]] = &[
        // Signals.
        &["run", "-s", "TREM", "--", "sh", "-c", started],
        &["run", "-s", "SIGWHATEVER", "--", "sh", "-c", started],
        &["run", "-s", "65", "--", "sh", "-c", started],
        &["run", "-s", "0", "--", "sh", "-c", started],
        &["run", "--rewrite", "TERM", "--", "sh", "-c", started],
        &["run", "--rewrite", "KILL:TERM", "--", "sh", "-c", started],
        &["run", "--rewrite", "CHLD:TERM", "--", "sh", "-c", started],
        &["run", "--rewrite", "TERM:QIUT", "--", "sh", "-c", started],
        &["run", "--parent-death-signal", "RTMIN+1", "--", "sh", "-c", started],
        // Durations and numbers.
        &["run", "-t", "1x", "--", "sh", "-c", started],
        &["run", "-t", "", "--", "sh", "-c", started],
        &["run", "-t", "-1", "--", "sh", "-c", started],
        &["run", "-k", "-2s", "--", "sh", "-c", started],
        &["run", "--splay", "infinity", "--", "sh", "-c", started],
        &["run", "-t", &long, "--", "sh", "-c", started],
        &["run", "-t", "99999999999999999999d", "--", "sh", "-c", started],
        &["run", "--ok-code", "256", "--", "sh", "-c", started],
        &["run", "--ok-code", "-1", "--", "sh", "-c", started],
        // Words.
        &["run", "--signal-to", "everybody", "--", "sh", "-c", started],
        &["run", "--signal-to", "leader-then-group:soon", "--", "sh", "-c", started],
        &["run", "--leftovers", "eat", "--", "sh", "-c", started],
        &["run", "--leftovers", "wait:never", "--", "sh", "-c", started],
        &["run", "-e", "=x", "--", "sh", "-c", started],
        &["run", "--new-session", "--same-group", "--", "sh", "-c", started],
        &["run", "-v", "-q", "--", "sh", "-c", started],
        &["run", "--no-such-option", "--", "sh", "-c", started],
        &["run", "--grace"],
        &["run"],
        &["runn", "true"],
        &[],
        // What holds it.
        &["run", "--contain", "cgroups", "--", "sh", "-c", started],
        &["run", "--contain", "", "--", "sh", "-c", started],
        &["run", "--require", "strict", "--", "sh", "-c", started],
        &["run", "--contain", "group", "--require", "tracked", "--", "sh", "-c", started],
        &["run", "--contain", "subreaper", "--require", "grouped", "--", "sh", "-c", started],
        &["doctor", "--jason"],
        &["doctor", "more"],
        // Files.
        &["run", "--env-file", "no-such.env", "--", "sh", "-c", started],
        &["run", "--env-file", "not-utf8.env", "--", "sh", "-c", started],
        &["run", "--env-file", "no-equals.env", "--", "sh", "-c", started],
        &["run", "--env-file", "open-quote.env", "--", "sh", "-c", started],
        &["run", "--report", "no-such-folder/report", "--", "sh", "-c", started],
        &["run", "--report", ".", "--", "sh", "-c", started],
        &["run", "--events", "no-such-folder/events", "--", "sh", "-c", started],
        &["run", "--events", "fifo", "--", "sh", "-c", started],
        &["run", "--report", "fifo", "--", "sh", "-c", started],
        &["run", "--report", &long_name, "--", "sh", "-c", started],
        &["run", "--report", "same", "--events", "same", "--", "sh", "-c", started],
        &["run", "--stop-on-stdin-eof", "--", "sh", "-c", started],
        // Streams.
        &["run", "--stdin", "no-such-file", "--", "sh", "-c", started],
        &["run", "--stdin", "", "--", "sh", "-c", started],
        &["run", "--stdout", ".", "--", "sh", "-c", started],
        &["run", "--stdout", "no-such-folder/log", "--", "sh", "-c", started],
        &["run", "--stderr", "no-such-folder/log", "--", "sh", "-c", started],
        &["run", "--stderr", &long_name, "--", "sh", "-c", started],
        &["run", "--stdout", "fifo", "--", "sh", "-c", started],
        &["run", "--stdout", "fifo", "--rotate", "10", "--", "sh", "-c", started],
        &["run", "--stdout", "", "--", "sh", "-c", started],
        &["run", "--append", "--", "sh", "-c", started],
        &["run", "--rotate", "10M", "--", "sh", "-c", started],
        &["run", "--stdout", "log", "--rotate", "0", "--", "sh", "-c", started],
        &["run", "--stdout", "log", "--rotate", "-1", "--", "sh", "-c", started],
        &["run", "--stdout", "log", "--rotate", "10X", "--", "sh", "-c", started],
        &["run", "--stdout", "log", "--rotate", "10M:many", "--", "sh", "-c", started],
        &["run", "--stdout", "log", "--rotate", "99999999999999G", "--", "sh", "-c", started],
        &["run", "--capture-tail", "-1", "--", "sh", "-c", started],
        &["run", "--capture-tail", "ten", "--", "sh", "-c", started],
        &["run", "--capture-tail", "99999999999999999999", "--", "sh", "-c", started],
        &["run", "--pty", "--stderr", "log", "--", "sh", "-c", started],
        &["run", "--pty", "--same-group", "--", "sh", "-c", started],
        &["run", "--tty", "--new-session", "--", "sh", "-c", started],
        // Programs.
        &["run", "-C", "no-such-folder", "--", "sh", "-c", started],
        &["run", "-C", "not-executable", "--", "sh", "-c", started],
        &["run", "--", "no-such-program"],
        &["run", "--", "./no-such-program"],
        &["run", "--", "/"],
        &["run", "--", "./not-executable"],
        &["run", "--", "./not-executable/program"],
        &["run", "--", &long_name],
        &["run", "--", "./script-without-interpreter"],
        &["run", "--", ""],
        &["run", "--env-file", "large.env", "--", "sh", "-c", started],
        &["completions", "tcsh"],
    ];
    let mut table = String::new();
    for case in cases {
        let output = StdCommand::new(foster())
            .args(*case)
            .current_dir(&folder)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("foster starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{case:?}: {said}");
        assert!(output.stdout.is_empty(), "{case:?}");
        assert!(!folder.join("started").exists(), "{case:?} started the program");
        let words: Vec<&str> = case.iter().map(|word| if word.len() > 40 { "LONG" } else { word }).collect();
        let said = said.replace(&long, "LONG").replace(&long_name, "LONG");
        let code = output.status.code().expect("it exits");
        writeln!(table, "{}\n{code} {said}", words.join(" ").trim()).expect("a string takes everything");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/bad_input.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &table).expect("the table can be written");
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    for (said, known) in table.lines().zip(known.lines()) {
        assert_eq!(said, known);
    }
    assert_eq!(table.lines().count(), known.lines().count());
}

#[test]
fn words_that_are_not_utf8_are_the_programs_and_are_handed_on() {
    let output = StdCommand::new(foster())
        .args(["run", "-e"])
        .arg(std::ffi::OsStr::from_bytes(b"V=\xff"))
        .args(["--", "sh", "-c", "printf '%s%s' \"$V\" \"$1\"", "sh"])
        .arg(std::ffi::OsStr::from_bytes(b"\xfe"))
        .output()
        .expect("foster starts");
    assert_eq!(output.stdout, b"\xff\xfe");
}

//! What cannot be done is told by kind, on one line that names the program, and nothing was started.

use std::error::Error as _;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use foster::{Command, Error, ErrorKind, Sink};
use puppet::scratch;

/// The error, which must be of this kind, and say so well.
#[track_caller]
fn refused(command: &Command, kind: ErrorKind, names: &str) -> Error {
    let error = command.spawn().map(|child| child.wait()).expect_err("it cannot be started");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(names), "{names:?} is not named: {text}");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(text.starts_with("cannot ") && !text.ends_with('.'), "{text}");
    let io_error = io::Error::from(error.clone());
    assert_eq!(io_error.to_string(), text);
    error
}

fn file(path: &Path, content: &str, mode: u32) -> PathBuf {
    fs::write(path, content).expect("it is our directory");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is our file");
    path.to_owned()
}

fn output(command: &Command) -> String {
    let child = command.clone().stdout(Sink::Piped).spawn().unwrap_or_else(|error| panic!("{error}"));
    std::io::read_to_string(child.take_stdout().expect("piped")).expect("UTF-8")
}

#[test]
fn errors_can_be_sent_and_cloned() {
    fn can<T: Send + Sync + Clone + std::error::Error + 'static>() {}
    can::<Error>();
    can::<foster::Stuck>();
}

#[test]
fn no_such_program() {
    let error = refused(&Command::new("no-such-program"), ErrorKind::NotFound, "no-such-program");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    let error = refused(&Command::new("/no/such/program"), ErrorKind::NotFound, "/no/such/program");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert!(error.source().is_some());
    // A file where a directory should be: env(1) calls that found, and not to be executed.
    refused(&Command::new("/dev/null/program"), ErrorKind::NotExecutable, "/dev/null/program");
}

#[test]
fn found_and_not_executable() {
    let directory = scratch("not-executable");
    let plain = file(&directory.join("plain"), "#!/bin/sh\n", 0o644);
    let error = refused(&Command::new(&plain), ErrorKind::NotExecutable, "plain");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
    let error = refused(&Command::new(&directory), ErrorKind::NotExecutable, "not-executable");
    assert!(error.to_string().contains("directory"), "{error}");
    // In PATH as well, and not called missing.
    let command = Command::new("plain").env("PATH", &directory);
    refused(&command, ErrorKind::NotExecutable, "plain");
}

#[test]
fn the_interpreter_is_missing() {
    let directory = scratch("interpreter");
    let script = file(&directory.join("script"), "#!/no/such/interpreter\n", 0o755);
    let error = refused(&Command::new(script), ErrorKind::NotFound, "script");
    assert!(error.to_string().contains("interpreter"), "{error}");
}

#[test]
fn no_such_directory_is_told_from_no_such_program() {
    let error = refused(&Command::new("true").current_dir("/no/such"), ErrorKind::BadDirectory, "true");
    assert!(error.to_string().contains("/no/such"), "{error}");
    refused(&Command::new("true").current_dir("/dev/null"), ErrorKind::BadDirectory, "/dev/null");
    refused(&Command::new("no-such-program").current_dir("/"), ErrorKind::NotFound, "no-such-program");
}

#[test]
fn a_nul_is_refused_wherever_it_is() {
    let nul = OsStr::from_bytes(b"a\0b");
    let plain = || Command::new("the-program");
    for (command, what) in [
        (plain().arg(nul), "argument"),
        (plain().env(nul, "value"), "variable"),
        (plain().env("NAME", nul), "variable"),
        (plain().current_dir(nul), "directory"),
    ] {
        let error = refused(&command, ErrorKind::InvalidInput, "the-program");
        assert!(error.to_string().contains("NUL") && error.to_string().contains(what), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }
    refused(&Command::new(nul), ErrorKind::InvalidInput, "NUL");
    // Where it is, not in the first file that was to be tried.
    let error = refused(&Command::new(nul), ErrorKind::InvalidInput, "at byte 1;").to_string();
    assert!(error.contains("NUL in the program"), "{error}");
    let path = plain().env("PATH", OsStr::from_bytes(b"/bin:/\0:/usr/bin"));
    let error = refused(&path, ErrorKind::InvalidInput, "at byte 6;").to_string();
    assert!(error.contains("NUL in the variable PATH"), "{error}");
}

#[test]
fn nonsense_is_refused() {
    refused(&Command::new(""), ErrorKind::InvalidInput, "empty");
    refused(&Command::new("true").env("", "value"), ErrorKind::InvalidInput, "true");
    refused(&Command::new("true").env("A=B", "value"), ErrorKind::InvalidInput, "A=B");
}

#[test]
fn too_large() {
    // One argument may have 128 KiB, execve(2).
    let error = refused(&Command::new("true").arg("x".repeat(256 * 1024)), ErrorKind::TooBig, "true");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ArgumentListTooLong);
}

#[test]
fn a_large_command_does_not_make_a_large_error() {
    for command in [Command::new("true").arg("x".repeat(256 * 1024)), Command::new("x".repeat(256 * 1024))] {
        let error = command.spawn().map(|child| child.wait()).expect_err("it is too large");
        assert!(error.to_string().len() < 2000, "{} bytes of error", error.to_string().len());
    }
}

#[test]
fn a_line_break_in_a_program_does_not_break_the_line() {
    refused(&Command::new("no\nprogram"), ErrorKind::NotFound, "program");
    refused(&Command::new("/no\nprogram"), ErrorKind::NotFound, "program");
    refused(&Command::new("true").arg(OsStr::from_bytes(b"a\nb\0c")), ErrorKind::InvalidInput, "true");
}

#[test]
fn a_line_break_in_a_directory_does_not_break_the_line() {
    refused(&Command::new("true").current_dir("/no\nsuch"), ErrorKind::BadDirectory, "such");
}

#[test]
fn a_line_break_in_a_variable_does_not_break_the_line() {
    refused(&Command::new("true").env("A\nB=", "value"), ErrorKind::InvalidInput, "true");
}

#[test]
fn a_line_break_in_a_label_does_not_break_the_line() {
    refused(&Command::new("/no/program").label("two\nlines"), ErrorKind::NotFound, "/no/program");
    refused(&Command::new("").label("two\nlines"), ErrorKind::InvalidInput, "lines");
}

#[test]
fn a_program_that_is_being_written_is_not_called_missing() {
    let directory = scratch("busy");
    let path = directory.join("busy");
    fs::copy("/bin/true", &path).expect("it is there");
    let writer = fs::OpenOptions::new().append(true).open(&path).expect("it is ours");
    refused(&Command::new(&path), ErrorKind::NotExecutable, "busy");
    drop(writer);
    assert!(Command::new(&path).spawn().expect("nobody writes any more").wait().success());
}

#[test]
fn a_script_without_an_interpreter_is_run_by_the_shell() {
    let directory = scratch("script");
    let script = file(&directory.join("script"), "echo \"ran with $# $1 $2\"\n", 0o755);
    assert_eq!(output(&Command::new(&script).args(["a b", "c"])), "ran with 2 a b c\n");
    assert_eq!(output(&Command::new("script").arg("x").env("PATH", &directory)), "ran with 1 x \n");
}

#[test]
fn a_program_is_looked_up_where_it_will_run() {
    let directory = scratch("lookup");
    file(&directory.join("tool"), "#!/bin/sh\necho found in $(pwd -P)\n", 0o755);
    let found = format!("found in {}\n", directory.display());
    assert_eq!(output(&Command::new("./tool").current_dir(&directory)), found);
    let path = format!("/no/such:{}:/bin:/usr/bin", directory.display());
    assert_eq!(output(&Command::new("tool").env("PATH", &path).current_dir(&directory)), found);
    // The child's PATH, not ours; and where there is none, the system's.
    refused(&Command::new("ls").env("PATH", &directory), ErrorKind::NotFound, "ls");
    assert_eq!(output(&Command::new("echo").arg("x").env_clear()), "x\n");
    assert_eq!(output(&Command::new("echo").arg("x").env_remove("PATH")), "x\n");
    // A file that may not be run does not hide one that may.
    let hidden = directory.join("first");
    fs::create_dir(&hidden).expect("it is ours");
    file(&hidden.join("tool"), "not this", 0o644);
    let path = format!("{}:{path}", hidden.display());
    assert_eq!(output(&Command::new("tool").env("PATH", &path).current_dir(&directory)), found);
}

//! The command lines that most people write, read without clap: to build its definition of all options takes it longer
//! than foster needs to start the program.
//!
//! What is read here can be read in one way only: `run`, then options in their exact spelling, each once and with a value
//! that is right, then `--` and the command, or a command at once. Anything else is clap's to read, and so is every
//! mistake. The tests hold the two side by side.

use std::ffi::OsString;
use std::time::Duration;

use foster::Target;

use crate::args::Run;
use crate::values::{self, Source, Span};

/// The arguments, foster's own name first; `None` where clap must read them.
pub(crate) fn read(args: &[OsString]) -> Option<Run> {
    let mut words = args.get(1..)?.iter();
    if words.next()? != "run" {
        return None;
    }
    let mut run = without_options();
    let mut seen = Vec::new();
    loop {
        let rest = words.as_slice();
        let word = words.next()?.to_str()?;
        if word == "--" {
            run.command = words.as_slice().to_vec();
            break;
        }
        if !word.starts_with('-') {
            // A later `--` would be clap's to understand, an empty word its to refuse or not.
            if word.is_empty() || rest.iter().any(|word| word == "--") {
                return None;
            }
            run.command = rest.to_vec();
            break;
        }
        let option = match word {
            "-t" => "--timeout",
            "-k" => "--grace",
            "-s" => "--stop-signal",
            "-v" => "--verbose",
            "-q" => "--quiet",
            long => long,
        };
        if seen.contains(&option) {
            return None;
        }
        seen.push(option);
        let mut value = || words.next()?.to_str().filter(|value| !value.starts_with('-'));
        match option {
            "--timeout" => run.timeout = Some(values::span(value()?).ok()?),
            "--grace" => run.grace = values::span(value()?).ok()?,
            "--stop-signal" => run.stop_signal = Some(values::signal(value()?).ok()?),
            "--contain" => run.contain = Some(values::containment(value()?).ok()?),
            "--init" => run.init = true,
            "--verbose" => run.verbose = true,
            "--quiet" => run.quiet = true,
            _ => return None,
        }
    }
    let is_wrong = run.command.is_empty() || run.verbose && run.quiet;
    (!is_wrong).then_some(run)
}

/// What clap makes of no options: the defaults of `args`, once more.
fn without_options() -> Run {
    Run {
        timeout: None,
        stop_signal: None,
        grace: Span(Some(Duration::from_secs(5))),
        splay: Duration::ZERO,
        signal_to: Target::Group,
        leftovers: None,
        rewrite: Vec::new(),
        parent_death_signal: None,
        stop_on_stdin_eof: false,
        contain: None,
        require: None,
        twin: false,
        no_new_privs: false,
        stdin: Source::Inherit,
        stdout: None,
        stderr: None,
        append: false,
        rotate: None,
        capture_tail: None,
        pty: false,
        new_session: false,
        same_group: false,
        cwd: None,
        env: Vec::new(),
        env_file: Vec::new(),
        clear_env: false,
        init: false,
        preserve_status: false,
        ok_code: Vec::new(),
        report: None,
        events: None,
        verbose: false,
        quiet: false,
        command: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::args;

    /// What both make of it, and whether it was read here.
    fn read_here(words: &[&str]) -> bool {
        let words: Vec<OsString> = ["foster"].iter().chain(words).map(OsString::from).collect();
        same(&words)
    }

    fn same(words: &[OsString]) -> bool {
        let Some(plain) = read(words) else { return false };
        let by_clap = args::by_clap(words).unwrap_or_else(|error| panic!("{words:?}: clap says {error}"));
        assert_eq!(format!("{plain:?}"), format!("{by_clap:?}"), "{words:?}");
        true
    }

    #[test]
    fn what_is_plain_is_read_as_clap_reads_it() {
        let commands: [&[&str]; 14] = [
            &["true"],
            &["--", "true"],
            &["--", "--"],
            &["--", "--", "true"],
            &["--", "-x"],
            &["--", ""],
            &["--", "a", "--", "b"],
            &["--", "a", "--contain", "group"],
            &["ls", "-l", "--help"],
            &["sh", "-c", "exit 3"],
            &["a", "-t", "1s"],
            &["a", ""],
            &["run", "run"],
            &["help", "-h"],
        ];
        let options: [&[&str]; 14] = [
            &[],
            &["-t", "10s"],
            &["--timeout", "1m30s"],
            &["-k", "0"],
            &["--grace", "infinity"],
            &["-s", "INT"],
            &["--stop-signal", "sigusr1"],
            &["--contain", "group"],
            &["--contain", "cgroup"],
            &["--init"],
            &["-v"],
            &["--verbose"],
            &["-q"],
            &["--quiet"],
        ];
        for command in commands {
            for first in options {
                for second in options {
                    let words = [&["run"], first, second, command].concat();
                    let twice = first.first().zip(second.first()).is_some_and(|(a, b)| {
                        let key = |word: &str| word.trim_start_matches('-').as_bytes()[0];
                        // Of these no two begin with the same letter but -s, --stop-signal.
                        key(a) == key(b) || [key(a), key(b)].iter().all(|key| b"gk".contains(key))
                    });
                    let both =
                        [first, second].iter().any(|it| it.contains(&"-v") || it.contains(&"--verbose"))
                            && [first, second].iter().any(|it| it.contains(&"-q") || it.contains(&"--quiet"));
                    assert_eq!(read_here(&words), !twice && !both, "{words:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_clap() {
        let words: [&[&str]; 22] = [
            &[],
            &["doctor"],
            &["ru", "true"],
            &["--", "run", "true"],
            &["run"],
            &["run", "--"],
            &["run", "--help"],
            &["run", "-h"],
            &["run", ""],
            &["run", "a", "--"],
            &["run", "a", "--", "b"],
            &["run", "-", "true"],
            &["run", "-t10s", "true"],
            &["run", "--timeout=10s", "true"],
            &["run", "-t", "-1", "true"],
            &["run", "-t", "x", "true"],
            &["run", "-t", "--", "true"],
            &["run", "-t"],
            &["run", "-vt", "1s", "true"],
            &["run", "--contain", "nothing", "true"],
            &["run", "--pty", "true"],
            &["run", "--signal", "INT", "true"],
        ];
        for words in words {
            assert!(!read_here(words), "{words:?}");
        }
    }

    #[test]
    fn a_word_of_the_command_may_be_any_bytes() {
        let words = |word: &[&[u8]]| -> Vec<OsString> {
            [&[b"foster".as_slice(), b"run"], word]
                .concat()
                .into_iter()
                .map(|it| OsString::from_vec(it.to_vec()))
                .collect()
        };
        assert!(same(&words(&[b"--", b"\xff", b"\xfe"])));
        assert!(same(&words(&[b"a", b"\xff"])));
        assert!(!same(&words(&[b"\xff"])));
        assert!(!same(&words(&[b"-t", b"\xff", b"a"])));
    }
}

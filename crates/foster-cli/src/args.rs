//! The command line: one definition gives the parser, the help, the man page and the completions.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use foster::{Containment, Leftovers, Level, Signal, Target};

use crate::forward::Start;
use crate::say::{self, Volume};
use crate::values::{self, Rewrite, Rotation, Source, Span};
use crate::{doctor, plain, run};

/// The exit code that says that foster itself failed.
pub(crate) const FAILED: u8 = 125;

/// Starts other people's programs, knows how they ended, and leaves nothing behind
#[derive(Debug, Parser)]
#[command(name = "foster", version, subcommand_required = true, arg_required_else_help = true)]
struct Foster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<Run>),
    Doctor(Doctor),
    /// Print the completions for a shell
    ///
    /// For bash: foster completions bash > ~/.local/share/bash-completion/completions/foster
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, for man(1): foster man | man -l -
    Man,
}

/// Run a program; end it and all it started in time; exit as it did
///
/// Durations are written as for timeout(1) (2, 0.5, 2s, 1m, 1d, 0, infinity) or like 250ms and 1m30s.
///
/// Every signal that foster gets and can catch reaches the program. TERM, and INT sent by a process, stop it: it is
/// asked with that signal, has its grace, and is then killed with all it started. A second one is passed on again,
/// a third kills at once.
///
/// Exit code: the program's own; 128 + n if signal n killed it; 124 if it timed out; 125 if foster failed; 126 if the
/// program cannot be executed; 127 if there is no such program. Unlike timeout(1), 124 also where it had to be killed.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(override_usage = "foster run [OPTIONS] [--] COMMAND [ARGS…]")]
pub(crate) struct Run {
    /// Stop the program when it has run this long [default: no limit]
    #[arg(short, long, value_name = "D", value_parser = values::span, help_heading = "Ending", allow_hyphen_values = true)]
    pub(crate) timeout: Option<Span>,

    /// Ask with this signal [default: TERM, or the signal that foster got]
    #[arg(short, long, value_name = "SIG", value_parser = values::signal, help_heading = "Ending")]
    #[arg(visible_alias = "signal", alias = "kill-signal")]
    pub(crate) stop_signal: Option<Signal>,

    /// The time between asking and killing; 0 kills at once, infinity never
    #[arg(short = 'k', long, value_name = "D", value_parser = values::span, help_heading = "Ending", allow_hyphen_values = true)]
    #[arg(default_value = "5s", visible_alias = "kill-after", alias = "kill-timeout")]
    pub(crate) grace: Span,

    /// Wait for a random time below this before asking, but not on a timeout
    #[arg(long, value_name = "D", value_parser = values::finite, allow_hyphen_values = true, help_heading = "Ending", default_value = "0")]
    pub(crate) splay: Duration,

    /// Who gets the signals: group, leader, or leader-then-group[:D]; a kill goes to everything
    #[arg(long, value_name = "WHO", value_parser = values::target, help_heading = "Ending", default_value = "group")]
    pub(crate) signal_to: Target,

    /// What becomes of what the program leaves behind: stop, kill, wait[:D] or leave [default: kill; as PID 1: stop]
    #[arg(long, value_name = "WHAT", value_parser = values::leftovers, help_heading = "Ending")]
    pub(crate) leftovers: Option<Leftovers>,

    /// Let a signal that foster gets arrive as another, or, with none, not at all; repeatable
    #[arg(long, value_name = "FROM:TO", value_parser = values::rewrite, help_heading = "Ending")]
    pub(crate) rewrite: Vec<Rewrite>,

    /// Send foster itself this signal when its own parent dies
    #[arg(long, value_name = "SIG", value_parser = values::signal, help_heading = "Ending")]
    pub(crate) parent_death_signal: Option<Signal>,

    /// Stop the program when foster's standard input, a pipe, a socket or a terminal, is closed, read or unread
    #[arg(long, help_heading = "Ending")]
    pub(crate) stop_on_stdin_eof: bool,

    /// What holds the program and all it starts: auto, sealed, group, or a mechanism by its name (cgroup, freezer,
    /// landlock, pid-namespace, subreaper) [default: auto]
    #[arg(long, value_name = "WHAT", value_parser = values::containment, help_heading = "Holding")]
    pub(crate) contain: Option<Containment>,

    /// Start nothing where it cannot be held this firmly: sealed, grouped, tracked or group; see `foster doctor`
    #[arg(long, value_name = "LEVEL", value_parser = values::level, help_heading = "Holding")]
    pub(crate) require: Option<Level>,

    /// A second guard, so that the program also ends when foster and one guard are killed together
    #[arg(long, help_heading = "Holding")]
    pub(crate) twin: bool,

    /// Let setuid programs give the program nothing; without root, landlock needs it
    #[arg(long, visible_alias = "nnp", help_heading = "Holding")]
    pub(crate) no_new_privs: bool,

    /// Where the program's input comes from: inherit, null, or a file (./null for one of that name)
    #[arg(long, value_name = "FROM", value_parser = values::input, help_heading = "Streams", default_value = "inherit")]
    pub(crate) stdin: Source,

    /// Write the program's output to this file, from its beginning
    #[arg(long, value_name = "FILE", help_heading = "Streams")]
    pub(crate) stdout: Option<PathBuf>,

    /// Write the program's error output to this file; it may be the same as for --stdout
    #[arg(long, value_name = "FILE", help_heading = "Streams")]
    pub(crate) stderr: Option<PathBuf>,

    /// Go on at the end of the files of --stdout and --stderr
    #[arg(long, help_heading = "Streams")]
    pub(crate) append: bool,

    /// Begin a new file of --stdout and --stderr before one grows over this size, such as 10M, and keep so many old ones
    /// (3): FILE.1, FILE.2, …
    #[arg(long, value_name = "SIZE[:KEEP]", value_parser = values::rotation, help_heading = "Streams", allow_hyphen_values = true)]
    pub(crate) rotate: Option<Rotation>,

    /// Keep the output to itself, and show its last N lines if the program fails
    #[arg(long, value_name = "N", value_parser = values::lines, help_heading = "Streams", allow_hyphen_values = true)]
    pub(crate) capture_tail: Option<usize>,

    /// Give the program a terminal of its own, between which and yours foster stands
    #[arg(long, visible_alias = "tty", conflicts_with_all = ["stderr", "same_group", "new_session"], help_heading = "Streams")]
    pub(crate) pty: bool,

    /// Start the program in a session of its own, without a terminal
    #[arg(long, conflicts_with = "same_group", help_heading = "Starting")]
    pub(crate) new_session: bool,

    /// Start the program in foster's own process group; then only the program itself can be stopped
    #[arg(long, help_heading = "Starting")]
    pub(crate) same_group: bool,

    /// Start the program in this directory
    #[arg(short = 'C', long, value_name = "DIR", help_heading = "Starting")]
    pub(crate) cwd: Option<PathBuf>,

    /// Set a variable of its environment; without =V, the value that foster has; repeatable
    #[arg(short, long, value_name = "K=V", help_heading = "Starting")]
    #[arg(value_parser = OsStringValueParser::new().try_map(|text| values::variable(&text)))]
    pub(crate) env: Vec<(OsString, Option<OsString>)>,

    /// Set the variables of a file of NAME=VALUE lines; repeatable, and --env comes after
    #[arg(long, value_name = "F", help_heading = "Starting")]
    pub(crate) env_file: Vec<PathBuf>,

    /// Start with an empty environment
    #[arg(long, help_heading = "Starting")]
    pub(crate) clear_env: bool,

    /// Be what PID 1 must be: reap strangers, and stop what the program leaves; foster is so as PID 1 anyway
    #[arg(long, help_heading = "Starting")]
    pub(crate) init: bool,

    /// On a timeout exit with the program's own code, not with 124
    #[arg(long, help_heading = "Telling")]
    pub(crate) preserve_status: bool,

    /// Exit with 0 when the program exits with this code; repeatable
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Telling")]
    pub(crate) ok_code: Vec<u8>,

    /// Write how it ended to this file, as one JSON object, in one step at the end
    #[arg(long, value_name = "FILE", help_heading = "Telling")]
    pub(crate) report: Option<PathBuf>,

    /// Write what happens to this file while it happens, one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Telling")]
    pub(crate) events: Option<PathBuf>,

    /// Say what is done and why
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Telling")]
    pub(crate) verbose: bool,

    /// Say nothing but why foster failed
    #[arg(short, long, help_heading = "Telling")]
    pub(crate) quiet: bool,

    /// The program and its arguments
    // A new option, or another default, stands in `plain` too.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Tell what can hold programs on this machine, by trying, and what would help
///
/// The answer is that of this place: of this user, in this container and this cgroup. Nothing is left of the trial.
#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// End what fosters left here that were killed together with their guards, but not what is younger than 10 seconds
    #[arg(long)]
    pub(crate) fix_leaks: bool,
}

impl Run {
    pub(crate) fn volume(&self) -> Volume {
        match (self.verbose, self.quiet) {
            (true, _) => Volume::Verbose,
            (_, true) => Volume::Quiet,
            _ => Volume::Normal,
        }
    }
}

/// Does what the command line says and returns the exit code.
pub(crate) fn dispatch(args: Vec<OsString>, start: &Start) -> u8 {
    if let Some(run) = plain::read(&args) {
        return run::run(&run, start);
    }
    let help = match args.get(1).filter(|verb| *verb == "doctor") {
        Some(_) => "foster doctor --help",
        None => "foster run --help",
    };
    match Foster::try_parse_from(args) {
        Ok(Foster { verb: Verb::Run(run) }) => run::run(&run, start),
        Ok(Foster { verb: Verb::Doctor(asked) }) => {
            start.restore_signals();
            doctor::doctor(&asked)
        }
        Ok(Foster { verb: Verb::Completions { shell } }) => {
            start.restore_signals();
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Foster::command(), "foster", &mut text);
            print(&text)
        }
        Ok(Foster { verb: Verb::Man }) => {
            start.restore_signals();
            man().map_or(FAILED, |page| print(&page))
        }
        Err(error) => {
            start.restore_signals();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(error.to_string().as_bytes()),
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    say::failure(&"no command is given; try `foster run -- COMMAND`, or `foster --help`")
                }
                ErrorKind::InvalidSubcommand => say::failure(&one_line(&error.to_string(), "foster --help")),
                _ => say::failure(&one_line(&error.to_string(), help)),
            }
        }
    }
}

/// clap's message without its paragraphs: what is wrong, the tips, and where to read on.
fn one_line(message: &str, help: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let mut text = first.join(" ");
    for tip in lines.filter_map(|line| line.strip_prefix("tip: ")) {
        text = format!("{text}; {tip}");
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    if text.contains(';') { text.to_string() } else { format!("{text}; see `{help}`") }
}

/// One page: foster, and after it its verbs.
fn man() -> io::Result<Vec<u8>> {
    let mut foster = Foster::command().disable_help_subcommand(true);
    foster.build();
    let mut page = Vec::new();
    let main = clap_mangen::Man::new(foster.clone());
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    for verb in foster.get_subcommands() {
        writeln!(page, ".SH \"FOSTER {}\"", verb.get_name().to_uppercase())?;
        let verb = clap_mangen::Man::new(verb.clone());
        let mut part = Vec::new();
        verb.render_synopsis_section(&mut part)?;
        verb.render_description_section(&mut part)?;
        verb.render_options_section(&mut part)?;
        // A verb's sections are subsections of the page.
        page.extend(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").as_bytes());
    }
    Ok(page)
}

/// To stdout; a reader who has seen enough, as `head`, is no failure.
pub(crate) fn print(text: &[u8]) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => say::failure(&say::plain(&error)),
        _ => 0,
    }
}

/// What clap makes of `foster run`.
#[cfg(test)]
pub(crate) fn by_clap(words: &[OsString]) -> Result<Box<Run>, String> {
    match Foster::try_parse_from(words) {
        Ok(Foster { verb: Verb::Run(run) }) => Ok(run),
        other => Err(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Foster::command().debug_assert();
    }
}

//! `foster run`: one program, from its start to the exit code.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use foster::{Child, Command, Containment, ErrorKind, Group, Leftovers, Mechanism, Signal};
use rustix::fs::{FileType, fstat};
use rustix::process::{getppid, set_parent_process_death_signal};

use crate::args::{FAILED, Run};
use crate::forward::{Arrived, Inbox, Origin, Start};
use crate::records::{self, EventWriter, ReportFile};
use crate::say::{self, plain};
use crate::streams::Show;
use crate::terminal::Terminal;
use crate::values::Source;
use crate::watch::{Bell, Watch};
use crate::{descriptors, env_file, streams};

/// Runs the program and returns foster's exit code.
pub(crate) fn run(args: &Run, start: &Start) -> u8 {
    let result = Prepared::new(args, start).and_then(|mut prepared| {
        let child = prepared.start(args, start)?;
        let events = prepared.events.take().map(|file| EventWriter::start(file, &child)).transpose();
        // On failure the handle is dropped on the way out, which kills what was started.
        let events = events.map_err(|error| failed("cannot start a thread for the events", &error))?;
        Ok(Watch::new(args, start, child, prepared, events).run())
    });
    result.unwrap_or_else(|code| code)
}

/// Everything that can fail before the program runs.
pub(crate) struct Prepared {
    pub(crate) inbox: Inbox,
    pub(crate) bell: Bell,
    pub(crate) show: Show,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) report: Option<ReportFile>,
    pub(crate) leftovers: Leftovers,
    /// A signal that came before we could have seen it.
    pub(crate) missed: Option<Arrived>,
    command: Command,
    events: Option<File>,
}

impl Prepared {
    fn new(args: &Run, start: &Start) -> Result<Prepared, u8> {
        let init = args.init || foster::init::is_pid_1();
        if args.twin && args.contain == Some(Containment::Group) {
            return Err(say::failure(
                &"--twin: --contain group has no guard to be a twin; leave out one of them",
            ));
        }
        if args.stop_on_stdin_eof && !stdin_can_close() {
            let what =
                "--stop-on-stdin-eof: standard input is no pipe, socket or terminal; connect it to one";
            return Err(say::failure(&what));
        }
        let both = args.report.as_deref().zip(args.events.as_deref());
        if both.is_some_and(|(report, events)| place(report) == place(events)) {
            return Err(say::failure(&"--report and --events name the same file; name two"));
        }
        let terminal = if args.new_session { None } else { Terminal::open() };
        let leftovers = args.leftovers.unwrap_or(if init { Leftovers::Stop } else { Leftovers::Kill });
        let bell = Bell::new().map_err(|error| failed("cannot make an eventfd", &error))?;
        let show = Show::new(&bell).map_err(|error| failed("cannot make an eventfd", &error))?;
        let command = command(args, start, terminal.as_ref(), &show).map_err(|why| say::failure(&why))?;
        let command = command.leftovers(leftovers);
        let report = args.report.as_deref().map(|path| {
            ReportFile::open(path).map_err(|error| {
                failed(
                    &format!("cannot write the report `{}`; name a file you may write", path.display()),
                    &error,
                )
            })
        });
        let events = args.events.as_deref().map(|path| {
            records::create(path).map_err(|error| {
                failed(
                    &format!("cannot write the events `{}`; name a file you may write", path.display()),
                    &error,
                )
            })
        });
        Ok(Prepared {
            inbox: Inbox::open().map_err(|error| failed("cannot read signals", &error))?,
            bell,
            show,
            terminal,
            report: report.transpose()?,
            events: events.transpose()?,
            leftovers,
            missed: args
                .parent_death_signal
                .map(|signal| arm_parent_death(signal, start))
                .transpose()?
                .flatten(),
            command,
        })
    }

    /// Starts the program. On failure, the exit code of `env(1)` and `timeout(1)`.
    fn start(&mut self, args: &Run, start: &Start) -> Result<Child, u8> {
        let handed = self.terminal.as_ref().is_some_and(Terminal::is_for_program) && shares_terminal(args);
        let handed = handed && !args.same_group;
        // Before it can say that it is ready: what is typed then is typed at its own terminal, which it may open
        // whatever its input is.
        if let Some(terminal) = self.terminal.as_mut().filter(|_| args.pty) {
            terminal.make_raw();
        }
        let spawned = self.command.spawn();
        // They were the program's: a pipe must not stay open because we hold it too.
        descriptors::close(&start.descriptors);
        if let Some(terminal) = self.terminal.as_mut().filter(|_| handed && spawned.is_ok()) {
            terminal.note_handed();
        }
        if let (Err(_), Some(terminal)) = (&spawned, &mut self.terminal) {
            terminal.make_cooked();
        }
        spawned.map_err(|error| {
            let code = match error.kind() {
                ErrorKind::NotFound => 127,
                ErrorKind::NotExecutable | ErrorKind::TooBig => 126,
                _ => FAILED,
            };
            say::failure(&error);
            if let Some(report) = &self.report {
                report.error(&self.command.get_label(), code, &error);
            }
            code
        })
    }
}

fn failed(what: &str, error: &io::Error) -> u8 {
    say::failure(&format!("{what}: {}", plain(error)))
}

/// `prctl(2)`, `PR_SET_PDEATHSIG`. A parent that died before we asked is noticed by our new parent.
fn arm_parent_death(signal: Signal, start: &Start) -> Result<Option<Arrived>, u8> {
    let named = rustix::process::Signal::from_named_raw(signal.number());
    let named = named.ok_or_else(|| {
        say::failure(&format!("--parent-death-signal: {signal} is a real-time signal; name another"))
    })?;
    set_parent_process_death_signal(Some(named))
        .map_err(|error| failed("cannot ask to hear of the parent's death", &error.into()))?;
    let orphaned = getppid() != start.parent;
    Ok(orphaned.then_some(Arrived { signal, origin: Origin::Process }))
}

/// A pipe, a socket or a terminal tells when its other side is gone; a file never does.
fn stdin_can_close() -> bool {
    let stdin = rustix::stdio::stdin();
    fstat(stdin).is_ok_and(|stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        kind == FileType::Fifo || kind == FileType::Socket || rustix::termios::isatty(stdin)
    })
}

/// Where a file is or will be, however it is written.
fn place(file: &Path) -> PathBuf {
    let (folder, name) = (file.parent().unwrap_or(Path::new("")), file.file_name().unwrap_or_default());
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    file.canonicalize()
        .or_else(|_| Ok::<_, io::Error>(folder.canonicalize()?.join(name)))
        .unwrap_or(file.to_owned())
}

/// PID 1 is the end of its tree itself: nobody survives it.
fn containment(args: &Run) -> Containment {
    match args.contain {
        None | Some(Containment::Auto) if foster::init::is_pid_1() => Containment::Exactly(Mechanism::Init),
        asked => asked.unwrap_or_default(),
    }
}

/// Whether the program may read what is typed at our terminal.
fn shares_terminal(args: &Run) -> bool {
    args.stdin == Source::Inherit && !args.pty
}

fn command(args: &Run, start: &Start, terminal: Option<&Terminal>, show: &Show) -> Result<Command, String> {
    let (program, words) = args.command.split_first().ok_or("no command is given")?;
    let group = match (args.new_session, args.same_group) {
        (true, _) => Group::Session,
        (_, true) => Group::Same,
        _ => Group::Own,
    };
    let mut command = Command::new(program)
        .args(words)
        .group(group)
        .foreground(terminal.is_some_and(Terminal::is_for_program) && shares_terminal(args))
        .start_signals(start.signals)
        .inherit_descriptors(true)
        // 0 is no timeout, as for timeout(1).
        .timeout(args.timeout.and_then(|timeout| timeout.0).filter(|timeout| !timeout.is_zero()))
        .stop_signal(args.stop_signal.unwrap_or(Signal::TERM))
        .grace(args.grace.0)
        .splay(args.splay)
        .target(args.signal_to)
        .containment(containment(args))
        .twin(args.twin)
        .no_new_privs(args.no_new_privs);
    command = streams::direct(command, args, start, terminal, show)?;
    if let Some(level) = args.require {
        command = command.require(level);
    }
    if let Some(directory) = &args.cwd {
        command = command.current_dir(directory);
    }
    if args.clear_env {
        command = command.env_clear();
    }
    for file in &args.env_file {
        for (name, value) in start.interruptibly(|| env_file::read(file))? {
            command = command.env(name, value);
        }
    }
    for (name, value) in &args.env {
        match value.clone().or_else(|| std::env::var_os(name)) {
            Some(value) => command = command.env(name, value),
            None => command = command.env_remove(name),
        }
    }
    Ok(command)
}

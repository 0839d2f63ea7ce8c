//! What becomes of the three streams, and the terminal: what the program gets, and what stays with us.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::isatty;

use crate::output::lines::Splitter;
use crate::output::log_file::Rotating;
use crate::pty::Ends;
use crate::pump::{Outlet, Plan, Rest};
use crate::{Capture, Command, ErrorKind, Input, Sink, Stream};

/// The child's streams: what to place, what must stay open until then, and our side.
pub(super) struct Streams {
    pub(super) theirs: [Option<OwnedFd>; 3],
    pub(super) ours: Ours,
}

/// What we keep of a run's streams.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    pub(crate) stdin: Stdin,
    /// What the caller reads himself: stdout, stderr.
    pub(crate) piped: [Option<OwnedFd>; 2],
    /// What we read.
    pub(crate) plans: Vec<Plan>,
}

/// Our side of the program's input.
#[derive(Debug, Default)]
pub(crate) enum Stdin {
    /// There is none.
    #[default]
    None,
    Piped(OwnedFd),
    HeldOpen(OwnedFd),
    Fed(Rest),
}

/// Why there are no streams.
pub(super) enum Failed {
    Os(io::Error),
    /// Of a file that the caller has named.
    File(String, io::Error),
    /// There cannot be such an input.
    Input(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Os(error)
    }
}

impl From<rustix::io::Errno> for Failed {
    fn from(error: rustix::io::Errno) -> Failed {
        Failed::Os(error.into())
    }
}

impl Streams {
    pub(super) fn new(command: &Command, pty: Option<&Ends>) -> Result<Streams, Failed> {
        if let Some(Ends { master, .. }) = pty {
            return Streams::of_terminal(command, master);
        }
        let (stdin, ours) = input(command.stdin.as_ref().unwrap_or(&Input::Inherit))?;
        let mut streams =
            Streams { theirs: [stdin, None, None], ours: Ours { stdin: ours, ..Ours::default() } };
        let inherit = Sink::Inherit;
        let (out, err) = (command.stdout.as_ref(), command.stderr.as_ref());
        let (out, err) = (out.unwrap_or(&inherit), err.unwrap_or(&inherit));
        let mut log = None;
        streams.output(Stream::Stdout, out, &mut log)?;
        if command.stderr_to_stdout {
            let stdout = match &streams.theirs[1] {
                Some(stdout) => fcntl_dupfd_cloexec(stdout, 3)?,
                None => fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?,
            };
            streams.theirs[2] = Some(stdout);
        } else {
            streams.output(Stream::Stderr, err, &mut log)?;
        }
        Ok(streams)
    }

    /// In a terminal of its own. What is typed and what is shown is one descriptor of ours, and there is no other
    /// output.
    fn of_terminal(command: &Command, master: &OwnedFd) -> Result<Streams, Failed> {
        let (stdin, ours) = match &command.stdin {
            None | Some(Input::HeldOpen | Input::Piped) => (None, Stdin::None),
            Some(Input::Inherit) if isatty(rustix::stdio::stdin()) => {
                let why = "the host's terminal is no input for a program with a terminal of its own; let its terminal be its input";
                return Err(Failed::Input(why.to_string()));
            }
            Some(Input::Inherit) => (Some(dup(rustix::stdio::stdin())?), Stdin::None),
            Some(other) => input(other)?,
        };
        let mut streams =
            Streams { theirs: [stdin, None, None], ours: Ours { stdin: ours, ..Ours::default() } };
        let sink = command.stdout.as_ref().unwrap_or(&Sink::Inherit);
        streams.plan(Stream::Stdout, dup(master)?, true, sink, &mut None)?;
        Ok(streams)
    }

    fn output(&mut self, stream: Stream, sink: &Sink, log: &mut Option<Log>) -> Result<(), Failed> {
        let at = stream as usize;
        let theirs = match sink {
            Sink::Inherit => None,
            Sink::Null => Some(above_2(OpenOptions::new().write(true).open("/dev/null")?.into())?),
            Sink::Piped => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                self.ours.piped[at] = Some(read);
                Some(above_2(write)?)
            }
            Sink::Descriptor(descriptor) => Some(fcntl_dupfd_cloexec(descriptor, 3)?),
            Sink::File(file) if file.rotate.is_none() => {
                Some(above_2(opened(&file.path, "the output", file.open())?.into())?)
            }
            Sink::File(_)
            | Sink::Captured(_)
            | Sink::Streamed
            | Sink::Lines(_)
            | Sink::Chunks(_)
            | Sink::Both(_) => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                // Ours alone: the program's end is another open file.
                fcntl_setfl(&read, fcntl_getfl(&read)? | OFlags::NONBLOCK)?;
                self.plan(stream, read, false, sink, log)?;
                Some(above_2(write)?)
            }
        };
        self.theirs[at + 1] = theirs;
        Ok(())
    }

    /// What we read from `source` goes to this sink.
    fn plan(
        &mut self,
        stream: Stream,
        source: OwnedFd,
        terminal: bool,
        sink: &Sink,
        log: &mut Option<Log>,
    ) -> Result<(), Failed> {
        let (capture, streamed, dropped, outlets) = (None, false, false, Vec::new());
        let mut plan = Plan { stream, source, terminal, capture, streamed, dropped, outlets };
        self.hand_on(&mut plan, sink, log)?;
        self.ours.plans.push(plan);
        Ok(())
    }

    fn hand_on(&mut self, plan: &mut Plan, sink: &Sink, log: &mut Option<Log>) -> Result<(), Failed> {
        let outlet = match sink {
            Sink::Null => {
                plan.dropped = true;
                return Ok(());
            }
            Sink::Captured(capture) => {
                let known = plan.capture.unwrap_or(Capture { head: 0, tail: 0 });
                plan.capture =
                    Some(Capture { head: known.head.max(capture.head), tail: known.tail.max(capture.tail) });
                return Ok(());
            }
            Sink::Streamed => {
                plan.streamed = true;
                return Ok(());
            }
            Sink::Both(both) => {
                self.hand_on(plan, &both.0, log)?;
                return self.hand_on(plan, &both.1, log);
            }
            Sink::Inherit if plan.stream == Stream::Stdout => Outlet::to(dup(rustix::stdio::stdout())?),
            Sink::Inherit => Outlet::to(dup(rustix::stdio::stderr())?),
            Sink::Piped => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                self.ours.piped[plan.stream as usize] = Some(read);
                Outlet::to(write)
            }
            Sink::Descriptor(descriptor) => Outlet::to(dup(descriptor)?),
            Sink::File(file) => match (file.rotate, log.as_ref()) {
                (None, _) => Outlet::to(opened(&file.path, "the output", file.open())?.into()),
                // Both streams to one file: one of them cannot rotate it under the other.
                (Some(_), Some((known, shared))) if known == file => Outlet::Log(shared.clone()),
                (Some((most, keep)), _) => {
                    let rotating = opened(&file.path, "the output", Rotating::new(file, most, keep))?;
                    let shared = Arc::new(Mutex::new(rotating));
                    *log = Some((file.clone(), shared.clone()));
                    Outlet::Log(shared)
                }
            },
            Sink::Lines(function) => Outlet::Lines(function.clone(), Splitter::new(plan.stream)),
            Sink::Chunks(function) => Outlet::Chunks(function.clone()),
        };
        plan.outlets.push(outlet);
        Ok(())
    }

    pub(super) fn sources(&self) -> [c_int; 3] {
        self.theirs.each_ref().map(|theirs| theirs.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }
}

/// A file that is being rotated, for the stream that comes second.
type Log = (crate::LogFile, Arc<Mutex<Rotating>>);

fn input(input: &Input) -> Result<(Option<OwnedFd>, Stdin), Failed> {
    let piped = || -> Result<(OwnedFd, OwnedFd), Failed> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((above_2(read)?, write))
    };
    Ok(match input {
        Input::Inherit => (None, Stdin::None),
        Input::Null => (Some(above_2(File::open("/dev/null")?.into())?), Stdin::None),
        Input::Piped => {
            let (theirs, ours) = piped()?;
            (Some(theirs), Stdin::Piped(ours))
        }
        Input::HeldOpen => {
            let (theirs, ours) = piped()?;
            (Some(theirs), Stdin::HeldOpen(ours))
        }
        Input::Bytes(bytes) => {
            let (theirs, to) = piped()?;
            fcntl_setfl(&to, fcntl_getfl(&to)? | OFlags::NONBLOCK)?;
            // What the pipe holds is in it before the program starts: as long as we have its other side nobody is sent
            // a SIGPIPE.
            let mut rest = Rest { to, bytes: bytes.clone(), written: 0 };
            let ours = if rest.write() { Stdin::Fed(rest) } else { Stdin::None };
            (Some(theirs), ours)
        }
        Input::File(path) => {
            (Some(above_2(opened(path, "the input", File::open(path))?.into())?), Stdin::None)
        }
        Input::Descriptor(descriptor) => (Some(fcntl_dupfd_cloexec(descriptor, 3)?), Stdin::None),
    })
}

fn opened<T>(path: &Path, what: &str, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|error| match ErrorKind::of(&error) {
        ErrorKind::NoDescriptors => Failed::Os(error),
        _ => Failed::File(format!("cannot open `{}` for {what}", path.display()), error),
    })
}

fn dup(descriptor: impl std::os::fd::AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(descriptor, 3)?)
}

/// A host that closed its own streams gets low numbers; placing one of ours must not overwrite another.
pub(super) fn above_2(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(descriptor, 3)?) }
}

pub(super) fn open_terminal() -> Option<OwnedFd> {
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty").ok()?;
    above_2(terminal.into()).ok()
}

//! What machines read: the report (`--report`) and the events (`--events`), as JSON. Their schemas are in
//! `crates/foster-cli/schema/`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use foster::{Cause, Child, Contained, Error, ErrorKind, Event, EventKind, Exit, Status, Survives, Tried};
use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use serde::Serialize;

use crate::forward::block_signals_here;
use crate::say;

/// The whole exit, and what it was of.
#[derive(Debug, Serialize)]
struct Report<'a> {
    command: &'a str,
    #[serde(flatten)]
    how: How,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum How {
    Ended {
        pid: u32,
        containment: ContainmentRecord,
        exit_code: u8,
        exit: ExitRecord,
        /// Who was killed and is still there.
        stuck: Vec<u32>,
    },
    /// The leader itself is stuck.
    Stuck {
        pid: u32,
        containment: ContainmentRecord,
        exit_code: u8,
        stuck: Vec<u32>,
    },
    Refused {
        exit_code: u8,
        error: ErrorRecord,
    },
}

#[derive(Debug, Serialize)]
struct ErrorRecord {
    kind: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct ExitRecord {
    status: StatusRecord,
    cause: &'static str,
    forced: bool,
    shell_code: Option<u8>,
    usage: Option<UsageRecord>,
    started_unix_seconds: f64,
    elapsed_seconds: f64,
    leftovers: Vec<u32>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StatusRecord {
    Exited { code: u8 },
    Signaled { signal: String, number: i32, core_dumped: bool },
    Unknown,
}

#[derive(Debug, Serialize)]
struct UsageRecord {
    user_seconds: f64,
    system_seconds: f64,
    peak_memory_bytes: u64,
}

/// What holds the tree.
#[derive(Debug, Serialize)]
struct ContainmentRecord {
    mechanism: &'static str,
    level: &'static str,
    guard: Option<GuardRecord>,
    survives: SurvivesRecord,
    tried: Vec<TriedRecord>,
}

#[derive(Debug, Serialize)]
struct GuardRecord {
    pid: u32,
    twin: bool,
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "as in the library")]
pub(crate) struct SurvivesRecord {
    setsid: bool,
    double_fork: bool,
    setuid_child: bool,
    fork_bomb: bool,
    supervisor_killed: bool,
    guard_killed: bool,
    both_killed: bool,
}

/// What was tried in vain.
#[derive(Debug, Serialize)]
pub(crate) struct TriedRecord {
    mechanism: &'static str,
    step: String,
    errno: Option<i32>,
    /// The system's words for it.
    error: Option<String>,
    hint: &'static str,
}

#[derive(Debug, Serialize)]
struct EventRecord {
    unix_seconds: f64,
    elapsed_seconds: f64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Started {
        pid: u32,
        containment: ContainmentRecord,
    },
    Signalled {
        signal: String,
    },
    Splaying {
        seconds: f64,
    },
    TimedOut,
    Asked {
        signal: String,
    },
    Forced,
    Stuck {
        pids: Vec<u32>,
    },
    Exited {
        exit: ExitRecord,
    },
    Suspended {
        signal: String,
    },
    Continued,
    GuardLost,
    /// `proof`: by what it is known that nothing is left.
    Gone {
        proof: &'static str,
    },
}

impl From<&Contained> for ContainmentRecord {
    fn from(held: &Contained) -> ContainmentRecord {
        ContainmentRecord {
            mechanism: held.mechanism.name(),
            level: held.level.name(),
            guard: held.guard.map(|guard| GuardRecord { pid: guard.pid, twin: guard.twin }),
            survives: held.survives.into(),
            tried: held.tried.iter().map(TriedRecord::from).collect(),
        }
    }
}

impl From<Survives> for SurvivesRecord {
    fn from(survives: Survives) -> SurvivesRecord {
        SurvivesRecord {
            setsid: survives.setsid,
            double_fork: survives.double_fork,
            setuid_child: survives.setuid_child,
            fork_bomb: survives.fork_bomb,
            supervisor_killed: survives.supervisor_killed,
            guard_killed: survives.guard_killed,
            both_killed: survives.both_killed,
        }
    }
}

impl From<&Tried> for TriedRecord {
    fn from(tried: &Tried) -> TriedRecord {
        TriedRecord {
            mechanism: tried.mechanism.name(),
            step: tried.step.clone(),
            errno: tried.errno,
            error: tried.errno.map(|errno| say::plain(&io::Error::from_raw_os_error(errno))),
            hint: tried.hint,
        }
    }
}

impl From<&Exit> for ExitRecord {
    fn from(exit: &Exit) -> ExitRecord {
        ExitRecord {
            status: match exit.status {
                Status::Exited(code) => StatusRecord::Exited { code },
                Status::Signaled { signal, core_dumped } => {
                    StatusRecord::Signaled { signal: signal.name(), number: signal.number(), core_dumped }
                }
                Status::Unknown => StatusRecord::Unknown,
            },
            cause: match exit.cause {
                Cause::Own => "own",
                Cause::Stopped => "stopped",
                Cause::TimedOut => "timed_out",
                Cause::Killed => "killed",
            },
            forced: exit.forced,
            shell_code: exit.shell_code(),
            usage: exit.usage.map(|usage| UsageRecord {
                user_seconds: usage.user.as_secs_f64(),
                system_seconds: usage.system.as_secs_f64(),
                peak_memory_bytes: usage.peak_memory,
            }),
            started_unix_seconds: unix_seconds(exit.started),
            elapsed_seconds: exit.elapsed.as_secs_f64(),
            leftovers: exit.leftovers.clone(),
        }
    }
}

impl EventRecord {
    /// `None` for an event that this version of the program does not know.
    fn of(event: &Event, held: &Contained) -> Option<EventRecord> {
        let what = match &event.kind {
            EventKind::Started { pid } => What::Started { pid: *pid, containment: held.into() },
            EventKind::Signalled(signal) => What::Signalled { signal: signal.name() },
            EventKind::Splaying(delay) => What::Splaying { seconds: delay.as_secs_f64() },
            EventKind::TimedOut => What::TimedOut,
            EventKind::Asked(signal) => What::Asked { signal: signal.name() },
            EventKind::Forced => What::Forced,
            EventKind::Stuck(stuck) => What::Stuck { pids: stuck.pids().to_vec() },
            EventKind::Exited(exit) => What::Exited { exit: exit.into() },
            EventKind::Suspended(signal) => What::Suspended { signal: signal.name() },
            EventKind::Continued => What::Continued,
            EventKind::GuardLost => What::GuardLost,
            EventKind::Gone(proof) => What::Gone { proof: proof.name() },
            _ => return None,
        };
        Some(EventRecord {
            unix_seconds: unix_seconds(event.at),
            elapsed_seconds: event.elapsed.as_secs_f64(),
            what,
        })
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Opens a file to write from its beginning. A pipe that nobody reads is an error, and no wait.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // Only the opening was not to wait; a slow reader is waited for, on a thread of its own.
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Where the report goes: known to be writable before anything is started.
#[derive(Debug)]
pub(crate) struct ReportFile {
    /// Without symbolic links.
    path: PathBuf,
    /// What cannot be renamed over: a pipe, a terminal, a file in a folder that is not ours to write.
    open: Option<File>,
}

impl ReportFile {
    pub(crate) fn open(path: &Path) -> io::Result<ReportFile> {
        let path = resolve(path)?;
        let in_place = match path.symlink_metadata() {
            Ok(known) if known.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
            Ok(known) => !known.is_file() || access(folder_of(&path), Access::WRITE_OK).is_err(),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                access(folder_of(&path), Access::WRITE_OK | Access::EXEC_OK)?;
                false
            }
            // A name that is too long, a folder that is not ours to enter.
            Err(error) => return Err(error),
        };
        let open = in_place.then(|| open_in_place(&path)).transpose()?;
        Ok(ReportFile { path, open })
    }

    /// The whole exit, if the leader has ended, and who is stuck, if anybody is.
    pub(crate) fn end(&self, child: &Child, pid: u32, exit_code: u8, exit: Option<&Exit>, stuck: &[u32]) {
        let stuck = stuck.to_vec();
        let containment = child.containment().into();
        self.write(&Report {
            command: child.label(),
            how: match exit {
                Some(exit) => How::Ended { pid, containment, exit_code, exit: exit.into(), stuck },
                None => How::Stuck { pid, containment, exit_code, stuck },
            },
        });
    }

    /// Why there is no exit.
    pub(crate) fn error(&self, command: &str, exit_code: u8, error: &Error) {
        let kind = match error.kind() {
            ErrorKind::NotFound => "not_found",
            ErrorKind::NotExecutable => "not_executable",
            ErrorKind::BadDirectory => "bad_directory",
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::TooBig => "too_big",
            ErrorKind::NoDescriptors => "no_descriptors",
            ErrorKind::NoProcesses => "no_processes",
            ErrorKind::NotPermitted => "not_permitted",
            ErrorKind::NoContainment => "no_containment",
            _ => "other",
        };
        let error = ErrorRecord { kind, message: error.to_string() };
        self.write(&Report { command, how: How::Refused { exit_code, error } });
    }

    /// The program's end is more important than its report: a failure is said, and changes no exit code.
    fn write(&self, report: &Report<'_>) {
        if let Err(error) = self.try_write(report) {
            let path = self.path.display();
            say::failure(&format!("cannot write the report `{path}`: {}", say::plain(&error)));
        }
    }

    fn try_write(&self, report: &Report<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(report)?;
        text.push(b'\n');
        if let Some(open) = &self.open {
            return write_in_place(open.try_clone()?, text);
        }
        // A reader sees the old file or the whole new one: it is written beside it and renamed. The name is nobody's
        // yet, so that nobody can have laid a link there.
        let unique = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let beside = folder_of(&self.path).join(format!(".foster.{}.{unique}", std::process::id()));
        let mut file = File::create_new(&beside)?;
        let renamed = (file.write_all(&text).and_then(|()| file.sync_data()))
            .and_then(|()| fs::rename(&beside, &self.path))
            .inspect_err(|_| _ = fs::remove_file(&beside));
        match renamed {
            // It is a mount of its own, as a file that a container was given.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EXDEV)) => {
                write_in_place(open_in_place(&self.path)?, text)
            }
            renamed => renamed,
        }
    }
}

fn open_in_place(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// On a thread of its own, since a pipe that is full may never be read.
fn write_in_place(mut file: File, text: Vec<u8>) -> io::Result<()> {
    let (done, wait) = mpsc::channel();
    let mut write = move || {
        block_signals_here();
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        file.write_all(&text)
    };
    thread::Builder::new().name("report".to_string()).spawn(move || _ = done.send(write()))?;
    wait.recv_timeout(READER).unwrap_or_else(|_| Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)))
}

/// Follows symbolic links, also one that leads to a file that is not there yet.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(known) = path.canonicalize() {
        return Ok(known);
    }
    let path = fs::read_link(path).map_or(path.to_owned(), |target| folder_of(path).join(target));
    let name = path.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?;
    Ok(folder_of(&path).canonicalize()?.join(name))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a child's events as they happen, on a thread of its own: who reads them slowly holds up nobody.
#[derive(Debug)]
pub(crate) struct EventWriter {
    /// Closed when the thread ends.
    finished: Receiver<()>,
}

/// How long foster, when all is over, waits for a slow reader of its events.
const READER: Duration = Duration::from_secs(5);

impl EventWriter {
    pub(crate) fn start(mut file: File, child: &Child) -> io::Result<EventWriter> {
        let (events, held) = (child.events(), child.containment().clone());
        let (writing, finished) = mpsc::channel();
        let write = move || {
            block_signals_here();
            let _writing: Sender<()> = writing;
            for event in events {
                let record =
                    EventRecord::of(&event, &held).and_then(|record| serde_json::to_vec(&record).ok());
                let Some(mut line) = record else { continue };
                line.push(b'\n');
                if let Err(error) = file.write_all(&line) {
                    // A reader that has seen enough is no failure.
                    if error.kind() != io::ErrorKind::BrokenPipe {
                        say::failure(&format!("cannot write the events: {}", say::plain(&error)));
                    }
                    return;
                }
            }
        };
        thread::Builder::new().name("events".to_string()).spawn(write)?;
        Ok(EventWriter { finished })
    }

    /// Waits until all is written, or the reader has had its time.
    pub(crate) fn finish(self) {
        _ = self.finished.recv_timeout(READER);
    }
}

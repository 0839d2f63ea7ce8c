//! What machines read: the report (`--report`) and the events (`--events`), as JSON. Their schemas are in
//! `crates/foster-cli/schema/`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use foster::{Cause, Child, Error, ErrorKind, Event, EventKind, Exit, Status};
use rustix::fs::{Access, access};
use serde::Serialize;

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
        exit_code: u8,
        exit: ExitRecord,
        /// Who was killed and is still there.
        stuck: Vec<u32>,
    },
    /// The leader itself is stuck.
    Stuck {
        pid: u32,
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
    Started { pid: u32 },
    Signalled { signal: String },
    Splaying { seconds: f64 },
    TimedOut,
    Asked { signal: String },
    Forced,
    Stuck { pids: Vec<u32> },
    Exited { exit: ExitRecord },
    Gone,
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
    fn of(event: &Event) -> Option<EventRecord> {
        let what = match &event.kind {
            EventKind::Started { pid } => What::Started { pid: *pid },
            EventKind::Signalled(signal) => What::Signalled { signal: signal.name() },
            EventKind::Splaying(delay) => What::Splaying { seconds: delay.as_secs_f64() },
            EventKind::TimedOut => What::TimedOut,
            EventKind::Asked(signal) => What::Asked { signal: signal.name() },
            EventKind::Forced => What::Forced,
            EventKind::Stuck(stuck) => What::Stuck { pids: stuck.pids().to_vec() },
            EventKind::Exited(exit) => What::Exited { exit: exit.into() },
            EventKind::Gone => What::Gone,
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

/// Where the report goes: known to be writable before anything is started.
#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    /// A pipe, a terminal: there is nothing to rename over.
    open: Option<File>,
}

impl ReportFile {
    pub(crate) fn open(path: &Path) -> io::Result<ReportFile> {
        let known = path.metadata();
        let special = known.as_ref().is_ok_and(|known| !known.is_file());
        let open = if special { Some(File::options().write(true).open(path)?) } else { None };
        if !special {
            access(folder_of(path), Access::WRITE_OK | Access::EXEC_OK)?;
        }
        Ok(ReportFile { path: path.to_owned(), open })
    }

    /// The whole exit, if the leader has ended, and who is stuck, if anybody is.
    pub(crate) fn end(&self, child: &Child, pid: u32, exit_code: u8, exit: Option<&Exit>, stuck: &[u32]) {
        let stuck = stuck.to_vec();
        self.write(&Report {
            command: child.label(),
            how: match exit {
                Some(exit) => How::Ended { pid, exit_code, exit: exit.into(), stuck },
                None => How::Stuck { pid, exit_code, stuck },
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
        if let Some(mut open) = self.open.as_ref() {
            return open.write_all(&text);
        }
        // A reader sees the old file or the whole new one: it is written beside it and renamed.
        let name = self.path.file_name().unwrap_or_default().display();
        let beside = folder_of(&self.path).join(format!(".{name}.{}", std::process::id()));
        let write = |text: &[u8]| {
            let mut file = File::create(&beside)?;
            file.write_all(text)?;
            file.sync_data()?;
            fs::rename(&beside, &self.path)
        };
        write(&text).inspect_err(|_| _ = fs::remove_file(&beside))
    }
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
        let events = child.events();
        let (writing, finished) = mpsc::channel();
        let write = move || {
            let _writing: Sender<()> = writing;
            for event in events {
                let record = EventRecord::of(&event).and_then(|record| serde_json::to_vec(&record).ok());
                let Some(mut line) = record else { continue };
                line.push(b'\n');
                if file.write_all(&line).is_err() {
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

//! Program, arguments and environment, as the kernel takes them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use crate::Command;
use crate::error::short;

/// What runs a script that names no interpreter.
const SHELL: &CStr = c"/bin/sh";

/// Program, arguments and environment as the kernel takes them, in one piece of memory: a start copies the whole
/// environment, and should not ask for memory for each variable.
pub(super) struct Words {
    /// What the pointers point into.
    strings: Vec<u8>,
    /// The candidates for the program, a place for the shell's name, the arguments, a null, the variables, a null, and
    /// the working directory, if there is one.
    list: Vec<Cell<*const c_char>>,
    candidates: usize,
    args: usize,
    vars: usize,
}

impl Words {
    pub(super) fn new(command: &Command) -> Result<Words, String> {
        if command.program.is_empty() {
            return Err("the command is empty; name a program".to_string());
        }
        let variables = Variables::new(command)?;
        let mut strings = Strings::with_room_for(command, &variables);
        let program = command.program.as_bytes();
        no_nul("the program", program)?;
        let has_path = program.contains(&b'/');
        let ourselves = ourselves(&command.program);
        if let Some(ourselves) = &ourselves {
            strings.push("the program", &[ourselves.as_os_str().as_bytes()])?;
        } else if has_path {
            strings.push("the program", &[program])?;
        } else {
            let path = variables.path().unwrap_or(OsStr::new("/bin:/usr/bin")).as_bytes();
            no_nul("the variable PATH,", path)?;
            for directory in path.split(|byte| *byte == b':') {
                let slash: &[u8] = if matches!(directory, [] | [.., b'/']) { b"" } else { b"/" };
                strings.push("the program", &[directory, slash, program])?;
            }
        }
        let candidates = strings.starts.len();
        strings.starts.push(NOTHING);
        if has_path && ourselves.is_none() {
            // The same string once more.
            strings.starts.push(strings.starts[0]);
        } else {
            strings.push("the program", &[program])?;
        }
        for arg in &command.args {
            strings.push("the argument", &[arg.as_bytes()])?;
        }
        let args = 1 + command.args.len();
        strings.starts.push(NOTHING);
        for (name, value) in variables.iter() {
            strings.push("the variable", &[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        let vars = strings.starts.len() - candidates - args - 2;
        strings.starts.push(NOTHING);
        if let Some(directory) = &command.directory {
            strings.push("the working directory", &[directory.as_os_str().as_bytes()])?;
        }
        let Strings { bytes, starts } = strings;
        let pointer = |start| if start == NOTHING { ptr::null() } else { bytes[start..].as_ptr().cast() };
        let list = starts.into_iter().map(|start| Cell::new(pointer(start))).collect();
        Ok(Words { strings: bytes, list, candidates, args, vars })
    }

    /// Where the program may be, in the order in which to try.
    pub(super) fn candidates(&self) -> impl ExactSizeIterator<Item = *const c_char> {
        self.list[..self.candidates].iter().map(Cell::get)
    }

    /// The same, to read.
    pub(super) fn files(&self) -> impl Iterator<Item = &CStr> {
        let strings = self.strings.as_ptr().addr();
        let from = move |candidate: *const c_char| &self.strings[candidate.addr() - strings..];
        self.candidates().filter_map(move |candidate| CStr::from_bytes_until_nul(from(candidate)).ok())
    }

    pub(super) fn args(&self) -> impl ExactSizeIterator<Item = *const c_char> {
        let first = self.candidates + 1;
        self.list[first..first + self.args].iter().map(Cell::get)
    }

    pub(super) fn vars(&self) -> impl ExactSizeIterator<Item = *const c_char> {
        let first = self.candidates + 1 + self.args + 1;
        self.list[first..first + self.vars].iter().map(Cell::get)
    }

    pub(super) fn directory(&self) -> Option<*const c_char> {
        self.list.get(self.candidates + 1 + self.args + 1 + self.vars + 1).map(Cell::get)
    }

    /// The arguments with a null at their end.
    pub(super) fn argv(&self) -> *const *const c_char {
        self.list[self.candidates + 1..].as_ptr().cast()
    }

    /// The variables with a null at their end.
    pub(super) fn envp(&self) -> *const *const c_char {
        self.list[self.candidates + 1 + self.args + 1..].as_ptr().cast()
    }

    /// The shell, and arguments that have it run this candidate. They take the place of the program's own.
    pub(super) fn shell_argv(&self, candidate: *const c_char) -> (*const c_char, *const *const c_char) {
        let place = &self.list[self.candidates..];
        place[0].set(SHELL.as_ptr());
        place[1].set(candidate);
        (SHELL.as_ptr(), place.as_ptr().cast())
    }
}

/// What `/proc/self/exe` means to us, who are not who executes it: with a guard that would be the guard. By its path
/// where it has one: a pid namespace may show no `/proc` of ours.
fn ourselves(program: &OsStr) -> Option<PathBuf> {
    if program != "/proc/self/exe" && program != "/proc/thread-self/exe" {
        return None;
    }
    let path = std::env::current_exe().ok().filter(|path| path.exists());
    path.or_else(|| Some(format!("/proc/{}/exe", std::process::id()).into()))
}

/// Many strings in one piece of memory, and where each starts.
struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

/// Where a list has no string.
const NOTHING: usize = usize::MAX;

impl Strings {
    /// With room for the usual command, so that it need not be found twice.
    fn with_room_for(command: &Command, variables: &Variables<'_>) -> Strings {
        let args: usize = command.args.iter().map(|arg| arg.len() + 1).sum();
        let vars: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let directory = command.directory.as_ref().map_or(0, |directory| directory.as_os_str().len() + 1);
        let bytes = 2 * (command.program.len() + 1) + args + vars + directory;
        let count = 6 + command.args.len() + variables.iter().count();
        Strings { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(count) }
    }

    /// One more string, made of these parts.
    fn push(&mut self, what: &str, parts: &[&[u8]]) -> Result<(), String> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        no_nul(what, &self.bytes[start..])?;
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }
}

fn no_nul(what: &str, text: &[u8]) -> Result<(), String> {
    let Some(at) = memchr::memchr(0, text) else { return Ok(()) };
    let text = OsStr::from_bytes(text).display();
    Err(format!("there is a NUL in {what} `{text}`, at byte {at}; remove it"))
}

/// The host's, as it is and in its order, with the command's changes.
struct Variables<'a> {
    host: Vec<(OsString, OsString)>,
    changes: &'a BTreeMap<OsString, Option<OsString>>,
}

impl<'a> Variables<'a> {
    fn new(command: &'a Command) -> Result<Variables<'a>, String> {
        for name in command.env.keys() {
            if name.is_empty() {
                return Err("the name of a variable is empty; give it one".to_string());
            }
            if name.as_bytes().contains(&b'=') {
                let name = short(&name.to_string_lossy());
                return Err(format!("there is a = in the variable name `{name}`; give name and value apart"));
            }
        }
        let host = if command.env_clear { Vec::new() } else { std::env::vars_os().collect() };
        Ok(Variables { host, changes: &command.env })
    }

    fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let kept = self.host.iter().filter(|(name, _)| !self.changes.contains_key(name));
        let kept = kept.map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        kept.chain(
            self.changes.iter().filter_map(|(name, value)| Some((name.as_os_str(), value.as_deref()?))),
        )
    }

    fn path(&self) -> Option<&OsStr> {
        self.iter().find(|(name, _)| *name == "PATH").map(|(_, path)| path)
    }
}

//! Program, arguments and environment, as the kernel takes them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::{ptr, str};

use crate::Command;
use crate::error::short;

pub(super) const SHELL: &std::ffi::CStr = c"/bin/sh";

/// Program, arguments and environment as the kernel takes them.
pub(super) struct Words {
    pub(super) candidates: Vec<CString>,
    pub(super) directory: Option<CString>,
    pub(super) argv: Vec<*const c_char>,
    /// `sh`, the candidate, the arguments.
    pub(super) shell_argv: Vec<Cell<*const c_char>>,
    pub(super) envp: Vec<*const c_char>,
    /// What the pointers point into.
    _strings: Vec<u8>,
}

impl Words {
    pub(super) fn new(command: &Command) -> Result<Words, String> {
        if command.program.is_empty() {
            return Err("the command is empty; name a program".to_string());
        }
        let variables = Variables::new(command)?;
        let candidates = candidates(&command.program, variables.path())
            .into_iter()
            .map(|candidate| c_string("the program", candidate))
            .collect::<Result<_, _>>()?;
        let directory = command.directory.as_ref().map(|path| c_string("the working directory", path.into()));
        let directory = directory.transpose()?;
        let mut strings = Strings::default();
        strings.push("the program", &[command.program.as_bytes()])?;
        for arg in &command.args {
            strings.push("the argument", &[arg.as_bytes()])?;
        }
        let words = strings.starts.len();
        for (name, value) in variables.iter() {
            strings.push("the variable", &[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        let pointers = strings.pointers();
        let end = [ptr::null()];
        let argv = [&pointers[..words], &end].concat();
        let shell_argv = [SHELL.as_ptr(), ptr::null()].into_iter().chain(argv[1..].iter().copied());
        let shell_argv = shell_argv.map(Cell::new).collect();
        let envp = [&pointers[words..], &end].concat();
        Ok(Words { candidates, directory, argv, shell_argv, envp, _strings: strings.bytes })
    }
}

/// Many strings in one piece of memory: a start copies the whole environment, and should not ask for memory for each
/// variable.
#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// One more string, made of these parts.
    fn push(&mut self, what: &str, parts: &[&[u8]]) -> Result<(), String> {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let text = &self.bytes[start..];
        if let Some(at) = memchr::memchr(0, text) {
            return Err(nul(what, OsStr::from_bytes(text), at));
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// They hold as long as nothing is added.
    fn pointers(&self) -> Vec<*const c_char> {
        self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast()).collect()
    }
}

fn c_string(what: &str, text: OsString) -> Result<CString, String> {
    CString::new(text.into_vec()).map_err(|error| {
        let at = error.nul_position();
        nul(what, OsStr::from_bytes(&error.into_vec()), at)
    })
}

fn nul(what: &str, text: &OsStr, at: usize) -> String {
    format!("there is a NUL in {what} `{}`, at byte {at}; remove it", text.display())
}

/// The host's, as it is and in its order, with the command's changes.
struct Variables<'a> {
    host: Vec<(OsString, OsString)>,
    changes: &'a BTreeMap<OsString, Option<OsString>>,
}

impl<'a> Variables<'a> {
    fn new(command: &'a Command) -> Result<Variables<'a>, String> {
        for name in command.env.keys() {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                let name = short(&name.to_string_lossy());
                return Err(format!("the variable name `{name}` is empty or has a = in it"));
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

/// Where `execvp(3)` looks: the program itself if there is a slash in it, else each directory of PATH.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path).map(|directory| directory.join(program).into_os_string()).collect()
}

//! Program, arguments and environment, as the kernel takes them.

use std::cell::Cell;
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
    _strings: Vec<CString>,
}

impl Words {
    pub(super) fn new(command: &Command) -> Result<Words, String> {
        if command.program.is_empty() {
            return Err("the command is empty; name a program".to_string());
        }
        let nul = |what: &str, text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|error| {
                format!(
                    "there is a NUL in {what} `{}`, at byte {}; remove it",
                    text.display(),
                    error.nul_position()
                )
            })
        };
        let environment = environment(command)?;
        let candidates = candidates(&command.program, path_of(&environment))
            .iter()
            .map(|candidate| nul("the program", candidate))
            .collect::<Result<_, _>>()?;
        let directory = command
            .directory
            .as_ref()
            .map(|path| nul("the working directory", path.as_os_str()))
            .transpose()?;
        let mut strings = vec![nul("the program", &command.program)?];
        for arg in &command.args {
            strings.push(nul("the argument", arg)?);
        }
        let words = strings.len();
        for (name, value) in &environment {
            let mut pair = name.clone().into_vec();
            pair.push(b'=');
            pair.extend_from_slice(value.as_bytes());
            strings.push(nul("the variable", OsStr::from_bytes(&pair))?);
        }
        let pointers: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).collect();
        let end = [ptr::null()];
        let argv = [&pointers[..words], &end].concat();
        let shell_argv = [&[SHELL.as_ptr(), ptr::null()], &argv[1..]].concat();
        let shell_argv = shell_argv.into_iter().map(Cell::new).collect();
        let envp = [&pointers[words..], &end].concat();
        Ok(Words { candidates, directory, argv, shell_argv, envp, _strings: strings })
    }
}

/// The host's, as it is and in its order, with the command's changes.
fn environment(command: &Command) -> Result<Vec<(OsString, OsString)>, String> {
    let mut environment: Vec<(OsString, OsString)> =
        if command.env_clear { Vec::new() } else { std::env::vars_os().collect() };
    for (name, value) in &command.env {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            let name = short(&name.to_string_lossy());
            return Err(format!("the variable name `{name}` is empty or has a = in it"));
        }
        environment.retain(|(known, _)| known != name);
        environment.extend(value.iter().map(|value| (name.clone(), value.clone())));
    }
    Ok(environment)
}

fn path_of(environment: &[(OsString, OsString)]) -> Option<&OsStr> {
    environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str())
}

/// Where `execvp(3)` looks: the program itself if there is a slash in it, else each directory of PATH.
fn candidates(program: &OsStr, path: Option<&OsStr>) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let path = path.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path).map(|directory| directory.join(program).into_os_string()).collect()
}

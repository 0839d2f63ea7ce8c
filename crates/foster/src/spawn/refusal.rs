//! A failed step and its errno in words.

use std::ffi::{CStr, OsStr, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::standing;
use super::words::Words;
use crate::error::short;
use crate::guard::wire::Step;
use crate::{Command, Error, ErrorKind, Limit, Resource};

/// The failed step and its errno in words.
pub(super) fn refused(command: &Command, words: &Words, step: Step, errno: c_int) -> Error {
    let error = io::Error::from_raw_os_error(errno);
    let label = short(&command.get_label());
    match step {
        // They were told before they came here.
        Step::Guard | Step::Contain | Step::Clone => {
            Error::os(ErrorKind::of(&error), format!("cannot start `{label}`"), error)
        }
        Step::Group => {
            Error::os(ErrorKind::of(&error), format!("cannot start `{label}` in its process group"), error)
        }
        Step::Terminal => {
            let doing = format!("cannot start `{label}`: cannot make the terminal of its own its session's");
            Error::os(ErrorKind::of(&error), doing, error)
        }
        Step::Streams => {
            Error::os(ErrorKind::of(&error), format!("cannot start `{label}` with its streams"), error)
        }
        Step::Directory => {
            let directory = command.directory.as_deref().unwrap_or(Path::new("")).to_string_lossy();
            let directory = short(&directory);
            let doing = format!(
                "cannot start `{label}`: cannot enter the working directory `{directory}`; make it or name another"
            );
            Error::os(ErrorKind::BadDirectory, doing, error)
        }
        Step::Limit(number) => limited(command, &label, number, error),
        Step::Nice => {
            let nice = command.standing.nice.unwrap_or(0);
            let doing = format!(
                "cannot start `{label}`: cannot give it the niceness {nice}; to favour it takes CAP_SYS_NICE, or RLIMIT_NICE"
            );
            Error::os(ErrorKind::of(&error), doing, error)
        }
        Step::Groups => not_ours(&label, "set its supplementary groups", "CAP_SETGID", error),
        Step::Gid => {
            let group = format!("become group {}", command.standing.gid.unwrap_or(0));
            not_ours(&label, &group, "CAP_SETGID", error)
        }
        Step::Uid => {
            let user = format!("become user {}", command.standing.uid.unwrap_or(0));
            not_ours(&label, &user, "CAP_SETUID", error)
        }
        Step::Execute => {
            let program = short(&command.program.to_string_lossy());
            let refuse = |kind, why: &str| Error::new(kind, format!("cannot start `{label}`: {why}"));
            match errno {
                libc::ENOENT if !command.program.as_bytes().contains(&b'/') => {
                    let why = format!("there is no `{program}` in PATH; check its name, or give its path");
                    return refuse(ErrorKind::NotFound, &why);
                }
                libc::ENOENT if words.files().any(|file| exists(command, file)) => {
                    let why = format!(
                        "`{program}` is there, but the interpreter that it names is not; install that"
                    );
                    return refuse(ErrorKind::NotFound, &why);
                }
                libc::E2BIG => {
                    let why = "its arguments and environment are too large; hand the large part on in a file";
                    return refuse(ErrorKind::TooBig, why);
                }
                libc::EACCES if words.files().any(|file| is_directory(command, file)) => {
                    let why = format!("`{program}` is a directory; name a program");
                    return refuse(ErrorKind::NotExecutable, &why);
                }
                _ => {}
            }
            let kind = match errno {
                libc::ENOENT => ErrorKind::NotFound,
                libc::EACCES
                | libc::EPERM
                | libc::ENOEXEC
                | libc::ENOTDIR
                | libc::ETXTBSY
                | libc::EISDIR
                | libc::ELIBBAD
                | libc::ELOOP
                | libc::ENAMETOOLONG => ErrorKind::NotExecutable,
                _ => ErrorKind::of(&error),
            };
            let fix = match errno {
                // A limit on processes is the new user's, and is looked at here, setuid(2).
                libc::EAGAIN if command.standing.uid.is_some() => {
                    "; its user has as many processes as it may"
                }
                libc::ENOENT => "; check its path",
                libc::EACCES => "; is it executable, and are its directories?",
                libc::ENOEXEC => "; it is no program and no script",
                _ => "",
            };
            Error::os(kind, format!("cannot start `{label}`: cannot execute `{program}`{fix}"), error)
        }
    }
}

/// By the resource's number.
fn limited(command: &Command, label: &str, number: u8, error: io::Error) -> Error {
    let resource = standing::resource(number);
    let limit = resource.and_then(|resource| command.get_limit(resource));
    let what = resource.map_or("", Resource::name);
    let fix = match (error.raw_os_error(), resource) {
        (Some(libc::EPERM), Some(Resource::Nofile)) => {
            "; to raise a hard one takes CAP_SYS_RESOURCE, and goes up to /proc/sys/fs/nr_open"
        }
        (Some(libc::EPERM), _) => "; to raise a hard one takes CAP_SYS_RESOURCE",
        _ => "",
    };
    let doing = format!("cannot start `{label}`: cannot set its {what} to {}{fix}", both(limit));
    Error::os(ErrorKind::of(&error), doing, error)
}

/// What only the privileged can be.
fn not_ours(label: &str, what: &str, capability: &str, error: io::Error) -> Error {
    let fix = match error.raw_os_error() {
        Some(libc::EPERM) => format!("; be root, or have {capability} as an ambient capability"),
        // Only one id is mapped in a namespace that foster made without root.
        Some(libc::EINVAL) => "; this user namespace has no such id: map it, or be root outside".to_string(),
        _ => String::new(),
    };
    Error::os(ErrorKind::of(&error), format!("cannot start `{label}`: cannot {what}{fix}"), error)
}

fn both(limit: Option<(Limit, Limit)>) -> String {
    let one = |limit: Limit| match limit {
        Limit::Of(limit) => limit.to_string(),
        Limit::Unlimited => "unlimited".to_string(),
        Limit::Inherited => "ours".to_string(),
    };
    limit.map_or(String::new(), |(soft, hard)| format!("{} (soft) and {} (hard)", one(soft), one(hard)))
}

fn exists(command: &Command, file: &CStr) -> bool {
    from_its_directory(command, file).symlink_metadata().is_ok()
}

fn is_directory(command: &Command, file: &CStr) -> bool {
    from_its_directory(command, file).is_dir()
}

fn from_its_directory(command: &Command, file: &CStr) -> std::path::PathBuf {
    let file = Path::new(OsStr::from_bytes(file.to_bytes()));
    command.directory.as_deref().map_or(file.to_owned(), |directory| directory.join(file))
}

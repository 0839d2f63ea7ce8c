//! Which mechanism holds a tree: what was asked for, in the order of strength, without what was tried in vain before.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{landlock, namespace, subreaper};
use crate::error::short;
use crate::{Command, Containment, Error, ErrorKind, Level, Mechanism, Tried};

/// What [`Containment::Auto`] tries: nothing that a program can see.
const UNSEEN: [Mechanism; 4] =
    [Mechanism::Cgroup, Mechanism::Freezer, Mechanism::Subreaper, Mechanism::ProcessGroup];

/// What to try, the best first.
///
/// # Errors
///
/// What was asked for contradicts what was required.
pub(crate) fn choices(command: &Command) -> Result<Vec<Mechanism>, Error> {
    let required = command.require.unwrap_or(Level::Group);
    let mut wanted = match command.containment {
        Containment::Auto if required == Level::Sealed => vec![Mechanism::PidNamespace],
        Containment::Auto => {
            let mut unseen = UNSEEN.to_vec();
            if required == Level::Grouped {
                // It was demanded: better seen than not had.
                unseen.insert(2, Mechanism::Landlock);
            }
            unseen
        }
        Containment::Sealed => vec![Mechanism::PidNamespace],
        Containment::Group => vec![Mechanism::ProcessGroup],
        Containment::Exactly(mechanism) => vec![mechanism],
    };
    let asked = wanted.first().copied();
    wanted.retain(|mechanism| mechanism.level() >= required);
    if wanted.is_empty() {
        let what = asked.map_or("that", Mechanism::name);
        let message = format!(
            "cannot start `{}`: {what} does not hold it as firmly as {required}; ask for another containment",
            short(&command.get_label())
        );
        return Err(Error::new(ErrorKind::NoContainment, message));
    }
    Ok(wanted)
}

/// None of them is to be had.
pub(crate) fn none(command: &Command, tried: &[Tried]) -> Error {
    let why: Vec<String> = tried.iter().map(|tried| format!("{tried} ({})", tried.hint)).collect();
    let message = format!(
        "cannot start `{}`: this machine has not got the containment that was asked for: {}; \
         `foster doctor` tells what it has",
        short(&command.get_label()),
        why.join("; ")
    );
    Error::new(ErrorKind::NoContainment, message)
}

/// What was tried in vain, and why, with what would help.
pub(crate) fn tried(mechanism: Mechanism, step: impl Into<String>, error: &io::Error) -> Tried {
    let errno = error.raw_os_error();
    let hint = match mechanism {
        Mechanism::Landlock => landlock::hint(errno),
        Mechanism::PidNamespace => namespace::hint(errno),
        Mechanism::Subreaper => subreaper::hint(errno),
        Mechanism::Cgroup => "delegate a cgroup: systemd-run --user --scope -p Delegate=yes",
        Mechanism::Freezer => "run as root, with the freezer of cgroup v1 mounted",
        Mechanism::Init => "be PID 1",
        Mechanism::ProcessGroup => "",
    };
    Tried { mechanism, step: step.into(), errno, hint }
}

/// What this machine has not got, and will not get while this process lives.
static NOT_HERE: Mutex<Vec<Tried>> = Mutex::new(Vec::new());

pub(crate) fn remember(tried: &Tried) {
    let mut not_here = NOT_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    if not_here.iter().all(|known| known.mechanism != tried.mechanism) {
        not_here.push(tried.clone());
    }
}

pub(crate) fn known(mechanism: Mechanism) -> Option<Tried> {
    let not_here = NOT_HERE.lock().unwrap_or_else(PoisonError::into_inner);
    not_here.iter().find(|known| known.mechanism == mechanism).cloned()
}

//! A program runs as whom it is told to, within the bounds that it was given, whatever holds its tree; the host and
//! its guard stay as they are, and end it as ever.

mod limits;
mod refusals;
mod the_others;
mod users;

use std::fs;
use std::os::unix::fs::MetadataExt;

use foster::{Command, Containment, Input, Mechanism, Pty};
use puppet::{status_field, within};
use rustix::process::{DumpableBehavior, dumpable_behavior, getpriority_process};

/// Somebody whom no machine has, and who has no other processes.
pub(crate) const STRANGER: u32 = 4_000_054;

/// Each way in which a leader is started, as far as this machine has it.
pub(crate) fn each(command: &Command, test: impl Fn(&str, &Command)) {
    let with = |containment| command.clone().containment(containment);
    test("group", &with(Containment::Group));
    test("twin", &with(Containment::Exactly(Mechanism::Subreaper)).twin(true));
    test("terminal", &with(Containment::Group).pty(Pty::default()));
    let guarded = [
        Mechanism::Subreaper,
        Mechanism::Cgroup,
        Mechanism::Freezer,
        Mechanism::Landlock,
        Mechanism::PidNamespace,
    ];
    for mechanism in guarded {
        let there = Command::new("true").containment(Containment::Exactly(mechanism)).spawn();
        match there {
            Ok(child) => _ = within(&child.kill()),
            Err(error) => {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{error}");
                eprintln!("not run: {error}");
                continue;
            }
        }
        test(mechanism.name(), &with(Containment::Exactly(mechanism)));
    }
}

pub(crate) fn output(command: &Command) -> String {
    let output = command.clone().stdin(Input::HeldOpen).output().unwrap_or_else(|error| panic!("{error}"));
    assert!(output.exit.success(), "{output:?}");
    String::from_utf8(output.stdout.bytes().to_vec()).expect("UTF-8").replace('\r', "")
}

/// What the kernel says of a process: its four users and groups, its other groups, its umask, its privileges.
pub(crate) fn who(status: &str) -> [String; 5] {
    let field = |name: &str| status_field(status, name).split_whitespace().collect::<Vec<_>>().join(" ");
    ["Uid", "Gid", "Groups", "Umask", "CapEff"].map(field)
}

pub(crate) fn cat(what: &str) -> Command {
    Command::new("cat").arg(format!("/proc/self/{what}"))
}

pub(crate) fn ours(what: &str) -> String {
    fs::read_to_string(format!("/proc/self/{what}")).expect("/proc is mounted")
}

/// All that another process's start could change of us.
pub(crate) fn us() -> (String, [String; 5], i32, DumpableBehavior, u32) {
    let dumpable = dumpable_behavior().expect("it is known");
    let owner = fs::metadata("/proc/self").expect("/proc is mounted").uid();
    let nice = getpriority_process(None).expect("it is known");
    (ours("limits"), who(&ours("status")), nice, dumpable, owner)
}

//! Linux: a guard starts the leader. What we do is one clone, an exec of the guard's program, and a packet.
//!
//! `unsafe` for the child between its clone and its exec. It borrows our memory (see [`super::vfork`]) and makes only
//! system calls; all it reads was built before.
#![expect(unsafe_code, reason = "the child before it is a guard, and its namespaces")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use rustix::process::{Pid, getgid, getuid};

use super::vfork::{fork, vfork};
use super::{Failed, Ready};
use crate::guard::wire::{self, FromGuard, Start, Step, Strings, ToGuard};
use crate::guard::{self, Came, Guards, Image, Images, Lifeline, Link, sys};
use crate::tree::guarded::{Guarded, Parts};
use crate::tree::strategy::{Refused, Strategy};
use crate::tree::{Tree, choice};
use crate::watch::Watch;
use crate::{Command, Group, Mechanism, Status, Tried};

/// Starts a leader that a guard holds, with this mechanism.
pub(super) fn start(
    ready: &Ready<'_>,
    mechanism: Mechanism,
    tried: &[Tried],
) -> Result<Box<dyn Tree>, Failed> {
    let mut strategy = prepare(mechanism)?;
    loop {
        match strategy.start(ready, 0) {
            Ok(Launched { link, guards, guard_pid, leader, holder, pidfd }) => {
                let own_group = ready.command.leads_its_group();
                let twin = ready.command.twin && mechanism != Mechanism::PidNamespace;
                // Who is another user from the start needs no setuid program for that.
                let no_new_privs = ready.command.no_new_privs && ready.command.standing.uid.is_none();
                let (tried, strategy) = (tried.to_vec(), strategy);
                return Ok(Box::new(Guarded::new(Parts {
                    link: Some(link),
                    guards,
                    guard_pid,
                    holder,
                    leader,
                    pidfd,
                    own_group,
                    twin,
                    no_new_privs,
                    strategy,
                    tried,
                })));
            }
            // Root in a container may not make a pid namespace; in a user namespace of its own it may.
            Err(Failed::NotHere(_)) if strategy.fall_back() => {}
            Err(failed) => {
                strategy.discard();
                return Err(failed);
            }
        }
    }
}

/// Tries a mechanism with a leader that has no program, for [`crate::survey()`]. Nothing is left of it.
pub(crate) fn look(mechanism: Mechanism, no_new_privs: bool) -> Result<(), Tried> {
    let command = Command::new("true").no_new_privs(no_new_privs);
    let failed = |error: io::Error| choice::tried(mechanism, "start a process", &error);
    let ready = Ready::new(&command).map_err(|error| failed(error.into()))?;
    let as_tried = |error: Failed| match error {
        Failed::NotHere(tried) => tried,
        Failed::Os(error) => failed(error),
        Failed::Step(_, errno) => failed(io::Error::from_raw_os_error(errno)),
    };
    let mut strategy = prepare(mechanism).map_err(as_tried)?;
    loop {
        match strategy.start(&ready, wire::NO_PROGRAM) {
            Ok(launched) => {
                while let Came::News(..) | Came::Nothing = launched.link.wait() {}
                launched.guards.ours.wait_dead();
                strategy.discard();
                return Ok(());
            }
            Err(Failed::NotHere(_)) if strategy.fall_back() => {}
            Err(error) => {
                strategy.discard();
                return Err(as_tried(error));
            }
        }
    }
}

fn prepare(mechanism: Mechanism) -> Result<Strategy, Failed> {
    Strategy::prepare(mechanism).map_err(|refused| match refused {
        Refused::NotHere { tried, lasting } => {
            if lasting {
                choice::remember(&tried);
            }
            Failed::NotHere(tried)
        }
        Refused::Error(error) => Failed::Os(error),
    })
}

/// A guard that runs, and its leader.
struct Launched {
    link: Link,
    guards: Guards,
    guard_pid: u32,
    leader: u32,
    /// The guard that is the leader's parent: of a twin the inner one.
    holder: u32,
    pidfd: Watch,
}

impl Strategy {
    fn start(&self, ready: &Ready<'_>, extra: u64) -> Result<Launched, Failed> {
        with_an_image(|image| launch(ready, self, extra, image)).map_err(|failed| match failed {
            Failed::Step(Step::Contain, errno) => {
                let error = io::Error::from_raw_os_error(errno);
                let tried = choice::tried(self.mechanism(), self.doing(), &error);
                if self.is_lasting(errno) {
                    choice::remember(&tried);
                }
                Failed::NotHere(tried)
            }
            Failed::Step(Step::Guard, errno) => {
                let why = io::Error::from_raw_os_error(errno);
                let hint = "let programs be executed from memory, or install foster-guard in /usr/libexec";
                Failed::NotHere(Tried { hint, ..choice::tried(self.mechanism(), "start a guard", &why) })
            }
            failed => failed,
        })
    }
}

/// By the first image that can be run here; [`Step::Guard`] if none can.
pub(super) fn with_an_image<T>(launch: impl Fn(&Image) -> Result<T, Failed>) -> Result<T, Failed> {
    let mut why = libc::ENOEXEC;
    let images = Images::get().map_err(Failed::Os)?;
    for (index, image) in images.iter() {
        match launch(image) {
            Err(Failed::Step(Step::Guard, errno)) if guard::may_pass(Some(errno)) => {
                return Err(Failed::Os(io::Error::from_raw_os_error(errno)));
            }
            // The guard itself could not be started: another way may do.
            Err(Failed::Step(Step::Guard, errno)) => {
                why = errno;
                images.give_up(index);
            }
            launched => return launched,
        }
    }
    Err(Failed::Step(Step::Guard, why))
}

fn launch(ready: &Ready<'_>, strategy: &Strategy, extra: u64, image: &Image) -> Result<Launched, Failed> {
    let Born { link, watch, pid } = be_started(ready, strategy, extra, image)?;
    answered(link, watch, number_of(pid), strategy)
}

/// A process of ours that was born to be a guard, before it has said anything.
pub(super) struct Born {
    pub(super) link: Link,
    pub(super) watch: Watch,
    pub(super) pid: Pid,
}

/// Starts it, and tells it what to start.
pub(super) fn be_started(
    ready: &Ready<'_>,
    strategy: &Strategy,
    extra: u64,
    image: &Image,
) -> Result<Born, Failed> {
    // Who becomes the leader watches nobody.
    let lifeline = (extra & wire::NO_GUARD == 0).then(Lifeline::get).transpose().map_err(Failed::Os)?;
    let (ours, theirs) = guard::link().map_err(Failed::Os)?;
    let leaf_path = strategy.leaf().and_then(|leaf| CString::new(leaf.path().as_os_str().as_bytes()).ok());
    let number = |descriptor: Option<&OwnedFd>| descriptor.map_or(-1, AsRawFd::as_raw_fd);
    let supervisor = number(lifeline.as_ref().map(|lifeline| &lifeline.us));
    let bells =
        [0, 1].map(|bell| number(lifeline.as_ref().and_then(|lifeline| lifeline.bells[bell].as_ref())));
    let standing = ready.standing.as_ref().map(|standing| {
        let mut bytes = Vec::new();
        standing.pack(|byte| bytes.push(byte));
        // There is no NUL in it.
        CString::new(bytes).unwrap_or_default()
    });
    let command = ready.command;
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    let words = &ready.words;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let start = Start {
        flags: strategy.flags()
            | flag(command.inherit_descriptors, wire::KEEP_DESCRIPTORS)
            | flag(command.no_new_privs, wire::NO_NEW_PRIVS)
            | flag(command.twin, wire::TWIN)
            | extra,
        strings: Strings {
            directory: words.directory().is_some().into(),
            leaf: leaf_path.is_some().into(),
            standing: standing.is_some().into(),
            candidates: count(words.candidates().len()),
            args: count(words.args().len()),
            vars: count(words.vars().len()),
        },
        blocked: ready.signals.blocked,
        ignored: ready.signals.ignored,
        group: match command.group {
            _ if ready.pty.is_some() => wire::OWN_TERMINAL,
            Group::Own => wire::OWN_GROUP,
            Group::Session => wire::OWN_SESSION,
            Group::Same => wire::SAME_GROUP,
        },
        supervisor,
        bells,
        // Its number is above 2, as every descriptor's that is handed on.
        leaf: strategy.leaf().map_or(-1, |leaf| leaf.dir().as_raw_fd()),
        terminal: ready.terminal(),
    };
    let mut strings: Vec<*const c_char> =
        Vec::with_capacity(words.args().len() + words.vars().len() + words.candidates().len() + 6);
    strings.extend(words.directory());
    strings.extend(leaf_path.as_ref().map(|path| path.as_ptr()));
    strings.extend(standing.as_ref().map(|standing| standing.as_ptr()));
    strings.extend(words.candidates());
    strings.push(PLACE.as_ptr());
    strings.extend(words.args());
    strings.push(PLACE.as_ptr());
    strings.extend(words.vars());
    strings.push(ptr::null());
    let socket_number = CString::new(theirs.as_raw_fd().to_string()).unwrap_or_default();

    let link = Link::new(ours);
    link.send(ToGuard::Start(start)).map_err(Failed::Os)?;
    let maps = strategy.is_in_user_namespace().then(Maps::new);
    let birth = Birth {
        image,
        argv: [NAME.as_ptr(), socket_number.as_ptr(), ptr::null()],
        strings: strings.as_mut_ptr(),
        streams: ready.sources(),
        handed: [theirs.as_raw_fd(), start.supervisor, bells[0], bells[1], start.leaf, start.terminal],
        maps: maps.as_ref(),
        mounts: strategy.namespaces() & libc::CLONE_NEWNS != 0,
    };
    let given = ptr::from_ref(&birth).cast_mut().cast::<c_void>();
    let cloned = if let Image::Copy = image {
        // SAFETY: `be_born` makes only system calls.
        unsafe { fork(strategy.namespaces(), || be_born(given)) }
    } else {
        // SAFETY: as above, and what `given` refers to lives until the guard has executed.
        unsafe { vfork(strategy.namespaces(), be_born, given) }
    };
    drop(theirs);
    let (pid, watch) = cloned.map_err(|error| match (strategy, error.raw_os_error()) {
        // No such namespace here: not permitted, or as many as are allowed, or none at all.
        (Strategy::Namespace(_), Some(errno)) if !guard::may_pass(Some(errno)) => {
            Failed::Step(Step::Contain, errno)
        }
        _ => Failed::Os(error),
    })?;
    Ok(Born { link, watch, pid })
}

/// The guard runs, and says whether the leader does.
fn answered(link: Link, guard: Watch, guard_pid: u32, strategy: &Strategy) -> Result<Launched, Failed> {
    let mut guards = Guards::new(guard);
    let (news, pidfd) = match link.wait_for_start(&mut guards) {
        Came::News(news, pidfd) => (news, pidfd),
        Came::Nothing | Came::End => {
            // Not a guard of ours, which would have said something; unless it was killed. Then the leader may have run,
            // and is not started once more.
            return Err(match guards.ours.wait_dead() {
                Some(Status::Exited(_)) => Failed::Step(Step::Guard, libc::ENOEXEC),
                _ => Failed::Os(io::Error::other("its guard was killed while it started; start it again")),
            });
        }
    };
    match (news, pidfd) {
        (FromGuard::Started { pid, guard: holder, joined }, Some(pidfd)) => {
            strategy.note_start(joined);
            let pidfd = Watch::from_descriptor(pidfd);
            // By our own count: the guard's is another in a pid namespace of its own, which a host may also have made
            // for its children.
            let leader = pidfd.pid().unwrap_or(pid);
            if pid == 0 {
                link.send(ToGuard::Noted).map_err(Failed::Os)?;
            }
            let holder = if holder == 0 { guard_pid } else { holder };
            Ok(Launched { link, guards, guard_pid, leader, holder, pidfd })
        }
        (FromGuard::Refused { step, errno }, _) => {
            guards.ours.wait_dead();
            Err(match step {
                // What a clone lacks is not the mechanism's fault.
                Step::Clone => Failed::Os(io::Error::from_raw_os_error(errno)),
                _ => Failed::Step(step, errno),
            })
        }
        // The pidfd found no place in our table.
        (FromGuard::Started { .. }, None) => {
            end(&link, guards);
            Err(Failed::Os(io::Error::from_raw_os_error(libc::EMFILE)))
        }
        _ => {
            end(&link, guards);
            Err(Failed::Step(Step::Guard, libc::EPROTO))
        }
    }
}

/// Ends what a guard holds, and the guard.
fn end(link: &Link, mut guards: Guards) {
    _ = link.send(ToGuard::Kill);
    while let Came::News(..) | Came::Nothing = link.wait_for_start(&mut guards) {}
    guards.ours.wait_dead();
}

fn number_of(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().cast_unsigned()
}

const NAME: &CStr = c"foster-guard";
/// Keeps a place in the list of strings, in which the guard puts something else.
const PLACE: &CStr = c"";

/// What a guard needs to be born.
struct Birth<'a> {
    image: &'a Image,
    argv: [*const c_char; 3],
    strings: *mut *const c_char,
    streams: [c_int; 3],
    /// The guard has them by the same numbers; the first is its socket.
    handed: [RawFd; 6],
    maps: Option<&'a Maps>,
    mounts: bool,
}

/// Who we are, for a user namespace in which we stay who we are.
struct Maps {
    user: CString,
    group: CString,
}

impl Maps {
    fn new() -> Maps {
        let line = |id: u32| CString::new(format!("{id} {id} 1\n")).unwrap_or_default();
        Maps { user: line(getuid().as_raw()), group: line(getgid().as_raw()) }
    }
}

/// The child, from its clone until it is a guard.
extern "C" fn be_born(given: *mut c_void) -> c_int {
    // SAFETY: the birth that `launch` passed, alive until we have executed.
    let birth = unsafe { &*given.cast::<Birth<'_>>() };
    let socket = birth.handed[0];
    // SAFETY: a fresh child with a descriptor table of its own.
    let (step, errno) = unsafe { prepare_and_execute(birth) };
    sys::send(socket, &FromGuard::Refused { step, errno }.encode(), None);
    sys::exit(127)
}

/// Returns only what went wrong.
///
/// # Safety
///
/// Only in a fresh child with a descriptor table of its own, all signals blocked, and alive as long as the birth.
unsafe fn prepare_and_execute(birth: &Birth<'_>) -> (Step, c_int) {
    // SAFETY: system calls with pointers to NUL-terminated strings and NULL-terminated lists that the birth holds.
    unsafe {
        if let Some(maps) = birth.maps
            && let Err(errno) = write_maps(maps)
        {
            return (Step::Contain, errno);
        }
        if birth.mounts {
            // What we mount stays inside. A `/proc` that some container hides parts of cannot be mounted anew: the
            // program then sees the outer one.
            let none = ptr::null::<c_char>();
            libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, ptr::null());
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), flags, ptr::null());
        }
        for (place, source) in (0..).zip(birth.streams) {
            if source != -1 && libc::dup2(source, place) == -1 {
                return (Step::Streams, errno());
            }
        }
        for handed in birth.handed {
            if handed != -1 && libc::fcntl(handed, libc::F_SETFD, 0) == -1 {
                return (Step::Guard, errno());
            }
        }
        let (argv, strings) = (birth.argv.as_ptr(), birth.strings);
        match birth.image {
            Image::Memory(program) => {
                let empty = c"".as_ptr();
                libc::syscall(
                    libc::SYS_execveat,
                    program.as_raw_fd(),
                    empty,
                    argv,
                    strings,
                    libc::AT_EMPTY_PATH,
                );
            }
            Image::File(path) => _ = libc::execve(path.as_ptr(), argv, strings.cast_const()),
            Image::Host => _ = libc::execve(c"/proc/self/exe".as_ptr(), argv, strings.cast_const()),
            Image::Copy => guard::start::run(birth.handed[0], strings),
        }
        // It is the leader's words that are too large, not the guard.
        let errno = errno();
        (if errno == libc::E2BIG { Step::Execute } else { Step::Guard }, errno)
    }
}

/// `user_namespaces(7)`: before anything is executed, which would take from us what the namespace gives.
///
/// # Safety
///
/// As for [`prepare_and_execute`].
unsafe fn write_maps(maps: &Maps) -> Result<(), c_int> {
    let write = |path: &CStr, text: &CStr| {
        // SAFETY: NUL-terminated strings, and a descriptor of our own.
        unsafe {
            let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if file == -1 {
                return Err(errno());
            }
            let written = libc::write(file, text.as_ptr().cast(), text.to_bytes().len());
            let errno = errno();
            libc::close(file);
            if written == -1 { Err(errno) } else { Ok(()) }
        }
    };
    // Older than the rule that it must be there: then nothing is lost.
    match write(c"/proc/self/setgroups", c"deny") {
        Err(errno) if errno != libc::ENOENT => return Err(errno),
        _ => {}
    }
    write(c"/proc/self/uid_map", &maps.user)?;
    write(c"/proc/self/gid_map", &maps.group)
}

fn errno() -> c_int {
    // Reads a thread-local that the child shares with the thread that sleeps in the clone.
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

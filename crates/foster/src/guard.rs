//! The host's side of guards: the program that a guard is, and how it learns that we are no more.
//!
//! `unsafe` for the bells, threads with a descriptor table of their own.
#![expect(unsafe_code, reason = "a thread that leaves our descriptor table")]

use std::ffi::CString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};

use crate::GuardProgram;
use crate::Signal;
use crate::spawn::start_thread;
use crate::watch::Watch;

pub(crate) mod hold;
pub(crate) mod standing;
pub(crate) mod start;
pub(crate) mod sys;
#[cfg(test)]
mod tests;
pub(crate) mod twin;
pub(crate) mod wire;

/// The guard's program, as a file of its own. `None` where it could not be built.
#[cfg(guard_image)]
const PROGRAM: Option<&[u8]> = Some(include_bytes!(env!("FOSTER_GUARD_IMAGE")));
#[cfg(not(guard_image))]
const PROGRAM: Option<&[u8]> = None;

/// From where a guard is run.
#[derive(Debug)]
pub(crate) enum Image {
    /// From memory: no file of ours need be anywhere.
    Memory(OwnedFd),
    /// An installed `foster-guard`.
    File(CString),
    /// The host's own program, which has said that it can be a guard: [`crate::guard_main`].
    Host,
    /// No other program: a copy of the host's process.
    Copy,
}

/// The ways to run a guard, the best first.
#[derive(Debug)]
pub(crate) struct Images {
    all: Vec<Image>,
    /// Those before were tried and do not work here.
    first: AtomicUsize,
}

impl Images {
    /// This process's. The variable `FOSTER_GUARD` (`memory`, `file`, `host`, `copy`), where it is not empty, leaves
    /// only one.
    ///
    /// # Errors
    ///
    /// We lack descriptors or memory now, which says nothing of later.
    pub(crate) fn get() -> io::Result<&'static Images> {
        static IMAGES: OnceLock<Images> = OnceLock::new();
        if let Some(images) = IMAGES.get() {
            return Ok(images);
        }
        let only = std::env::var_os("FOSTER_GUARD").filter(|only| !only.is_empty());
        let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
        let mut all = Vec::new();
        if wanted("memory") {
            all.extend(unless_we_lack(in_memory())?.flatten().map(Image::Memory));
        }
        if wanted("file") {
            all.extend(installed().map(Image::File));
        }
        if wanted("host") && HOST_IS_ONE.load(Ordering::Relaxed) {
            all.push(Image::Host);
        }
        if wanted("copy") {
            all.push(Image::Copy);
        }
        if let Some(only) = only.filter(|_| all.is_empty()) {
            let message = format!(
                "FOSTER_GUARD={} is no way to run a guard here; unset it, or name another of memory, file, host and copy",
                only.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(IMAGES.get_or_init(|| Images { all, first: AtomicUsize::new(0) }))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Image)> {
        self.all.iter().enumerate().skip(self.first.load(Ordering::Relaxed))
    }

    /// From where the next guard is run, as far as is known. `None`: there is no way, or we lack descriptors or
    /// memory now.
    pub(crate) fn best() -> Option<GuardProgram> {
        let (_, best) = Images::get().ok()?.iter().next()?;
        Some(match best {
            Image::Memory(_) => GuardProgram::Memory,
            Image::File(_) => GuardProgram::File,
            Image::Host => GuardProgram::Host,
            Image::Copy => GuardProgram::Copy,
        })
    }

    /// This one cannot be run here, and need not be tried again.
    pub(crate) fn give_up(&self, index: usize) {
        self.first.fetch_max(index + 1, Ordering::Relaxed);
    }
}

/// Whether descriptors, memory or processes are lacking: that may pass, and is no reason to hold a tree less firmly.
pub(crate) fn may_pass(errno: Option<i32>) -> bool {
    matches!(
        errno,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN | libc::EINTR | libc::EPROTO)
    )
}

/// `None` for an error that stays; those that may pass are the caller's to tell.
fn unless_we_lack<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if may_pass(error.raw_os_error()) => Err(error),
        result => Ok(result.ok()),
    }
}

/// Sealed, so that nobody who can open `/proc/PID/fd` changes what guards are.
fn in_memory() -> io::Result<Option<OwnedFd>> {
    let Some(mut rest) = PROGRAM else { return Ok(None) };
    // To write more would be the end of the host, by SIGXFSZ.
    let most = getrlimit(Resource::Fsize).current;
    if most.is_some_and(|most| most < rest.len() as u64) {
        return Ok(None);
    }
    let create =
        |flags| memfd_create("foster-guard", flags | MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    // The flag is of Linux 6.3; before, everything in memory can be executed.
    let memory = match create(MemfdFlags::EXEC) {
        Err(Errno::INVAL) => create(MemfdFlags::empty())?,
        memory => memory?,
    };
    while !rest.is_empty() {
        let written = rustix::io::write(&memory, rest)?;
        rest = rest.get(written..).unwrap_or(&[]);
    }
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    above_2(memory).map(Some)
}

/// Beside the host's program, or where packages put such things.
fn installed() -> Option<CString> {
    let beside = std::env::current_exe().ok().and_then(|us| Some(us.parent()?.join("foster-guard")));
    let packaged =
        ["/usr/libexec/foster-guard", "/usr/local/libexec/foster-guard"].map(|p| Path::new(p).to_owned());
    let found = beside.into_iter().chain(packaged).find(|path| path.is_file())?;
    CString::new(found.as_os_str().as_bytes()).ok()
}

static HOST_IS_ONE: AtomicBool = AtomicBool::new(false);

/// The guard's program, for packagers: installed as `/usr/libexec/foster-guard`, it is used where programs in memory
/// cannot be executed. `None` where it could not be built, and where there are no guards.
pub fn guard_program() -> Option<&'static [u8]> {
    PROGRAM
}

/// Lets this program be its own guard where programs in memory cannot be executed and no `foster-guard` is installed.
/// To be called first of all in `main`, before there are threads: if this process was started as a guard, it does not
/// return.
pub fn guard_main() {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == "foster-guard")
        && let Some(socket) = args.next().and_then(|socket| socket.to_str()?.parse().ok())
    {
        unsafe extern "C" {
            static mut environ: *mut *const std::ffi::c_char;
        }
        // SAFETY: `environ` is the list that the process was started with; nothing else has run, and nothing will.
        unsafe { start::run(socket, environ) }
    }
    HOST_IS_ONE.store(true, Ordering::Relaxed);
}

/// By what a guard sees that this process is dead: its pidfd, and two bells.
#[derive(Debug)]
pub(crate) struct Lifeline {
    pid: rustix::process::Pid,
    pub(crate) us: OwnedFd,
    pub(crate) bells: [Option<OwnedFd>; 2],
}

impl Lifeline {
    /// This process's. After a fork it is another process's, and made anew.
    pub(crate) fn get() -> io::Result<Arc<Lifeline>> {
        static LIFELINE: Mutex<Option<Arc<Lifeline>>> = Mutex::new(None);
        let mut lifeline = LIFELINE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lifeline) = lifeline.as_ref().filter(|lifeline| lifeline.pid == getpid()) {
            return Ok(lifeline.clone());
        }
        let us = above_2(pidfd_open(getpid(), PidfdFlags::empty())?)?;
        // Without them the death of a process with much memory is seen late, and that is all. Both threads are on their
        // way before either is waited for.
        let bells = [Bell::start(), Bell::start()];
        let [first, second] = bells.map(|bell| unless_we_lack(bell.and_then(Bell::hear)));
        let bells = [first?, second?];
        Ok(lifeline.insert(Arc::new(Lifeline { pid: getpid(), us, bells })).clone())
    }
}

/// A pipe that is closed the moment this process dies. Its other end is in the descriptor table of a thread that has
/// nothing else, so that no child inherits it.
///
/// A dying process first gives back its memory, about 75 ms for each GiB, and only then its descriptors: whoever
/// watches its pidfd, or a pipe of the whole process, learns it that late. A thread with a table of its own gives that
/// back before, unless it is the last to use the memory; of two at most one is.
struct Bell {
    ours: OwnedFd,
    theirs: OwnedFd,
    has_left: mpsc::Receiver<io::Result<()>>,
}

impl Bell {
    /// Starts its thread.
    fn start() -> io::Result<Bell> {
        let (ours, theirs) = link()?;
        let (left, has_left) = mpsc::channel();
        let number = theirs.as_raw_fd();
        let thread = thread::Builder::new().name("foster-bell".to_string()).stack_size(64 * 1024);
        start_thread(thread, move || ring(number, &left))?;
        Ok(Bell { ours, theirs, has_left })
    }

    /// The end of the pipe that is ours.
    fn hear(self) -> io::Result<OwnedFd> {
        let Bell { ours, theirs, has_left } = self;
        has_left.recv().map_err(|_| Errno::NOSYS)??;
        // It has its own copy now: if it ends, we read the end.
        drop(theirs);
        let mut byte = [0];
        let (_, pipe) = receive(&ours, &mut byte, RecvFlags::empty())?;
        above_2(pipe.ok_or(Errno::MFILE)?)
    }
}

/// Leaves our descriptor table, hands over the reading end of a pipe, and sleeps holding the other. What is open in its
/// table is closed with it, when this thread ends.
fn ring(link: RawFd, left: &mpsc::Sender<io::Result<()>>) {
    // SAFETY: from here on this thread uses no descriptor but those it makes itself, and `link`, which it has by the
    // same number in its copy.
    let unshared = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) };
    let failed = unshared.is_err();
    _ = left.send(unshared.map_err(io::Error::from));
    if failed {
        return;
    }
    let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC) else { return };
    let fds = [read.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    // SAFETY: it is open in this table, whatever becomes of its number in the other.
    let link = unsafe { BorrowedFd::borrow_raw(link) };
    if sendmsg(link, &[IoSlice::new(&[1])], &mut control, SendFlags::NOSIGNAL).is_err() {
        return;
    }
    drop(read);
    let ours = write.as_raw_fd().cast_unsigned();
    // SAFETY: this table is nobody else's, and nothing in this thread owns another descriptor.
    unsafe {
        if ours > 0 {
            libc::syscall(libc::SYS_close_range, 0, ours - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, ours + 1, u32::MAX, 0);
    }
    // Until nobody listens any more, which is never, but where the other bell could not be made.
    while poll(&mut [PollFd::new(&write, PollFlags::empty())], None).is_err() {}
}

/// A pair of sockets that keep packets apart.
pub(crate) fn link() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((above_2(ours)?, above_2(theirs)?))
}

/// A host that closed its own streams gets low numbers, which belong to the leader's.
pub(crate) fn above_2(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(descriptor, 3)?) }
}

/// One packet, and the descriptor that comes with it; 0 bytes at the end.
pub(crate) fn receive(
    socket: &OwnedFd,
    into: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(into)];
    let received = loop {
        match recvmsg(socket, &mut parts, &mut control, flags | RecvFlags::CMSG_CLOEXEC) {
            // A reset is told before what was sent before it: that the other side ended with something unread.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            received => break received?,
        }
    };
    let mut descriptor = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.into_iter().last();
        }
    }
    Ok((received.bytes, descriptor))
}

/// Who holds a tree.
#[derive(Clone, Debug)]
pub(crate) struct Guards {
    /// Our child: of a twin the outer guard.
    pub(crate) ours: Watch,
    /// Of a twin the inner guard, which is nobody's child of ours.
    pub(crate) inner: Option<Watch>,
}

impl Guards {
    pub(crate) fn new(ours: Watch) -> Guards {
        Guards { ours, inner: None }
    }

    /// Has one go on that somebody has stopped.
    pub(crate) fn urge(&self) {
        for guard in [Some(&self.ours), self.inner.as_ref()].into_iter().flatten() {
            _ = guard.signal(Signal::CONT);
        }
    }
}

/// The host's end of the link to a guard.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// What came.
#[derive(Debug)]
pub(crate) enum Came {
    News(wire::FromGuard, Option<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more, or something that is none of ours.
    End,
}

impl Link {
    pub(crate) fn new(socket: OwnedFd) -> Link {
        Link(socket)
    }

    /// An order to a guard that is gone reaches nobody, and there is nobody left to need it. Nor does one that finds no
    /// room, as where somebody keeps stopping the guard: what fills the socket are kills.
    pub(crate) fn send(&self, order: wire::ToGuard) -> io::Result<()> {
        let bytes: Vec<u8> = order.encode().iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut none = SendAncillaryBuffer::default();
        let at_once = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut none, at_once) {
            Err(Errno::PIPE | Errno::CONNRESET | Errno::AGAIN) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Blocks until something comes, and continues the guards now and then: the leader, which may run already, may have
    /// stopped one.
    pub(crate) fn wait_for_start(&self, guards: &mut Guards) -> Came {
        let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            // First of all sleep: a guard has never said anything yet.
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&pause)) == Ok(0) {
                guards.urge();
                continue;
            }
            match self.next() {
                Came::Nothing => {}
                Came::News(wire::FromGuard::Split, pidfd) => guards.inner = pidfd.map(Watch::from_descriptor),
                came => return came,
            }
        }
    }

    /// Blocks until something comes.
    pub(crate) fn wait(&self) -> Came {
        self.receive(RecvFlags::empty())
    }

    pub(crate) fn next(&self) -> Came {
        self.receive(RecvFlags::DONTWAIT)
    }

    fn receive(&self, flags: RecvFlags) -> Came {
        let mut bytes = [0; wire::WORDS * 8];
        match receive(&self.0, &mut bytes, flags) {
            Ok((n, descriptor)) if n == bytes.len() => {
                let mut packet = [0; wire::WORDS];
                for (word, bytes) in packet.iter_mut().zip(bytes.as_chunks::<8>().0) {
                    *word = u64::from_ne_bytes(*bytes);
                }
                wire::FromGuard::decode(&packet).map_or(Came::End, |news| Came::News(news, descriptor))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Came::Nothing,
            Ok(_) | Err(_) => Came::End,
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

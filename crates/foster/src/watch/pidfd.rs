//! Linux: a pidfd. `pidfd_open(2)` (5.3), `waitid(P_PIDFD)` (5.4), group signals by pidfd (6.9), the status of a
//! process that somebody else reaped (6.15).
//!
//! `unsafe` because rustix's `waitid` tells no resource usage, its `pidfd_send_signal` takes no flags, and it has
//! no `PIDFD_GET_INFO` and no real-time signals: these calls are made by number here, each with arguments that live
//! on the stack.
#![expect(unsafe_code, reason = "system calls that no crate wraps as they are needed here")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};

use crate::guard::wire::Exited;
use crate::tree::proc;
use crate::{Signal, Status, Usage};

/// A process, pinned: whatever becomes of its number, this is it or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Pidfd(Arc<OwnedFd>);

/// Whether to leave the zombie, whose number pins its group, or to give both back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collect {
    Peek,
    Reap,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: Status,
    pub(crate) usage: Option<Usage>,
}

impl Ended {
    /// As a guard told it.
    pub(crate) fn told(exited: Exited) -> Ended {
        let usage = Usage {
            user: Duration::from_micros(exited.user_us),
            system: Duration::from_micros(exited.system_us),
            peak_memory: exited.peak_kib * 1024,
        };
        Ended { status: Info { code: exited.code, number: exited.status }.status(), usage: Some(usage) }
    }
}

/// `PIDFD_SIGNAL_PROCESS_GROUP` of linux/pidfd.h.
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// What the kernel says of that flag: it is there from 6.9 on.
static GROUP_BY_PIDFD: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const THERE: u8 = 1;
const MISSING: u8 = 2;

impl Pidfd {
    /// Takes over the descriptor that `clone(2)` made for our child.
    pub(crate) fn from_clone(raw: libc::c_int) -> Pidfd {
        // SAFETY: the kernel has just opened this descriptor for us; nobody else knows its number.
        Pidfd(Arc::new(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// Takes over a descriptor that a guard sent.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> Pidfd {
        Pidfd(Arc::new(descriptor))
    }

    /// Its number in our pid namespace; `None` if it is dead and reaped, or not to be seen from here.
    pub(crate) fn pid(&self) -> Option<u32> {
        const PID: u64 = 1;
        // From Linux 6.13 on; before, `/proc` tells, in its own namespace's numbers.
        let pid = match self.info(PID) {
            Ok(info) => info.ids.first().copied(),
            // Which `/proc` would take longer to say.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            Err(_) if proc::is_ours() => {
                let info =
                    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd())).ok()?;
                info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
            }
            Err(_) => None,
        };
        pid.filter(|pid| *pid != 0)
    }

    /// The number of the cgroup (v2) that this thread is in, which is its directory's inode; a quarter of the time that
    /// `/proc` takes to tell its path. `None` before Linux 6.13.
    pub(crate) fn cgroup_of_this_thread() -> Option<u64> {
        const CGROUP: u64 = 1 << 2;
        let thread = PidfdFlags::from_bits_retain(libc::PIDFD_THREAD);
        let this = rustix::process::pidfd_open(rustix::thread::gettid(), thread).ok()?;
        Pidfd::from_descriptor(this).info(CGROUP).ok().map(|info| info.cgroup)
    }

    /// Pins a process that is not our child.
    pub(crate) fn open(pid: u32) -> Option<Pidfd> {
        let pid = Pid::from_raw(pid.cast_signed())?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok().map(Pidfd::from_descriptor)
    }

    pub(crate) fn ended(&self, collect: Collect) -> Option<Ended> {
        let peek = if collect == Collect::Peek { libc::WNOWAIT } else { 0 };
        match self.waitid(libc::WEXITED | libc::WNOHANG | peek) {
            Ok(Some((info, usage))) => Some(Ended { status: info.status(), usage: Some(usage) }),
            // Somebody else in this process took it, or SIGCHLD is ignored. It may also run still: then it is a
            // process whose end nobody here will ever be told, except by the pidfd.
            Err(_) if self.is_dead() => Some(Ended { status: self.status_kept_by_kernel(), usage: None }),
            Ok(None) | Err(_) => None,
        }
    }

    /// Blocks until it is dead, and reaps it; `None` if somebody else did.
    pub(crate) fn wait_dead(&self) -> Option<Status> {
        loop {
            match self.waitid(libc::WEXITED) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
                Ok(ended) => return ended.map(|(info, _)| info.status()),
            }
        }
    }

    /// Blocks until it is dead, and leaves the zombie; or until that cannot be waited for.
    pub(crate) fn sleep_until_dead(&self) {
        // How it ended is not asked here: whoever reaps it asks.
        // SAFETY: the kernel writes nothing.
        let sleep =
            || unsafe { self.waitid_into(libc::WEXITED | libc::WNOWAIT, ptr::null_mut(), ptr::null_mut()) };
        while sleep().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
    }

    pub(crate) fn stopped(&self) -> Option<Signal> {
        let (info, _) = self.waitid(libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT).ok()??;
        Signal::from_number(info.number)
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        ok_if_gone(self.send(signal.number(), 0))
    }

    /// Signals the group that the process leads. It needs no unreaped leader: the kernel looks at the identity
    /// behind the descriptor, and a group keeps that alive (`free_pid` waits for its last member).
    pub(crate) fn signal_group(&self, signal: Signal) -> Option<io::Result<()>> {
        self.group(signal.number()).map(ok_if_gone)
    }

    /// Signals a group by its number: only for a caller who knows that the number is still that group's.
    pub(crate) fn signal_group_by_number(leader: Pid, signal: Signal) -> io::Result<()> {
        // SAFETY: no memory is passed.
        let sent = unsafe { libc::kill(-leader.as_raw_nonzero().get(), signal.number()) };
        ok_if_gone(if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) })
    }

    /// Whether groups can be signalled by handle on this kernel.
    pub(crate) fn pins_group(&self) -> bool {
        match GROUP_BY_PIDFD.load(Ordering::Relaxed) {
            UNKNOWN => self.group(0).is_some(),
            known => known == THERE,
        }
    }

    /// Whether anybody is in the group that the process leads; zombies count.
    pub(crate) fn group_is_populated(&self) -> bool {
        // EPERM: somebody is there who is not ours to signal.
        !matches!(self.group(0), Some(Err(error)) if error.raw_os_error() == Some(libc::ESRCH))
    }

    fn group(&self, signal: libc::c_int) -> Option<io::Result<()>> {
        if GROUP_BY_PIDFD.load(Ordering::Relaxed) == MISSING {
            return None;
        }
        match self.send(signal, SIGNAL_PROCESS_GROUP) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => {
                GROUP_BY_PIDFD.store(MISSING, Ordering::Relaxed);
                None
            }
            sent => {
                GROUP_BY_PIDFD.store(THERE, Ordering::Relaxed);
                Some(sent)
            }
        }
    }

    fn send(&self, signal: libc::c_int, flags: libc::c_uint) -> io::Result<()> {
        // SAFETY: no memory is passed; the null siginfo is what `kill(2)` would send.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) fn is_dead(&self) -> bool {
        let mut polled = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(1))
    }

    fn waitid(&self, options: libc::c_int) -> io::Result<Option<(Info, Usage)>> {
        // SAFETY: both are plain C structures for which all zeros is a value.
        let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { mem::zeroed() };
        // SAFETY: both outlive the call.
        unsafe { self.waitid_into(options, &raw mut info, &raw mut usage) }?;
        // SAFETY: waitid filled the fields of a SIGCHLD, or left the zeros: nothing to tell.
        let (pid, number) = unsafe { (info.si_pid(), info.si_status()) };
        Ok((pid != 0).then(|| (Info { code: info.si_code, number }, usage.into())))
    }

    /// # Safety
    ///
    /// The kernel writes into the two structures, where they are not null.
    unsafe fn waitid_into(
        &self,
        options: libc::c_int,
        info: *mut libc::siginfo_t,
        usage: *mut libc::rusage,
    ) -> io::Result<()> {
        // SAFETY: as the caller promises. The fifth argument is the system call's own; the C library's waitid has only
        // four.
        let waited = unsafe {
            libc::syscall(libc::SYS_waitid, libc::P_PIDFD, self.0.as_raw_fd(), info, options, usage)
        };
        if waited == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// From Linux 6.15 on the pidfd remembers the status of a process that has been reaped.
    fn status_kept_by_kernel(&self) -> Status {
        const EXIT: u64 = 1 << 3;
        let Ok(info) = self.info(EXIT) else { return Status::Unknown };
        let (code, signal) = ((info.exit_code >> 8) & 0xFF, info.exit_code & 0x7F);
        match Signal::from_number(signal) {
            Some(signal) => Status::Signaled { signal, core_dumped: info.exit_code & 0x80 != 0 },
            None => u8::try_from(code).map_or(Status::Unknown, Status::Exited),
        }
    }

    /// `PIDFD_GET_INFO` of linux/pidfd.h.
    ///
    /// # Errors
    ///
    /// The kernel does not tell what was asked for; or, with `ESRCH`, not any more: the process is dead and reaped.
    fn info(&self, asked: u64) -> io::Result<PidfdInfo> {
        const GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl; // _IOWR(0xFF, 11, 64 bytes)
        let mut info = PidfdInfo { mask: asked, ..PidfdInfo::default() };
        // SAFETY: the number says 64 bytes, which is the structure's size, and the structure outlives the call.
        let told = unsafe { libc::ioctl(self.0.as_raw_fd(), GET_INFO, &raw mut info) };
        match told {
            0 if info.mask & asked == asked => Ok(info),
            0 => Err(io::ErrorKind::Unsupported.into()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// Of the process, its thread group, its parent; users and groups.
    ids: [u32; 11],
    exit_code: i32,
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What waitid says: `si_code` and `si_status` of `sigaction(2)`.
struct Info {
    code: libc::c_int,
    number: libc::c_int,
}

impl Info {
    fn status(&self) -> Status {
        let signaled = |core_dumped| {
            Signal::from_number(self.number)
                .map_or(Status::Unknown, |signal| Status::Signaled { signal, core_dumped })
        };
        match self.code {
            libc::CLD_EXITED => u8::try_from(self.number).map_or(Status::Unknown, Status::Exited),
            libc::CLD_KILLED => signaled(false),
            libc::CLD_DUMPED => signaled(true),
            _ => Status::Unknown,
        }
    }
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Usage {
        let time = |time: libc::timeval| {
            Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
                + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
        };
        Usage {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        }
    }
}

/// A signal to somebody who is gone is no error: the race was lost, and nobody is harmed.
fn ok_if_gone(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        sent => sent,
    }
}

//! Instructions, counted by single-stepping: `ptrace(2)`. It wants no counter in the CPU, which virtual machines do not
//! have, and emulates nothing: valgrind 3.19 knows neither `pidfd_open` nor `pidfd_send_signal`, so that under it no
//! guard starts, and `/proc` is searched for the members of a group.
//!
//! Counted are our threads, and each child until its exec. Not counted: the guard, the program, the kernel.
//!
//! `unsafe` for ptrace, and for what a child does between its fork and its exec.
#![expect(unsafe_code, reason = "ptrace(2), which no crate that we have wraps")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{ptr, thread};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Who;

/// The instructions of each.
pub(crate) type Counts = BTreeMap<Who, u64>;

/// Runs `command`, which sends itself SIGURG at every mark, and counts from mark to mark. The first stretch does what is
/// done once in a process, and is not counted; it runs at full speed, the others about a thousand times slower.
pub(crate) fn count(mut command: Command) -> io::Result<Vec<Counts>> {
    // SAFETY: one system call. The exec that follows is the first stop.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0)) };
    let child = command.spawn()?;
    let host = c_int::try_from(child.id()).map_err(io::Error::other)?;
    let pinned = Pid::from_raw(host).ok_or_else(|| io::Error::other("it has no number"))?;
    let pinned = pidfd_open(pinned, PidfdFlags::empty())?;
    let (failed, has_failed) = mpsc::channel();
    let bound = thread::spawn(move || kill_if(&pinned, &has_failed));
    let known = HashMap::from([(host, Who::Caller)]);
    // It waits for the child, too.
    let counted = Steps { host, known, marks: 0, stretches: Vec::new() }.follow();
    if counted.is_err() {
        _ = failed.send(());
    }
    drop(failed);
    _ = bound.join();
    counted
}

/// Kills it if it has failed, or is not over after so long that it never will be.
fn kill_if(host: &OwnedFd, has_failed: &Receiver<()>) {
    const LATE: Duration = Duration::from_secs(300);
    if has_failed.recv_timeout(LATE) != Err(RecvTimeoutError::Disconnected) {
        _ = pidfd_send_signal(host, Signal::KILL);
    }
}

struct Steps {
    host: c_int,
    known: HashMap<c_int, Who>,
    marks: usize,
    stretches: Vec<Counts>,
}

impl Steps {
    fn follow(mut self) -> io::Result<Vec<Counts>> {
        let (first, _) = wait()?;
        let options = libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_EXITKILL;
        ptrace(libc::PTRACE_SETOPTIONS, first, options.into())?;
        self.go_on(first, 0);
        loop {
            let (pid, status) = wait()?;
            if libc::WIFSTOPPED(status) {
                self.stopped(pid, libc::WSTOPSIG(status), status >> 16)?;
            } else {
                self.known.remove(&pid);
                if pid == self.host {
                    return if status == 0 {
                        // After the last mark it only ends.
                        self.stretches.pop();
                        Ok(self.stretches)
                    } else {
                        Err(io::Error::other(format!("it ended with the status {status}")))
                    };
                }
            }
        }
    }

    fn stopped(&mut self, pid: c_int, signal: c_int, event: c_int) -> io::Result<()> {
        match (signal, event) {
            (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) if pid != self.host => {
                self.known.remove(&pid);
                _ = ptrace(libc::PTRACE_DETACH, pid, 0);
                return Ok(());
            }
            (libc::SIGTRAP, libc::PTRACE_EVENT_CLONE) => {
                self.known.insert(event_message(pid)?, Who::Engine);
            }
            (libc::SIGTRAP, libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_FORK) => {
                self.known.insert(event_message(pid)?, Who::Child);
            }
            (libc::SIGTRAP, 0) => {
                if let (Some(who), Some(counts)) = (self.known.get(&pid), self.stretches.last_mut()) {
                    *counts.entry(*who).or_insert(0) += 1;
                }
            }
            (libc::SIGURG, 0) if pid == self.host => self.marked()?,
            // The first stop of one that is new, the stop that we asked for, and events that tell nothing.
            (libc::SIGTRAP | libc::SIGSTOP, _) => {}
            (signal, _) => {
                self.go_on(pid, signal);
                return Ok(());
            }
        }
        self.go_on(pid, 0);
        Ok(())
    }

    fn marked(&mut self) -> io::Result<()> {
        self.marks += 1;
        // From the second on.
        if self.marks >= 2 {
            self.stretches.push(Counts::new());
        }
        if self.marks == 2 {
            // Whoever sleeps in the kernel must stop once, to be stepped from there.
            for (&thread, _) in self.known.iter().filter(|(_, who)| **who == Who::Engine) {
                // SAFETY: no memory is passed.
                let sent = unsafe { libc::syscall(libc::SYS_tgkill, self.host, thread, libc::SIGSTOP) };
                if sent == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        Ok(())
    }

    fn go_on(&self, pid: c_int, signal: c_int) {
        let how = if self.marks < 2 { libc::PTRACE_CONT } else { libc::PTRACE_SINGLESTEP };
        // It may have been killed meanwhile: then its end comes next.
        _ = ptrace(how, pid, signal.into());
    }
}

/// The next stop or end of what this thread has started; the test's other threads have children of their own.
fn wait() -> io::Result<(c_int, c_int)> {
    let mut status = 0;
    // SAFETY: the kernel writes the status, which outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    if pid == -1 { Err(io::Error::last_os_error()) } else { Ok((pid, status)) }
}

/// Of the event that somebody was born: who it is.
fn event_message(pid: c_int) -> io::Result<c_int> {
    let mut message: libc::c_ulong = 0;
    let place = &raw mut message;
    // SAFETY: the kernel writes one long to where the last argument points.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, ptr::null_mut::<u8>(), place) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(message).map_err(io::Error::other)
}

/// A request whose last argument is a number.
fn ptrace(request: libc::c_uint, pid: c_int, number: c_long) -> io::Result<()> {
    // SAFETY: for the requests made here no memory is passed.
    let done = unsafe { libc::ptrace(request, pid, ptr::null_mut::<u8>(), number) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

//! Who holds, in the process that does nothing else.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use foster::{Child, Containment};
use rustix::event::epoll;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    set_parent_process_death_signal, waitid,
};
use rustix::stdio::dup2_stdin;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::FIGURES;
use crate::burden::Room;
use crate::contenders::terminate_group;
use crate::stage::{CHILD, Mode};
use crate::{Result, limit};

/// With what each is; the limit first.
pub(super) const ALL: [(&str, &str); 3] = [
    (limit::NAME, "a pidfd for each, in one epoll: one thread"),
    (FOSTER, "own group; the engine's thread"),
    (TOKIO, "own group; a task for each, on the single-threaded runtime"),
];
const FOSTER: &str = "foster";
const TOKIO: &str = "tokio::process";

trait Hold {
    fn start(&mut self) -> Result<()>;

    /// So long nothing happens.
    fn idle(&mut self, time: Duration) -> Result<()>;

    /// SIGTERM to all, and all are reaped.
    fn stop(&mut self) -> Result<()>;
}

/// What the process with the hidden argument does: who, how many, how many seconds. Prints the figures.
///
/// # Errors
///
/// A word is missing, or not all could be started, held and stopped. Those that were started end with us.
pub(crate) fn hold(mut words: impl Iterator<Item = String>) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut word = || words.next().ok_or("who, how many, how many seconds?");
    let (name, children, seconds): (_, usize, u64) = (word()?, word()?.parse()?, word()?.parse()?);
    let _room = Room::for_descriptors(2 * children)?;
    let (read, _write) = pipe_with(PipeFlags::CLOEXEC)?;
    dup2_stdin(&read)?;
    drop(read);
    let mut holder = holder(&name)?;
    // What is there for the first child is there for all: a thread, a runtime.
    holder.start()?;
    holder.stop()?;

    let memory = resident()?;
    let start = Instant::now();
    for _ in 0..children {
        holder.start()?;
    }
    let started = start.elapsed();
    // What the starts have left to do is done before it is idle.
    holder.idle(Duration::from_millis(200))?;
    let work = clock_gettime(ClockId::ProcessCPUTime);
    holder.idle(Duration::from_secs(seconds))?;
    let work = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime) - work)?;
    let grown = resident()? - memory;
    let (threads, descriptors) = (entries("/proc/self/task")?, entries("/proc/self/fd")?);
    let stop = Instant::now();
    holder.stop()?;
    let stopped = stop.elapsed();

    #[expect(clippy::cast_precision_loss, reason = "children and seconds are few")]
    let figures: [f64; FIGURES.len()] = [
        started.as_secs_f64() * 1e3,
        work.as_secs_f64() * 1e3 * 10.0 / seconds as f64,
        (grown / children as f64).max(0.0),
        threads - 1.0,
        // Without the one that looks.
        descriptors - 1.0,
        stopped.as_secs_f64() * 1e3,
    ];
    println!("{}", figures.map(|figure| figure.to_string()).join(" "));
    Ok(())
}

fn holder(name: &str) -> Result<Box<dyn Hold>> {
    match name {
        limit::NAME => {
            Ok(Box::new(Limit { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, children: vec![] }))
        }
        FOSTER => Ok(Box::new(Foster(vec![]))),
        TOKIO => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(Box::new(Tokio { runtime, children: vec![] }))
        }
        _ => Err(format!("{name} holds nothing").into()),
    }
}

struct Limit {
    epoll: OwnedFd,
    children: Vec<OwnedFd>,
}

impl Hold for Limit {
    fn start(&mut self) -> Result<()> {
        let pid = Pid::from_raw(limit::start(Mode::Hold)?.pid()).ok_or("a pid is not zero")?;
        let child = pidfd_open(pid, PidfdFlags::empty())?;
        let place = epoll::EventData::new_u64(self.children.len() as u64);
        epoll::add(&self.epoll, &child, place, epoll::EventFlags::IN)?;
        self.children.push(child);
        Ok(())
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        let mut events =
            [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
        match epoll::wait(&self.epoll, &mut events, Some(&time.try_into()?))? {
            0 => Ok(()),
            _ => Err("a child did not sleep".into()),
        }
    }

    fn stop(&mut self) -> Result<()> {
        for child in &self.children {
            pidfd_send_signal(child, Signal::TERM)?;
        }
        let mut left = self.children.len();
        let mut events = Vec::with_capacity(64);
        while left > 0 {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let child = &self.children[usize::try_from(event.data.u64())?];
                waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)?;
                epoll::delete(&self.epoll, child)?;
                left -= 1;
            }
        }
        self.children.clear();
        Ok(())
    }
}

struct Foster(Vec<Child>);

impl Hold for Foster {
    fn start(&mut self) -> Result<()> {
        let command = foster::Command::new(CHILD).arg(Mode::Hold.as_str()).containment(Containment::Group);
        self.0.push(command.spawn()?);
        Ok(())
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        thread::sleep(time);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        for child in &self.0 {
            drop(child.stop_now());
        }
        for child in self.0.drain(..) {
            child.wait();
        }
        Ok(())
    }
}

struct Tokio {
    runtime: Runtime,
    children: Vec<(u32, JoinHandle<std::io::Result<()>>)>,
}

impl Hold for Tokio {
    fn start(&mut self) -> Result<()> {
        let _entered = self.runtime.enter();
        let mut command = tokio::process::Command::new(CHILD);
        let mut child = command.arg(Mode::Hold.as_str()).process_group(0).spawn()?;
        let pid = child.id().ok_or("it was not waited for")?;
        self.children.push((pid, self.runtime.spawn(async move { child.wait().await.map(drop) })));
        Ok(())
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        for (pid, _) in &self.children {
            terminate_group(*pid)?;
        }
        for (_, child) in self.children.drain(..) {
            self.runtime.block_on(child)??;
        }
        Ok(())
    }
}

/// Our resident memory in KiB. Not from `statm`, which may be off by some dozen pages for each CPU: it is counted in
/// batches (`proc_pid_statm(5)`).
fn resident() -> Result<f64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("it has no Rss")?;
    Ok(rss.trim().trim_end_matches(" kB").parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "descriptors and threads are few")]
fn entries(directory: &str) -> Result<f64> {
    Ok(fs::read_dir(directory)?.count() as f64)
}

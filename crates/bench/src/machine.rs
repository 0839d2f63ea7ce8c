//! The machine: what it is, whether it is quiet, and holding ourselves on one of its CPUs.

use std::fs;
use std::thread::{self, available_parallelism};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// What the figures depend on.
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) architecture: &'static str,
    pub(crate) cpus: usize,
    /// Over the last minute. It is told, not judged: a build just before us is in it.
    pub(crate) load: f64,
    /// The part of its CPUs that others, and the host above us, used while we slept.
    pub(crate) taken: f64,
}

impl Machine {
    /// Takes half a second.
    pub(crate) fn look() -> Result<Machine> {
        let (work, all) = ticks()?;
        thread::sleep(Duration::from_millis(500));
        let (more_work, more_all) = ticks()?;
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Machine {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            architecture: std::env::consts::ARCH,
            cpus: available_parallelism()?.get(),
            load: load.split(' ').next().unwrap_or_default().parse()?,
            taken: (more_work - work) / (more_all - all).max(1.0),
        })
    }

    /// Whether somebody else uses a good part of it.
    pub(crate) fn is_busy(&self) -> bool {
        self.taken > 0.1
    }
}

/// The time that all CPUs have worked, and all their time: the first line of `proc_stat(5)`.
fn ticks() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().ok_or("/proc/stat is empty")?;
    let times: Vec<f64> =
        line.split_whitespace().skip(1).map(str::parse).collect::<std::result::Result<_, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in the first two already.
    let all: f64 = times.iter().take(8).sum();
    let idle: f64 = times.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// While it lives, all our threads, and the children that they start, are held on one CPU. It is the least noisy way
/// to measure work that is done in turns; but nobody runs while another does, so it flatters who needs one thread.
pub(crate) struct Held {
    cpu: usize,
    before: CpuSet,
}

impl Held {
    /// On the last of our CPUs: the first one serves most interrupts.
    pub(crate) fn on_one_cpu() -> Result<Held> {
        let before = sched_getaffinity(None)?;
        let cpu = (0..CpuSet::MAX_CPU).rev().find(|&cpu| before.is_set(cpu)).ok_or("we may run nowhere")?;
        let mut only = CpuSet::new();
        only.set(cpu);
        hold_all_threads(&only)?;
        Ok(Held { cpu, before })
    }

    pub(crate) fn cpu(&self) -> usize {
        self.cpu
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        hold_all_threads(&self.before).expect("we may go back to where we were");
    }
}

/// The affinity is a thread's, and a background thread may be there from the task before.
fn hold_all_threads(cpus: &CpuSet) -> Result<()> {
    for thread in fs::read_dir("/proc/self/task")? {
        let id: i32 = thread?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(id), cpus)?;
    }
    Ok(())
}

/// In any order, as likely as another: Fisher and Yates, with a generator that is good enough to be fair.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut state = clock.as_secs() << 30 | u64::from(clock.subsec_nanos()) | 1;
    for left in (2..=items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let pick = usize::try_from(state % left as u64).expect("it is below the length");
        items.swap(left - 1, pick);
    }
}

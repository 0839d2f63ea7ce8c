//! What a test needs and not every machine has.

use std::path::Path;
use std::process::{Command, Stdio};

/// Something that some tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// To be root.
    Root,
    /// To be root, with `unshare(1)`, for a pid namespace.
    PidNamespace,
    /// To be root, with the freezer of cgroup v1 mounted: what is frozen there does not even die of KILL.
    Freezer,
    /// To be root, with a cgroup in which processes are counted: see [`Safety`](crate::Safety).
    Safety,
    /// To be root, with podman, runc and a busybox to make containers of.
    Podman,
    /// To be root, with `systemd-nspawn(1)` and a systemd that can boot in it.
    Nspawn,
    /// This program in `PATH`.
    Program(&'static str),
}

impl Feature {
    fn is_there(self) -> bool {
        match self {
            Feature::Root => is_root(),
            // In a container root may not.
            Feature::PidNamespace => is_root() && can_make_a_pid_namespace(),
            Feature::Freezer => {
                let freezer = "/sys/fs/cgroup/freezer";
                is_root()
                    && Path::new(freezer).join("cgroup.procs").exists()
                    && rustix::fs::access(freezer, rustix::fs::Access::WRITE_OK).is_ok()
            }
            Feature::Safety => crate::Safety::is_there(),
            Feature::Podman => {
                is_root()
                    && ["podman", "runc", "conmon", "busybox", "ldd"].into_iter().all(is_in_path)
                    && can_make_a_pid_namespace()
            }
            Feature::Nspawn => {
                is_root()
                    && is_in_path("systemd-nspawn")
                    && Path::new("/usr/lib/systemd/systemd").exists()
                    && can_make_a_pid_namespace()
            }
            Feature::Program(name) => is_in_path(name),
        }
    }
}

/// Whether the test can run here. If not, it says so; with `FOSTER_CI` set it fails, so that nobody takes a test
/// that was not run for one that passed.
#[track_caller]
pub fn needs(feature: Feature) -> bool {
    let there = feature.is_there();
    if !there {
        assert!(std::env::var_os("FOSTER_CI").is_none(), "this machine has no {feature:?}");
        eprintln!("not run: this machine has no {feature:?}");
    }
    there
}

fn can_make_a_pid_namespace() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["-p", "-f", "--mount-proc", "--kill-child", "test", "-w", "/proc/sys/kernel/ns_last_pid"]);
    unshare.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn is_in_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

//! What a test needs and not every machine has.

use std::path::Path;

/// Something that some tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// To be root.
    Root,
    /// To be root, with `unshare(1)`, for a pid namespace.
    PidNamespace,
    /// To be root, with the freezer of cgroup v1 mounted: what is frozen there does not even die of KILL.
    Freezer,
    /// This program in `PATH`.
    Program(&'static str),
}

impl Feature {
    fn is_there(self) -> bool {
        match self {
            Feature::Root => is_root(),
            Feature::PidNamespace => is_root() && Feature::Program("unshare").is_there(),
            Feature::Freezer => is_root() && Path::new("/sys/fs/cgroup/freezer/cgroup.procs").exists(),
            Feature::Program(name) => std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file())),
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

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

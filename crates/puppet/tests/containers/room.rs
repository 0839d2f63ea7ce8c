//! What both kinds of containers need: a root folder to live in, a time limit for what we call, and control groups that
//! are removed again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Runs it to its end, which must come, with its output.
#[track_caller]
pub(crate) fn output(words: &[String]) -> Output {
    // Longer than anything that a test waits for, and short enough that the test says what hung.
    let output =
        Command::new("timeout").args(["-k", "5", "50"]).args(words).output().expect("timeout starts");
    assert_ne!(output.status.code(), Some(124), "it hangs: {words:?}");
    output
}

/// Makes a root folder of busybox and these programs, with the libraries that they load.
pub(crate) fn furnish(root: &Path, programs: &[PathBuf]) {
    for folder in ["bin", "dev", "etc", "out", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    let busybox = find("busybox");
    let applets = Command::new(&busybox).arg("--list").output().expect("busybox starts");
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        // Its list has its own name too.
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
    }
    for program in programs.iter().chain([&busybox]) {
        fs::copy(program, root.join("bin").join(program.file_name().expect("a name"))).expect("a copy");
        // One that is static has none.
        let libraries = Command::new("ldd").arg(program).output().expect("ldd starts");
        let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
            fs::copy(library, place).expect("a copy");
        }
    }
}

fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).expect(name)
}

/// Control groups of this name, at the top of every hierarchy. They are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Cgroup(pub(crate) String);

impl Cgroup {
    /// Where the hierarchies are: one, or several, which lie below a tmpfs.
    fn hierarchies() -> Vec<PathBuf> {
        let top = Path::new("/sys/fs/cgroup");
        let below = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = below.filter(|path| !path.is_symlink()).chain([top.to_path_buf()]);
        // Only their roots have this file and no parent that has it too.
        all.filter(|path| {
            let is_one = |path: &Path| path.join("cgroup.procs").exists();
            is_one(path) && !path.parent().is_some_and(is_one)
        })
        .collect()
    }

    /// Makes those that systemd keeps its units in, so that a process can be put there, and returns their lists of
    /// processes.
    pub(crate) fn make(&self) -> Vec<PathBuf> {
        let theirs = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            ["cgroup", "systemd", "unified"].iter().any(|known| name == *known)
        };
        let folders = Cgroup::hierarchies().into_iter().filter(theirs).map(|path| path.join(&self.0));
        folders
            .map(|folder| {
                fs::create_dir(&folder).expect("a control group");
                folder.join("cgroup.procs")
            })
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Who was in them dies a moment after its container; what cannot be removed then harms nobody.
        let end = Instant::now() + Duration::from_secs(3);
        for folder in Cgroup::hierarchies().iter().map(|path| path.join(&self.0)) {
            while !remove(&folder) && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes a control group and those below it.
fn remove(folder: &Path) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    _ = fs::remove_dir(folder);
    !folder.exists()
}

//! Where our own cgroup is: its path from `/proc/PID/cgroup`, and the mount that shows it from `/proc/PID/mountinfo`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Kind, Refused};
use crate::watch::Watch;

/// The directory of our own cgroup, under which leaves are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
}

/// The last answer for each kind, with what it is for: an administrator may move us.
static KNOWN: Mutex<[Option<Known>; 2]> = Mutex::new([None, None]);

struct Known {
    /// The cgroup's number, where the kernel tells it and the path shows the same.
    number: Option<u64>,
    own: Vec<u8>,
    path: PathBuf,
}

/// Finds our own cgroup.
pub(super) fn own(kind: Kind) -> Result<Place, Refused> {
    // The thread's: threads may be in different cgroups, and the one that starts a child is the child's origin. The
    // process's own line also lies (v1) once its first thread has ended.
    let number = if kind == Kind::Cgroup { Watch::cgroup_of_this_thread() } else { None };
    if let Some(last) = &known()[kind as usize]
        && number.is_some()
        && last.number == number
    {
        return Ok(Place { kind, path: last.path.clone() });
    }
    let cgroups = read(kind, "/proc/thread-self/cgroup")?;
    let Some(own) = own_path(kind, &cgroups) else { return Err(not_mounted(kind)) };
    let mut known = known();
    if let Some(last) = &known[kind as usize]
        && last.own == own
    {
        return Ok(Place { kind, path: last.path.clone() });
    }
    let mounts = read(kind, "/proc/thread-self/mountinfo")?;
    // A later mount may hide an earlier one.
    let mut shown = mounted_at(kind, &mounts, own);
    shown.reverse();
    let Some(path) = shown.into_iter().find(|path| is_cgroup(kind, path)) else {
        return Err(not_mounted(kind));
    };
    // We may have been moved between the two answers.
    let number = number.filter(|number| rustix::fs::stat(&path).is_ok_and(|shown| shown.st_ino == *number));
    known[kind as usize] = Some(Known { number, own: own.to_vec(), path: path.clone() });
    Ok(Place { kind, path })
}

/// Mounts changed: what is known is no longer so.
pub(super) fn forget(kind: Kind) {
    known()[kind as usize] = None;
}

fn known() -> MutexGuard<'static, [Option<Known>; 2]> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(kind: Kind, file: &str) -> Result<Vec<u8>, Refused> {
    rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(super::read_to_end)
        .map_err(|errno| Refused::of(kind, format!("read {file}"), errno))
}

fn not_mounted(kind: Kind) -> Refused {
    let (step, hint) = match kind {
        Kind::Cgroup => ("find our cgroup in a cgroup2 mount", "mount cgroup2: mount -t cgroup2 none DIR"),
        Kind::Freezer => {
            ("find our cgroup in a freezer mount", "mount the freezer: mount -t cgroup -o freezer none DIR")
        }
    };
    Refused::not_here(kind, step.to_string(), None, hint, true)
}

/// The kernel's word that this is no other file system, mounted over it.
pub(super) fn is_cgroup(kind: Kind, path: &Path) -> bool {
    let magic = match kind {
        Kind::Cgroup => libc::CGROUP2_SUPER_MAGIC,
        Kind::Freezer => libc::CGROUP_SUPER_MAGIC,
    };
    rustix::fs::statfs(path).is_ok_and(|file_system| file_system.f_type == magic)
}

/// Our path in the hierarchy: `0::/path` for v2, `6:freezer:/path` for v1; `cgroups(7)`.
fn own_path(kind: Kind, cgroups: &[u8]) -> Option<&[u8]> {
    lines(cgroups).find_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match kind {
            Kind::Cgroup => number == b"0" && controllers.is_empty(),
            Kind::Freezer => has_word(controllers, b"freezer"),
        };
        ours.then_some(path)
    })
}

/// Where the mounts of this kind show the cgroup `own`, in the order of the mounts; `proc_pid_mountinfo(5)`.
fn mounted_at(kind: Kind, mounts: &[u8], own: &[u8]) -> Vec<PathBuf> {
    let shown = lines(mounts).filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        // After a variable number of optional fields.
        let mut after = fields.skip_while(|field| *field != b"-").skip(1);
        let (file_system, _source, options) = (after.next()?, after.next()?, after.next()?);
        let fits = match kind {
            Kind::Cgroup => file_system == b"cgroup2",
            Kind::Freezer => file_system == b"cgroup" && has_word(options, b"freezer"),
        };
        let below = if fits { below(&unescape(root), own)? } else { return None };
        let point = PathBuf::from(OsString::from_vec(unescape(point)));
        Some(if below.as_os_str().is_empty() { point } else { point.join(below) })
    });
    shown.collect()
}

/// `own` as seen from a mount of `root`: a bind mount, and a container without a cgroup namespace, shows a part of
/// the hierarchy. With a namespace either may begin with `..`, whose names nobody tells us: then it is not to be found.
fn below(root: &[u8], own: &[u8]) -> Option<PathBuf> {
    let has_dots = |path: &[u8]| path.split(|byte| *byte == b'/').any(|part| part == b"..");
    if has_dots(root) || has_dots(own) {
        return None;
    }
    let rest = if root == b"/" { own } else { own.strip_prefix(root)? };
    match rest {
        [] => Some(PathBuf::new()),
        [b'/', rest @ ..] => Some(PathBuf::from(OsString::from_vec(rest.to_vec()))),
        // `/docker2` is not below `/docker`.
        _ => None,
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|one| one == word)
}

/// Space, tab, line break and backslash stand as `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then_some(digit - b'0');
        rest = tail;
        if *first == b'\\'
            && let [a, b, c, after @ ..] = tail
            && let (Some(a @ 0..=3), Some(b), Some(c)) = (octal(*a), octal(*b), octal(*c))
        {
            plain.push(a << 6 | b << 3 | c);
            rest = after;
        } else {
            plain.push(*first);
        }
    }
    plain
}

impl Refused {
    /// What a refusal of the system means.
    pub(in crate::tree) fn of(kind: Kind, step: String, errno: Errno) -> Refused {
        if matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM) {
            return Refused::Error(io::Error::from(errno));
        }
        // A limit of the hierarchy (EAGAIN: cgroup.max.descendants), of the kernel's ids, or a moment's trouble.
        let passing = matches!(
            errno,
            Errno::AGAIN | Errno::NOSPC | Errno::BUSY | Errno::INTR | Errno::EXIST | Errno::NOLCK
        );
        let hint = match (errno, kind) {
            (Errno::NOENT, _) if step.contains("/proc/") => "mount /proc",
            (Errno::ROFS, _) => "mount the cgroups writable: read-only is what a container gets by default",
            (Errno::ACCESS | Errno::PERM, Kind::Cgroup) => {
                "delegate a cgroup: systemd-run --user --scope -p Delegate=yes"
            }
            (Errno::ACCESS | Errno::PERM, Kind::Freezer) => "run as root",
            (Errno::AGAIN, _) => "raise cgroup.max.descendants and cgroup.max.depth above our cgroup",
            (Errno::NOSPC, _) => "remove cgroups that nobody uses",
            (Errno::NOENT | Errno::NODEV, _) => "see what removes cgroups under ours",
            _ => "see dmesg",
        };
        Refused::not_here(kind, step, Some(errno), hint, !passing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:3 - cgroup2 cgroup2 rw,nsdelegate
";

    fn at(kind: Kind, mounts: &[u8], own: &[u8]) -> Vec<String> {
        mounted_at(kind, mounts, own).iter().map(|path| path.to_str().expect("UTF-8").to_string()).collect()
    }

    #[test]
    fn our_path_is_read_for_either_kind() {
        let both = b"9:name=systemd:/s\n6:cpu,freezer:/a:b/c\n5:notfreezer:/x\n0::/user.slice/a b\n";
        assert_eq!(own_path(Kind::Cgroup, both), Some(&b"/user.slice/a b"[..]));
        assert_eq!(own_path(Kind::Freezer, both), Some(&b"/a:b/c"[..]));
        assert_eq!(own_path(Kind::Cgroup, b"9:name=systemd:/s\n"), None);
        assert_eq!(own_path(Kind::Freezer, b"0::/\n"), None);
        assert_eq!(own_path(Kind::Cgroup, b"0:\n\n"), None);
    }

    #[test]
    fn a_mount_is_found_by_its_type_and_not_by_its_place() {
        assert_eq!(at(Kind::Cgroup, HYBRID, b"/"), ["/sys/fs/cgroup/unified"]);
        assert_eq!(at(Kind::Cgroup, HYBRID, b"/a/b"), ["/sys/fs/cgroup/unified/a/b"]);
        assert_eq!(at(Kind::Freezer, HYBRID, b"/"), ["/sys/fs/cgroup/freezer"]);
        assert_eq!(at(Kind::Cgroup, b"41 31 0:38 / /cut rw\nrubbish\n", b"/"), [""; 0]);
    }

    #[test]
    fn a_mount_of_a_part_shows_what_is_below_it() {
        let docker = b"1 2 0:3 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";
        assert_eq!(at(Kind::Cgroup, docker, b"/docker/abc"), ["/sys/fs/cgroup"]);
        assert_eq!(at(Kind::Cgroup, docker, b"/docker/abc/in"), ["/sys/fs/cgroup/in"]);
        assert_eq!(at(Kind::Cgroup, docker, b"/docker/abcd"), [""; 0]);
        assert_eq!(at(Kind::Cgroup, docker, b"/"), [""; 0]);
        let outer = b"1 2 0:3 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(at(Kind::Cgroup, outer, b"/"), [""; 0]);
        assert_eq!(at(Kind::Cgroup, HYBRID, b"/../other"), [""; 0]);
    }

    #[test]
    fn escapes_in_a_mount_point_and_a_root_are_read() {
        let odd = b"1 2 0:3 /a\\040b /mnt/t\\011\\134x\\1y rw - cgroup2 cgroup rw\n";
        assert_eq!(at(Kind::Cgroup, odd, b"/a b/c"), ["/mnt/t\t\\x\\1y/c"]);
    }
}

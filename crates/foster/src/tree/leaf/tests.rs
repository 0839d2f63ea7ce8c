//! With real cgroups, each test's leaves in a cgroup of its own, so that no test sweeps another's.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::sweep::sweep_in;
use super::*;
use crate::Swept;

const KINDS: [Kind; 2] = [Kind::Cgroup, Kind::Freezer];
const NOT_LONG: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(30);

/// A cgroup under our own for one test. Whoever is in it at the end is killed.
struct Lab(Place);

impl Lab {
    /// `None`, said aloud, where we cannot make cgroups of this kind.
    fn new(kind: Kind) -> Option<Lab> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let lab = place::own(kind).ok().and_then(|own| {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            // Not by our pid alone, which somebody in another pid namespace has too.
            let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
            let path = own.path.join(format!("foster-test.{}.{since}.{count}", process::id()));
            std::fs::create_dir(&path).ok().map(|()| Lab(Place { kind, path }))
        });
        if lab.is_none() {
            assert!(std::env::var_os("FOSTER_CI").is_none(), "this machine has no {kind:?}");
            eprintln!("not run: this machine has no {kind:?}");
        }
        lab
    }

    fn leaf(&self) -> Leaf {
        Leaf::create_in(&self.0).expect("the lab is ours")
    }

    fn sweep(&self, young: Duration) -> Vec<Swept> {
        sweep_in(&self.0, &self.0.path, young, NOT_LONG)
    }

    /// What is found once nobody holds a lock by chance: a child of a test beside this one has all our descriptors
    /// between its fork and its exec.
    fn sweep_until_found(&self) -> Vec<Swept> {
        let mut swept = Vec::new();
        eventually(|| {
            swept = self.sweep(Duration::ZERO);
            !swept.is_empty()
        });
        swept
    }

    /// A leaf with two sleepers, whose owner is dead.
    fn orphan(&self, left_alone: bool) -> (PathBuf, Vec<Sleeper>) {
        let leaf = self.leaf();
        let path = leaf.path().to_path_buf();
        let sleepers = vec![Sleeper::in_(&path), Sleeper::in_(&path)];
        if left_alone {
            leaf.leave_alone();
        }
        (path, sleepers)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let lab = Leaf {
            kind: self.0.kind,
            dir: open_dir(&self.0.path).expect("a lab"),
            path: self.0.path.clone(),
        };
        let until = Instant::now() + NOT_LONG;
        while !lab.is_empty() && Instant::now() < until {
            // In the v1 freezer and in v2 alike.
            _ = lab.kill();
            std::thread::sleep(Duration::from_millis(1));
        }
        let removed = lab.remove();
        assert!(removed || std::thread::panicking(), "{} is still there", self.0.path.display());
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn in_(cgroup: &Path) -> Sleeper {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep");
        move_to(cgroup, child.id());
        Sleeper(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("our child").is_none()
    }

    fn dies(&mut self) -> bool {
        eventually(|| !self.lives())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn move_to(cgroup: &Path, pid: u32) {
    std::fs::write(cgroup.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
}

fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + LONG;
    while !done() {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

fn sorted(mut pids: Vec<u32>) -> Vec<u32> {
    pids.sort_unstable();
    pids
}

#[test]
fn a_leaf_knows_its_members_and_kills_them() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        assert!(leaf.is_empty() && leaf.members().is_empty());
        let (mut one, mut two) = (Sleeper::in_(leaf.path()), Sleeper::in_(leaf.path()));
        assert_eq!(leaf.members(), sorted(vec![one.pid(), two.pid()]));
        assert!(!leaf.is_empty());
        let mut stranger = Sleeper::in_(lab.leaf().path());
        leaf.kill().expect("ours to kill");
        // Zombies are nobody.
        assert!(eventually(|| leaf.is_empty()));
        assert!(leaf.members().is_empty());
        assert!(one.dies() && two.dies() && stranger.lives());
        let (path, usage) = (leaf.path().to_path_buf(), leaf.usage());
        assert_eq!(usage.is_some(), lab.0.kind == Kind::Cgroup);
        assert!(leaf.remove());
        assert!(!path.exists());
    }
}

#[test]
fn a_leaf_that_is_gone_is_empty_and_can_be_killed_and_removed() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        std::fs::remove_dir(leaf.path()).expect("it is empty");
        assert!(leaf.is_empty());
        leaf.kill().expect("there is nobody");
        assert_eq!(leaf.members(), Vec::<u32>::new());
        leaf.leave_alone();
        assert!(leaf.remove());
    }
}

#[test]
fn what_members_made_below_is_killed_and_removed_with_it() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        let (deep, beside) = (leaf.path().join("a/b/c"), leaf.path().join("d"));
        std::fs::create_dir_all(&deep).expect("deep");
        std::fs::create_dir(&beside).expect("beside");
        let (mut one, mut two) = (Sleeper::in_(&deep), Sleeper::in_(&beside));
        assert_eq!(leaf.members(), sorted(vec![one.pid(), two.pid()]));
        assert!(!leaf.is_empty());
        leaf.kill().expect("ours to kill");
        assert!(one.dies() && two.dies() && eventually(|| leaf.is_empty()));
        let path = leaf.path().to_path_buf();
        assert!(leaf.remove());
        assert!(!path.exists());
    }
}

#[test]
fn with_somebody_in_it_a_leaf_is_not_removed() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        let mut sleeper = Sleeper::in_(leaf.path());
        assert!(!leaf.remove());
        assert!(sleeper.lives());
    }
}

#[test]
fn the_frozen_die() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        let sub = leaf.path().join("sub");
        std::fs::create_dir(&sub).expect("a cgroup below");
        let (mut one, mut two) = (Sleeper::in_(leaf.path()), Sleeper::in_(&sub));
        for dir in [leaf.path(), &sub] {
            let (file, freeze) = match lab.0.kind {
                Kind::Cgroup => ("cgroup.freeze", "1"),
                Kind::Freezer => ("freezer.state", "FROZEN"),
            };
            std::fs::write(dir.join(file), freeze).expect("it freezes");
        }
        assert!(eventually(|| {
            _ = leaf.kill();
            leaf.is_empty()
        }));
        assert!(one.dies() && two.dies());
        assert!(leaf.remove());
    }
}

/// What Linux 5.2 to 5.13 are left with.
#[test]
fn without_a_kill_of_the_kernels_each_is_killed_frozen() {
    let Some(lab) = Lab::new(Kind::Cgroup) else { return };
    let leaf = lab.leaf();
    std::fs::create_dir(leaf.path().join("sub")).expect("a cgroup below");
    let mut sleepers: Vec<Sleeper> = (0..200).map(|_| Sleeper::in_(leaf.path())).collect();
    sleepers.push(Sleeper::in_(&leaf.path().join("sub")));
    cgroup::freeze_and_kill(leaf.dir()).expect("ours to kill");
    assert!(sleepers.iter_mut().all(Sleeper::dies));
    assert_eq!(std::fs::read_to_string(leaf.path().join("cgroup.freeze")).expect("thawed"), "0\n");
    assert!(eventually(|| leaf.is_empty()) && leaf.remove());
}

#[test]
fn nobody_forks_away_from_a_repeated_kill() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        // Each bears the next, in a session of its own, and ends: no pid stays.
        let rabbit = "exec setsid -f sh -c \"$0\" \"$0\"";
        for _ in 0..8 {
            let join = format!("echo $$ > {}/cgroup.procs; exec sh -c \"$0\" \"$0\"", leaf.path().display());
            let mut first = Command::new("sh").args(["-c", &join, rabbit]).spawn().expect("a shell");
            assert!(first.wait().expect("our child").success());
        }
        assert!(eventually(|| {
            _ = leaf.kill();
            leaf.is_empty()
        }));
        assert!(eventually(|| leaf.members().is_empty()));
        assert!(leaf.remove());
    }
}

#[test]
fn what_was_used_is_counted() {
    let Some(lab) = Lab::new(Kind::Cgroup) else { return };
    let leaf = lab.leaf();
    assert_eq!(leaf.usage(), Some((Duration::ZERO, Duration::ZERO)));
    let work = format!(
        "echo $$ > {}/cgroup.procs; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
        leaf.path().display()
    );
    assert!(Command::new("sh").args(["-c", &work]).status().expect("a shell").success());
    let (user, system) = leaf.usage().expect("v2 counts");
    assert!(user + system > Duration::from_millis(5), "{user:?} {system:?}");
}

#[test]
fn a_leaf_of_threads_is_refused() {
    let Some(lab) = Lab::new(Kind::Cgroup) else { return };
    let threads = lab.0.path.join("threads");
    std::fs::create_dir(&threads).expect("in the lab");
    std::fs::write(threads.join("cgroup.type"), "threaded").expect("it becomes one");
    for below in [Place { kind: Kind::Cgroup, path: threads }, lab.0.clone()] {
        match Leaf::create_in(&below) {
            Err(Refused::NotHere { tried, lasting: true }) => {
                assert!(tried.step.ends_with("it is “domain invalid”"), "{tried}");
            }
            other => panic!("{other:?}"),
        }
        let left = std::fs::read_dir(&below.path).expect("a directory").flatten();
        assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("foster.")));
    }
}

#[test]
fn a_place_that_is_gone_or_is_none_is_refused_for_good() {
    for kind in KINDS {
        let path = PathBuf::from("/nonexistent");
        match Leaf::create_in(&Place { kind, path }) {
            Err(Refused::NotHere { tried, lasting: true }) => {
                assert!(tried.step.starts_with("mkdir /nonexistent/foster."), "{tried}");
                assert_eq!(tried.errno, Some(libc::ENOENT));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_hierarchy_is_a_refusal_that_passes() {
    let Some(lab) = Lab::new(Kind::Cgroup) else { return };
    std::fs::write(lab.0.path.join("cgroup.max.descendants"), "0").expect("a limit");
    match Leaf::create_in(&lab.0) {
        Err(Refused::NotHere { tried, lasting: false }) => assert_eq!(tried.errno, Some(libc::EAGAIN)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_leaf_of_the_dead_is_swept() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let (path, mut sleepers) = lab.orphan(false);
        std::fs::create_dir(path.join("sub")).expect("a cgroup below");
        sleepers.push(Sleeper::in_(&path.join("sub")));
        let killed = sorted(sleepers.iter().map(Sleeper::pid).collect());
        assert_eq!(lab.sweep_until_found(), [Swept { path: path.clone(), killed, removed: true }]);
        assert!(sleepers.iter_mut().all(Sleeper::dies) && !path.exists());
        assert_eq!(lab.sweep(Duration::ZERO), []);
    }
}

#[test]
fn a_young_leaf_is_not_swept() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let (_, mut sleepers) = lab.orphan(false);
        assert_eq!(lab.sweep(Duration::from_secs(600)), []);
        assert!(sleepers.iter_mut().all(Sleeper::lives));
    }
}

#[test]
fn who_was_left_alone_is_not_killed_and_an_empty_leaf_goes_nonetheless() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let (path, mut sleepers) = lab.orphan(true);
        assert_eq!(lab.sweep(Duration::ZERO), []);
        assert!(sleepers.iter_mut().all(Sleeper::lives));
        drop(sleepers);
        let removed =
            || lab.sweep(Duration::ZERO) == [Swept { path: path.clone(), killed: vec![], removed: true }];
        assert!(eventually(removed));
    }
}

#[test]
fn the_sticky_bit_is_a_mark_too() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let leaf = lab.leaf();
        assert!(!leaf.is_left_alone());
        rustix::fs::fchmod(&leaf.dir, Mode::from_raw_mode(0o1711)).expect("it can be set");
        assert!(leaf.is_left_alone());
    }
}

#[test]
fn others_cgroups_and_the_one_we_are_in_are_not_swept() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        for name in
            ["foster.service", "foster.1.2", "foster.1.2.x", "foster.1.2.3.4", "xfoster.1.2.3", "foster.1..3"]
        {
            std::fs::create_dir(lab.0.path.join(name)).expect("any name");
        }
        let within = lab.0.path.join("foster.1.2.3");
        std::fs::create_dir(&within).expect("any name");
        let own = Place { kind: lab.0.kind, path: within.join("sub") };
        assert_eq!(sweep_in(&own, &lab.0.path, Duration::ZERO, NOT_LONG), []);
        assert!(within.exists());
    }
}

/// As a host is while it works: the lock is in another process, which we then kill with SIGKILL.
#[test]
fn the_leaf_of_the_living_is_not_swept_until_they_are_killed() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let mut owner = Owner::start(&lab, "");
        let mut sleeper = Sleeper::in_(&owner.leaf);
        assert_eq!(lab.sweep(Duration::ZERO), []);
        assert!(sleeper.lives());
        owner.kill();
        let killed = vec![sleeper.pid()];
        assert_eq!(lab.sweep_until_found(), [Swept { path: owner.leaf.clone(), killed, removed: true }]);
        assert!(sleeper.dies());
    }
}

/// The guard, or a fork of the host's: it has inherited the lock and keeps it when the host is killed.
#[test]
fn a_leaf_is_not_swept_while_an_heir_of_its_lock_lives() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let mut owner = Owner::start(&lab, "heir");
        let mut sleeper = Sleeper::in_(&owner.leaf);
        owner.kill();
        assert_eq!(lab.sweep(Duration::ZERO), []);
        assert!(sleeper.lives());
        let heir = owner.heir.take().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("an heir");
        rustix::process::kill_process(heir, Signal::KILL).expect("it lives, and is of our making");
        assert!(eventually(|| !lab.sweep(Duration::ZERO).is_empty()));
        assert!(sleeper.dies());
    }
}

#[test]
fn many_sweepers_take_a_leaf_once_and_harm_no_maker() {
    for lab in KINDS.into_iter().filter_map(Lab::new) {
        let orphans: Vec<_> = (0..8).map(|_| lab.orphan(false)).collect();
        let (mut swept, made) = std::thread::scope(|scope| {
            let sweepers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..25).flat_map(|_| lab.sweep(Duration::ZERO)).collect::<Vec<_>>()))
                .collect();
            // With no youth to spare them, sweepers get between a making and its lock: the maker makes another.
            let made: Vec<Leaf> = (0..50).filter_map(|_| Leaf::create_in(&lab.0).ok()).collect();
            let swept: Vec<_> = sweepers.into_iter().flat_map(|one| one.join().expect("no panic")).collect();
            (swept, made)
        });
        assert!(eventually(|| {
            swept.extend(lab.sweep(Duration::ZERO));
            orphans.iter().all(|(path, _)| !path.exists())
        }));
        for (path, mut sleepers) in orphans {
            assert_eq!(swept.iter().filter(|one| one.path == path).count(), 1, "{path:?}");
            assert!(sleepers.iter_mut().all(Sleeper::dies));
        }
        assert!(made.len() > 25, "{} made", made.len());
        for leaf in made {
            assert!(leaf.path().exists());
            assert!(leaf.remove());
        }
    }
}

#[test]
fn a_name_is_ours_and_never_the_same() {
    let names: std::collections::BTreeSet<String> = (0..100).map(|_| name()).collect();
    assert_eq!(names.len(), 100);
    let prefix = format!("foster.{}.{}.", process::id(), start_time());
    assert!(start_time() > 0 && names.iter().all(|name| name.starts_with(&prefix)), "{names:?}");
}

#[test]
fn a_leaf_is_made_under_our_own_cgroup() {
    for kind in KINDS {
        match Leaf::create(kind) {
            Ok(leaf) => {
                assert_eq!(
                    leaf.path().parent(),
                    place::own(kind).ok().as_ref().map(|place| place.path.as_path())
                );
                assert!(leaf.dir().as_raw_fd() > 2);
                assert!(
                    rustix::io::fcntl_getfd(leaf.dir())
                        .is_ok_and(|flags| flags == rustix::io::FdFlags::CLOEXEC)
                );
                assert!(leaf.remove());
            }
            Err(refused) => {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{refused:?}");
                eprintln!("not run: {refused:?}");
            }
        }
    }
}

const LAB: &str = "FOSTER_TEST_LEAF_LAB";

/// This very test program as an owner of a leaf.
struct Owner {
    child: Child,
    leaf: PathBuf,
    heir: Option<u32>,
}

impl Owner {
    fn start(lab: &Lab, how: &str) -> Owner {
        let what = format!("{:?} {how} {}", lab.0.kind, lab.0.path.display());
        let mut child = Command::new(std::env::current_exe().expect("we run from a file"))
            .args(["tree::leaf::tests::an_owner", "--exact", "--nocapture", "--test-threads=1"])
            .env(LAB, what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ourselves");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        // The harness writes before it.
        let told = lines.find_map(|line| line.split_once("leaf=").map(|(_, told)| told.to_string()));
        let told = told.expect("it tells");
        let (heir, leaf) = told.split_once(' ').expect("two words");
        Owner { child, leaf: PathBuf::from(leaf), heir: heir.parse().ok() }
    }

    fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if let Some(heir) = self.heir.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            _ = rustix::process::kill_process(heir, Signal::KILL);
        }
    }
}

/// No test: what [`Owner`] starts.
#[test]
fn an_owner() {
    let Some(what) = std::env::var_os(LAB) else { return };
    let what = what.into_string().expect("UTF-8");
    let mut words = what.splitn(3, ' ');
    let kind = if words.next() == Some("Cgroup") { Kind::Cgroup } else { Kind::Freezer };
    let with_heir = words.next() == Some("heir");
    let path = PathBuf::from(words.next().expect("a path"));
    let leaf = Leaf::create_in(&Place { kind, path }).expect("the lab is ours");
    let heir = with_heir.then(|| {
        // As standard input it is inherited.
        let lock = leaf.dir.try_clone().expect("a duplicate");
        Command::new("sleep").arg("60").stdin(lock).stdout(Stdio::null()).spawn().expect("sleep").id()
    });
    println!(
        "leaf={} {}",
        heir.map_or_else(|| "-".to_string(), |pid| pid.to_string()),
        leaf.path().display()
    );
    // Until we are killed, or whoever started us is.
    _ = io::stdin().read(&mut [0]);
}

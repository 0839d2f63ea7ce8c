//! A thousand random trees, stopped at random moments under every containment: nobody survives.
//!
//! `FOSTER_STOPS` sets how many, `FOSTER_SEED` which. A failure tells the seed and the script.

use std::time::{Duration, Instant};

use puppet::{Feature, Host, Programs, User, needs};

/// How a tree is held, as whom the host runs, and whether it holds those who leave the group.
const STRATEGIES: [(&str, User, bool); 9] = [
    ("group", User::Root, false),
    ("subreaper", User::Root, true),
    ("subreaper+twin", User::Root, true),
    ("freezer", User::Root, true),
    ("landlock", User::Root, true),
    ("cgroup", User::Root, true),
    ("cgroup+twin", User::Root, true),
    ("pid-namespace", User::Root, true),
    ("pid-namespace", User::Nobody, true),
];

/// More than any of the trees has.
const CROWD: u32 = 500;

/// A host lives a minute; this many stops take less.
const STOPS_PER_HOST: u64 = 40;

#[test]
fn no_survivor_after_a_thousand_random_stops() {
    if !needs(Feature::Safety) || !needs(Feature::Freezer) || !needs(Feature::Program("setpriv")) {
        return;
    }
    let programs = Programs::copy();
    let stops = number("FOSTER_STOPS").unwrap_or(1000);
    let seed = number("FOSTER_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970").as_secs()
    });
    println!("FOSTER_SEED={seed}");
    let there: Vec<_> =
        STRATEGIES.into_iter().filter(|(how, user, _)| is_there(&programs, how, *user)).collect();
    let start = Instant::now();
    // Two at a time: each tree has its own place, so nobody is counted twice.
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (programs, there) = (&programs, &there);
            scope.spawn(move || {
                let rounds = (stops / STOPS_PER_HOST + 1).max(there.len() as u64);
                for round in (worker..rounds).step_by(2) {
                    let (how, user, holds_all) = there[usize::try_from(round).expect("few") % there.len()];
                    let mut host = Host::start(programs, user, CROWD, &[]);
                    for stop in (round..stops).step_by(usize::try_from(rounds).expect("few")) {
                        let random = Random::new(seed.wrapping_add(stop));
                        let what = format!("FOSTER_SEED={seed}, stop {stop}, {how} as {user:?}");
                        stop_at_random(&mut host, how, holds_all, random, &what);
                    }
                }
            });
        }
    });
    println!("{stops} stops in {:?}", start.elapsed());
}

fn is_there(programs: &Programs, how: &str, user: User) -> bool {
    let Err(why) = Host::start(programs, user, CROWD, &[]).run(how, "wait") else { return true };
    assert!(std::env::var_os("FOSTER_CI").is_none(), "{how} as {user:?}: {why}");
    eprintln!("not run: {how} as {user:?}: {why}");
    false
}

#[track_caller]
fn stop_at_random(host: &mut Host, how: &str, holds_all: bool, mut random: Random, what: &str) {
    let script = format!("quiet {}", tree(&mut random, holds_all, 3));
    let moment = Duration::from_micros(random.below(12_000));
    let order = if random.below(3) == 0 { "kill" } else { "stop" };
    let what = format!("{what}: {order} after {moment:?}: {script}");
    let got = host.run(how, &script).unwrap_or_else(|why| panic!("{what}: {why}"));
    std::thread::sleep(moment);
    host.tell(order);
    let end = host.hear("supervisor:");
    let us = host.actor().pid();
    let left: Vec<u32> = host.safety.members().into_iter().filter(|pid| *pid != us).collect();
    let look = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').take(4).collect();
        format!("pid {pid}: state, parent, group, session {}", fields.join(" "))
    };
    let look: Vec<_> = left.iter().map(look).collect();
    assert!(look.is_empty() && end.starts_with("gone"), "{what}: {end}, left: {look:#?}\n{got:?}");
}

/// A random script: what stands in it is done in order, so it says little where it is stopped early.
fn tree(random: &mut Random, holds_all: bool, depth: u32) -> String {
    let mut words = Vec::new();
    if random.below(4) == 0 {
        words.push("ignore TERM".to_string());
    }
    if depth < 3 && holds_all && random.below(3) == 0 {
        words.push("setsid".to_string());
    }
    for _ in 0..random.below(if depth == 0 { 1 } else { 3 }) {
        let fork = if random.below(4) == 0 { "fork-bare" } else { "fork" };
        words.push(format!("{fork} child [ quiet {} ]", tree(random, holds_all, depth - 1)));
    }
    for _ in 0..random.below(3) {
        let kinds: &[&str] = if holds_all { &["setsid", "double", "double-setsid"] } else { &["double"] };
        let kind = kinds[usize::try_from(random.below(kinds.len() as u64)).expect("few")];
        words.push(format!("daemons {kind} {}", 1 + random.below(4)));
    }
    words.push(match random.below(4) {
        0 => "exit 0".to_string(),
        1 => format!("sleep 0.00{} exit 1", random.below(9)),
        _ => "wait".to_string(),
    });
    words.join(" ")
}

/// splitmix64: each stop has a seed of its own.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: not a number: {value}")))
}

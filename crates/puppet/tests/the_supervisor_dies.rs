//! A supervisor that is killed, at whatever moment, leaves nothing behind: nobody of the tree, and no guard.
//!
//! What it promises is a tenth of a second; the tests print what they measured, and fail after ten, because the machine
//! may be busy.

use std::time::{Duration, Instant};

use puppet::{Feature, Host, Programs, User, needs};

/// Each containment with a guard, and as whom the host runs.
const GUARDED: [(&str, User); 8] = [
    ("subreaper", User::Root),
    ("subreaper+twin", User::Root),
    ("freezer", User::Root),
    ("landlock", User::Root),
    ("cgroup", User::Root),
    ("cgroup+twin", User::Root),
    ("pid-namespace", User::Root),
    ("pid-namespace", User::Nobody),
];

/// No test waits longer for the end of a tree.
const BOUND: Duration = Duration::from_secs(10);

const CROWD: u32 = 500;

#[test]
fn f23_killed_at_any_moment_of_the_start() {
    each_guarded(|programs, how, user| {
        let mut random = 0x9E37_79B9_7F4A_7C15;
        let mut times = Vec::new();
        for round in 0..200 {
            let mut host = Host::start(programs, user, CROWD, &[]);
            host.tell(&format!(
                "run {how} fork one [ setsid daemons double-setsid 1 wait ] daemons setsid 1 wait"
            ));
            host.hear("supervisor: spawning");
            let moment = Duration::from_micros(next(&mut random) % 3000);
            // By the clock: a sleep is longer than most of these moments.
            let start = Instant::now();
            while start.elapsed() < moment {
                std::hint::spin_loop();
            }
            host.kill();
            times.push(host.safety.left_to(&[], BOUND).ok_or_else(|| {
                format!("round {round}: killed {moment:?} after the start: {}", look(&host.safety.members()))
            })?);
        }
        times.sort();
        let worst = times[times.len() - 1];
        println!("{how} as {user:?}: gone after {:?}, worst {worst:?}", times[times.len() / 2]);
        Ok(())
    });
}

#[test]
fn f05_killed_with_a_hundred_daemons() {
    each_guarded(|programs, how, user| {
        for mib in [0, 1024] {
            let mut times = Vec::new();
            for _ in 0..5 {
                let mut host = Host::start(programs, user, CROWD, &[]);
                if mib > 0 {
                    host.tell(&format!("touch {mib}"));
                    host.hear("supervisor: touched");
                }
                host.run(how, "daemons double-setsid 100 say out wait")?;
                host.hear("leader: out");
                host.kill();
                // It gives back its memory for a while: that is not the tree's time.
                let time = host.safety.left_to(&[host.actor().pid()], BOUND);
                times.push(time.ok_or_else(|| format!("{mib} MiB: {} are left", host.survivors()))?);
            }
            times.sort();
            println!(
                "{how} as {user:?}, 100 daemons, {mib} MiB: gone after {:?}, worst {:?}",
                times[2], times[4]
            );
        }
        Ok(())
    });
}

/// All of them, so that one that fails does not hide the others.
fn each_guarded(test: fn(&Programs, &str, User) -> Result<(), String>) {
    if !needs(Feature::Safety) || !needs(Feature::Freezer) || !needs(Feature::Program("setpriv")) {
        return;
    }
    let programs = Programs::copy();
    let mut failed = Vec::new();
    for (how, user) in GUARDED {
        let probe = Host::start(&programs, user, CROWD, &[]).run(how, "wait");
        match probe {
            Err(why) => {
                assert!(std::env::var_os("FOSTER_CI").is_none(), "{how} as {user:?}: {why}");
                eprintln!("not run: {how} as {user:?}: {why}");
            }
            Ok(got) if got.guard.is_none() => failed.push(format!("{how} as {user:?}: no guard: {got:?}")),
            Ok(_) => {
                if let Err(why) = test(&programs, how, user) {
                    failed.push(format!("{how} as {user:?}: {why}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Who they are, for a failure.
fn look(pids: &[u32]) -> String {
    let words = |pid: &u32| format!("{pid} {:?} {:?}", puppet::state(*pid), puppet::command_line(*pid));
    pids.iter().map(words).collect::<Vec<_>>().join(", ")
}

/// xorshift: the same moments in every run, spread over the time.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

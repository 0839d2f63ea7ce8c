//! A tree that forks while it is being ended: a list of who is in it is old when it is made.

use std::time::Duration;

use puppet::{Feature, Host, Programs, User, needs};

/// The wild end by themselves after ten seconds.
const BOUND: Duration = Duration::from_secs(8);

/// Each has a child in a session of its own and exits, for ever, so that a listing misses most of them. Where a
/// kernel's group holds them, they end together; a guard alone need not be fast enough, but never says that they are
/// gone while one is left.
#[test]
fn f31_who_forks_and_exits_for_ever_is_ended() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for how in ["auto", "landlock", "pid-namespace", "subreaper+patient"] {
        for rabbits in [1, 30] {
            let mut host = Host::start(&programs, User::Root, 200, &[]);
            let got = host.run(how, &format!("rabbits {rabbits} say out wait"));
            let got = got.unwrap_or_else(|why| panic!("{how}: {why}"));
            host.hear("leader: out");
            let start = std::time::Instant::now();
            host.tell("stop");
            let end = host.hear("supervisor:");
            let took = start.elapsed();
            let left = host.survivors();
            println!("{how}, {rabbits} rabbits: {end} after {took:?}, {left} left");
            if got.fork_bomb {
                assert!(end.starts_with("gone") && took < BOUND, "{how}: {end} after {took:?}");
            }
            assert!(!end.starts_with("gone") || left == 0, "{how}: {end}, and {left} are left");
        }
    }
}

/// And when nobody is there to stop them but the guard.
#[test]
fn f31_f05_they_end_with_the_supervisor() {
    if !needs(Feature::Safety) {
        return;
    }
    let programs = Programs::copy();
    for how in ["auto", "landlock", "pid-namespace"] {
        let mut host = Host::start(&programs, User::Root, 200, &[]);
        host.run(how, "rabbits 30 say out wait").unwrap_or_else(|why| panic!("{how}: {why}"));
        host.hear("leader: out");
        host.kill();
        let time = host.safety.left_to(&[], BOUND);
        println!("{how}, 30 rabbits: gone after {time:?}");
        assert!(time.is_some() && host.survivors() == 0, "{how}: {:?}", host.safety.members());
    }
}

//! What arrives at the program when podman stops or kills its container, and what podman is told of the end.

use std::time::Duration;

use foster::Status;

use crate::podman::Container;

/// Far below podman's own grace, and far above foster's: a busy machine may be slow.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_program_that_ignores_term_is_ended_by_fosters_grace_not_by_podmans() {
    let Some(container) = Container::start("--grace 1s", "ignore TERM wait") else { return };
    container.ready("leader");
    let took = container.stop();
    assert!(took < SOON, "{took:?}");
    assert!(took >= Duration::from_secs(1), "it had its grace: {took:?}");
    assert_eq!(container.exit().status, Status::Exited(137));
}

#[test]
fn a_program_that_obeys_is_asked_once_and_exits_with_its_own_code() {
    let Some(container) = Container::start("--grace 20s", "on TERM [ say asked sleep 0.3 exit 3 ] wait")
    else {
        return;
    };
    container.ready("leader");
    let took = container.stop();
    assert!(took < SOON, "{took:?}");
    assert_eq!(container.exit().status, Status::Exited(3));
    assert_eq!(container.stage.said("leader: asked"), 1);
}

#[test]
fn a_program_that_term_kills_is_143() {
    let Some(container) = Container::start("", "wait") else { return };
    container.ready("leader");
    container.stop();
    assert_eq!(container.exit().status, Status::Exited(143));
}

#[test]
fn a_signal_of_podman_kill_arrives_once() {
    let Some(container) = Container::start("", "trap USR1 counted trap-exit USR2 9 wait") else { return };
    container.ready("leader");
    for _ in 0..3 {
        container.kill("USR1");
        container.stage.expect("leader: counted");
    }
    // Whatever is delivered twice has been before this.
    container.kill("USR2");
    assert_eq!(container.exit().status, Status::Exited(9));
    assert_eq!(container.stage.said("leader: counted"), 3);
}

#[test]
fn a_rewrite_changes_what_podman_stop_says_and_not_what_it_means() {
    let script = "trap TERM wrong on QUIT [ say asked exit 6 ] wait";
    let Some(container) = Container::start("--rewrite TERM:QUIT", script) else { return };
    container.ready("leader");
    container.stop();
    assert_eq!(container.exit().status, Status::Exited(6));
    assert_eq!((container.stage.said("leader: asked"), container.stage.said("leader: wrong")), (1, 0));

    let Some(deaf) = Container::start("--rewrite TERM:QUIT --grace 1s", "ignore QUIT wait") else { return };
    deaf.ready("leader");
    let took = deaf.stop();
    assert!(took < SOON, "{took:?}");
    assert_eq!(deaf.exit().status, Status::Exited(137));
}

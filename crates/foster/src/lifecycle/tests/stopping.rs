//! How a tree is made to end, and whom a signal reaches.

use super::*;

#[test]
fn a_program_that_ends_by_itself_is_reaped_and_told_once() {
    Script::new(policy())
        .says("")
        .exits(Status::Exited(3))
        .says("[exit 3: own], reap, [gone]")
        .exits(OK)
        .empties()
        .says("");
}

#[test]
fn a_polite_tree_is_asked_and_not_forced() {
    Script::new(policy())
        .stop_now()
        .says(ASKED)
        .at(30)
        .exits(TERMED)
        .says("[exit TERM: stopped], reap, [gone]");
}

#[test]
fn a_deaf_tree_is_killed_when_its_grace_is_over() {
    Script::new(policy())
        .at(10)
        .stop_now()
        .says(ASKED)
        .at(109)
        .says("wait 1")
        .at(110)
        .says("[forced], kill tree, wait 20")
        .at(112)
        .exits(KILLED)
        .says("[exit KILL: stopped, forced], reap, [gone]");
}

#[test]
fn a_polite_leader_does_not_save_a_deaf_descendant() {
    Script::new(policy())
        .stop_now()
        .says(ASKED)
        .at(40)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 60")
        .at(100)
        .says("[forced], kill tree, wait 20")
        .at(105)
        .empties()
        .says("reap, [gone]");
}

#[test]
fn a_descendant_has_the_whole_grace_after_a_polite_leader() {
    Script::new(policy())
        .stop_now()
        .says(ASKED)
        .at(40)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 60")
        .at(99)
        .empties()
        .says("reap, [gone]");
}

#[test]
fn an_empty_tree_is_no_news_while_its_leader_lives() {
    Script::new(policy())
        .empties()
        .says("")
        .stop_after(70)
        .says("[splaying 70], wait 70")
        .empties()
        .says("wait 70")
        .stop_now()
        .says(ASKED)
        .empties()
        .says("wait 100")
        .kill()
        .says("[forced], kill tree, wait 20")
        .empties()
        .says("wait 20");
}

#[test]
fn a_splay_passes_before_the_asking() {
    Script::new(policy())
        .at(5)
        .stop_after(70)
        .says("[splaying 70], wait 70")
        .at(74)
        .says("wait 1")
        .at(75)
        .says(ASKED);
}

#[test]
fn a_dead_leader_ends_the_splay_at_once() {
    let mut splaying = Script::new(policy());
    splaying.stop_after(5000).says("[splaying 5000], wait 5000").at(20);
    splaying.clone().exits(OK).says("[exit 0: own], reap, [gone]");
    splaying.exits_leaving(OK).says("[exit 0: own], [forced], kill tree, wait 20");
}

#[test]
fn a_stop_whose_splay_the_leader_did_not_live_to_see_still_ends_the_tree() {
    for policy in [leftovers(Leftovers::Leave), leftovers(Leftovers::Wait { max: None })] {
        let mut splaying = Script::new(policy);
        splaying.stop_after(5000).says("[splaying 5000], wait 5000").at(20);
        splaying.clone().exits_leaving(OK).says(&format!("[exit 0: own], {ASKED_ALL}"));
        splaying.detach().says("wait 4980");
        splaying.exits_leaving(OK).says(&format!("[exit 0: own], {ASKED_ALL}"));
    }
    let mut quits = Script::new(leftovers(Leftovers::Stop));
    quits.stop_by(Signal::QUIT, 5000).says("[splaying 5000], wait 5000").exits_leaving(OK);
    quits.says("[exit 0: own], [asked QUIT], QUIT to all, CONT to all, wait 100");
}

#[test]
fn a_stop_whose_splay_the_leader_did_not_live_to_see_gives_leftovers_no_more_time_than_they_had() {
    for grace in [Some(ms(100)), None] {
        let max = Some(ms(60));
        let mut splaying = Script::new(Policy { grace, ..leftovers(Leftovers::Wait { max }) });
        splaying.stop_after(5000).says("[splaying 5000], wait 5000").at(20).exits_leaving(OK);
        splaying.says("[exit 0: own], [asked TERM], TERM to all, CONT to all, wait 60");
        splaying.at(80).says("[forced], kill tree, wait 20");
    }
}

#[test]
fn stop_now_cuts_a_splay() {
    Script::new(policy())
        .stop_after(5000)
        .says("[splaying 5000], wait 5000")
        .at(20)
        .stop_now()
        .says(ASKED)
        .at(120)
        .says("[forced], kill tree, wait 20");
}

#[test]
fn of_two_splays_the_one_that_is_over_first_counts() {
    let mut splaying = Script::new(policy());
    splaying.stop_after(70).says("[splaying 70], wait 70").at(20);
    splaying.clone().stop_after(90).says("wait 50");
    splaying.stop_after(30).says("wait 30").at(50).says(ASKED);
}

#[test]
fn a_second_stop_joins_the_first_and_gives_no_new_grace() {
    Script::new(policy())
        .stop_now()
        .says(ASKED)
        .at(60)
        .stop_now()
        .says("wait 40")
        .stop_after(70)
        .says("wait 40")
        .stop_by(Signal::INT, 0)
        .says("wait 40")
        .at(100)
        .says("[forced], kill tree, wait 20");
}

#[test]
fn a_kill_cuts_a_splay_and_a_grace() {
    let mut splaying = Script::new(policy());
    splaying.stop_after(70).says("[splaying 70], wait 70").at(10);
    splaying
        .clone()
        .kill()
        .says("[forced], kill tree, wait 20")
        .exits(KILLED)
        .says("[exit KILL: killed], reap, [gone]");
    splaying
        .stop_now()
        .says(ASKED)
        .at(11)
        .kill()
        .says("[forced], kill tree, wait 20")
        .exits_leaving(KILLED)
        .says("[exit KILL: killed], wait 20");
}

#[test]
fn a_stop_after_a_kill_joins_it() {
    Script::new(policy())
        .kill()
        .says("[forced], kill tree, wait 20")
        .at(10)
        .stop_now()
        .says("wait 10")
        .stop_after(70)
        .says("wait 10");
}

#[test]
fn no_grace_kills_in_the_same_breath() {
    Script::new(Policy { grace: Some(ms(0)), ..policy() })
        .stop_now()
        .says("[asked TERM], TERM to group, CONT to group, [forced], kill tree, wait 20");
}

#[test]
fn an_endless_grace_ends_with_a_kill_or_never() {
    Script::new(Policy { grace: None, ..policy() })
        .stop_now()
        .says("[asked TERM], TERM to group, CONT to group")
        .at(1_000_000)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays")
        .at(2_000_000)
        .says("")
        .kill()
        .says("[forced], kill tree, wait 20");
}

#[test]
fn a_time_too_long_for_the_clock_is_never() {
    let endless = Policy {
        grace: Some(Duration::MAX),
        timeout: Some(Duration::MAX),
        patience: Duration::MAX,
        ..policy()
    };
    Script::new(endless)
        .says("")
        .stop_now()
        .says("[asked TERM], TERM to group, CONT to group")
        .pause()
        .at(1_000_000)
        .resume()
        .says("")
        .kill()
        .says("[forced], kill tree");
}

#[test]
fn a_leader_with_all_the_time_of_the_clock_is_still_followed_by_the_rest() {
    Script::new(target(Target::LeaderThenGroup { after: Duration::MAX }))
        .stop_now()
        .says("[asked TERM], TERM to leader, CONT to leader, wait 100")
        .at(10)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to rest, CONT to rest, TERM to strays, CONT to strays, wait 90");
}

#[test]
fn an_order_to_what_is_gone_does_nothing() {
    Script::new(policy())
        .exits(OK)
        .says("[exit 0: own], reap, [gone]")
        .signal()
        .stop_now()
        .stop_after(70)
        .kill()
        .pause()
        .at(10)
        .resume()
        .detach()
        .says("");
}

#[test]
fn a_stop_may_ask_with_a_signal_of_its_own() {
    Script::new(policy())
        .stop_by(Signal::QUIT, 0)
        .says("[asked QUIT], QUIT to group, CONT to group, wait 100");
    Script::new(policy())
        .stop_by(Signal::QUIT, 70)
        .says("[splaying 70], wait 70")
        .at(70)
        .says("[asked QUIT], QUIT to group, CONT to group, wait 100");
}

#[test]
fn a_stopped_process_is_woken_to_hear_the_signal_unless_that_is_switched_off() {
    Script::new(policy()).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 100");
    let sleeping = Policy { wake_stopped: false, ..policy() };
    Script::new(sleeping).stop_now().says("[asked TERM], TERM to group, wait 100");
}

#[test]
fn target_leader_asks_the_leader_alone_and_kills_everything() {
    let mut script = Script::new(target(Target::Leader));
    script
        .stop_now()
        .says("[asked TERM], TERM to leader, CONT to leader, wait 100")
        .at(40)
        .exits_leaving(OK)
        .says("[exit 0: stopped], wait 60")
        .signal()
        .says("wait 60")
        .at(100)
        .says("[forced], kill tree, wait 20");
}

#[test]
fn leader_then_group_asks_the_rest_once_when_its_time_is_over() {
    Script::new(target(LEADER_FIRST))
        .stop_now()
        .says("[asked TERM], TERM to leader, CONT to leader, wait 40")
        .at(40)
        .says("TERM to rest, CONT to rest, wait 60")
        .at(50)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 50")
        .at(100)
        .says("[forced], kill tree, wait 20");
}

#[test]
fn leader_then_group_asks_the_rest_once_when_the_leader_is_gone() {
    Script::new(target(LEADER_FIRST))
        .stop_by(Signal::INT, 0)
        .says("[asked INT], INT to leader, CONT to leader, wait 40")
        .at(10)
        .exits_leaving(OK)
        .says("[exit 0: stopped], INT to rest, CONT to rest, INT to strays, CONT to strays, wait 90")
        .at(40)
        .says("wait 60")
        .empties()
        .says("reap, [gone]");
}

#[test]
fn leader_then_group_bothers_nobody_when_nobody_is_left() {
    Script::new(target(LEADER_FIRST))
        .stop_now()
        .says("[asked TERM], TERM to leader, CONT to leader, wait 40")
        .exits(OK)
        .says("[exit 0: stopped], reap, [gone]");
}

#[test]
fn a_grace_shorter_than_the_leaders_time_does_not_wait_for_it() {
    Script::new(Policy { grace: Some(ms(30)), ..target(LEADER_FIRST) })
        .stop_now()
        .says("[asked TERM], TERM to leader, CONT to leader, wait 30")
        .at(30)
        .says("[forced], kill tree, wait 20");
}

#[test]
fn what_a_dead_leader_left_is_asked_wherever_it_went_whatever_the_target() {
    for target in [Target::Group, Target::Leader, LEADER_FIRST] {
        Script::new(Policy { target, ..leftovers(Leftovers::Stop) })
            .exits_leaving(OK)
            .says(&format!("[exit 0: own], {ASKED_ALL}"))
            .at(40)
            .says("wait 60")
            .stop_now()
            .says("wait 60");
    }
}

#[test]
fn strays_are_asked_once_and_only_when_the_leader_is_gone() {
    let mut asked = Script::new(policy());
    asked.stop_now().says(ASKED).stop_by(Signal::INT, 0).says("wait 100").at(40);
    asked.exits_leaving(OK).says("[exit 0: stopped], TERM to strays, CONT to strays, wait 60");
    asked.clone().stop_now().says("wait 60").at(100).says("[forced], kill tree, wait 20");
    asked.exits_leaving(OK).says("wait 60").empties().says("reap, [gone]");

    // By what was asked with, and woken unless that is switched off.
    let mut quits = Script::new(Policy { wake_stopped: false, ..timeout(50) });
    quits.stop_by(Signal::QUIT, 0).says("[asked QUIT], QUIT to group, wait 100").exits_leaving(OK);
    quits.says("[exit 0: stopped], QUIT to strays, wait 100");

    // To the killed nothing more is said.
    let mut killed = Script::new(policy());
    killed.stop_now().says(ASKED).kill().says("[forced], kill tree, wait 20");
    killed.exits_leaving(OK).says("[exit 0: stopped], wait 20");

    // A signal is for the group.
    let mut lingering = Script::new(leftovers(Leftovers::Wait { max: None }));
    lingering.exits_leaving(OK).says("[exit 0: own]").signal().says("HUP to group, [signalled HUP]");
}

#[test]
fn leftovers_that_are_stopped_are_asked_once_wherever_they_went() {
    let mut by_policy = Script::new(leftovers(Leftovers::Stop));
    by_policy.exits_leaving(OK).says(&format!("[exit 0: own], {ASKED_ALL}"));
    by_policy.stop_now().says("wait 100").exits_leaving(OK).says("wait 100");
    let mut by_order = Script::new(leftovers(Leftovers::Wait { max: None }));
    by_order.exits_leaving(OK).says("[exit 0: own]").stop_now().says(ASKED_ALL);
    by_order.stop_now().says("wait 100");
}

#[test]
fn a_signal_is_only_a_signal_in_every_phase() {
    let mut script = Script::new(leftovers(Leftovers::Wait { max: None }));
    script.signal().says("HUP to group, [signalled HUP]");
    let mut lingering = script.clone();
    lingering.exits_leaving(OK).says("[exit 0: own]").signal().says("HUP to group, [signalled HUP]");
    script
        .stop_after(70)
        .says("[splaying 70], wait 70")
        .signal()
        .says("HUP to group, [signalled HUP], wait 70");
    script.stop_now().says(ASKED).signal().says("HUP to group, [signalled HUP], wait 100");
    let mut widowed = script.clone();
    widowed.exits_leaving(OK).says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100").signal();
    widowed.says("HUP to group, [signalled HUP], wait 100");
    script.kill().says("[forced], kill tree, wait 20").signal().says("wait 20");
}

#[test]
fn a_signal_for_the_leader_goes_to_no_one_else() {
    for target in [Target::Leader, LEADER_FIRST] {
        let mut script = Script::new(Policy { target, ..policy() });
        script.signal().says("HUP to leader, [signalled HUP]");
        script.stop_after(70).says("[splaying 70], wait 70");
        script.signal().says("HUP to leader, [signalled HUP], wait 70");
    }
    Script::new(Policy { target: Target::Leader, ..leftovers(Leftovers::Wait { max: None }) })
        .exits_leaving(OK)
        .says("[exit 0: own]")
        .signal()
        .says("");
}

#[test]
fn a_signal_for_the_leader_first_goes_to_the_group_once_the_leader_is_gone() {
    Script::new(Policy { target: LEADER_FIRST, ..leftovers(Leftovers::Wait { max: None }) })
        .exits_leaving(OK)
        .says("[exit 0: own]")
        .signal()
        .says("HUP to group, [signalled HUP]");
}

#[test]
fn a_splay_too_long_for_the_clock_asks_nobody_now() {
    let mut patient = Script::new(policy());
    let said = patient.order(Order::Stop { after: Duration::MAX, signal: None }).said();
    assert!(said.starts_with("[splaying") && !said.contains("asked"), "{said}");
    patient.stop_now().says("[asked TERM], TERM to group, CONT to group, wait 100");
}

#[test]
fn a_signal_named_during_a_splay_is_what_the_asking_is_done_with() {
    let mut splaying = Script::new(policy());
    splaying.stop_after(70).says("[splaying 70], wait 70").at(20);
    splaying.order(Order::Stop { after: ms(0), signal: Some(Signal::QUIT) });
    splaying.says("[asked QUIT], QUIT to group, CONT to group, wait 100");
}

//! What ends a run without an order, what becomes of the leftovers, what is told of the end, and who gets more time.

use super::*;

#[test]
fn a_timeout_asks_without_a_splay_and_forces_after_the_grace() {
    let mut asked = Script::new(timeout(50));
    asked.says("wait 50").at(50).says(&format!("[timed out], {ASKED}")).at(60);
    asked.clone().exits(TERMED).says("[exit TERM: timedout], reap, [gone]");
    asked.at(150).says("[forced], kill tree, wait 20").exits(KILLED);
    asked.says("[exit KILL: timedout, forced], reap, [gone]");
}

#[test]
fn a_timeout_kills_at_once_where_it_is_told_to() {
    let mut killed = Script::new(Policy { timeout_kills: true, ..timeout(50) });
    killed.says("wait 50").at(50).says("[timed out], [forced], kill tree, wait 20");
    // It had ended by itself when the kill came.
    killed.clone().exits(OK).says("[exit 0: own], reap, [gone]");
    killed.exits_leaving(KILLED).says("[exit KILL: timedout], wait 20");
}

#[test]
fn a_program_that_ends_before_its_timeout_has_not_timed_out() {
    Script::new(Policy { leftovers: Leftovers::Wait { max: None }, ..timeout(50) })
        .at(49)
        .exits_leaving(OK)
        .says("[exit 0: own]")
        .at(50)
        .says("");
}

#[test]
fn a_timeout_of_zero_has_already_passed() {
    Script::new(timeout(0)).says(&format!("[timed out], {ASKED}"));
}

#[test]
fn a_timeout_and_a_splay_do_not_wait_for_each_other() {
    let mut early = Script::new(timeout(50));
    early.stop_after(70).says("[splaying 70], wait 50").at(50).says(&format!("[timed out], {ASKED}"));
    early.exits(OK).says("[exit 0: timedout], reap, [gone]");
    let mut late = Script::new(timeout(50));
    late.stop_after(30).says("[splaying 30], wait 30").at(30).says(ASKED);
    late.at(50).says("wait 80").exits(OK).says("[exit 0: stopped], reap, [gone]");
}

#[test]
fn a_timeout_sooner_than_the_splay_wins_even_where_the_driver_comes_late_for_both() {
    let mut late = Script::new(timeout(50));
    late.stop_after(70).says("[splaying 70], wait 50").at(80).says(&format!("[timed out], {ASKED}"));
    let mut killed = Script::new(Policy { timeout_kills: true, ..timeout(50) });
    killed
        .stop_after(70)
        .says("[splaying 70], wait 50")
        .at(80)
        .says("[timed out], [forced], kill tree, wait 20");
}

#[test]
fn a_stop_does_not_put_off_a_timeout_that_kills() {
    for grace in [Some(ms(100)), None] {
        let policy = Policy { timeout_kills: true, grace, ..timeout(50) };
        let mut asked = Script::new(policy.clone());
        asked.at(10).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 40");
        asked.at(50).says("[forced], kill tree, wait 20");
        let mut splaying = Script::new(policy);
        splaying.stop_after(30).says("[splaying 30], wait 30");
        splaying.clone().at(30).says("[asked TERM], TERM to group, CONT to group, wait 20");
        splaying.at(10).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 40");
    }
}

#[test]
fn a_stop_joins_a_timeout_and_a_kill_cuts_it() {
    let mut script = Script::new(timeout(50));
    script.at(50).says(&format!("[timed out], {ASKED}")).at(60).stop_now().says("wait 90");
    script.clone().exits(OK).says("[exit 0: timedout], reap, [gone]");
    script
        .kill()
        .says("[forced], kill tree, wait 20")
        .exits(KILLED)
        .says("[exit KILL: killed], reap, [gone]");
}

#[test]
fn leftovers_are_killed_by_default_before_the_pid_is_given_back() {
    Script::new(policy())
        .exits_leaving(OK)
        .says("[exit 0: own], [forced], kill tree, wait 20")
        .empties()
        .says("reap, [gone]");
}

#[test]
fn leftovers_are_stopped_with_a_grace_of_their_own() {
    let mut script = Script::new(leftovers(Leftovers::Stop));
    script.at(7).exits_leaving(OK).says(&format!("[exit 0: own], {ASKED_ALL}"));
    script.clone().at(50).empties().says("reap, [gone]");
    script.at(107).says("[forced], kill tree, wait 20").empties().says("reap, [gone]");
}

#[test]
fn leftovers_may_finish_within_their_time() {
    let mut script = Script::new(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    script.exits_leaving(OK).says("[exit 0: own], wait 60");
    script.clone().at(59).empties().says("reap, [gone]");
    script.at(60).says("[forced], kill tree, wait 20").empties().says("reap, [gone]");
}

#[test]
fn leftovers_may_take_for_ever() {
    Script::new(leftovers(Leftovers::Wait { max: None }))
        .exits_leaving(OK)
        .says("[exit 0: own]")
        .at(1_000_000)
        .says("")
        .empties()
        .says("reap, [gone]");
}

#[test]
fn leftovers_are_left_alone() {
    Script::new(leftovers(Leftovers::Leave))
        .exits_leaving(OK)
        .says("[exit 0: own], detach, reap, [gone, left]")
        .kill()
        .says("");
}

#[test]
fn leftovers_that_may_finish_are_still_stopped_and_killed_by_order() {
    let mut script = Script::new(leftovers(Leftovers::Wait { max: None }));
    script.exits_leaving(OK).says("[exit 0: own]").at(10);
    script.clone().kill().says("[forced], kill tree, wait 20");
    // No splay: there is no herd around what a dead leader left.
    script.stop_after(70).says(ASKED_ALL);
}

#[test]
fn a_stop_gives_leftovers_no_more_time_than_they_had() {
    for grace in [Some(ms(100)), None] {
        let max = Some(ms(60));
        let mut script = Script::new(Policy { grace, ..leftovers(Leftovers::Wait { max }) });
        script.exits_leaving(OK).says("[exit 0: own], wait 60").at(10).stop_now();
        script.says("[asked TERM], TERM to all, CONT to all, wait 50");
        script.at(60).says("[forced], kill tree, wait 20");
    }
}

#[test]
fn a_stop_ends_the_whole_tree_whatever_the_policy_leaves() {
    for policy in [leftovers(Leftovers::Leave), leftovers(Leftovers::Wait { max: None })] {
        Script::new(policy)
            .stop_now()
            .says(ASKED)
            .exits_leaving(OK)
            .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100")
            .at(100)
            .says("[forced], kill tree, wait 20");
    }
}

#[test]
fn stuck_is_told_once_and_a_late_death_is_still_gone() {
    let mut script = Script::new(policy());
    script.kill().says("[forced], kill tree, wait 20").at(19).says("wait 1").at(20).says("[stuck]");
    script.at(1000).says("").stop_now().says("").kill().says("kill tree").at(2000).says("");
    script.exits_leaving(KILLED).says("[exit KILL: killed]").empties().says("reap, [gone]");
}

#[test]
fn a_descendant_may_be_stuck_when_the_leader_is_not() {
    Script::new(policy())
        .kill()
        .says("[forced], kill tree, wait 20")
        .at(5)
        .exits_leaving(KILLED)
        .says("[exit KILL: killed], wait 15")
        .at(20)
        .says("[stuck]")
        .at(500)
        .empties()
        .says("reap, [gone]");
}

#[test]
fn an_exit_is_told_once_whatever_comes_after() {
    let mut asked = Script::new(policy());
    asked
        .stop_now()
        .says(ASKED)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100");
    asked.exits_leaving(KILLED).exits(KILLED).says("wait 100");
    let mut lingering = Script::new(leftovers(Leftovers::Wait { max: None }));
    lingering.exits_leaving(OK).says("[exit 0: own]").exits(KILLED).says("");
    let mut killed = Script::new(policy());
    killed
        .exits_leaving(OK)
        .says("[exit 0: own], [forced], kill tree, wait 20")
        .exits(KILLED)
        .says("wait 20");
}

#[test]
fn a_kill_that_came_too_late_is_not_called_one() {
    let mut killed = Script::new(policy());
    killed.kill().says("[forced], kill tree, wait 20");
    for (status, said) in [
        (OK, "[exit 0: own], reap, [gone]"),
        (TERMED, "[exit TERM: own], reap, [gone]"),
        (KILLED, "[exit KILL: killed], reap, [gone]"),
        // Nobody can say otherwise.
        (Status::Unknown, "[exit unknown: killed], reap, [gone]"),
    ] {
        killed.clone().exits(status).says(said);
    }
    let mut forced = Script::new(policy());
    forced.stop_now().says(ASKED).at(100).says("[forced], kill tree, wait 20");
    forced.clone().exits(TERMED).says("[exit TERM: stopped], reap, [gone]");
    forced.kill().says("kill tree, wait 20").exits(KILLED).says("[exit KILL: stopped, forced], reap, [gone]");
    let mut cut = Script::new(policy());
    cut.stop_now().says(ASKED).kill().says("[forced], kill tree, wait 20");
    cut.exits(OK).says("[exit 0: stopped], reap, [gone]");
}

#[test]
fn a_death_that_nobody_ordered_is_its_own() {
    Script::new(policy()).exits(KILLED).says("[exit KILL: own], reap, [gone]");
    Script::new(policy())
        .signal()
        .says("HUP to group, [signalled HUP]")
        .exits(KILLED)
        .says("[exit KILL: own], reap, [gone]");
}

#[test]
fn a_pause_holds_every_deadline_and_a_resume_moves_each_by_as_much() {
    let mut running = Script::new(timeout(50));
    running.at(20).pause().says("").at(1020).says("").resume().says("wait 30");

    let mut splaying = Script::new(timeout(80));
    splaying.stop_after(70).says("[splaying 70], wait 70").at(20).pause().says("").at(1020).resume();
    splaying.says("wait 50").pause().detach().says("").resume().says("wait 50");
    let mut limited = Script::new(timeout(50));
    limited.stop_after(70).says("[splaying 70], wait 50").at(20).pause().says("").at(1020).resume();
    limited.says("wait 30");

    let mut asked = Script::new(target(LEADER_FIRST));
    asked.stop_now().says("[asked TERM], TERM to leader, CONT to leader, wait 40").at(20).pause().says("");
    asked.at(1020).resume().says("wait 20").at(1040).says("TERM to rest, CONT to rest, wait 60");
    asked.at(1099).says("wait 1").at(1100).says("[forced], kill tree, wait 20");

    let mut lingering = Script::new(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    lingering.exits_leaving(OK).says("[exit 0: own], wait 60").at(20).pause().says("").at(1020).resume();
    lingering.says("wait 40");
}

#[test]
fn a_second_pause_and_a_second_resume_change_nothing() {
    Script::new(timeout(50))
        .resume()
        .says("wait 50")
        .at(10)
        .pause()
        .at(20)
        .pause()
        .at(30)
        .resume()
        .says("wait 40")
        .at(40)
        .resume()
        .says("wait 30");
}

#[test]
fn an_order_to_end_wakes_a_pause() {
    let mut paused = Script::new(timeout(50));
    paused.at(20).pause().says("").at(1000);
    paused.clone().stop_now().says(ASKED).at(1100).says("[forced], kill tree, wait 20");
    paused.clone().stop_after(70).says("[splaying 70], wait 30");
    paused.clone().kill().says("[forced], kill tree, wait 20");
    // These are no orders to end.
    paused.signal().says("HUP to group, [signalled HUP]").detach().says("detach");
}

#[test]
fn a_second_stop_wakes_a_tree_that_was_suspended_in_its_grace() {
    let mut paused = Script::new(policy());
    paused.stop_now().says(ASKED).at(40).pause().says("").at(1000).stop_now().says("CONT to group, wait 60");
    let mut asleep = Script::new(Policy { wake_stopped: false, ..policy() });
    asleep.stop_now().says("[asked TERM], TERM to group, wait 100").pause().says("");
    asleep.stop_now().says("wait 100");
}

#[test]
fn an_exit_ends_a_pause() {
    let max = Some(ms(60));
    let mut running = Script::new(leftovers(Leftovers::Wait { max }));
    running.pause().says("").at(1000).exits_leaving(KILLED).says("[exit KILL: own], wait 60");
    let mut splaying = Script::new(policy());
    splaying.stop_after(70).says("[splaying 70], wait 70").pause().says("").exits_leaving(KILLED);
    splaying.says("[exit KILL: own], [forced], kill tree, wait 20");
    let mut asked = Script::new(policy());
    asked.stop_now().says(ASKED).at(40).pause().says("").at(1000).exits_leaving(KILLED);
    // What is left may have been suspended too, and could not hear.
    asked.says("[exit KILL: stopped], CONT to rest, TERM to strays, CONT to strays, wait 60");
    asked.at(1060).says("[forced], kill tree, wait 20");
}

#[test]
fn a_pause_does_not_keep_from_telling_who_is_stuck() {
    Script::new(policy())
        .kill()
        .says("[forced], kill tree, wait 20")
        .pause()
        .says("wait 20")
        .at(20)
        .says("[stuck]");
}

#[test]
fn a_detached_program_has_no_timeout_and_keeps_its_leftovers() {
    let mut running = Script::new(timeout(50));
    running.detach().says("detach").at(1000).says("").exits_leaving(OK);
    running.says("[exit 0: own], detach, reap, [gone, left]");

    let mut lingering = Script::new(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    lingering.exits_leaving(OK).says("[exit 0: own], wait 60").detach();
    lingering.says("detach, reap, [gone, left]");
}

#[test]
fn an_order_given_before_a_detach_stands() {
    let mut splaying = Script::new(timeout(50));
    splaying.stop_after(70).says("[splaying 70], wait 50").detach().says("wait 70");
    splaying.at(70).says(ASKED);
    splaying
        .detach()
        .says("wait 100")
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100");
    splaying.detach().says("wait 100").at(170).says("[forced], kill tree, wait 20").detach().says("wait 20");
}

#[test]
fn a_detached_program_can_still_be_stopped_and_killed() {
    let mut detached = Script::new(policy());
    detached.detach().says("detach");
    detached.clone().kill().says("[forced], kill tree, wait 20");
    detached
        .stop_now()
        .says(ASKED)
        .exits_leaving(OK)
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100");
}

#[test]
fn a_driver_that_comes_late_with_an_order_does_what_was_due_first() {
    let mut late = Script::new(timeout(50));
    late.says("wait 50")
        .at(60)
        .stop_now()
        .says("[timed out], [asked TERM], TERM to group, CONT to group, wait 100");
    late.exits(OK).says("[exit 0: timedout], reap, [gone]");
    let mut paused = Script::new(timeout(50));
    paused.says("wait 50").at(60).pause().says("[timed out], [asked TERM], TERM to group, CONT to group");
}

#[test]
fn a_timeout_that_kills_is_the_leaders_and_leaves_the_rest_its_grace() {
    let mut stopped = Script::new(Policy { timeout_kills: true, ..timeout(50) });
    stopped.at(10).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 40");
    stopped.at(20).exits_leaving(OK).says("[exit 0: stopped], TERM to strays, CONT to strays, wait 90");
    let mut detached = Script::new(Policy { timeout_kills: true, ..timeout(50) });
    detached.at(10).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 40");
    detached.detach().says("wait 100");
    // And it stands still while the tree does.
    let mut paused = Script::new(Policy { timeout_kills: true, ..timeout(50) });
    paused.at(10).stop_now().says("[asked TERM], TERM to group, CONT to group, wait 40");
    paused.at(20).pause().says("").at(1000).resume().says("wait 30");
}

#[test]
fn a_detach_is_told_once_while_there_is_something_to_leave() {
    let mut running = Script::new(timeout(50));
    running.at(10).detach().says("detach").at(50).says("").at(1000).says("");
    running.clone().exits(OK).says("[exit 0: own], reap, [gone]");
    // Who closes later still ends it, by order.
    running.stop_now().says(ASKED).detach().says("wait 100");
    running.exits_leaving(OK).says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100").detach();
    running.says("wait 100").at(1100).says("[forced], kill tree, wait 20").detach().says("wait 20");
    running.empties().says("reap, [gone]");
    // What is to end is not let go of, also when we do not live to see it.
    let mut asked = Script::new(timeout(50));
    asked.stop_now().says(ASKED).detach().says("wait 100").kill().says("[forced], kill tree, wait 20");
    asked.detach().says("wait 20").exits(KILLED).says("[exit KILL: killed], reap, [gone]").detach().says("");
}

#[test]
fn only_what_was_to_be_left_is_called_left() {
    // It was to be left, and nothing was there.
    Script::new(leftovers(Leftovers::Leave)).exits(OK).says("[exit 0: own], reap, [gone]");
    // It was to be left, and an order came first.
    let mut stopped = Script::new(leftovers(Leftovers::Leave));
    stopped.stop_now().says(ASKED).exits_leaving(OK);
    stopped
        .says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100")
        .empties()
        .says("reap, [gone]");
    let mut killed = Script::new(leftovers(Leftovers::Leave));
    killed.kill().says("[forced], kill tree, wait 20").exits_leaving(KILLED);
    killed.says("[exit KILL: killed], wait 20").empties().says("reap, [gone]");
    // It waited, and has ended, or has been let go of.
    let mut waits = Script::new(leftovers(Leftovers::Wait { max: None }));
    waits.exits_leaving(OK).says("[exit 0: own]");
    waits.clone().empties().says("reap, [gone]");
    waits.detach().says("detach, reap, [gone, left]");
}

#[test]
fn what_is_not_empty_has_nothing_to_give_back() {
    let mut script = Script::new(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    script.reaped().says("").stop_after(70).says("[splaying 70], wait 70").reaped().says("wait 70");
    script.stop_now().says(ASKED).reaped().says("wait 100").exits_leaving(OK);
    script.says("[exit 0: stopped], TERM to strays, CONT to strays, wait 100").reaped().says("wait 100");
    script.kill().says("[forced], kill tree, wait 20").reaped().says("wait 20");
    let mut lingering = Script::new(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    lingering.exits_leaving(OK).says("[exit 0: own], wait 60").reaped().says("wait 60");
}

/// Each way to come to where what held the tree is given back, which takes a moment here, and what is told then.
fn being_given_back() -> [(Script, &'static str); 6] {
    let waits = || Script::slow(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    let mut own = Script::slow(timeout(50));
    own.exits(OK).says("[exit 0: own], reap");
    let mut asked = Script::slow(timeout(50));
    asked.stop_now().says(ASKED).exits(TERMED).says("[exit TERM: stopped], reap");
    let mut emptied = waits();
    emptied.exits_leaving(OK).says("[exit 0: own], wait 60").empties().says("reap");
    let mut killed = Script::slow(policy());
    killed.exits_leaving(OK).says("[exit 0: own], [forced], kill tree, wait 20").empties().says("reap");
    let mut left = Script::slow(leftovers(Leftovers::Leave));
    left.exits_leaving(OK).says("[exit 0: own], detach, reap");
    let mut detached = waits();
    detached.exits_leaving(OK).says("[exit 0: own], wait 60").detach().says("detach, reap");
    [
        (own, "[gone]"),
        (asked, "[gone]"),
        (emptied, "[gone]"),
        (killed, "[gone]"),
        (left, "[gone, left]"),
        (detached, "[gone, left]"),
    ]
}

#[test]
fn nothing_happens_while_what_held_the_tree_is_given_back() {
    for (mut script, end) in being_given_back() {
        script.clone().reaped().says(end).reaped().says("");
        script.at(10).signal().says("").stop_after(70).says("").stop_now().says("");
        // A handle that is dropped kills.
        script.kill().says("").at(1000).says("").detach().says("").kill().says("");
        script.exits(KILLED).says("").exits_leaving(KILLED).says("").empties().says("").at(2000).says("");
        script.reaped().says(end).reaped().kill().detach().empties().says("");
    }
}

#[test]
fn a_pause_holds_nothing_of_what_is_being_given_back() {
    for (mut script, end) in being_given_back() {
        script.pause().says("");
        script.clone().reaped().says(end).resume().says("");
        script.clone().at(1000).resume().says("").reaped().says(end);
        script.at(1000).stop_now().says("").kill().says("").reaped().says(end);
    }
    // Nor does one that was there before.
    let mut lingering = Script::slow(leftovers(Leftovers::Wait { max: Some(ms(60)) }));
    lingering.exits_leaving(OK).says("[exit 0: own], wait 60").at(20).pause().says("").at(1000);
    lingering.clone().empties().says("reap").reaped().says("[gone]");
    lingering.clone().empties().says("reap").resume().at(2000).says("").reaped().says("[gone]");
    lingering.detach().says("detach, reap").at(2000).resume().says("").reaped().says("[gone, left]");
}

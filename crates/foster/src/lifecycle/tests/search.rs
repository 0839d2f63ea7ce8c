//! The search: every phase that orders, facts and deadlines can reach, and the answer to each of them there. Its
//! findings are `table.txt`, to be read as the diff of a review; `BLESS=1` writes it anew.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use super::*;

type Input = (&'static str, fn(&mut Script));

const ORDERS: [Input; 9] = [
    ("signal", |s| _ = s.signal()),
    ("stop after 30", |s| _ = s.stop_after(30)),
    ("stop after 70", |s| _ = s.stop_after(70)),
    ("stop now", |s| _ = s.stop_now()),
    ("QUIT after 30", |s| _ = s.stop_by(Signal::QUIT, 30)),
    ("kill", |s| _ = s.kill()),
    ("pause", |s| _ = s.pause()),
    ("resume", |s| _ = s.resume()),
    ("detach", |s| _ = s.detach()),
];

const FACTS: [Input; 7] = [
    ("exit 0", |s| _ = s.exits_leaving(OK)),
    ("exit 0, alone", |s| _ = s.exits(OK)),
    ("exit KILL", |s| _ = s.exits_leaving(KILLED)),
    ("exit KILL, alone", |s| _ = s.exits(KILLED)),
    ("empty", |s| _ = s.empties()),
    ("reaped", |s| _ = s.reaped()),
    ("(deadline)", |s| s.now = s.machine.deadline().unwrap_or(s.now)),
];

/// The longer splay is there to end after a timeout, and to be cut by the shorter: a policy without a timeout has one
/// input less.
fn inputs(policy: &Policy) -> Vec<Input> {
    let all = ORDERS.into_iter().chain(FACTS);
    all.filter(|(name, _)| policy.timeout.is_some() || *name != "stop after 70").collect()
}

/// Few, and each field of a policy differs in one of them.
fn policies() -> Vec<(&'static str, Policy)> {
    vec![
        ("grace 100, leftovers kill", policy()),
        ("timeout 50, grace 100, leftovers stop", Policy { leftovers: Leftovers::Stop, ..timeout(50) }),
        (
            "timeout 50 kills, grace for ever, leftovers wait 60",
            Policy {
                timeout_kills: true,
                grace: None,
                leftovers: Leftovers::Wait { max: Some(ms(60)) },
                ..timeout(50)
            },
        ),
        (
            "leader, then group after 40, no CONT, grace 100, leftovers wait",
            Policy {
                wake_stopped: false,
                leftovers: Leftovers::Wait { max: None },
                ..target(Target::LeaderThenGroup { after: ms(40) })
            },
        ),
        (
            "leader only, timeout 50, grace 0, leftovers leave",
            Policy { target: Target::Leader, grace: Some(ms(0)), leftovers: Leftovers::Leave, ..timeout(50) },
        ),
    ]
}

const PREAMBLE: &str = "\
Every phase that can be reached under five policies, and its answer to every order, every fact and its deadline. It is
written by a test: `BLESS=1 cargo test -p foster --lib lifecycle`.

    input -> the phase after it    [news], acts, and the wait for the next deadline

Times are milliseconds left; 40 pass in a pause, whose deadlines are shown as it found them. A paused or detached phase
is shown by what sets it apart from its twin, and not at all where nothing does: a detached one answers as its twin; so
does a paused one, but it waits for no deadline, and only `resume`, `kill`, the stops and the exit end the pause.
";

#[test]
fn the_whole_table() {
    let mut table = PREAMBLE.to_string();
    for (name, policy) in policies() {
        writeln!(table, "\n═══ {name}").unwrap();
        let inputs = inputs(&policy);
        write(&explore(Script::slow(policy), &inputs), &inputs, &mut table);
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lifecycle/table.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &table).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    let news = table.lines().zip(committed.lines()).find(|(now, then)| now != then);
    assert!(table == committed, "the table has changed, here first: {news:#?}\nBLESS=1 writes it anew");
}

/// What a machine answered: the phase it went to, and its words.
type Answer = (String, String);

/// The phases in the order they were found, and what each answers to every input.
#[derive(Default)]
struct Found {
    order: Vec<String>,
    answers: BTreeMap<String, Vec<Answer>>,
}

fn explore(start: Script, inputs: &[Input]) -> Found {
    let mut found = Found { order: vec![phase(&start)], answers: BTreeMap::new() };
    let mut todo = VecDeque::from([start]);
    while let Some(here) = todo.pop_front() {
        let mut answers = Vec::new();
        for &(name, act) in inputs {
            let mut next = here.clone();
            act(&mut next);
            let said = next.said();
            if name == "pause" && next.machine.paused.is_some() {
                // Time goes by, or a resume would have nothing to move.
                next.now += ms(40);
            }
            check(&here, name, &next);
            check_end(&next, inputs);
            let there = phase(&next);
            if !found.order.contains(&there) {
                found.order.push(there.clone());
                assert!(found.order.len() < 400, "the search does not end");
                todo.push_back(next);
            }
            answers.push((there, said));
        }
        found.answers.insert(phase(&here), answers);
    }
    found
}

fn write(found: &Found, inputs: &[Input], table: &mut String) {
    for here in &found.order {
        let answers = &found.answers[here];
        match twin(here).and_then(|(twin, kind)| Some((kind, found.answers.get(&twin)?))) {
            None => {
                writeln!(table, "\n{here}").unwrap();
                let mut still = Vec::new();
                for (&(name, _), (there, said)) in inputs.iter().zip(answers) {
                    if there == here && waits_only(said) {
                        still.push(name);
                    } else {
                        write_line(table, name, there, said);
                    }
                }
                writeln!(table, "    nothing new: {}", still.join(" · ")).unwrap();
            }
            Some((kind, twins)) => {
                let mut title = format!("\n{here}: as if not {kind}, but\n");
                for (&(name, _), (answer, twins)) in inputs.iter().zip(answers.iter().zip(twins)) {
                    if *answer != as_twin(here, kind, name, twins) {
                        table.push_str(&std::mem::take(&mut title));
                        write_line(table, name, &answer.0, &answer.1);
                    }
                }
            }
        }
    }
}

fn write_line(table: &mut String, input: &str, there: &str, said: &str) {
    let line = format!("    {input:16} -> {there:40} {said}");
    writeln!(table, "{}", line.trim_end()).unwrap();
}

fn waits_only(said: &str) -> bool {
    said.is_empty() || said.starts_with("wait ")
}

/// The phase that differs by one word.
fn twin(phase: &str) -> Option<(String, &'static str)> {
    ["detached", "paused"]
        .into_iter()
        .find_map(|kind| Some((phase.strip_suffix(&format!(", {kind}"))?.to_string(), kind)))
}

/// What a paused or detached phase is expected to answer, given what its twin does: the detached one the same; the
/// paused one too, but it goes on waiting, unless it is resumed, woken by an order to end, or its leader exits.
fn as_twin(here: &str, kind: &str, input: &str, (there, said): &Answer) -> Answer {
    if ["emptied", "emptied, left", "gone"].contains(&there.as_str()) {
        return (there.clone(), said.clone());
    }
    let wakes = ["stop", "QUIT", "kill", "resume"].iter().any(|order| input.starts_with(order))
        || said.starts_with("[exit");
    let awake = there.trim_end_matches(", detached").trim_end_matches(", paused");
    let detached = if there.ends_with(", detached") { ", detached" } else { "" };
    match (kind, input) {
        ("detached", _) => (format!("{}, detached", there.trim_end_matches(", detached")), said.clone()),
        (_, "(deadline)") => (here.to_string(), String::new()),
        _ if wakes => (there.clone(), said.clone()),
        _ => {
            let said = said.rsplit_once("wait ").map_or(said.as_str(), |(said, _)| said);
            (format!("{awake}, paused{detached}"), said.trim_end_matches(", ").to_string())
        }
    }
}

/// What holds on every edge. That the end is told once, in order, and is the end, is checked by every
/// [`Script::said`].
fn check(here: &Script, input: &str, next: &Script) {
    let edge = format!("{} -- {input} -> {}", phase(here), phase(next));
    assert!(rank(next) >= rank(here), "a way back: {edge}");
    // Pausing and detaching are the two ways to have more time; an order to end is none.
    let order = match input {
        "detach" => match here.machine.phase {
            Phase::Running { .. } | Phase::Splaying { .. } => false,
            // The timeout goes; the stop stays.
            Phase::Asked { latest, .. } => latest.is_none(),
            Phase::Lingering { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => true,
        },
        other => ORDERS.iter().any(|(order, _)| *order == other) && other != "pause",
    };
    if order {
        let (before, after) = (end(here), end(next));
        assert!(after.asked <= before.asked, "asks later: {edge}");
        assert!(after.killed <= before.killed, "kills later: {edge}");
    }
}

/// While what held the tree is given back, nothing happens, also to what was paused or detached before, which the
/// table does not tell apart; and then it is gone, as it was to be.
fn check_end(next: &Script, inputs: &[Input]) {
    let Phase::Emptied { left } = next.machine.phase else { return };
    let mut held = next.clone();
    for &(name, act) in inputs.iter().filter(|(name, _)| *name != "reaped") {
        act(&mut held);
        assert_eq!(held.said(), "", "{name} while {} is given back", phase(next));
        held.now += ms(1000);
    }
    held.reaped().says(if left { "[gone, left]" } else { "[gone]" });
}

/// How long until a tree that hears nothing is asked and killed.
struct End {
    asked: Duration,
    killed: Duration,
}

fn end(script: &Script) -> End {
    let never = Duration::MAX;
    let already = |since: u8| if rank(script) >= since { ms(0) } else { never };
    let mut end = End { asked: already(3), killed: already(4) };
    let mut deaf = script.clone();
    deaf.resume();
    // A machine that never comes to its end is found out elsewhere.
    for _ in 0..40 {
        let waited = deaf.now - script.now;
        match deaf.machine.poll(deaf.now) {
            Output::Tell(News::Asked(_)) => end.asked = end.asked.min(waited),
            Output::Do(Effect::KillTree | Effect::Reap) => {
                end.asked = end.asked.min(waited);
                end.killed = end.killed.min(waited);
            }
            Output::Wait(Some(until)) => deaf.now = until,
            Output::Wait(None) => break,
            Output::Do(_) | Output::Tell(_) => {}
        }
    }
    end
}

/// The phases in the order of the way to the end.
fn rank(script: &Script) -> u8 {
    match script.machine.phase {
        Phase::Running { .. } => 0,
        Phase::Splaying { .. } => 1,
        Phase::Lingering { .. } => 2,
        Phase::Asked { .. } => 3,
        Phase::Killed { .. } => 4,
        Phase::Emptied { .. } => 5,
        Phase::Gone => 6,
    }
}

/// Everything the machine knows, with the time left in place of each instant: what looks the same is the same.
fn phase(script: &Script) -> String {
    let machine = &script.machine;
    let seen_from = machine.paused.unwrap_or(script.now);
    let left = |until: Option<Instant>| {
        until.map_or("never".into(), |until| (until - seen_from).as_millis().to_string())
    };
    let cause = |cause: Cause| format!("{cause:?}").to_lowercase();
    let mut phase = match machine.phase {
        Phase::Running { limit } => format!("running, limit {}", left(limit)),
        Phase::Splaying { until, limit, signal } => {
            format!("splaying {} {}, limit {}", left(Some(until)), signal.name(), left(limit))
        }
        Phase::Asked { until, latest, signal, widen, leader } => {
            let latest = latest.map(|_| format!(", at the latest {}", left(latest))).unwrap_or_default();
            let widen = widen.map(|_| format!(", rest {}", left(widen))).unwrap_or_default();
            let leader = leader.map_or("dead".into(), cause);
            format!("asked {}, kill {}{latest}{widen}, leader {leader}", signal.name(), left(until))
        }
        Phase::Lingering { until } => format!("lingering {}", left(until)),
        Phase::Killed { until, leader } => {
            let patience = until.map_or("stuck".into(), |_| left(until));
            let leader = leader.map_or("dead".into(), |Fate { killed, forced, before }| {
                let forced = if forced { " forced" } else { "" };
                format!("{}{forced}, late {}", cause(killed), cause(before))
            });
            format!("killed {patience}, leader {leader}")
        }
        // Nothing is left that could differ.
        Phase::Emptied { left: false } => return "emptied".into(),
        Phase::Emptied { left: true } => return "emptied, left".into(),
        Phase::Gone => return "gone".into(),
    };
    if machine.paused.is_some() {
        phase += ", paused";
    }
    if machine.policy.leftovers != script.leftovers {
        phase += ", detached";
    }
    phase
}

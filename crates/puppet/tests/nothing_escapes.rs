//! Who tries to escape is caught, by each containment as far as it promises, and no containment promises more than it
//! keeps.
//!
//! The table in `nothing_escapes.txt` is compared whole; `BLESS=1` writes it anew, and review reads the diff.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use puppet::{Actor, Cgroup, Feature, Got, Host, NOBODY, Programs, User, needs};

const PREAMBLE: &str = "\
What is left of a tree that tried to escape, after the stop or the death at the left, and whether `survives` promised
that nothing would be. Written by a test: `BLESS=1 cargo test -p puppet --test nothing_escapes`.

    0 yes    nothing is left, as promised        0 no     nothing is left, which was not promised
    3 no     three are left, as was to be feared  some no  some are left
    any no   it was not promised, and depends on who is faster
    -        there is no such case

";

struct Strategy {
    name: &'static str,
    how: &'static str,
    user: User,
}

const fn root(name: &'static str, how: &'static str) -> Strategy {
    Strategy { name, how, user: User::Root }
}

const STRATEGIES: [Strategy; 9] = [
    root("group", "process-group"),
    root("subreaper", "subreaper"),
    root("subr. twin", "subreaper+twin"),
    root("freezer", "freezer"),
    root("landlock", "landlock"),
    root("cgroup", "cgroup"),
    root("cgr. twin", "cgroup+twin"),
    root("pid ns root", "pid-namespace"),
    Strategy { name: "pid ns user", how: "pid-namespace", user: User::Nobody },
];

/// What is tried, and which promise it puts to the test.
struct Escape {
    name: &'static str,
    act: Act,
    promise: fn(&Got) -> bool,
}

enum Act {
    /// The script makes its escape, says `out`, and is stopped.
    Stop(&'static str),
    /// The same with so many that have no pid to speak of.
    Wild(&'static str),
    /// By a member of a privileged user.
    Setuid,
    /// To a cgroup beside its own.
    Move,
    /// Nobody stops it, but these die.
    Deaths { supervisor: bool, guard: bool },
    /// The supervisor takes more memory than there is for it.
    OutOfMemory,
}

const ESCAPES: [Escape; 14] = [
    Escape { name: "setsid", act: Act::Stop("daemons setsid 1 say out wait"), promise: |got| got.setsid },
    Escape {
        name: "double fork",
        act: Act::Stop("daemons double 1 say out wait"),
        promise: |got| got.double_fork,
    },
    Escape {
        name: "setsid, double fork",
        act: Act::Stop("daemons double-setsid 1 say out wait"),
        promise: |got| got.double_fork,
    },
    Escape {
        name: "env -i, setsid, double fork",
        act: Act::Stop("fork-bare middle [ quiet fork-bare daemon [ setsid say out wait ] ] wait"),
        promise: |got| got.double_fork,
    },
    Escape {
        name: "restarts 3 killed workers",
        act: Act::Stop("restarter 3 say out wait"),
        promise: |got| got.double_fork,
    },
    Escape { name: "100 rabbits", act: Act::Wild("rabbits 100 say out wait"), promise: |got| got.fork_bomb },
    Escape { name: "fork bomb", act: Act::Wild("bomb say out wait"), promise: |got| got.fork_bomb },
    Escape {
        name: "setsid fork bomb",
        act: Act::Wild("bomb-setsid say out wait"),
        promise: |got| got.fork_bomb,
    },
    Escape { name: "setuid child", act: Act::Setuid, promise: |got| got.setuid_child },
    Escape { name: "moves to another cgroup", act: Act::Move, promise: |got| got.setsid },
    Escape {
        name: "supervisor killed",
        act: Act::Deaths { supervisor: true, guard: false },
        promise: |got| got.supervisor_killed,
    },
    Escape {
        name: "guard killed",
        act: Act::Deaths { supervisor: false, guard: true },
        promise: |got| got.guard_killed,
    },
    Escape {
        name: "both killed",
        act: Act::Deaths { supervisor: true, guard: true },
        promise: |got| got.both_killed,
    },
    Escape { name: "supervisor out of memory", act: Act::OutOfMemory, promise: |got| got.supervisor_killed },
];

/// How many they may be in all: a bomb fills it.
const CROWD: u32 = 1000;

/// The wild end by themselves after ten seconds: later nobody is left and nothing is proven.
const WILD: Duration = Duration::from_secs(9);

/// How long a death may take to be the end of the tree. It is promised in a tenth of a second; the machine may be busy.
const PROMPT: Duration = Duration::from_secs(10);

/// How long one that is not promised may take, to be counted as one.
const MOMENT: Duration = Duration::from_millis(300);

/// Room for the supervisor and for nothing else.
const MEMORY: u64 = 100 << 20;

#[derive(Debug)]
struct Outcome {
    left: usize,
    promised: bool,
    late: bool,
    /// What foster said, if it was asked.
    end: Option<String>,
}

#[test]
fn nobody_escapes_who_was_promised_not_to() {
    if !needs(Feature::Safety) || !needs(Feature::Freezer) || !needs(Feature::Program("setpriv")) {
        return;
    }
    let programs = Programs::copy();
    assert!(programs.setuid_works(), "set TMPDIR to a place where setuid programs work");
    let (mut columns, mut broken, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for strategy in &STRATEGIES {
        let got = match Host::start(&programs, strategy.user, CROWD, &[]).run(strategy.how, "wait") {
            Ok(got) => got,
            Err(why) => {
                missing.push(format!("{}: {why}", strategy.name));
                continue;
            }
        };
        if strategy.how != if got.twin { format!("{}+twin", got.mechanism) } else { got.mechanism.clone() } {
            broken.push(format!("{}: got {got:?}", strategy.name));
        }
        let mut column = vec![strategy.name.to_string(), got.level.clone()];
        for escape in &ESCAPES {
            let start = Instant::now();
            let outcome = play(&programs, strategy, &escape.act, escape.promise);
            let took = start.elapsed().as_millis();
            println!("{}, {}: {outcome:?}, {took} ms", strategy.name, escape.name);
            column.push(cell(&got, escape, outcome.as_ref()));
            let Some(outcome) = outcome else { continue };
            let lie = outcome.end.as_ref().is_some_and(|end| end.starts_with("gone")) && got.level != "group";
            if outcome.promised && (outcome.left > 0 || outcome.late) || lie && outcome.left > 0 {
                broken.push(format!("{}, {}: {outcome:?}", strategy.name, escape.name));
            }
        }
        columns.push(column);
    }
    let table = format!("{PREAMBLE}{}", lay_out(&columns));
    println!("{table}");
    assert!(broken.is_empty(), "promised and not kept: {broken:#?}");
    if !missing.is_empty() {
        assert!(std::env::var_os("FOSTER_CI").is_none(), "not to be had on this machine: {missing:#?}");
        eprintln!("not compared: not to be had on this machine: {missing:#?}");
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nothing_escapes.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &table).expect("the repository can be written to");
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    let news: Vec<_> = table.lines().zip(committed.lines()).filter(|(now, then)| now != then).collect();
    assert!(table == committed, "the table has changed: {news:#?}\nBLESS=1 writes it anew");
}

/// `None`: there is no such case.
fn play(programs: &Programs, strategy: &Strategy, act: &Act, promise: fn(&Got) -> bool) -> Option<Outcome> {
    match act {
        Act::Stop(script) => {
            let mut host = Host::start(programs, strategy.user, CROWD, &[]);
            Some(stop(&mut host, strategy.how, script, promise, Duration::ZERO))
        }
        Act::Wild(script) => {
            let how = format!("{}+patient", strategy.how);
            let play = || {
                let mut host = Host::start(programs, strategy.user, CROWD, &[]);
                stop(&mut host, &how, script, promise, Duration::from_secs(1))
            };
            // What came too late, on a busy machine, says nothing of who is left, and is played again.
            let mut plays = std::iter::repeat_with(play).take(5).skip_while(|outcome| outcome.late);
            plays.next().or_else(|| Some(play()))
        }
        Act::Setuid => setuid(programs, strategy, promise),
        Act::Move => moves(programs, strategy, promise),
        Act::Deaths { supervisor, guard } => deaths(programs, strategy, promise, *supervisor, *guard),
        Act::OutOfMemory => out_of_memory(programs, strategy, promise),
    }
}

/// `growing`: it is stopped when it fills the place, or after so long.
fn stop(host: &mut Host, how: &str, script: &str, promise: fn(&Got) -> bool, growing: Duration) -> Outcome {
    let start = Instant::now();
    let got = run(host, how, script);
    host.hear(if script.contains("daemon [") { "daemon: out" } else { "leader: out" });
    let grown = Instant::now() + growing;
    while Instant::now() < grown && host.safety.members().len() < CROWD as usize - 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    host.tell("stop");
    let end = host.hear("supervisor:");
    let late = growing > Duration::ZERO && start.elapsed() > WILD;
    let left = host.survivors();
    Outcome { left, promised: promise(&got), late, end: Some(end) }
}

/// As somebody without privileges, where the containment is to be had without: root could kill the child anyway.
fn setuid(programs: &Programs, strategy: &Strategy, promise: fn(&Got) -> bool) -> Option<Outcome> {
    let how = match strategy.how {
        "landlock" => "landlock+nnp",
        "freezer" => return None,
        "pid-namespace" if strategy.user == User::Root => return None,
        how => how,
    };
    let group = Cgroup::unified().and_then(Cgroup::new);
    if let Some(group) = &group {
        group.delegate(NOBODY);
    }
    let doors: Vec<&Path> = group.iter().map(Cgroup::directory).collect();
    let mut host = Host::start(programs, User::Nobody, CROWD, &doors);
    let setuid = programs.setuid();
    let script = format!("fork-from {} daemon [ become-owner say out wait ] wait", setuid.display());
    let outcome = stop(&mut host, how, &script, promise, Duration::ZERO);
    drop(host);
    Some(outcome)
}

fn moves(programs: &Programs, strategy: &Strategy, promise: fn(&Got) -> bool) -> Option<Outcome> {
    if strategy.user == User::Nobody {
        return None;
    }
    let hierarchies = Cgroup::unified().into_iter().chain([Path::new("/sys/fs/cgroup/freezer")]);
    let groups: Vec<Cgroup> = hierarchies.filter_map(Cgroup::new).collect();
    let moves: String =
        groups.iter().fold(String::new(), |all, group| format!("{all} move {}", group.directory().display()));
    let mut host = Host::start(programs, strategy.user, CROWD, &[]);
    let script = format!("fork middle [ quiet fork daemon [ setsid {moves} say out wait ] ] wait");
    let outcome = stop(&mut host, strategy.how, &script, promise, Duration::ZERO);
    // Before the groups.
    drop(host);
    Some(outcome)
}

const DAEMONS: &str = "daemons double-setsid 5 say out wait";

fn deaths(
    programs: &Programs,
    strategy: &Strategy,
    promise: fn(&Got) -> bool,
    supervisor: bool,
    guard: bool,
) -> Option<Outcome> {
    let mut host = Host::start(programs, strategy.user, CROWD, &[]);
    let got = run(&mut host, strategy.how, DAEMONS);
    host.hear("leader: out");
    let pinned = if guard { Some(Actor::of(got.guard?)) } else { None };
    if supervisor {
        host.kill();
    }
    if let Some(guard) = pinned {
        guard.signal(foster::Signal::KILL);
        guard.dies();
    }
    Some(aftermath(&host, promise(&got), !supervisor))
}

fn out_of_memory(programs: &Programs, strategy: &Strategy, promise: fn(&Got) -> bool) -> Option<Outcome> {
    let hierarchy = Path::new("/sys/fs/cgroup/memory");
    let (limit, group) = match Cgroup::new(hierarchy) {
        Some(group) => ("memory.limit_in_bytes", group),
        None => ("memory.max", Cgroup::new(Cgroup::unified()?)?),
    };
    std::fs::write(group.directory().join(limit), MEMORY.to_string()).ok()?;
    let mut host = Host::start(programs, strategy.user, CROWD, &[]);
    let got = run(&mut host, strategy.how, DAEMONS);
    host.hear("leader: out");
    std::fs::write(group.directory().join("cgroup.procs"), host.actor().pid().to_string()).expect("it lives");
    host.tell("eat");
    host.actor().dies();
    let outcome = aftermath(&host, promise(&got), false);
    drop(host);
    Some(outcome)
}

/// Who is left when those who should die have had their time.
fn aftermath(host: &Host, promised: bool, supervisor: bool) -> Outcome {
    let staying = if supervisor { vec![host.actor().pid()] } else { Vec::new() };
    host.safety.left_to(&staying, if promised { PROMPT } else { MOMENT });
    let left = host.survivors();
    Outcome { left, promised, late: false, end: None }
}

#[track_caller]
fn run(host: &mut Host, how: &str, script: &str) -> Got {
    host.run(how, script).unwrap_or_else(|why| panic!("{how}: {why}"))
}

fn cell(got: &Got, escape: &Escape, outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else { return "-".to_string() };
    let wild = matches!(escape.act, Act::Wild(_));
    let left = match outcome.left {
        _ if outcome.late && outcome.promised => "late".to_string(),
        // Members of a group die together, but not one of them may be called gone before.
        _ if wild && !outcome.promised && (got.level == "tracked" || escape.name == "fork bomb") => {
            "any".to_string()
        }
        // A guard that was a moment faster than its own death has ended the tree.
        _ if escape.name == "both killed" && !outcome.promised => "any".to_string(),
        left if wild && left > 0 => "some".to_string(),
        left => left.to_string(),
    };
    format!("{left} {}", if outcome.promised { "yes" } else { "no" })
}

fn lay_out(columns: &[Vec<String>]) -> String {
    let mut table = String::new();
    let names = ["", "level"].into_iter().chain(ESCAPES.iter().map(|escape| escape.name));
    for (row, name) in names.enumerate() {
        let mut line = format!("{name:28}");
        for column in columns {
            write!(line, "{:13}", column[row]).expect("to a string");
        }
        writeln!(table, "{}", line.trim_end()).expect("to a string");
    }
    table
}

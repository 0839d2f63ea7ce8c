//! Nothing costs more than `budgets.txt` says, however busy the machine is: what is counted is instructions and system
//! calls, not time.

#[path = "budgets/calls.rs"]
mod calls;
#[path = "budgets/steps.rs"]
mod steps;
#[path = "budgets/table.rs"]
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fmt, fs, io};

use puppet::{Feature, needs};
use table::{INSTRUCTIONS, Measured, Table};

const OPERATIONS: [&str; 6] = ["run", "run-guarded", "stop", "stop-guarded", "time-out", "output"];
const ATTEMPTS: usize = 3;

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Caller,
    Engine,
    Child,
    Guard,
    Leader,
}

#[test]
fn no_operation_costs_more_than_its_budget() {
    if !is_the_platform_of_the_budgets() {
        say("not run: the budgets are for x86_64, glibc, and Linux 6.13 or later");
        return;
    }
    if !needs(Feature::Program("strace")) {
        return;
    }
    let program = build();
    let compiler = compiler();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.txt");
    let table = fs::read_to_string(&file).expect("the budgets are there");
    let table = Table::parse(&table).expect("the budgets can be read");
    if env::var_os("BLESS").is_some() {
        let times: Vec<Measured> = (0..ATTEMPTS).map(|_| measure_all(&program)).collect();
        let table = Table::of(&compiler, &times, &table);
        fs::write(file, table.to_string()).expect("the budgets can be written");
        return;
    }

    let mut all = Measured::new();
    for operation in OPERATIONS {
        let mut least = measure(&program, operation);
        // Who else runs can only add to it.
        for _ in 1..ATTEMPTS {
            if table.above(&compiler, &least).is_empty() {
                break;
            }
            let again = measure(&program, operation);
            least.retain(|key, _| again.contains_key(key));
            for (key, count) in &mut least {
                *count = count.min(again[key]);
            }
        }
        all.append(&mut least);
    }
    for line in table.generous(&all) {
        say(&format!("{line}: `BLESS=1 cargo test -p budget` keeps what was won"));
    }
    let above = table.above(&compiler, &all);
    assert!(
        above.is_empty(),
        "more than its budget:\n{}\nIf it is worth it, say so with `BLESS=1 cargo test -p budget`",
        above.join("\n")
    );
}

fn measure_all(program: &Path) -> Measured {
    OPERATIONS.into_iter().flat_map(|operation| measure(program, operation)).collect()
}

fn measure(program: &Path, operation: &str) -> Measured {
    /// The first is not counted; of the others the least counts.
    const STEPPED: u32 = 6;

    let command = |times: u32| {
        let mut command = Command::new(program);
        // What a program is given is copied: so the environment is always the same.
        command.args([operation, &times.to_string()]).env_clear();
        command
    };
    let calls = calls::count(command).unwrap_or_else(|error| panic!("{operation} under strace: {error}"));
    let calls = calls.into_iter().map(|((who, name), count)| ((operation.to_string(), who, name), count));
    let stretches =
        steps::count(command(STEPPED)).unwrap_or_else(|error| panic!("{operation} under ptrace: {error}"));
    let steps = [Who::Caller, Who::Engine, Who::Child].map(|who| {
        let least = stretches.iter().filter_map(|counts| counts.get(&who)).min();
        let least = *least.unwrap_or_else(|| panic!("{operation}: no instruction of the {who} was counted"));
        ((operation.to_string(), who, INSTRUCTIONS.to_string()), least)
    });
    let steps = steps.map(|(key, count)| (key, f64::from(u32::try_from(count).unwrap_or(u32::MAX))));
    calls.chain(steps).collect()
}

/// Builds the program as it is shipped: in a debug build most instructions are not foster's.
fn build() -> PathBuf {
    let debug = Path::new(env!("CARGO_BIN_EXE_budget"));
    let target = debug.ancestors().nth(2).expect("target/debug/budget");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--package", "budget", "--target-dir"])
        .arg(target);
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo can be started");
    assert!(status.success(), "{cargo:?} ended with {status}");
    target.join("release/budget")
}

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().expect("rustc can be started");
    String::from_utf8_lossy(&said.stdout).trim().to_string()
}

fn is_the_platform_of_the_budgets() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    cfg!(all(target_arch = "x86_64", target_env = "gnu")) && version >= (6, 13)
}

/// Also of a test that passes, whose output cargo keeps to itself.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

impl Who {
    const ALL: [Who; 5] = [Who::Caller, Who::Engine, Who::Child, Who::Guard, Who::Leader];

    fn named(name: &str) -> Option<Who> {
        Who::ALL.into_iter().find(|who| who.to_string() == name)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Who::Caller => "caller",
            Who::Engine => "engine",
            Who::Child => "child",
            Who::Guard => "guard",
            Who::Leader => "leader",
        })
    }
}

//! The harness works: everybody takes part in everything, and the figures are figures. How good they are is not for
//! a test to say.

use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;

const CONTENDERS: [&str; 13] = [
    "limit",
    "foster wait()",
    "foster wait(), held by a guard",
    "foster gone().wait()",
    "foster exited(), parked thread",
    "foster gone(), parked thread",
    "foster exited(), tokio",
    "foster gone(), tokio",
    "std::process",
    "process-wrap",
    "shared_child",
    "duct",
    "tokio::process",
];

/// After the limits of each job: who takes a child's output. Each counts what it took, and a wrong count ends the run.
const OUTPUT_CONTENDERS: [&str; 4] = ["foster", "std::process", "tokio::process", "duct"];

#[test]
fn every_contender_is_measured_at_every_task() {
    let file = env::temp_dir().join(format!("foster-bench-{}.json", std::process::id()));
    let status = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--json"])
        .arg(&file)
        .stdout(Stdio::null())
        .status()
        .expect("the bench starts");
    let text = fs::read_to_string(&file);
    _ = fs::remove_file(&file);
    assert!(status.success(), "the bench failed: {status}");

    let json: Value = serde_json::from_str(&text.expect("it wrote the file")).expect("it wrote JSON");
    let tasks: Vec<&Value> = json["tasks"].as_array().expect("a list of tasks").iter().collect();
    assert_eq!(tasks.iter().map(|task| &task["task"]).collect::<Vec<_>>(), ["A", "B", "C"]);
    for task in tasks {
        let rows = task["contenders"].as_array().expect("a list of contenders");
        assert_eq!(rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), CONTENDERS);
        for row in rows {
            for figure in ["ratio", "microseconds"] {
                let median = row[figure]["p50"].as_f64().expect("a number");
                assert!(median > 0.0, "task {}: {row}", task["task"]);
            }
        }
        assert_eq!(rows[0]["ratio"]["p50"], 1.0, "the limit is its own measure");
    }
    let output: Vec<&Value> = json["output"].as_array().expect("a list of jobs").iter().collect();
    assert_eq!(output.iter().map(|job| &job["task"]).collect::<Vec<_>>(), ["E1", "E2", "E3"]);
    assert_eq!(output.iter().map(|job| &job["amount"]).collect::<Vec<_>>(), [16 << 20, 16 << 20, 312_500]);
    for (job, second) in output.into_iter().zip([Some("limit: splice"), Some("limit: new memory"), None]) {
        let rows = job["contenders"].as_array().expect("a list of contenders");
        let expected: Vec<&str> = ["limit"].into_iter().chain(second).chain(OUTPUT_CONTENDERS).collect();
        assert_eq!(rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), expected);
        for row in rows {
            for figure in ["rate", "ratio", "ratio_to_std"] {
                let median = row[figure]["p50"].as_f64().expect("a number");
                assert!(median > 0.0, "task {}: {row}", job["task"]);
            }
        }
        assert_eq!(rows[0]["ratio"]["p50"], 1.0, "the limit is its own measure");
    }
    let strategies = json["strategies"].as_array().expect("a list of strategies");
    assert_eq!(strategies[0]["name"], "group");
    for row in strategies {
        for figure in ["start_us", "stop_1_ms", "stop_100_ms", "stop_1000_ms"] {
            assert!(row[figure].as_f64().is_some_and(|median| median > 0.0), "{figure}: {row}");
        }
    }
    let program = json["program"]["contenders"].as_array().expect("a list of wrappers");
    assert_eq!(program[0]["name"], "the child alone");
    assert_eq!(program[0]["ratio"]["p50"], 1.0, "the child is its own measure");
    for row in program {
        assert!(row["microseconds"]["p50"].as_f64().is_some_and(|median| median > 0.0), "{row}");
    }
    for peer in ["foster", "tokio", "process-wrap", "duct", "shared_child"] {
        assert!(json["versions"][peer].is_string(), "no version of {peer}");
    }
}

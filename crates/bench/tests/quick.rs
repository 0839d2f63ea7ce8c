//! The harness works: everybody takes part in everything, and the figures are figures. How good they are is not for
//! a test to say.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::Value;

const TASKS: [&str; 13] = ["A1", "A2", "A3", "B", "C1", "C2", "D", "E1", "E2", "E3", "F", "G", "H"];

/// How many promises have a row that is always measured. Those of H need the program, and its peers.
const TARGETS: usize = 16;

const CONTENDERS: [&str; 14] = [
    "limit",
    "foster wait()",
    "foster wait(), guarded",
    "foster gone().wait(), guarded",
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

/// Who can stop a child with a grace.
const WITH_GRACE: [&str; 6] = [
    "limit",
    "foster wait()",
    "foster wait(), guarded",
    "foster exited(), tokio",
    "shared_child",
    "tokio::process",
];

/// Who keeps many in flight.
const MANY: [&str; 7] = [
    "limit",
    "limit: a thread for each CPU",
    "foster wait()",
    "foster wait(), guarded",
    "foster exited(), tokio",
    "std::process",
    "tokio::process",
];

/// After the limits of each job: who takes a child's output. Each counts what it took, and a wrong count ends the run.
const OUTPUT_CONTENDERS: [&str; 4] = ["foster", "std::process", "tokio::process", "duct"];

#[test]
fn everybody_is_measured_drawn_and_held_against_the_targets() {
    let [json, svg] = ["json", "svg"]
        .map(|kind| env::temp_dir().join(format!("foster-bench-{}.{kind}", std::process::id())));
    let status = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("--quick")
        .args([Path::new("--json"), &json, Path::new("--svg"), &svg])
        .stdout(Stdio::null())
        .status()
        .expect("the bench starts");
    let [figures, picture] = [json, svg].map(|file| {
        let text = fs::read_to_string(&file);
        _ = fs::remove_file(&file);
        text
    });
    assert!(status.success(), "the bench failed: {status}");
    let json: Value = serde_json::from_str(&figures.expect("it wrote the file")).expect("it wrote JSON");
    let picture = picture.expect("it wrote the picture");

    let tables = json["tables"].as_array().expect("a list of tables");
    assert_eq!(tables.iter().map(|table| &table["task"]).collect::<Vec<_>>(), TASKS);
    for task in ["A2", "A3", "B", "C1"] {
        check(table(tables, task), &CONTENDERS, &["ratio", "microseconds"]);
    }
    let run = table(tables, "A1");
    let here = names(run);
    check(run, &here, &["ratio", "microseconds"]);
    // The least that a guard costs; with a cgroup where one can be made.
    let (guards, others): (Vec<&str>, Vec<&str>) =
        here.into_iter().partition(|name| name.starts_with("limit: two"));
    assert_eq!(others, CONTENDERS);
    assert!(guards.contains(&"limit: two processes"), "{guards:?}");
    check(table(tables, "C2"), &WITH_GRACE, &["ratio", "microseconds"]);
    check_strategies(table(tables, "D"));
    for (task, amount, second) in [
        ("E1", 16 << 20, Some("limit: splice")),
        ("E2", 16 << 20, Some("limit: new memory")),
        ("E3", 312_500, None),
    ] {
        let contenders: Vec<&str> = ["limit"].into_iter().chain(second).chain(OUTPUT_CONTENDERS).collect();
        check(table(tables, task), &contenders, &["rate", "ratio", "ratio_to_std"]);
        assert_eq!(table(tables, task)["amount"], amount);
    }
    check(table(tables, "F"), &MANY, &["rate", "ratio", "ratio_to_std"]);
    check(table(tables, "G"), &["limit", "foster", "tokio::process"], &["start_ms", "cpu_ratio", "stop_ms"]);
    let program = table(tables, "H");
    assert_eq!(program["contenders"][0]["name"], "the child alone");
    let here = names(program);
    let all_here = |names: &[&str]| usize::from(names.iter().all(|name| here.contains(name)));
    let of_program = all_here(&["foster run, group", "tini", "dumb-init", "timeout"])
        + all_here(&["static foster run, group", "catatonit"]);
    check(program, &here, &["ratio", "microseconds"]);
    check_targets(&json["targets"], TARGETS + of_program);
    check_picture(&picture);
    for peer in ["foster", "tokio", "process-wrap", "duct", "shared_child"] {
        assert!(json["versions"][peer].is_string(), "no version of {peer}");
    }
}

fn table<'a>(tables: &'a [Value], task: &str) -> &'a Value {
    tables.iter().find(|table| table["task"] == task).expect("every task has its table")
}

fn names(table: &Value) -> Vec<&str> {
    let rows = table["contenders"].as_array().expect("a list of contenders");
    rows.iter().filter_map(|row| row["name"].as_str()).collect()
}

/// All took part, the limit first, and the figures are figures.
fn check(table: &Value, contenders: &[&str], figures: &[&str]) {
    let rows = table["contenders"].as_array().expect("a list of contenders");
    assert_eq!(rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), contenders);
    for (row, figure) in rows.iter().flat_map(|row| figures.iter().map(move |figure| (row, figure))) {
        let median = row[figure]["p50"].as_f64().expect("a number");
        assert!(median > 0.0, "task {}, {figure}: {row}", table["task"]);
    }
    for ratio in figures.iter().filter(|figure| figure.ends_with("ratio")) {
        assert_eq!(rows[0][ratio]["p50"], 1.0, "the limit is its own measure");
    }
}

fn check_strategies(table: &Value) {
    let strategies = table["strategies"].as_array().expect("a list of strategies");
    assert_eq!(strategies[0]["name"], "group");
    for row in strategies {
        for figure in ["start_us", "stop_1_ms", "stop_100_ms", "stop_1000_ms"] {
            assert!(row[figure].as_f64().is_some_and(|median| median > 0.0), "{figure}: {row}");
        }
    }
}

/// Each finds its row.
fn check_targets(targets: &Value, expected: usize) {
    let targets = targets.as_array().expect("a list of targets");
    assert_eq!(targets.len(), expected, "{targets:#?}");
    for target in targets {
        let verdict = target["verdict"].as_str().expect("a word");
        assert!(["met", "missed", "too noisy"].contains(&verdict), "{target}");
    }
}

/// A document that a browser takes, with a title for each chart and a bar for each contender.
fn check_picture(picture: &str) {
    let document = roxmltree::Document::parse(picture).expect("it is well-formed");
    let root = document.root_element();
    assert!(root.has_tag_name(("http://www.w3.org/2000/svg", "svg")));
    let of_class = |class: &str| {
        root.descendants()
            .filter(|node| node.attribute("class") == Some(class))
            .map(|node| node.text())
            .collect()
    };
    let titles: Vec<Option<&str>> = of_class("title");
    for task in TASKS.iter().filter(|task| **task != "D") {
        let is_drawn = titles.iter().flatten().any(|title| title.starts_with(task));
        assert!(is_drawn, "no chart of {task}: {titles:?}");
    }
    let (names, figures): (Vec<_>, Vec<_>) = (of_class("name"), of_class("figure"));
    assert_eq!(names.len(), figures.len());
    for contender in CONTENDERS {
        assert!(names.contains(&Some(contender)), "{contender} is not drawn: {names:?}");
    }
}

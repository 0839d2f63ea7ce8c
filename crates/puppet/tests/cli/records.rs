//! What machines read: the report and the events keep to their schemas, and say the whole exit.

use std::fs;
use std::path::Path;

use foster::{Signal, Status};
use puppet::{Before, Stage, long_enough, scratch};
use serde_json::{Value, json};

use crate::common::{foster_run, run, seconds, send};

pub(crate) fn schema(name: &str) -> jsonschema::Validator {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foster-cli/schema").join(name);
    let text = fs::read_to_string(file).expect("the schema is there");
    jsonschema::validator_for(&serde_json::from_str(&text).expect("it is JSON")).expect("it is a schema")
}

#[track_caller]
pub(crate) fn keeps_to(schema: &jsonschema::Validator, value: &Value) {
    let mistakes: Vec<String> = schema.iter_errors(value).map(|mistake| mistake.to_string()).collect();
    assert!(mistakes.is_empty(), "{value}: {mistakes:?}");
}

#[track_caller]
fn report(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("report")).expect("the report is there");
    assert_eq!(text.lines().count(), 1);
    let report = serde_json::from_str(&text).expect("it is JSON");
    keeps_to(&schema("report.schema.json"), &report);
    report
}

#[test]
fn f28_a_report_tells_status_cause_and_force() {
    let folder = scratch("report");
    let file = folder.join("report");
    let file = file.to_str().expect("UTF-8");
    let cases: [(&str, &str, Value, &str, bool, u64); 4] = [
        ("", "exit 3", json!({"kind": "exited", "code": 3}), "own", false, 3),
        (
            "",
            "kill -9 $$",
            json!({"kind": "signaled", "signal": "KILL", "number": 9, "core_dumped": false}),
            "own",
            false,
            137,
        ),
        (
            "-t TIME",
            "exec sleep 1000",
            json!({"kind": "signaled", "signal": "TERM", "number": 15, "core_dumped": false}),
            "timed_out",
            false,
            124,
        ),
        (
            "-t TIME -k 0.1",
            "exec sleep 1000",
            json!({"kind": "signaled", "signal": "KILL", "number": 9, "core_dumped": false}),
            "timed_out",
            true,
            124,
        ),
    ];
    for (options, script, status, cause, forced, code) in cases {
        let ignored = if forced { "trap '' TERM; " } else { "" };
        let script = format!("{ignored}echo begun; {script}");
        let report = long_enough(|time| {
            let options = options.replace("TIME", &seconds(time));
            let options = ["run", "--report", file].into_iter().chain(options.split_whitespace());
            let output = run(options.chain(["--", "sh", "-c", &script]));
            let report = report(&folder);
            (output.stdout == b"begun\n").then_some(report)
        });
        let exit = &report["exit"];
        let told =
            (&exit["status"], exit["cause"].as_str(), exit["forced"].as_bool(), report["exit_code"].as_u64());
        assert_eq!(told, (&status, Some(cause), Some(forced), Some(code)), "{options} {script}");
        assert!(exit["elapsed_seconds"].as_f64().is_some_and(|elapsed| elapsed > 0.0));
        assert!(exit["usage"]["peak_memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{report}");
    }
    // Written beside and renamed: nothing else is left in the folder.
    assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1);
}

#[test]
fn a_report_tells_why_nothing_was_started() {
    let folder = scratch("refused");
    let file = folder.join("report");
    run(["run", "--report", file.to_str().expect("UTF-8"), "--", "no-such-program"]);
    let report = report(&folder);
    assert_eq!((&report["exit_code"], &report["error"]["kind"]), (&json!(127), &json!("not_found")));
}

#[test]
fn a_report_tells_what_was_left_behind() {
    let folder = scratch("left");
    let file = folder.join("report");
    let options = format!("--report {}", file.display());
    let stage = Stage::start(&foster_run(&options, "fork rest [ wait ] trap-exit USR1 0 wait"));
    let rest = stage.ready("rest");
    stage.leader().signal(Signal::USR1);
    assert_eq!(stage.exit().status, Status::Exited(0));
    assert_eq!(report(&folder)["exit"]["leftovers"], json!([rest.pid()]));
}

#[test]
fn every_event_keeps_to_the_schema() {
    let folder = scratch("event-schema");
    let file = folder.join("events");
    let schema = schema("event.schema.json");
    let events = long_enough(|timeout| {
        let options = format!("-t {} -k 0.2 --events {}", seconds(timeout), file.display());
        let before = Before::begins(timeout);
        let stage = Stage::start(&foster_run(&options, "trap USR1 heard ignore TERM wait"));
        stage.says("leader: ready ");
        send(&stage, Signal::USR1);
        stage.says("leader: heard");
        before.still()?;
        stage.exit();
        let events: Vec<Value> = fs::read_to_string(&file)
            .expect("the events are there")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        for event in &events {
            keeps_to(&schema, event);
        }
        Some(events)
    });
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names, ["started", "signalled", "timed_out", "asked", "forced", "exited", "gone"]);
    let times: Vec<f64> = events.iter().filter_map(|event| event["elapsed_seconds"].as_f64()).collect();
    assert!(times.is_sorted());
}

#[test]
fn events_go_to_a_pipe_while_they_happen() {
    // The reader hangs up after the first line: that stops nothing.
    let stage = Stage::start(&foster_run("--events /dev/stdout", "trap-exit TERM 3 drop-stdout wait"));
    stage.ready("leader");
    puppet::eventually(
        "the first event",
        || stage.heard().iter().any(|line| line.contains("\"event\":\"started\"")),
        |there| *there,
    );
    send(&stage, Signal::TERM);
    assert_eq!(stage.exit().status, Status::Exited(3));
    assert!(stage.curtain().last().is_some_and(|line| line.contains("\"event\":\"gone\"")));
}

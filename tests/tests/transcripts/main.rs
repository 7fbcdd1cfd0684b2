//! Every frame and every control request that a released producer or client sent, and every recording of `wellscope --record`, is
//! replayed into a receiver with an app's model behind it; replies and deliveries are compared with the committed ones. The folders
//! are the test list:
//!
//! - `tests/captures/<generation>/**/<name>.json` with `<name>.shm/<shm_name>.bin` → `tests/transcripts/captures/**/<name>.json`
//! - `tests/captures/<generation>/**/<name>.request.pickle` → `tests/transcripts/control/**/<name>.json`, and against the reply of the
//!   incumbent: see `control.rs`
//! - `tests/transcripts/<case>/{messages.jsonl, segments/, replies.jsonl, control.jsonl}` → `expected.json` in it
//!
//! `UPDATE_SNAPSHOTS=1` writes what is expected anew; read the difference before you commit it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod cases;
mod control;
mod described;
mod replay;

use std::path::{Path, PathBuf};

use cases::{Case, Step, captures, recording, recordings, tests_folder};
use control::{control_captures, differences, masked, matches_any};
use described::first_difference;
use replay::{Outcome, replay};
use serde_json::{Value, json};

/// What comes of a case, as JSON.
fn replayed(case: &Case, record: Option<PathBuf>) -> Value {
    let described = |outcome: Outcome| match outcome {
        Outcome::Message(message) => message,
        Outcome::Call(request, reply) => json!({"request": request, "reply": described::reply(&masked(&reply))}),
    };
    replay(case, record).into_iter().map(described).collect()
}

/// The difference of what was found from what is committed.
fn compare_with_committed(case: &Case, found: &Value) -> Option<String> {
    let name = case.expected.strip_prefix(tests_folder()).unwrap().display();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(case.expected.parent().unwrap()).unwrap();
        std::fs::write(&case.expected, format!("{found:#}\n")).unwrap();
        return None;
    }
    match std::fs::read(&case.expected) {
        Ok(expected) => first_difference("", &serde_json::from_slice(&expected).unwrap(), found)
            .map(|difference| format!("{name}\n    {difference}")),
        Err(error) => Some(format!("{name}\n    {error}; UPDATE_SNAPSHOTS=1 writes it")),
    }
}

fn compare(case: &Case) -> Option<String> {
    compare_with_committed(case, &replayed(case, None))
}

#[test]
fn every_control_request_is_answered_as_committed_and_as_the_incumbent_answers() {
    let cases = control_captures();
    assert!(cases.len() >= 38, "only {} requests were found", cases.len());
    let mut problems = Vec::new();
    for case in &cases {
        let Some(Outcome::Call(request, reply)) = replay(&case.case, None).pop() else { panic!("{}", case.name) };
        let found = json!({"request": request, "reply": described::reply(&case.masked(&reply))});
        problems.extend(compare_with_committed(&case.case, &found));
        let theirs = case.incumbent.as_ref();
        let found = theirs.map(|theirs| differences(&reply, theirs)).unwrap_or_default();
        let listed: Vec<&String> = case.differs.keys().collect();
        let unlisted = found.iter().filter(|(at, _)| !matches_any(at, &listed));
        problems.extend(unlisted.map(|(at, what)| format!("{}\n    {at} is {what}", case.name)));
        let is_gone = |pattern: &&&String| !found.iter().any(|(at, _)| matches_any(at, &[**pattern]));
        problems.extend(listed.iter().filter(is_gone).map(|at| format!("{}\n    {at} differs no more", case.name)));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_capture_and_recording_is_answered_and_delivered_as_committed() {
    let (captures, recordings) = (captures(), recordings());
    assert!(captures.len() >= 71, "only {} captures were found", captures.len());
    assert!(!recordings.is_empty(), "no recording was found");
    let differences: Vec<String> = captures.iter().chain(&recordings).filter_map(compare).collect();
    assert!(differences.is_empty(), "{} cases differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn a_recording_replays_as_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let request = |name: &str| {
        let path = tests_folder().join("captures/G3_openhcs-0.8.6/control").join(format!("{name}.request.pickle"));
        Step::Call(std::fs::read(path).unwrap())
    };
    for (index, generation) in ["G1_openhcs-0.5.0", "G3_polystore-0.2.19"].into_iter().enumerate() {
        let name = Path::new(generation).join("labels_int32.json");
        let mut case = captures().into_iter().find(|case| case.expected.ends_with(&name)).unwrap();
        let Step::Message(message) = &case.steps[0] else { panic!() };
        let without_segment =
            String::from_utf8(message[0].clone()).unwrap().replace("napari_", "napari_gone_").into_bytes();
        // Questions before, between and after; also what is no JSON, no request, and a segment that is not there.
        case.steps.insert(0, request("state_empty"));
        case.steps.extend([request("state_full"), request("settle_2"), request("not_mapping")]);
        case.steps.extend([Step::Message(vec![b"\x80\x04\n.".to_vec()]), Step::Message(vec![without_segment])]);
        case.steps.extend([Step::Call(b"\x80\x04\n.".to_vec()), request("clear_state"), request("screenshot")]);
        let recorded = folder.path().join(index.to_string());
        let first = replayed(&case, Some(recorded.clone()));
        let again = recording(&recorded);
        assert_eq!(again.steps.len(), case.steps.len());
        assert_eq!(first_difference("", &first, &replayed(&again, None)), None);
        assert!(first[1]["deliveries"][0]["items"][0]["pixels_fnv1a"].is_string(), "{first:#}");
        assert_eq!((&first[0]["reply"]["layer_count"], &first[2]["reply"]["layer_count"]), (&json!(0), &json!(1)));
        assert_eq!(first[9]["reply"]["type"], "screenshot_ack", "{first:#}");
        let replies = std::fs::read_to_string(recorded.join("replies.jsonl")).unwrap();
        let replied: Vec<Value> = replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages = first.as_array().unwrap().iter().filter(|outcome| outcome["request"].is_null());
        let sent: Vec<Value> = messages.map(|exchange| exchange["reply"].clone()).collect();
        assert_eq!(replied, sent);
    }
}

#[test]
fn the_first_difference_is_named() {
    let left = json!({"a": [1, {"b": 2, "c": 3}]});
    assert_eq!(first_difference("", &left, &left), None);
    let right = json!({"a": [1, {"b": 2, "c": 4}], "d": 5});
    assert_eq!(first_difference("", &left, &right).unwrap(), ".a[1].c: expected 3, found 4");
}

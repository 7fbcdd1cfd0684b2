//! Every control request that was captured from a released client is sent to a receiver; what it answers, or what it asks of its
//! app, is compared with the committed outcome. The folders are the test list:
//!
//! - `tests/captures/**/<name>.request.pickle` → `tests/transcripts/captures/**/<name>.json`
//! - its reply of the incumbent, where there is one (`<name>.reply.pickle`, for a ping also `pong.reply.pickle`): the names of our
//!   fields are compared with its names, and every difference is in [`DIFFERENCES`] with its reason.
//!
//! The app is a stand-in here, so of its requests the outcome is what it was asked; its own answers are judged against the captured
//! ones in `app/tests/control_answers.rs`. `UPDATE_SNAPSHOTS=1` writes what is expected anew; read the difference before you commit it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::*;
use serde_json::{Map, Value, json};
use wellscope_protocol::control::{ControlReply, PongSpelling};
use wellscope_protocol::endpoint::Transport;
use wellscope_protocol::pickle::{self, PickleLimits, PickleValue};
use wellscope_receiver::{Delivery, SettleProgress};

/// Field names that only we (`+`) or only the incumbent (`-`) replies with, per case, and why.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    ("G3_openhcs-0.8.6/control/ping", EXTENSIONS, EXTENSIONS_WHY),
    ("G3_openhcs-0.8.6/control/ping_after", EXTENSIONS, EXTENSIONS_WHY),
    ("G3_zmqruntime-0.2.24_control/ping", EXTENSIONS, EXTENSIONS_WHY),
    (
        "G4_zmqruntime-0.6.5_control/ping",
        &[
            "+wellscope",
            "+wellscope.accepts",
            "+wellscope.version",
            "-active_executions",
            "-compile_message",
            "-compile_status",
            "-launch",
            "-launch.audience",
            "-launch.code_root",
            "-launch.owner",
            "-launch.owner.create_time",
            "-launch.owner.pid",
            "-progress_subscribers",
            "-queued_executions",
            "-running_executions",
            "-uptime",
            "-workers",
        ],
        "ours: see above; theirs are all optional: zmqruntime 0.6.5 reads them of servers that execute pipelines, and `launch` of \
         those that it launched itself",
    ),
];

/// What the pong has beyond the wire of the OpenHCS family.
const EXTENSIONS: &[&str] = &["+wellscope", "+wellscope.accepts", "+wellscope.version"];
const EXTENSIONS_WHY: &str =
    "producers of our own read what the viewer takes; zmqruntime ignores keys that it does not know";

/// Values that differ from run to run.
const VARYING: [&str; 8] =
    ["pid", "create_time", "cpu_percent", "memory_mb", "port", "control_port", "log_file_path", "timestamp"];

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// Captured requests, relative to `tests/captures`, without `.request.pickle`.
fn cases() -> Vec<String> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { below(&path, found) } else { found.push(path) }
        }
    }
    let captures = tests_folder().join("captures");
    let mut files = Vec::new();
    below(&captures, &mut files);
    let name = |path: PathBuf| {
        let relative = path.strip_prefix(&captures).unwrap().to_str().unwrap().to_owned();
        relative.strip_suffix(".request.pickle").map(str::to_owned)
    };
    let mut names: Vec<String> = files.into_iter().filter_map(name).collect();
    names.sort();
    names
}

fn decoded(pickle: &[u8]) -> PickleValue {
    pickle::decode(pickle, &PickleLimits::CONTROL_REPLY).unwrap()
}

/// The incumbent's reply to a case.
fn captured_reply(case: &str) -> Option<PickleValue> {
    let captures = tests_folder().join("captures");
    let own = captures.join(format!("{case}.reply.pickle"));
    let pong = captures.join(format!("{}.reply.pickle", case.replace("/ping", "/pong")));
    [own, pong].iter().find_map(|path| std::fs::read(path).ok()).map(|bytes| decoded(&bytes))
}

/// A reply as JSON: tuples apart from lists, since clients tell them apart, and varying values masked.
fn readable(value: &PickleValue) -> Value {
    let masked = |key: &str, value: &PickleValue| {
        let varies = VARYING.contains(&key) && !value.is_none();
        if varies { json!(format!("({})", value.type_name())) } else { readable(value) }
    };
    match value {
        PickleValue::None => Value::Null,
        PickleValue::Tuple(items) => json!({"tuple": items.iter().map(readable).collect::<Vec<_>>()}),
        PickleValue::List(items) => items.iter().map(readable).collect(),
        PickleValue::Dict(_) | PickleValue::Object(_) => {
            Value::Object(value.fields().into_iter().map(|(key, value)| (key.to_owned(), masked(key, value))).collect())
        }
        PickleValue::Float(number) => json!(number),
        other => match (other.as_str(), other.as_bool(), other.as_i64()) {
            (Some(text), ..) => json!(text),
            (_, Some(flag), _) => json!(flag),
            (.., Some(number)) => json!(number),
            _ => panic!("no reply has a {}", other.type_name()),
        },
    }
}

/// The process and when it started, in an error sentence.
fn without_process(mut reply: Value) -> Value {
    if let Some(text) = reply["message"].as_str()
        && let Some(rest) = text.strip_prefix(&format!("This viewer is process {} (started ", std::process::id()))
    {
        let (_, rest) = rest.split_once(')').unwrap();
        reply["message"] = json!(format!("This viewer is process (pid) (started (time)){rest}"));
    }
    reply
}

/// Sends a request to a viewer whose app answers that it was asked.
fn exchange(viewer: &Viewer, client: &zmq::Socket, request: &[u8]) -> (Value, Vec<u8>) {
    // Everything is drawn, so a settlement is complete.
    let progress = SettleProgress { taken: u64::MAX, ..Default::default() };
    viewer.receiver().settling().frame_ended(progress, true);
    client.send(request, 0).unwrap();
    let mut outcome = Map::new();
    let mut told = Vec::new();
    let mut answered = false;
    loop {
        while let Ok(delivery) = viewer.deliveries.try_recv() {
            match delivery {
                Delivery::Call(call) => {
                    outcome.insert("app_is_asked".into(), json!(format!("{:?}", call.request)));
                    call.replier.reply(ControlReply::error("error", "the app's answer"));
                }
                Delivery::Clear => told.push("clear"),
                Delivery::ShutdownRequested => told.push("shut down"),
                Delivery::Problem(_) => told.push("problem"),
                Delivery::Batch(_) => panic!("nothing was streamed"),
            }
        }
        if answered && viewer.deliveries.is_empty() {
            break;
        }
        if !answered && client.poll(zmq::POLLIN, 2).unwrap() > 0 {
            // The control thread does one thing after another: behind its pong, this request has had all its consequences.
            viewer.control(PING);
            answered = true;
        }
    }
    let reply = client.recv_bytes(0).unwrap();
    if !outcome.contains_key("app_is_asked") {
        outcome.insert("reply".into(), without_process(readable(&decoded(&reply))));
    }
    outcome.insert("app_is_told".into(), json!(told));
    (Value::Object(outcome), reply)
}

/// The names of all fields, at every depth.
fn field_names(value: &PickleValue, at: &str, names: &mut BTreeSet<String>) {
    for (key, inner) in value.fields() {
        let name = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        field_names(inner, &name, names);
        names.insert(name);
    }
    for item in value.items().unwrap_or_default() {
        field_names(item, &format!("{at}[]"), names);
    }
}

/// `+name`: only ours, `-name`: only the incumbent's.
fn name_differences(ours: &PickleValue, theirs: &PickleValue) -> Vec<String> {
    let [mut left, mut right] = [BTreeSet::new(), BTreeSet::new()];
    field_names(ours, "", &mut left);
    field_names(theirs, "", &mut right);
    let only_ours = left.difference(&right).map(|name| format!("+{name}"));
    only_ours.chain(right.difference(&left).map(|name| format!("-{name}"))).collect()
}

/// What differs from what is committed, and from the incumbent's names.
fn compare(case: &str) -> Vec<String> {
    let request = std::fs::read(tests_folder().join(format!("captures/{case}.request.pickle"))).unwrap();
    let viewer = start_with(Transport::Ipc, |config| {
        config.identity.application = Some(("openhcs".into(), "0.8.6".into()));
        config.identity.log_file = Some("viewer.log".into());
        if case.starts_with("G4") {
            config.pong_spelling = PongSpelling::G4;
        }
    });
    let (found, reply) = exchange(&viewer, &viewer.client(), &request);
    let mut complaints = Vec::new();
    if let Some(theirs) = captured_reply(case).filter(|_| found.get("reply").is_some()) {
        let differences = name_differences(&decoded(&reply), &theirs);
        let known = DIFFERENCES.iter().find(|(name, ..)| *name == case).map_or(&[][..], |(_, names, _)| names);
        if differences != known {
            complaints.push(format!("{case}: field names differ by {differences:?}, known are {known:?}"));
        }
    }
    let path = tests_folder().join(format!("transcripts/captures/{case}.json"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{found:#}\n")).unwrap();
        return complaints;
    }
    match std::fs::read(&path) {
        Ok(expected) => {
            let expected: Value = serde_json::from_slice(&expected).unwrap();
            if expected != found {
                complaints.push(format!("{case}: expected {expected:#}, found {found:#}"));
            }
        }
        Err(error) => complaints.push(format!("{case}: {error}; UPDATE_SNAPSHOTS=1 writes it")),
    }
    complaints
}

#[test]
fn every_captured_request_is_answered_as_committed() {
    let cases = cases();
    assert!(cases.len() >= 38, "only {} requests were found", cases.len());
    let complaints: Vec<String> = cases.iter().flat_map(|case| compare(case)).collect();
    assert!(complaints.is_empty(), "{} differ:\n{}", complaints.len(), complaints.join("\n"));
    for (case, _, reason) in DIFFERENCES {
        assert!(cases.iter().any(|name| name == case) && !reason.is_empty(), "{case} is no case");
    }
}

/// A line of `control.jsonl`: when, request, reply.
fn recorded(line: &str) -> (u64, Vec<u8>, Vec<u8>) {
    let line: Value = serde_json::from_str(line).unwrap();
    let bytes = |key: &str| -> Vec<u8> {
        let hex = line[key].as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    (line["after_messages"].as_u64().unwrap(), bytes("request"), bytes("reply"))
}

#[test]
fn a_recording_of_data_and_control_replays_as_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("case");
    let segment = Segment::new(&[1, 2, 3, 4]);
    let delivered = |viewer: &Viewer| pixels(&viewer.next_batch().items[0]).to_vec();
    let messages = [
        batch(json!([image(&segment.name, &[2, 2], "uint8")])).to_string(),
        batch(json!([image(&segment.name, &[1, 4], "uint8")])).to_string(),
    ];
    // What is asked after how many messages: all that was captured from one client, pings left out.
    let is_asked = |case: &String| case.starts_with("G3_openhcs-0.8.6/control/") && !case.contains("/ping");
    let requests: Vec<(usize, Vec<u8>)> = cases()
        .into_iter()
        .filter(is_asked)
        .enumerate()
        .map(|(number, case)| {
            (number % 3, std::fs::read(tests_folder().join(format!("captures/{case}.request.pickle"))).unwrap())
        })
        .collect();
    assert!(requests.len() > 25, "{}", requests.len());

    let mut live = Vec::new();
    {
        let viewer = start_with(Transport::Ipc, |config| config.record = Some(folder.clone()));
        let (producer, client) = (viewer.producer(), viewer.client());
        for sent in 0..=messages.len() {
            for (_, request) in requests.iter().filter(|(after, _)| *after == sent) {
                live.push((sent as u64, exchange(&viewer, &client, request)));
                viewer.control(PING);
            }
            if let Some(message) = messages.get(sent) {
                producer.send(message, 0).unwrap();
                assert_eq!(reply(&producer), success());
                assert_eq!(delivered(&viewer), [1, 2, 3, 4]);
            }
        }
    }
    drop(segment);

    let lines = |name: &str| -> Vec<String> {
        std::fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect()
    };
    let exchanges: Vec<_> = lines("control.jsonl").iter().map(|line| recorded(line)).collect();
    assert_eq!(exchanges.len(), requests.len(), "each request once, no pings");
    let viewer = start(Transport::Ipc);
    for entry in std::fs::read_dir(folder.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, Path::new("/dev/shm").join(path.file_stem().unwrap())).unwrap();
    }
    let (messages, replies) = (lines("messages.jsonl"), lines("replies.jsonl"));
    let (producer, client) = (viewer.producer(), viewer.client());
    let mut sent = 0;
    for ((after, request, answer), (live_after, live)) in exchanges.iter().zip(&live) {
        assert_eq!(after, live_after);
        while sent < *after as usize {
            producer.send(&messages[sent], 0).unwrap();
            assert_eq!(
                reply(&producer).to_string(),
                serde_json::from_str::<Value>(&replies[sent]).unwrap().to_string()
            );
            assert_eq!(delivered(&viewer), [1, 2, 3, 4]);
            sent += 1;
        }
        assert_eq!(answer, &live.1, "the reply that the client got");
        let (outcome, again) = exchange(&viewer, &client, request);
        assert_eq!(outcome, live.0);
        assert_eq!(&again, answer);
    }
    assert_eq!(sent, 2);
    for entry in std::fs::read_dir(folder.join("segments")).unwrap() {
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(entry.unwrap().path().file_stem().unwrap()));
    }
}

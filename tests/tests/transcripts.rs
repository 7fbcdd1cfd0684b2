//! Every frame that a released producer sent, and every recording of `wellscope --record`, is replayed into a receiver; replies
//! and deliveries are compared with the committed ones. The folders are the test list:
//!
//! - `tests/captures/<generation>/**/<name>.json` with `<name>.shm/<shm_name>.bin` → `tests/transcripts/captures/**/<name>.json`
//! - `tests/transcripts/<case>/{messages.jsonl, segments/, replies.jsonl}` → `expected.json` in it
//!
//! `UPDATE_SNAPSHOTS=1` writes what is expected anew; read the difference before you commit it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::{DataSocket, Delivery, ReceivedItem, ReceivedPayload, Receiver, ReceiverConfig};

/// Longer than any step takes, so that it only ends tests that hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// One case: messages in order, the segments that they name, and where the expected outcome lies.
struct Case {
    data_socket: DataSocket,
    messages: Vec<Vec<u8>>,
    /// `<shm_name>.bin` each.
    segments: PathBuf,
    expected: PathBuf,
}

fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn captures() -> Vec<Case> {
    let folder = tests_folder().join("captures");
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let case = |path: PathBuf| {
        let relative = path.strip_prefix(&folder).unwrap();
        let publishes = ["G0", "G1"].iter().any(|generation| relative.to_str().unwrap().starts_with(generation));
        Case {
            data_socket: if publishes { DataSocket::Sub } else { DataSocket::Rep },
            messages: vec![std::fs::read(&path).unwrap()],
            segments: path.with_extension("shm"),
            expected: tests_folder().join("transcripts/captures").join(relative),
        }
    };
    files_below(&folder).into_iter().filter(is_json).map(case).collect()
}

fn recordings() -> Vec<Case> {
    let files = files_below(&tests_folder().join("transcripts")).into_iter();
    files.filter(|path| path.ends_with("messages.jsonl")).map(|path| recording(path.parent().unwrap())).collect()
}

fn recording(folder: &Path) -> Case {
    let lines = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap().lines().map(str::to_owned).collect();
    let (messages, replies): (Vec<String>, Vec<String>) = (lines("messages.jsonl"), lines("replies.jsonl"));
    let publishes = !replies.is_empty() && replies.iter().all(|reply| reply == "null");
    Case {
        data_socket: if publishes { DataSocket::Sub } else { DataSocket::Rep },
        messages: messages.iter().map(|line| message_of(line)).collect(),
        segments: folder.join("segments"),
        expected: folder.join("expected.json"),
    }
}

/// A line of `messages.jsonl`: the message itself, or its bytes in hexadecimal.
fn message_of(line: &str) -> Vec<u8> {
    match line.strip_prefix(r#"{"hex": ""#).and_then(|rest| rest.strip_suffix(r#""}"#)) {
        Some(hex) => (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect(),
        None => line.as_bytes().to_vec(),
    }
}

/// The case's shared memory, under the names that its messages have; removed at the end.
struct Segments(Vec<PathBuf>);

impl Segments {
    fn create(folder: &Path) -> Self {
        let path = |file: &PathBuf| Path::new("/dev/shm").join(file.file_stem().unwrap());
        let files = files_below(folder);
        for file in &files {
            std::fs::copy(file, path(file)).unwrap();
        }
        Self(files.iter().map(path).collect())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Sends the messages of a case to a receiver of its own; gives what it replied and delivered.
fn replay(case: &Case, record: Option<PathBuf>) -> Value {
    // Cases name the same segments, and tests run at once, each perhaps in a process of its own.
    let turn = File::create(std::env::temp_dir().join("wellscope-transcripts.lock")).unwrap();
    turn.lock().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut config = ReceiverConfig::new(home.path().to_owned());
    (config.transport, config.data_socket, config.record) = (Transport::Ipc, case.data_socket, record);
    let (receiver, deliveries) = Receiver::start(config, Arc::new(|| ())).unwrap();
    let _segments = Segments::create(&case.segments);

    let context = zmq::Context::new();
    // XPUB hears of the subscription; what a PUB sends before it is lost.
    let kind = if case.data_socket == DataSocket::Sub { zmq::XPUB } else { zmq::REQ };
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.connect(&receiver.endpoints().data_url).unwrap();
    if case.data_socket == DataSocket::Sub {
        assert_eq!(socket.recv_bytes(0).unwrap(), b"\x01");
    }
    let exchange = |message: &Vec<u8>| {
        socket.send(message, 0).unwrap();
        let reply = match case.data_socket {
            DataSocket::Rep => serde_json::from_slice(&socket.recv_bytes(0).unwrap()).unwrap(),
            DataSocket::Sub => Value::Null,
        };
        // The outcome of a message, after the problem of items that were left out of it.
        let mut delivered = Vec::new();
        loop {
            delivered.push(described(deliveries.recv_timeout(PATIENCE).unwrap()));
            let problem = delivered.last().and_then(|last| last["problem"].as_str());
            if !problem.is_some_and(|text| text.starts_with("Left out")) {
                break;
            }
        }
        json!({"reply": reply, "deliveries": delivered})
    };
    let outcome = Value::Array(case.messages.iter().map(exchange).collect());
    receiver.shut_down();
    outcome
}

fn described(delivery: Delivery) -> Value {
    match delivery {
        Delivery::Batch(batch) => {
            let names = |names: &std::collections::BTreeMap<String, String>| json!(names);
            json!({
                "sequence": batch.sequence,
                "colormap": batch.display_config.colormap,
                "component_order": batch.display_config.component_order,
                "component_names": object(batch.component_names.iter().map(|(component, of)| (component, names(of)))),
                "component_domain": object(batch.component_domain.iter().map(|(component, values)| {
                    (component, texts(values))
                })),
                "items": batch.items.iter().map(item).collect::<Vec<_>>(),
            })
        }
        Delivery::Problem(problem) => json!({"problem": problem.text, "severity": format!("{:?}", problem.severity)}),
        other => panic!("the data socket delivers batches and problems, not {other:?}"),
    }
}

fn item(item: &ReceivedItem) -> Value {
    let head = &item.item;
    let mut described = json!({
        "path": head.path,
        "route": head.route.key.0,
        "title": head.route.title,
        "sliders": head.route.stack_components,
        "coordinates": object(head.address.iter().map(|(component, value)| (component, value.to_string().into()))),
    });
    match &item.payload {
        ReceivedPayload::Image(image) => {
            described["dtype"] = image.element.name().into();
            described["shape"] = json!(image.shape);
            described["samples"] = image.layout.samples.into();
            described["planes"] =
                object(image.layout.plane_axes.iter().map(|axis| (&axis.component, texts(&axis.values))));
            described["origin_yx"] = json!(image.spatial_origin_yx);
            described["pixels_fnv1a"] = format!("{:016x}", fnv1a(&image.pixels.to_vec().unwrap())).into();
        }
        ReceivedPayload::Shapes(shapes) => {
            described["shapes"] = shapes.iter().map(|shape| format!("{:?}", shape.geometry)).collect();
        }
        ReceivedPayload::Points(shapes) => {
            described["points"] = shapes.iter().map(|shape| format!("{:?}", shape.geometry)).collect();
        }
    }
    described
}

fn object<'a>(entries: impl Iterator<Item = (&'a String, Value)>) -> Value {
    Value::Object(entries.map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>())
}

fn texts(values: &[impl ToString]) -> Value {
    values.iter().map(ToString::to_string).collect()
}

/// FNV-1a, 64 bits: short, and any changed or swapped byte changes it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Where two values first differ, as a path with both sides.
fn first_difference(at: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            let side = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or("(absent)".into());
            keys.filter_map(|key| first_difference(&format!("{at}.{key}"), &side(left, key), &side(right, key))).next()
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.filter_map(|(index, (l, r))| first_difference(&format!("{at}[{index}]"), l, r)).next()
        }
        _ if expected == found => None,
        _ => Some(format!("{at}: expected {expected}, found {found}")),
    }
}

/// The case's difference from what is committed.
fn compare(case: &Case) -> Option<String> {
    let found = replay(case, None);
    let name = case.expected.strip_prefix(tests_folder()).unwrap().display();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(case.expected.parent().unwrap()).unwrap();
        std::fs::write(&case.expected, format!("{found:#}\n")).unwrap();
        return None;
    }
    match std::fs::read(&case.expected) {
        Ok(expected) => first_difference("", &serde_json::from_slice(&expected).unwrap(), &found)
            .map(|difference| format!("{name}\n    {difference}")),
        Err(error) => Some(format!("{name}\n    {error}; UPDATE_SNAPSHOTS=1 writes it")),
    }
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
    for (index, generation) in ["G1_openhcs-0.5.0", "G3_polystore-0.2.19"].into_iter().enumerate() {
        let name = Path::new(generation).join("labels_int32.json");
        let mut case = captures().into_iter().find(|case| case.expected.ends_with(&name)).unwrap();
        // Also what is no JSON, and a segment that is not there.
        case.messages.push(b"\x80\x04\n.".to_vec());
        case.messages
            .push(String::from_utf8(case.messages[0].clone()).unwrap().replace("napari_", "napari_gone_").into_bytes());
        let recorded = folder.path().join(index.to_string());
        let first = replay(&case, Some(recorded.clone()));
        let again = replay(&recording(&recorded), None);
        assert_eq!(first_difference("", &first, &again), None);
        assert!(first[0]["deliveries"][0]["items"][0]["pixels_fnv1a"].is_string(), "{first:#}");
        let replies = std::fs::read_to_string(recorded.join("replies.jsonl")).unwrap();
        let replied: Vec<Value> = replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sent: Vec<Value> = first.as_array().unwrap().iter().map(|exchange| exchange["reply"].clone()).collect();
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

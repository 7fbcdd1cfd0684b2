//! Requests that released clients sent, and what the incumbent answered: every `*.request.pickle` below `tests/captures` is a case.
//!
//! `tests/transcripts/control/<folder>/cases.json` holds by the name of the capture what a case needs besides its bytes:
//!
//! - `before`: what the viewer was sent before, in order: frames of `tests/transcripts/control/frames`, or names of requests of the
//!   same folder. Nothing when absent.
//! - `draws`: false when the app is to be busy drawing all the time.
//! - `reply`: the capture of the incumbent's reply, when it has another name.
//! - `varies`: parts of our reply that are another one in each run, besides [`VARIES`].
//! - `differs`: where our reply is meant to differ from the incumbent's, and why. A difference that is not listed fails, and so does
//!   one that is listed and not there.
//!
//! The app's model answers here what only the app can answer, so that values are compared and not names alone;
//! `receiver/tests/control_transcripts.rs` sends the same requests to a receiver whose app only says what it was asked.
//!
//! Our own reply is compared with `tests/transcripts/control/<folder>/<name>.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wellscope_protocol::control::PongSpelling;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode};
use wellscope_receiver::DataSocket;

use crate::cases::{Case, Step, files_below, tests_folder};

/// Parts of replies that are another one in each run: only their type is compared. `*` stands for any key or index.
pub const VARIES: &[&str] = &[
    // The process, and what it uses.
    "process_identity.pid",
    "process_identity.create_time",
    "memory_mb",
    "cpu_percent",
    "process_usage.memory_mb",
    "process_usage.cpu_percent",
    // Ours.
    "wellscope.version",
    // Pictures, and the time in their names.
    "resource.uri",
    "resource.path",
    "resource.size_bytes",
    "resource.sha256",
    "width",
    "height",
    // Counts changes of our view.
    "active_route_work_unit_count",
];

/// A captured request.
pub struct ControlCase {
    pub case: Case,
    /// Below `tests/captures`, without the ending.
    pub name: String,
    /// The incumbent's reply, where it was captured.
    pub incumbent: Option<PickleValue>,
    /// Parts of our reply that are another one in each run, besides [`VARIES`].
    varies: Vec<String>,
    /// Path in the reply → why it differs.
    pub differs: BTreeMap<String, String>,
}

fn transcripts() -> PathBuf {
    tests_folder().join("transcripts/control")
}

pub fn control_captures() -> Vec<ControlCase> {
    let captures = tests_folder().join("captures");
    let name_of = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".request.pickle").map(str::to_owned);
    let files = files_below(&captures).into_iter();
    files.filter_map(|path| Some((name_of(&path)?, path))).map(|(name, path)| control_case(&name, &path)).collect()
}

fn control_case(name: &str, request: &Path) -> ControlCase {
    let folder = request.parent().unwrap();
    let relative = folder.strip_prefix(tests_folder().join("captures")).unwrap();
    let cases = std::fs::read(transcripts().join(relative).join("cases.json")).unwrap();
    let notes: Value = serde_json::from_slice(&cases).unwrap();
    let note = &notes[name];
    let captured = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let before = |step: &Value| match step.as_str().unwrap() {
        frame if frame.ends_with(".json") => {
            Step::Message(vec![std::fs::read(transcripts().join("frames").join(frame)).unwrap()])
        }
        request => Step::Call(captured(&format!("{request}.request.pickle"))),
    };
    let mut steps: Vec<Step> = note["before"].as_array().into_iter().flatten().map(before).collect();
    steps.push(Step::Call(captured(&format!("{name}.request.pickle"))));
    let reply = note["reply"].as_str().map_or_else(|| format!("{name}.reply.pickle"), str::to_owned);
    let incumbent = std::fs::read(folder.join(&reply)).ok();
    assert!(incumbent.is_some() || note["reply"].is_null(), "{reply} is not there");
    let is_g4 = relative.to_str().unwrap().starts_with("G4");
    ControlCase {
        case: Case {
            data_socket: DataSocket::Rep,
            pong_spelling: if is_g4 { PongSpelling::G4 } else { PongSpelling::G3 },
            steps,
            segments: PathBuf::new(),
            expected: transcripts().join(relative).join(format!("{name}.json")),
            draws: note["draws"].as_bool().unwrap_or(true),
        },
        name: relative.join(name).to_str().unwrap().to_owned(),
        incumbent: incumbent.map(|bytes| decode(&bytes, &PickleLimits::CONTROL_REPLY).unwrap()),
        varies: serde_json::from_value(note["varies"].clone()).unwrap_or_default(),
        differs: serde_json::from_value(note["differs"].clone()).unwrap_or_default(),
    }
}

impl ControlCase {
    /// Our reply, without what varies.
    pub fn masked(&self, reply: &PickleValue) -> PickleValue {
        let varies: Vec<&str> = VARIES.iter().copied().chain(self.varies.iter().map(String::as_str)).collect();
        masked_at("", reply, &varies)
    }
}

/// A reply with the type alone of what varies.
pub fn masked(reply: &PickleValue) -> PickleValue {
    masked_at("", reply, VARIES)
}

fn masked_at(at: &str, value: &PickleValue, varies: &[&str]) -> PickleValue {
    if matches_any(at, varies) {
        return PickleValue::dict([("varies", value.type_name().into())]);
    }
    let inside = |key: &str, value: &PickleValue| masked_at(&join(at, key), value, varies);
    match value {
        PickleValue::Dict(_) => PickleValue::dict(value.fields().iter().map(|(key, value)| (*key, inside(key, value)))),
        PickleValue::Tuple(items) => {
            PickleValue::Tuple(indexed(items).map(|(key, value)| inside(&key, value)).collect())
        }
        PickleValue::List(items) => PickleValue::List(indexed(items).map(|(key, value)| inside(&key, value)).collect()),
        other => other.clone(),
    }
}

fn indexed(items: &[PickleValue]) -> impl Iterator<Item = (String, &PickleValue)> {
    items.iter().enumerate().map(|(index, value)| (index.to_string(), value))
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// Whether a path is, or lies inside of, what one of the patterns names.
pub fn matches_any(path: &str, patterns: &[impl AsRef<str>]) -> bool {
    patterns.iter().any(|pattern| {
        let (mut keys, mut wanted) = (path.split('.'), pattern.as_ref().split('.'));
        wanted.all(|wanted| keys.next().is_some_and(|key| wanted == "*" || wanted == key))
    })
}

/// Where our reply is not the incumbent's: other keys, another type, another length, another value.
pub fn differences(ours: &PickleValue, theirs: &PickleValue) -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(String::new(), ours, theirs, &mut found);
    found
}

fn collect(at: String, ours: &PickleValue, theirs: &PickleValue, found: &mut Vec<(String, String)>) {
    match (ours, theirs) {
        // Identities are of a dict subclass there.
        (PickleValue::Dict(_), PickleValue::Dict(_) | PickleValue::Object(_)) => mapping(&at, ours, theirs, found),
        (PickleValue::Object(our), PickleValue::Object(their)) if our.name == their.name => {
            mapping(&at, ours, theirs, found);
        }
        (PickleValue::Tuple(our), PickleValue::Tuple(their)) | (PickleValue::List(our), PickleValue::List(their)) => {
            if our.len() != their.len() {
                return found.push((at, format!("{} items, theirs has {}", our.len(), their.len())));
            }
            for ((index, our), their) in indexed(our).zip(their) {
                collect(join(&at, &index), our, their, found);
            }
        }
        _ if ours.type_name() != theirs.type_name() => {
            found.push((at, format!("a {}, theirs is a {}", ours.type_name(), theirs.type_name())));
        }
        _ if ours == theirs || matches_any(&at, VARIES) => {}
        _ => found.push((at, format!("{ours}, theirs is {theirs}"))),
    }
}

fn mapping(at: &str, ours: &PickleValue, theirs: &PickleValue, found: &mut Vec<(String, String)>) {
    for (key, ours) in ours.fields() {
        match theirs.get(key) {
            Some(theirs) => collect(join(at, key), ours, theirs, found),
            None => found.push((join(at, key), "theirs has no such key".to_owned())),
        }
    }
    for (key, _) in theirs.fields().iter().filter(|(key, _)| ours.get(key).is_none()) {
        found.push((join(at, key), "ours has no such key".to_owned()));
    }
}

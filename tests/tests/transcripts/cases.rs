//! The folders that are the list of cases.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wellscope_protocol::control::PongSpelling;
use wellscope_receiver::DataSocket;

/// One case: what is sent in order, the segments that it names, and where the expected outcome lies.
pub struct Case {
    pub data_socket: DataSocket,
    pub pong_spelling: PongSpelling,
    pub steps: Vec<Step>,
    /// `<shm_name>.bin` each.
    pub segments: PathBuf,
    pub expected: PathBuf,
    /// Whether the app draws what it takes; else it is always busy with that.
    pub draws: bool,
}

/// Something sent.
pub enum Step {
    /// To the data socket: JSON or a pickle, and the binary frames behind it.
    Message(Vec<Vec<u8>>),
    /// To the control socket.
    Call(Vec<u8>),
}

pub fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Frames of the data socket.
pub fn captures() -> Vec<Case> {
    let folder = tests_folder().join("captures");
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let case = |path: PathBuf| {
        let relative = path.strip_prefix(&folder).unwrap();
        let publishes = ["G0", "G1"].iter().any(|generation| relative.to_str().unwrap().starts_with(generation));
        Case {
            data_socket: if publishes { DataSocket::Sub } else { DataSocket::Rep },
            pong_spelling: PongSpelling::G3,
            steps: vec![Step::Message(vec![std::fs::read(&path).unwrap()])],
            segments: path.with_extension("shm"),
            expected: tests_folder().join("transcripts/captures").join(relative),
            draws: true,
        }
    };
    files_below(&folder).into_iter().filter(is_json).map(case).collect()
}

pub fn recordings() -> Vec<Case> {
    let files = files_below(&tests_folder().join("transcripts")).into_iter();
    files.filter(|path| path.ends_with("messages.jsonl")).map(|path| recording(path.parent().unwrap())).collect()
}

/// What `wellscope --record` wrote. Recordings from before it kept control requests have no `control.jsonl`.
pub fn recording(folder: &Path) -> Case {
    let lines = |name: &str| -> Vec<String> {
        std::fs::read_to_string(folder.join(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let (messages, replies) = (lines("messages.jsonl"), lines("replies.jsonl"));
    let mut calls: Vec<(usize, Vec<u8>)> = lines("control.jsonl")
        .iter()
        .map(|line| {
            let call: Value = serde_json::from_str(line).unwrap();
            (call["after_messages"].as_u64().unwrap() as usize, bytes_of(call["request"].as_str().unwrap()))
        })
        .collect();
    // They lie in the order of their replies.
    calls.sort_by_key(|(after_messages, _)| *after_messages);
    let mut calls = calls.into_iter().peekable();
    let mut steps = Vec::new();
    for count in 0..=messages.len() {
        while let Some((_, request)) = calls.next_if(|(after_messages, _)| *after_messages <= count) {
            steps.push(Step::Call(request));
        }
        steps.extend(messages.get(count).map(|line| {
            let frames =
                (0..).map_while(|frame| std::fs::read(folder.join(format!("frames/{count}-{frame}.bin"))).ok());
            Step::Message(std::iter::once(message_of(line)).chain(frames).collect())
        }));
    }
    assert!(calls.next().is_none(), "a call after more messages than there are: {folder:?}");
    let publishes = !replies.is_empty() && replies.iter().all(|reply| reply == "null");
    Case {
        data_socket: if publishes { DataSocket::Sub } else { DataSocket::Rep },
        pong_spelling: PongSpelling::G3,
        steps,
        segments: folder.join("segments"),
        expected: folder.join("expected.json"),
        draws: true,
    }
}

/// A line of `messages.jsonl`: the message itself, or its bytes in hexadecimal.
fn message_of(line: &str) -> Vec<u8> {
    match line.strip_prefix(r#"{"hex": ""#).and_then(|rest| rest.strip_suffix(r#""}"#)) {
        Some(hex) => bytes_of(hex),
        None => line.as_bytes().to_vec(),
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

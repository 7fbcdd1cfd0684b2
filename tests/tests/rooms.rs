//! Rooms depend on each other one way: app -> receiver -> protocol, receiver -> store, app -> store, app -> shaders,
//! app -> cli -> orchestrator -> client -> protocol, orchestrator -> plates -> protocol.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::path::Path;

/// What each room may use of the others. `tests` and `benches` may use all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("shaders", &[]),
    ("store", &[]),
    ("receiver", &["wellscope-protocol", "wellscope-store"]),
    ("client", &["wellscope-protocol"]),
    ("plates", &["wellscope-protocol"]),
    ("orchestrator", &["wellscope-client", "wellscope-plates", "wellscope-protocol"]),
    ("cli", &["wellscope-client", "wellscope-orchestrator", "wellscope-plates", "wellscope-protocol"]),
    ("app", &["wellscope-cli", "wellscope-protocol", "wellscope-receiver", "wellscope-shaders", "wellscope-store"]),
];

/// Crates that a room must not know at all, by the rules of ARCHITECTURE.
const BANNED: &[(&str, &[&str])] = &[
    ("protocol", &["zmq", "bevy", "crossbeam-channel", "tokio"]),
    ("store", &["zmq", "bevy", "serde_json", "wgpu"]),
    ("receiver", &["bevy", "bevy_egui", "wgpu"]),
    ("client", &["bevy", "bevy_egui", "wgpu"]),
    ("plates", &["bevy", "wgpu", "zmq", "tokio"]),
    ("orchestrator", &["bevy", "wgpu", "zmq", "tiff", "zarrs", "clap"]),
    ("cli", &["bevy", "wgpu", "zmq", "tiff", "zarrs"]),
    ("shaders", &["bevy", "zmq"]),
    ("app", &["serde_json", "zmq"]),
];

fn dependencies(room: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room).join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut names = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-dependencies");
        } else if inside && !line.starts_with('#') {
            names.extend(line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    names
}

#[test]
fn arrows_between_rooms_point_one_way() {
    for (room, allowed) in ALLOWED {
        let used = dependencies(room);
        assert!(!used.is_empty() || *room == "shaders", "{room}: the manifest could not be read");
        for name in used.iter().filter(|name| name.starts_with("wellscope")) {
            assert!(allowed.contains(&name.as_str()), "{room} uses {name}, allowed are {allowed:?}");
        }
    }
}

#[test]
fn rooms_keep_to_their_subject() {
    for (room, banned) in BANNED {
        for name in dependencies(room) {
            assert!(!banned.contains(&name.as_str()), "{room} must not know {name}");
        }
    }
}

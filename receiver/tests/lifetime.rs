//! One viewer per port, and nothing left behind.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use serde_json::json;
use wellscope_protocol::control::{ControlRequest, PongSpelling};
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::{Receiver, ReceiverConfig, StartError};

fn refusal(config: ReceiverConfig) -> String {
    match Receiver::start(config, Arc::new(|| ())) {
        Ok(_) => panic!("the second receiver started"),
        Err(error @ StartError::PortTaken { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
    }
}

fn socket_paths(config: &ReceiverConfig) -> [PathBuf; 2] {
    [config.port, config.control_port.unwrap()].map(|port| config.naming.ipc_path(&config.home, port))
}

/// Files left in `folder` and below.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn a_second_receiver_refuses_and_says_who_holds_the_port() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut config = config(transport, home.path());
        config.identity.title = "Plate 7".into();
        let first = start_config(config.clone(), home.clone());
        let text = refusal(config.clone());
        for part in ["Plate 7", &format!("process {}", std::process::id()), &config.port.to_string()] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
        first.assert_serves();
        drop(first);
        start_config(config, home).assert_serves();
    }
}

/// A viewer that knows nothing of our lock, as napari is.
fn answer_pings(context: &zmq::Context, url: &str) -> std::thread::JoinHandle<()> {
    let socket = context.socket(zmq::REP).unwrap();
    socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
    socket.bind(url).unwrap();
    std::thread::spawn(move || {
        assert_eq!(ControlRequest::decode(&socket.recv_bytes(0).unwrap()), Ok(ControlRequest::Ping));
        // {"type": "pong", "server": "NapariViewer", "process_identity": {"pid": 4711, "create_time": 1.0}} in protocol 0.
        let pong =
            b"(dVtype\nVpong\nsVserver\nVNapariViewer\nsVprocess_identity\n(dVpid\nI4711\nsVcreate_time\nF1.0\nss.";
        socket.send(&pong[..], 0).unwrap();
    })
}

#[test]
fn a_foreign_viewer_without_our_lock_is_found_by_its_pong() {
    let home = tempfile::tempdir().unwrap();
    let context = zmq::Context::new();
    for transport in [Transport::Ipc, Transport::Tcp] {
        let config = config(transport, home.path());
        let data = context.socket(zmq::REP).unwrap();
        let (data_url, control_url) = match transport {
            Transport::Ipc => {
                let [data_path, control_path] = socket_paths(&config);
                std::fs::create_dir_all(data_path.parent().unwrap()).unwrap();
                (format!("ipc://{}", data_path.display()), format!("ipc://{}", control_path.display()))
            }
            Transport::Tcp => (
                format!("tcp://127.0.0.1:{}", config.port),
                format!("tcp://127.0.0.1:{}", config.control_port.unwrap()),
            ),
        };
        data.bind(&data_url).unwrap();
        let viewer = answer_pings(&context, &control_url);
        let text = refusal(config);
        assert!(text.contains("NapariViewer") && text.contains("4711"), "{text}");
        viewer.join().unwrap();
    }
}

#[test]
fn a_foreign_program_that_does_not_answer_keeps_its_port() {
    let home = tempfile::tempdir().unwrap();
    let config = config(Transport::Ipc, home.path());
    let [data_path, _] = socket_paths(&config);
    std::fs::create_dir_all(data_path.parent().unwrap()).unwrap();
    let _listener = UnixListener::bind(&data_path).unwrap();
    assert!(refusal(config).contains("does not answer"));
    assert!(data_path.exists());
}

#[test]
fn a_foreign_program_on_all_addresses_keeps_its_tcp_port() {
    let home = tempfile::tempdir().unwrap();
    let config = config(Transport::Tcp, home.path());
    let _listener = std::net::TcpListener::bind(("0.0.0.0", config.port)).unwrap();
    assert!(refusal(config).contains("does not answer"));
}

#[test]
fn stale_socket_files_are_replaced() {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let config = config(Transport::Ipc, home.path());
    for path in socket_paths(&config) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Dropping a listener leaves its file, as a killed viewer does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
    }
    start_config(config, home).assert_serves();
}

#[test]
fn a_file_that_is_no_socket_is_not_removed() {
    let home = tempfile::tempdir().unwrap();
    let config = config(Transport::Ipc, home.path());
    let [data_path, _] = socket_paths(&config);
    std::fs::create_dir_all(data_path.parent().unwrap()).unwrap();
    std::fs::write(&data_path, "mine").unwrap();
    assert!(matches!(Receiver::start(config, Arc::new(|| ())), Err(StartError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&data_path).unwrap(), "mine");
}

#[test]
fn sockets_and_locks_are_gone_after_every_end() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let config = config(transport, home.path());
        let mut viewer = start_config(config.clone(), home.clone());
        viewer.assert_serves();
        viewer.receiver.take().unwrap().shut_down();
        assert_eq!(files_below(home.path()), Vec::<PathBuf>::new());

        // Half a start: the control port is taken.
        let blocker = start_with(transport, |other| {
            other.home = home.path().to_owned();
            other.control_port = config.control_port;
        });
        let before = files_below(home.path());
        refusal(config);
        assert_eq!(files_below(home.path()), before);
        drop(blocker);
        assert_eq!(files_below(home.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_socket_path_that_another_viewer_took_over_stays() {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let config = config(Transport::Ipc, home.path());
    let [data_path, control_path] = socket_paths(&config);
    let viewer = start_config(config, home.clone());
    std::fs::remove_file(&data_path).unwrap();
    let _thief = UnixListener::bind(&data_path).unwrap();
    drop(viewer);
    assert!(data_path.exists(), "the other viewer's socket was removed");
    assert!(!control_path.exists(), "our own socket was left");
}

#[test]
fn created_folders_and_sockets_are_the_users_alone() {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let config = config(Transport::Ipc, home.path());
    let paths = socket_paths(&config);
    let _viewer = start_config(config, home.clone());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home.path().join(".openhcs")), mode(paths[0].parent().unwrap())), (0o700, 0o700));
    assert_eq!(paths.map(|path| mode(&path)), [0o600, 0o600]);
}

#[test]
fn tcp_binds_loopback_unless_told_otherwise() {
    let viewer = start(Transport::Tcp);
    let endpoints = viewer.receiver().endpoints();
    assert_eq!(endpoints.data_url, format!("tcp://127.0.0.1:{}", endpoints.port));
    assert!(!endpoints.serves_other_hosts);

    let open = start_with(Transport::Tcp, |config| config.bind = "0.0.0.0".parse().unwrap());
    assert!(open.receiver().endpoints().serves_other_hosts);
}

#[test]
fn ports_and_paths_that_cannot_work_are_refused_in_a_sentence() {
    let home = tempfile::tempdir().unwrap();
    let start = |change: &dyn Fn(&mut ReceiverConfig)| {
        let mut config = config(Transport::Ipc, home.path());
        change(&mut config);
        match Receiver::start(config, Arc::new(|| ())) {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    };
    assert!(start(&|config| config.control_port = Some(config.port)).contains("--control-port"));
    assert!(start(&|config| (config.port, config.control_port) = (65000, None)).contains("65000"));
    assert!(start(&|config| config.port = 0).contains("port 0"));
    assert!(start(&|config| config.control_port = Some(0)).contains("port 0"));
    assert!(start(&|config| config.home = home.path().join("x".repeat(120))).contains("--transport tcp"));
}

#[test]
fn the_app_is_woken_after_every_delivery() {
    let home = tempfile::tempdir().unwrap();
    let (woken, wakes) = crossbeam_channel::unbounded();
    let mut config = config(Transport::Ipc, home.path());
    config.pong_spelling = PongSpelling::G4;
    let (receiver, deliveries) = Receiver::start(
        config,
        Arc::new(move || {
            let _ = woken.send(());
        }),
    )
    .unwrap();
    let viewer = Viewer { receiver: Some(receiver), deliveries, home: Arc::new(home), context: zmq::Context::new() };
    viewer.send_batch(json!([]));
    wakes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(viewer.deliveries.len(), 1, "the delivery is there when the app wakes");
}

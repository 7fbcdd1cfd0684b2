//! `StreamingBackend` and a real viewer that is killed, stopped and started again, at once and in the middle of batches.
// Signals and /dev/shm: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::time::{Duration, Instant};

use ndarray::Array2;
use wellscope_client::{
    AtBound, PixelTransport, SaveError, SaveRequest, StreamingBackend, StreamingConfig, Ticket, ViewerEndpoint,
};
use wellscope_protocol::pickle::PickleValue;
use wellscope_tests::viewer::ViewerProcess;

const LIMIT: Duration = Duration::from_secs(60);

fn connect(endpoint: ViewerEndpoint) -> StreamingConfig {
    StreamingConfig { deadline: LIMIT, ..StreamingConfig::new(endpoint) }
}

fn save(backend: &StreamingBackend, site: i64, side: usize) -> Result<Ticket, SaveError> {
    let image = Array2::from_elem((side, side), site as u16 + 1);
    let address = [("site".to_owned(), site.into()), ("well".to_owned(), "A01".into())].into();
    backend.save_batch([image.view()], &[format!("/p/{site}.tif")], &SaveRequest::new(vec![address]))
}

fn signal(viewer: &ViewerProcess, name: &str) {
    let status = std::process::Command::new("kill").args([name, &viewer.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Segments of streams of this process. nextest gives each test a process of its own.
fn own_segments() -> Vec<String> {
    let owner = |name: &str| -> Option<u32> {
        u32::from_str_radix(name.strip_prefix("wellscope_")?.split('_').next()?.get(3..)?, 36).ok()
    };
    let names =
        std::fs::read_dir("/dev/shm").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| owner(name) == Some(std::process::id())).collect()
}

fn assert_nothing_is_left() {
    if std::env::var_os("NEXTEST").is_some() {
        assert_eq!(own_segments(), Vec::<String>::new());
    }
}

/// The signal is on its way when `kill` returns; a thread that still runs would answer one more batch.
fn wait_until_stopped(viewer: &ViewerProcess) {
    let is_stopped = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('T'))
    };
    let begun = Instant::now();
    while !std::fs::read_dir(format!("/proc/{}/task", viewer.pid())).unwrap().all(is_stopped) {
        assert!(begun.elapsed() < LIMIT, "it does not stop");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn item_count(viewer: &ViewerProcess) -> u64 {
    viewer.settle().unwrap();
    viewer.state().unwrap().get("component_item_count").and_then(PickleValue::as_u64).unwrap()
}

#[test]
fn images_arrive_by_shared_memory_and_by_frames() {
    for (transport, pixels) in [
        ("ipc", PixelTransport::SharedMemory),
        ("tcp", PixelTransport::SharedMemory),
        ("ipc", PixelTransport::Frames),
        ("tcp", PixelTransport::Frames),
        ("tcp", PixelTransport::Inline),
    ] {
        let viewer = ViewerProcess::start(transport, &[]).unwrap();
        let backend = StreamingBackend::connect(StreamingConfig { pixels, ..connect(viewer.endpoint()) }).unwrap();
        let tickets: Vec<Ticket> = (0..20).map(|site| save(&backend, site, 64).unwrap()).collect();
        tickets.iter().for_each(|ticket| ticket.wait(LIMIT).unwrap());
        assert_eq!(item_count(&viewer), 20, "{transport} {pixels:?}");
        let state = viewer.state().unwrap();
        let layer = &state.get("layers").and_then(PickleValue::items).unwrap()[0];
        let summaries = layer.get("payload_summaries").and_then(PickleValue::items).unwrap();
        for record in summaries {
            let path = record.get("path").and_then(PickleValue::as_str).unwrap();
            let site: f64 = path.strip_prefix("/p/").unwrap().strip_suffix(".tif").unwrap().parse().unwrap();
            let number = |key| record.get(key).and_then(PickleValue::as_f64).unwrap_or_else(|| panic!("{record:?}"));
            let range = ["min", "max"].map(number);
            assert_eq!(range, [site + 1.0, site + 1.0], "{path} by {transport} {pixels:?}");
        }
        let losses = backend.close(LIMIT);
        assert!(losses.is_empty(), "{losses}\n{}", viewer.log());
        assert_nothing_is_left();
    }
}

#[test]
fn segments_stay_warm_across_seconds_in_which_a_viewer_cleans_up() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    let config = StreamingConfig { pool_keep_idle: LIMIT, ..connect(viewer.endpoint()) };
    let backend = StreamingBackend::connect(config).unwrap();
    save(&backend, 0, 512).unwrap().wait(LIMIT).unwrap();
    let before = own_segments();
    assert_eq!(before.len(), 1);
    // Segments that producers leave behind are removed by the viewer after 5 s; this one says that it is kept.
    std::thread::sleep(Duration::from_secs(7));
    save(&backend, 1, 512).unwrap().wait(LIMIT).unwrap();
    assert_eq!(own_segments(), before);
    assert_eq!(item_count(&viewer), 2);
}

#[test]
fn a_viewer_killed_in_the_middle_of_batches_costs_one_and_its_successor_gets_the_rest() {
    let first = ViewerProcess::start("tcp", &[]).unwrap();
    let endpoint = first.endpoint();
    let backend = StreamingBackend::connect(connect(endpoint.clone())).unwrap();
    save(&backend, 0, 64).unwrap().wait(LIMIT).unwrap();
    // Held, so that batches are with it and behind it when it dies.
    signal(&first, "-STOP");
    let tickets: Vec<Ticket> = (1..30).map(|site| save(&backend, site, 256).unwrap()).collect();
    signal(&first, "-KILL");
    tickets[0].wait(LIMIT).unwrap_err();
    let home = tempfile::Builder::new().prefix("ws").tempdir().unwrap();
    let port = endpoint.port;
    drop(first);
    let second = ViewerProcess::spawn(home, port, "tcp", &["--headless"], &[]).unwrap();
    tickets[1..].iter().for_each(|ticket| ticket.wait(LIMIT).unwrap());
    assert_eq!(item_count(&second), 28);
    let losses = backend.close(LIMIT);
    assert_eq!((losses.viewer_gone.batches, losses.total().batches, losses.outages), (1, 1, 1), "{losses}");
    assert_nothing_is_left();
}

#[test]
fn a_viewer_that_hangs_delays_nobody_beyond_the_patience_and_is_streamed_to_again() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    let config = StreamingConfig {
        deadline: Duration::from_secs(3),
        max_batches: 8,
        at_bound: AtBound::Wait { patience: Duration::from_millis(300) },
        ..connect(viewer.endpoint())
    };
    let backend = StreamingBackend::connect(config).unwrap();
    save(&backend, 0, 64).unwrap().wait(LIMIT).unwrap();
    signal(&viewer, "-STOP");
    wait_until_stopped(&viewer);
    let begun = Instant::now();
    let tickets: Vec<Ticket> = (1..200).filter_map(|site| save(&backend, site, 64).ok()).collect();
    // A wait of its own for each batch at the bound would be a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(tickets.len() >= 8, "{}", tickets.len());
    for ticket in &tickets {
        ticket.wait(LIMIT).unwrap_err();
    }
    let lost = backend.losses();
    assert_eq!(lost.total().batches, 199, "{lost}");
    assert_eq!(lost.not_taken.batches, 199 - tickets.len() as u64, "{lost}");
    assert_eq!(lost.no_reply.batches, tickets.len() as u64, "{lost}");
    signal(&viewer, "-CONT");
    let again = (0..20).find(|site| save(&backend, 300 + site, 64).is_ok_and(|ticket| ticket.wait(LIMIT).is_ok()));
    assert!(again.is_some(), "it is not streamed to again: {}", viewer.log());
    drop(backend);
    assert_nothing_is_left();
}

#[test]
fn a_pipeline_goes_on_while_its_viewer_is_closed_and_started_again() {
    let first = ViewerProcess::start("tcp", &[]).unwrap();
    let port = first.port;
    let backend = StreamingBackend::connect(connect(first.endpoint())).unwrap();
    save(&backend, 0, 64).unwrap().wait(LIMIT).unwrap();
    first.client().unwrap().shutdown().unwrap();
    drop(first);
    let begun = Instant::now();
    while backend.status().is_connected {
        assert!(begun.elapsed() < LIMIT, "the end of the viewer was not noticed");
        std::thread::sleep(Duration::from_millis(5));
    }
    let tickets: Vec<Ticket> = (1..10).map(|site| save(&backend, site, 64).unwrap()).collect();
    let home = tempfile::Builder::new().prefix("ws").tempdir().unwrap();
    let second = ViewerProcess::spawn(home, port, "tcp", &["--headless"], &[]).unwrap();
    tickets.iter().for_each(|ticket| ticket.wait(LIMIT).unwrap());
    assert_eq!(item_count(&second), 9);
    assert!(backend.close(LIMIT).is_empty());
    assert_nothing_is_left();
}

//! A plate larger than memory: images move to disk and come back; a full disk refuses, and keeps what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem, Producer};
use wellscope_protocol::pickle::PickleValue;
use wellscope_tests::rust_client::DEADLINE;
use wellscope_tests::viewer::ViewerProcess;

const MIB: u64 = 1 << 20;

/// One plane of 1 MiB whose pixels tell which one it is, and where each lies.
fn plane(site: i64) -> Array2<u16> {
    Array2::from_shape_fn((512, 1024), |(y, x)| (site * 1000 + (y * 7 + x) as i64 % 1000) as u16)
}

fn send(producer: &mut Producer, site: i64) -> Result<(), String> {
    let pixels = plane(site);
    let image = ImageItem::new("/plate/a.tif", pixels.view()).at("site", site).at("well", "A01");
    producer.send_batch(BatchRequest::new().item(image)).map_err(|error| error.to_string())
}

fn route_key(viewer: &ViewerProcess) -> String {
    let state = viewer.state().unwrap();
    state.get("layers").unwrap().items().unwrap()[0].get("route_key").unwrap().as_str().unwrap().to_owned()
}

/// The last three pixels of the row 511 of a plane, as a client reads them.
fn corner(viewer: &ViewerProcess, route_key: &str, site: u64) -> Vec<u64> {
    let range = |start: u64, stop: u64| PickleValue::tuple([start, stop]);
    let controls = PickleValue::dict([
        ("route_key", route_key.into()),
        ("axis_indices", PickleValue::dict([("site", PickleValue::from(site))])),
        ("include_array_values", true.into()),
        ("array_slices", PickleValue::tuple([range(511, 512), range(1021, 1024)])),
    ]);
    let payload = PickleValue::dict([("controls", controls)]);
    let reply = viewer.client().unwrap().call("payloads", Some(payload), DEADLINE).unwrap();
    let text = reply.to_string();
    let layer = &reply.get("layers").unwrap_or_else(|| panic!("{text}")).items().unwrap()[0];
    let record = &layer.get("payloads").unwrap().items().unwrap()[0];
    let rows = record.get("array_values").unwrap().items().unwrap();
    rows[0].items().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}

#[test]
fn a_stack_of_four_times_the_memory_limit_is_browsed_whole() {
    const SITES: i64 = 32;
    let limits = ["--memory-limit", "8MiB", "--disk-limit", "64MiB", "--vram-limit", "4MiB"];
    let arguments = [&["--window-size", "400x300"][..], &limits].concat();
    let viewer = ViewerProcess::start("ipc", &arguments).unwrap();
    let mut producer = viewer.producer().unwrap();
    for site in 0..SITES {
        send(&mut producer, site).unwrap();
    }
    viewer.settle().unwrap();
    let count = |path| viewer.count(path).unwrap();
    assert!(
        count(["memory", "spilled_blocks"]) >= 24,
        "{} of {SITES} MiB are on disk",
        count(["memory", "spilled_blocks"])
    );

    let key = route_key(&viewer);
    for site in (0..SITES).rev() {
        viewer.navigate(&key, &[("site", site as u64)]).unwrap();
        viewer.settle().unwrap();
        let wanted: Vec<u64> = (1021..1024).map(|x| u64::from(plane(site)[[511, x]])).collect();
        assert_eq!(corner(&viewer, &key, site as u64), wanted, "site {site}");
        assert!(count(["memory", "bytes"]) <= 8 * MIB, "{}", count(["memory", "bytes"]));
        assert!(count(["gpu", "resident_bytes"]) <= 4 * MIB, "{}", count(["gpu", "resident_bytes"]));
        assert_eq!(count(["gpu", "missing_tiles"]), 0, "site {site} is drawn");
    }
    assert!(count(["memory", "loads"]) > 20);
    let written = count(["memory", "spill_writes"]);
    assert!(written <= SITES as u64, "each plane is written once: {written} of {SITES}");

    // The file has no name, so nothing can stay behind.
    let folder = viewer.home.path().join(".cache").join("wellscope").join("spill");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn when_memory_and_disk_are_full_the_producer_is_told_and_what_is_shown_stays() {
    let limits = ["--memory-limit", "4MiB", "--disk-limit", "8MiB", "--window-size", "400x300"];
    let viewer = ViewerProcess::start("ipc", &limits).unwrap();
    let mut producer = viewer.producer().unwrap();
    let mut sent = 0;
    let refusal = loop {
        match send(&mut producer, sent) {
            Ok(()) => sent += 1,
            Err(refusal) => break refusal,
        }
        assert!(sent < 13, "more was taken than memory and disk hold");
    };
    assert!(sent >= 8, "only {sent} MiB of 12 were taken");
    for part in ["--memory-limit", "--disk-limit", "kept nothing of it"] {
        assert!(refusal.contains(part), "{part:?} is not in {refusal:?}");
    }
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), sent as u64);
    let key = route_key(&viewer);
    for site in 0..sent {
        viewer.navigate(&key, &[("site", site as u64)]).unwrap();
        viewer.settle().unwrap();
        let wanted: Vec<u64> = (1021..1024).map(|x| u64::from(plane(site)[[511, x]])).collect();
        assert_eq!(corner(&viewer, &key, site as u64), wanted, "site {site}");
    }
    // Room is made by what producers replace.
    send(&mut producer, 0).expect_err("there is still no room");
    viewer.client().unwrap().clear_state().unwrap();
}

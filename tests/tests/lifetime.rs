//! From start to end: who serves a port, what is left behind, what is said when it cannot start, and rest when idle.
// Signals, /proc and Xvfb: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::time::Duration;

use ndarray::Array2;
use wellscope_client::{BatchRequest, ImageItem};
use wellscope_protocol::control::CaptureScope;
use wellscope_tests::display::Display;
use wellscope_tests::viewer::ViewerProcess;

const LIMIT: Duration = Duration::from_secs(60);

/// One image of a value, at a well.
fn send(viewer: &ViewerProcess, well: &str, value: u16) {
    let pixels = Array2::from_elem((32, 48), value);
    let mut producer = viewer.producer().unwrap();
    let image = ImageItem::new("/plate/a.tif", pixels.view()).at("well", well).at("channel", 1);
    producer.send_batch(BatchRequest::new().item(image)).unwrap();
}

fn signal(viewer: &ViewerProcess, name: &str) {
    let status = std::process::Command::new("kill").args([name, &viewer.pid().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_second_viewer_on_the_port_is_refused_and_told_who_holds_it() {
    for transport in ["ipc", "tcp"] {
        let first = ViewerProcess::start(transport, &["--title", "plate 7"]).unwrap();
        let home = tempfile::tempdir().unwrap();
        // The same home and port: what a second orchestrator on this machine would start.
        let first_home = first.home.path().to_str().unwrap().to_owned();
        let mut second =
            ViewerProcess::spawn(home, first.port, transport, &["--headless"], &[("HOME", &first_home)]).unwrap();
        let status = second.wait(LIMIT).unwrap();
        assert_eq!(status.code(), Some(5), "{transport}: {}", second.log());
        assert!(second.log().contains(&first.pid().to_string()), "{transport}: who holds it: {}", second.log());
        assert!(second.log().contains("plate 7"), "{transport}: {}", second.log());
        // The first is unharmed.
        send(&first, "A01", 7);
        first.settle().unwrap();
    }
}

#[test]
fn signals_and_messages_end_it_without_leaving_sockets() {
    for how in ["-TERM", "-INT", "shutdown"] {
        let mut viewer = ViewerProcess::start("ipc", &[]).unwrap();
        send(&viewer, "A01", 7);
        assert!(viewer.socket_files().iter().all(|file| file.exists()), "it serves");
        match how {
            "shutdown" => viewer.client().unwrap().shutdown().unwrap(),
            name => signal(&viewer, name),
        }
        let status = viewer.wait(LIMIT).unwrap();
        assert!(status.success(), "{how}: {status}\n{}", viewer.log());
        assert!(viewer.socket_files().iter().all(|file| !file.exists()), "{how} leaves sockets behind");
    }
}

#[test]
fn a_killed_viewer_s_sockets_do_not_stop_the_next_one() {
    let mut killed = ViewerProcess::start("ipc", &[]).unwrap();
    signal(&killed, "-KILL");
    killed.wait(LIMIT).unwrap();
    assert!(killed.socket_files().iter().all(|file| file.exists()), "nothing could clean up");
    let home = killed.home.path().to_str().unwrap().to_owned();
    let scratch = tempfile::tempdir().unwrap();
    let next = ViewerProcess::spawn(scratch, killed.port, "ipc", &["--headless"], &[("HOME", &home)]).unwrap();
    let started = std::time::Instant::now();
    while !next.log().contains("listening") {
        assert!(started.elapsed() < LIMIT, "{}", next.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&killed, "A01", 7);
}

#[test]
fn without_a_display_or_a_gpu_it_says_what_to_do() {
    let spawn = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut viewer =
            ViewerProcess::spawn(tempfile::tempdir().unwrap(), 5999, "ipc", arguments, environment).unwrap();
        let code = viewer.wait(LIMIT).unwrap().code();
        (code, viewer.log())
    };
    let (code, log) = spawn(&[], &[("DISPLAY", ""), ("WAYLAND_DISPLAY", "")]);
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains("--headless"), "{log}");
    let (code, log) = spawn(&[], &[("DISPLAY", ":987"), ("WAYLAND_DISPLAY", "")]);
    assert_eq!(code, Some(4), "a display that does not answer: {log}");
    let nothing =
        [("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent"), ("WGPU_BACKEND", "vulkan")];
    let (code, log) = spawn(&["--headless"], &nothing);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("mesa-vulkan-drivers"), "{log}");
    assert!(!log.contains("panicked"), "never a panic: {log}");
}

#[test]
fn an_idle_viewer_draws_no_frames() {
    let viewer = ViewerProcess::start("ipc", &[]).unwrap();
    send(&viewer, "A01", 7);
    viewer.settle().unwrap();
    rests(&viewer);
}

/// Frames between two looks at the counter: the looks themselves cost a few, a loop that does not sleep hundreds.
fn rests(viewer: &ViewerProcess) {
    std::thread::sleep(Duration::from_millis(500));
    let before = viewer.count(["gpu", "frames"]).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let after = viewer.count(["gpu", "frames"]).unwrap();
    assert!(after - before <= 4, "{} frames in three idle seconds", after - before);
}

#[test]
fn a_window_shows_what_is_streamed_and_rests() {
    let display = Display::start().unwrap();
    let environment = [("DISPLAY", display.name.as_str()), ("WAYLAND_DISPLAY", "")];
    let arguments = ["--window-size", "800x600", "--title", "in a window", "--accent-color", "#ff8000"];
    let mut viewer = ViewerProcess::start_with("ipc", &arguments, &environment).unwrap();
    let ramp = Array2::from_shape_fn((32, 48), |(y, x)| (y * 48 + x) as u16);
    let image = ImageItem::new("/plate/a.tif", ramp.view()).at("well", "A01").at("channel", 1);
    viewer.producer().unwrap().send_batch(BatchRequest::new().item(image)).unwrap();
    viewer.settle().unwrap();
    let window = viewer.picture(CaptureScope::Window).unwrap();
    assert_eq!((window.width, window.height), (800, 600));
    let canvas = viewer.picture(CaptureScope::Widget).unwrap();
    assert!(canvas.width < 800 && canvas.height < 600);
    // The ramp's last row, seen through the middle of the canvas: brighter towards the lower right.
    let middle = canvas.pixel(canvas.width / 2, canvas.height / 2);
    let lower = canvas.pixel(canvas.width / 2, canvas.height / 2 + canvas.height / 6);
    assert!(lower[0] > middle[0] && middle[0] > 60, "{middle:?} {lower:?}");
    rests(&viewer);
    signal(&viewer, "-TERM");
    assert!(viewer.wait(LIMIT).unwrap().success(), "{}", viewer.log());
    assert!(viewer.socket_files().iter().all(|file| !file.exists()));
}

#[test]
fn the_followed_file_shows_the_last_image() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("view.png");
    let viewer =
        ViewerProcess::start("ipc", &["--window-size", "640x400", "--screenshot", file.to_str().unwrap()]).unwrap();
    send(&viewer, "A01", 7);
    let started = std::time::Instant::now();
    loop {
        if let Ok(picture) = wellscope_tests::picture::Picture::read(&file) {
            assert_eq!((picture.width, picture.height), (640, 400));
            break;
        }
        assert!(started.elapsed() < LIMIT, "{}", viewer.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_viewer_that_is_open_to_other_machines_says_so() {
    let viewer = ViewerProcess::start("tcp", &["--bind", "0.0.0.0"]).unwrap();
    let state = viewer.state().unwrap();
    let problems = state.get("wellscope").and_then(|facts| facts.get("problems")?.items()).unwrap();
    let says_so = |text: &str| text.contains("Every machine that reaches this one");
    assert!(problems.iter().any(|problem| problem.as_str().is_some_and(says_so)), "{state}");
    assert!(viewer.log().contains("WARN"), "{}", viewer.log());
}

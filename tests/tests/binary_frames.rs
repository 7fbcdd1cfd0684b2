//! Producers on other hosts: pixels in binary frames over TCP, from a REQ socket and from a DEALER that sends ahead, beside peers
//! that send nonsense.
// Memory is read from /proc.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use serde_json::{Value, json};
use wellscope::colormap::label_colour;
use wellscope_protocol::batch::SENT_FRAME_BYTES;
use wellscope_protocol::control::{CaptureScope, Extensions, Viewport};
use wellscope_tests::rust_client::DEADLINE;
use wellscope_tests::viewer::ViewerProcess;

fn peer(viewer: &ViewerProcess, kind: zmq::SocketType) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
    socket.set_sndtimeo(DEADLINE.as_millis() as i32).unwrap();
    socket.connect(&viewer.endpoint().data_url().unwrap()).unwrap();
    socket
}

fn image(well: &str, channel: i64, shape: &[usize], dtype: &str, frames: &[usize]) -> Value {
    json!({
        "path": format!("/remote/{well}_{channel}.tif"), "metadata": {"well": well, "channel": channel},
        "shape": shape, "dtype": dtype, "frames": frames,
    })
}

fn message(images: Value, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let text = json!({"type": "batch", "display_config": {}, "images": images}).to_string();
    std::iter::once(text.into_bytes()).chain(frames.iter().cloned()).collect()
}

fn exchange(socket: &zmq::Socket, message: Vec<Vec<u8>>) -> Value {
    socket.send_multipart(message, 0).unwrap();
    reply(socket)
}

fn reply(socket: &zmq::Socket) -> Value {
    serde_json::from_slice(socket.recv_multipart(0).expect("a reply to each request").last().unwrap()).unwrap()
}

fn open_viewer(arguments: &[&str]) -> ViewerProcess {
    ViewerProcess::start("tcp", &[&["--bind", "0.0.0.0", "--window-size", "400x300"], arguments].concat()).unwrap()
}

/// Resident memory, and the most of it so far, in MiB.
fn memory_mib(viewer: &ViewerProcess) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{}/status", viewer.pid())).unwrap();
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    })
}

#[test]
fn pixels_of_another_host_are_shown_over_tcp() {
    let viewer = open_viewer(&[]);
    assert!(viewer.log().contains("other hosts can send images"), "{}", viewer.log());
    let pong = viewer.client().unwrap().ping(DEADLINE).unwrap();
    assert_eq!(Extensions::from_pong(&pong.reply), Some(Extensions::own()));

    // A stack of 3 planes in big-endian, cut inside of an element, and a colour image, in one batch.
    let stack: Vec<u8> = (0..3 * 64 * 64_u16).flat_map(u16::to_be_bytes).collect();
    let colour: Vec<u8> = [10, 200, 30].repeat(64 * 64);
    let mut rgb = image("B02", 1, &[64, 64, 3], "uint8", &[1]);
    rgb["source_channel_axis"] = json!(2);
    let mut z_stack = image("A01", 1, &[3, 64, 64], ">u2", &[0, 2]);
    z_stack["plane_component_values"] = json!({"z_index": [1, 2, 3]});
    let frames = [stack[..4097].to_vec(), colour, stack[4097..].to_vec()];
    let producer = peer(&viewer, zmq::REQ);
    let told = exchange(&producer, message(json!([z_stack, rgb]), &frames));
    assert_eq!(told, json!({"status": "success", "type": "batch"}));
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), 4);

    // Labels, which have their own colours over whatever is below: here nothing, no warning either.
    let viewer = ViewerProcess::start("tcp", &["--window-size", "700x520"]).unwrap();
    let ids: Vec<u8> =
        (0..64 * 64).flat_map(|place| u16::from(place % 64 < 32).wrapping_mul(300).to_le_bytes()).collect();
    let mut labels = image("A01", 1, &[64, 64], "uint16", &[0]);
    labels["labels"] = json!(true);
    let producer = peer(&viewer, zmq::REQ);
    assert_eq!(exchange(&producer, message(json!([labels]), &[ids]))["status"], "success");
    for (x, expected) in [(8.0, label_colour(300).map(|part| (f32::from(part) * 0.7).round() as u8)), (56.0, [0; 3])] {
        viewer.client().unwrap().viewport(Viewport { center: [0.0, 32.0, x], zoom: 4.0 }).unwrap();
        viewer.settle().unwrap();
        let picture = viewer.picture(CaptureScope::Widget).unwrap();
        let found = picture.pixel(picture.width / 2, picture.height / 2);
        let differs = found.iter().zip(expected).any(|(found, expected)| found.abs_diff(expected) > 2);
        assert!(!differs, "at x {x}: {found:?}, expected {expected:?}");
    }
}

/// As many as a producer sends without waiting: what the viewer has not taken yet waits with the producer.
#[test]
fn a_producer_that_sends_ahead_fills_its_own_queue_and_not_the_viewers_memory() {
    const MESSAGES: usize = 60;
    let viewer = open_viewer(&["--memory-limit", "256MiB", "--disk-limit", "1MiB"]);
    let producer = peer(&viewer, zmq::DEALER);
    let pixels = vec![7_u8; 16 << 20];
    let (sender, answered) = std::sync::mpsc::channel();
    let delimited = |number: usize| {
        // The same place again and again, so that planes are replaced.
        let sent = message(
            json!([image("A01", (number % 2) as i64, &[4096, 4096], "uint8", &[0])]),
            std::slice::from_ref(&pixels),
        );
        std::iter::once(Vec::new()).chain(sent).collect::<Vec<_>>()
    };
    producer.set_sndhwm(2).unwrap();
    for number in 0..MESSAGES {
        producer.send_multipart(delimited(number), 0).unwrap();
        while producer.poll(zmq::POLLIN, 0).unwrap() > 0 {
            sender.send(reply(&producer)).unwrap();
        }
    }
    let mut replies: Vec<Value> = answered.try_iter().collect();
    while replies.len() < MESSAGES {
        replies.push(reply(&producer));
    }
    // All are answered, and those that found no room say so: frames in the socket are no reason to take more than was allowed.
    let good = replies.iter().filter(|reply| reply["status"] == "success").count() as u64;
    assert!(good >= 20, "{good} of {MESSAGES}: {replies:?}");
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), good);
    let [_, peak] = memory_mib(&viewer);
    assert!(peak < 1024, "{peak} MiB for frames of 16 MiB, at most 256 MiB of images");
}

#[test]
fn hostile_frames_are_answered_and_cost_nobody_else_anything() {
    let viewer = open_viewer(&[]);
    let good = |number: usize| {
        let shape = [32, 32 + number];
        let pixels: Vec<u8> = vec![number as u8; 32 * shape[1]];
        message(
            json!([image("A01", number as i64, &shape, "uint8", &[0, 1])]),
            &[pixels[..100].to_vec(), pixels[100..].to_vec()],
        )
    };
    let first = peer(&viewer, zmq::REQ);
    assert_eq!(exchange(&first, good(0))["status"], "success");
    let [before, _] = memory_mib(&viewer);

    let one = |frames: &[usize]| json!([image("X", 1, &[2, 2], "uint8", frames)]);
    let huge = |shape: &[usize]| json!([image("X", 1, shape, "float64", &[0])]);
    let many: Vec<usize> = (0..200_000).collect();
    let cases: Vec<(Value, Vec<Vec<u8>>, &str)> = vec![
        (one(&[0]), vec![], "binary frame 0, the message has 0"),
        (one(&[7]), vec![vec![0; 4]], "binary frame 7"),
        (one(&[usize::MAX]), vec![vec![0; 4]], "binary frame"),
        (one(&[0]), vec![vec![0; 5]], "have 5 bytes, shape and dtype need 4"),
        (one(&[0, 0]), vec![vec![0; 2]], "uses already"),
        (one(&many), vec![vec![0; 4]], "binary frame 1, the message has 1"),
        (one(&[0]), vec![vec![0; 4]; 3], "2 of its 3 binary frames"),
        (huge(&[30_000, 30_000]), vec![vec![0; 4]], "have 4 bytes, shape and dtype need 7200000000"),
        (huge(&[1 << 31, 1 << 31]), vec![vec![0; 4]], "shape"),
        (one(&[0]), vec![Vec::new(); 1_000_000], "1000000 binary frames"),
        (json!([]), vec![vec![0; SENT_FRAME_BYTES]], "belong to no item"),
    ];
    let second = peer(&viewer, zmq::REQ);
    for (number, (images, frames, expected)) in cases.into_iter().enumerate() {
        let kind = if number % 2 == 0 { zmq::REQ } else { zmq::DEALER };
        let hostile = peer(&viewer, kind);
        let mut sent = message(images, &frames);
        if kind == zmq::DEALER {
            sent.insert(0, Vec::new());
        }
        hostile.send_multipart(sent, 0).unwrap();
        // Others are served beside it.
        assert_eq!(exchange(&second, good(number + 1))["status"], "success", "{expected}");
        let told = reply(&hostile);
        assert_eq!(told["status"], "error", "{told}");
        let text = told["message"].as_str().unwrap();
        assert!(text.contains(expected), "{expected:?} is not in {text:?}");
        assert!(viewer.log().contains(&text.chars().take(30).collect::<String>()), "the log says it: {text}");
    }
    // Frames without the empty one before them are no request; nobody waits for an answer.
    peer(&viewer, zmq::DEALER).send_multipart(vec![vec![1]; 20], 0).unwrap();
    assert_eq!(exchange(&second, good(12))["status"], "success");
    viewer.settle().unwrap();
    assert_eq!(viewer.count(["stack", "planes"]).unwrap(), 13);
    let [after, _] = memory_mib(&viewer);
    assert!(after < before + 400, "{before} MiB before, {after} MiB after");
}

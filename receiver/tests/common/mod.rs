//! A receiver with its own home folder and ports, producers and clients as released packages behave, and segments.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wellscope_protocol::endpoint::Transport;
use wellscope_receiver::{
    CounterSnapshot, Delivery, Problem, ReceivedBatch, ReceivedImage, ReceivedItem, ReceivedPayload, Receiver,
    ReceiverConfig,
};

/// Longer than anything here takes, so that it only ends tests that hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What zmqruntime 0.2.24 and 0.6.5 send to ask whether a viewer is alive: `pickle.dumps({"type": "ping"})`.
pub const PING: &[u8] = b"\x80\x04\x95\x12\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x04type\x94\x8c\x04ping\x94s.";

/// `pickle.dumps({"type": kind}, 2)`.
pub fn control_request(kind: &str) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x04\x00\x00\x00typeX".to_vec();
    pickle.extend((kind.len() as u32).to_le_bytes());
    pickle.extend(kind.as_bytes());
    pickle.extend(b"s.");
    pickle
}

pub struct Viewer {
    pub receiver: Option<Receiver>,
    pub deliveries: crossbeam_channel::Receiver<Delivery>,
    pub home: Arc<tempfile::TempDir>,
    pub context: zmq::Context,
}

pub fn config(transport: Transport, home: &Path) -> ReceiverConfig {
    let mut config = ReceiverConfig::new(home.to_owned());
    config.transport = transport;
    config.port = free_port();
    config.control_port = Some(free_port());
    config.ack_port = free_port();
    config
}

pub fn start(transport: Transport) -> Viewer {
    start_with(transport, |_| ())
}

pub fn start_with(transport: Transport, change: impl FnOnce(&mut ReceiverConfig)) -> Viewer {
    let home = Arc::new(tempfile::tempdir().unwrap());
    let mut config = config(transport, home.path());
    change(&mut config);
    start_config(config, home)
}

pub fn start_config(config: ReceiverConfig, home: Arc<tempfile::TempDir>) -> Viewer {
    let (receiver, deliveries) = Receiver::start(config, Arc::new(|| ())).unwrap();
    Viewer { receiver: Some(receiver), deliveries, home, context: zmq::Context::new() }
}

/// A port that nobody uses now, never the same twice in one process.
pub fn free_port() -> u16 {
    static USED: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let mut used = USED.lock().unwrap();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if !used.contains(&port) {
            used.push(port);
            return port;
        }
    }
}

impl Viewer {
    pub fn receiver(&self) -> &Receiver {
        self.receiver.as_ref().unwrap()
    }

    pub fn counters(&self) -> CounterSnapshot {
        self.receiver().counters().snapshot()
    }

    pub fn data_url(&self) -> String {
        self.receiver().endpoints().data_url.clone()
    }

    /// A producer's socket: REQ, connected to the data endpoint.
    pub fn producer(&self) -> zmq::Socket {
        self.connect(&self.receiver().endpoints().data_url)
    }

    /// A client's socket: REQ, connected to the control endpoint.
    pub fn client(&self) -> zmq::Socket {
        self.connect(&self.receiver().endpoints().control_url)
    }

    fn connect(&self, url: &str) -> zmq::Socket {
        let socket = self.context.socket(zmq::REQ).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.set_sndtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.connect(url).unwrap();
        socket
    }

    /// Sends one frame as a producer and returns the reply.
    pub fn send(&self, frame: &[u8]) -> Value {
        let producer = self.producer();
        producer.send(frame, 0).unwrap();
        reply(&producer)
    }

    pub fn send_batch(&self, images: Value) -> Value {
        self.send(batch(images).to_string().as_bytes())
    }

    pub fn control(&self, request: &[u8]) -> Vec<u8> {
        let client = self.client();
        client.send(request, 0).unwrap();
        client.recv_bytes(0).unwrap()
    }

    pub fn next(&self) -> Delivery {
        self.deliveries.recv_timeout(PATIENCE).unwrap()
    }

    pub fn next_batch(&self) -> ReceivedBatch {
        match self.next() {
            Delivery::Batch(batch) => batch,
            other => panic!("a batch was expected, got {other:?}"),
        }
    }

    pub fn next_problem(&self) -> Problem {
        match self.next() {
            Delivery::Problem(problem) => problem,
            other => panic!("a problem was expected, got {other:?}"),
        }
    }

    /// Still answers a good batch.
    pub fn assert_serves(&self) {
        let segment = Segment::new(&[1, 2, 3, 4]);
        assert_eq!(self.send_batch(json!([image(&segment.name, &[2, 2], "uint8")])), success());
        let batch = self.next_batch();
        assert_eq!(&pixels(&batch.items[0])[..], &[1, 2, 3, 4]);
    }
}

pub fn reply(producer: &zmq::Socket) -> Value {
    serde_json::from_slice(&producer.recv_bytes(0).unwrap()).unwrap()
}

pub fn success() -> Value {
    json!({"status": "success", "type": "batch"})
}

/// The message of an error reply of the given type.
pub fn error_text(reply: &Value, reply_type: Option<&str>) -> String {
    assert_eq!(reply["status"], "error", "{reply}");
    assert_eq!(reply["type"].as_str(), reply_type, "{reply}");
    reply["message"].as_str().unwrap().to_owned()
}

pub fn batch(images: Value) -> Value {
    json!({
        "type": "batch",
        "images": images,
        "display_config": {"colormap": "gray", "component_modes": {"well": "stack"}, "component_order": ["well"]},
        "timestamp": 1.5,
        "component_names_metadata": {},
        "component_value_domain": {},
    })
}

pub fn image(shm_name: &str, shape: &[u64], dtype: &str) -> Value {
    json!({
        "path": "/plate/A01.tif", "data_type": "image", "metadata": {"well": "A01"}, "image_id": null,
        "shape": shape, "dtype": dtype, "shm_name": shm_name,
    })
}

pub fn image_with_id(shm_name: &str, shape: &[u64], dtype: &str, id: &str) -> Value {
    let mut image = image(shm_name, shape, dtype);
    image["image_id"] = json!(id);
    image
}

pub fn received_image(item: &ReceivedItem) -> &ReceivedImage {
    match &item.payload {
        ReceivedPayload::Image(image) => image,
        other => panic!("an image was expected, got {other:?}"),
    }
}

pub fn pixels(item: &ReceivedItem) -> Vec<u8> {
    received_image(item).pixels.to_vec().unwrap()
}

/// A segment as a producer makes it, removed at the end of the test.
pub struct Segment {
    pub name: String,
}

impl Segment {
    pub fn new(bytes: &[u8]) -> Self {
        let segment = Self { name: fresh_name() };
        std::fs::write(segment.path(), bytes).unwrap();
        segment
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/dev/shm").join(&self.name)
    }

    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    pub fn unlink(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

/// A segment name that nobody uses, with the prefix of OpenHCS producers.
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("napari_test{:x}_{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for something that another thread brings about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! A stand-in viewer: a REP socket on a thread that answers as it is told and reports what it saw.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that unwraps says where a test failed")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use shared_memory::ShmemConf;
use tempfile::TempDir;
use wellscope_client::{Producer, ProducerConfig, Transport, ViewerEndpoint};
use wellscope_protocol::batch::{Batch, BatchLimits, Payload, PixelSource};

pub const SUCCESS: &[u8] = br#"{"status": "success", "type": "batch"}"#;
/// Long enough for a loaded machine, for things that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// For things that must not happen.
pub const MOMENT: Duration = Duration::from_millis(150);

/// What the stand-in does with a message.
pub enum Answer {
    Reply(Vec<u8>),
    /// Reads, says nothing, and serves the next peer.
    Silence,
}

/// One message as the stand-in saw it while the request was open.
pub struct Seen {
    pub raw: Vec<u8>,
    pub batch: Batch,
    /// Bytes of each image, read from its segment or out of the message.
    pub pixels: Vec<Vec<u8>>,
    /// Segments of the batch.
    pub segments: Vec<String>,
}

pub struct StandIn {
    pub seen: Receiver<Seen>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Serves `url` with raw answers. A ROUTER, because a REP could not stay silent.
    pub fn serve(url: &str, mut answer: impl FnMut(&[u8]) -> Answer + Send + 'static) -> (Self, Receiver<Vec<u8>>) {
        let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        socket.set_linger(500).unwrap();
        if let Some(path) = url.strip_prefix("ipc://") {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        }
        // ZeroMQ binds addresses, not host names.
        socket.bind(&url.replace("localhost", "127.0.0.1")).unwrap();
        let (raw_sender, raw) = channel();
        let (_, seen) = channel();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.try_recv().is_err() {
                if socket.poll(zmq::POLLIN, 20).unwrap() == 0 {
                    continue;
                }
                let frames = socket.recv_multipart(0).unwrap();
                assert_eq!(frames.len(), 3, "peer, empty delimiter, one frame");
                let answer = answer(&frames[2]);
                raw_sender.send(frames[2].clone()).ok();
                if let Answer::Reply(reply) = answer {
                    socket.send_multipart([&frames[0], &frames[1], &reply], 0).unwrap();
                }
            }
        });
        (Self { seen, stop, thread: Some(thread) }, raw)
    }

    /// Serves batches: reads every image while the request is open, then answers.
    pub fn serve_batches(url: &str, mut answer: impl FnMut(&Batch) -> Answer + Send + 'static) -> Self {
        let (sender, seen) = channel();
        let (mut stand_in, _) = Self::serve(url, move |message| {
            let batch = Batch::decode(message, &BatchLimits::default()).unwrap_or_else(|error| panic!("{error}"));
            let mut pixels = Vec::new();
            let mut segments = Vec::new();
            for item in &batch.items {
                let Payload::Image(image) = &item.payload else { continue };
                match &image.source {
                    PixelSource::Inline(bytes) => pixels.push(bytes.clone()),
                    PixelSource::Frames(_) => panic!("no frames came with the message"),
                    PixelSource::SharedMemory { name, .. } => {
                        let bytes = read_segment(name).expect("segment exists while the request is open");
                        pixels.push(bytes[..image.size_bytes as usize].to_vec());
                        segments.push(name.clone());
                    }
                }
            }
            let answer = answer(&batch);
            sender.send(Seen { raw: message.to_vec(), batch, pixels, segments }).ok();
            answer
        });
        stand_in.seen = seen;
        stand_in
    }

    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("the stand-in saw a batch")
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.send(()).ok();
        let outcome = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            outcome.expect("the stand-in did not fail");
        }
    }
}

/// Bytes of a segment, or nothing when it is gone.
pub fn read_segment(name: &str) -> Option<Vec<u8>> {
    let os_id = if cfg!(unix) { format!("/{name}") } else { name.to_owned() };
    let memory = ShmemConf::new().os_id(os_id).open().ok()?;
    // SAFETY: the producer has finished writing; it waits for our reply.
    Some(unsafe { memory.as_slice() }.to_vec())
}

/// A home of its own for each test: sockets of tests and of real viewers never meet.
pub fn home() -> TempDir {
    tempfile::Builder::new().prefix("ws").tempdir().unwrap()
}

pub fn ipc(home: &TempDir) -> ViewerEndpoint {
    ViewerEndpoint { transport: Transport::Ipc, home: home.path().to_owned(), ..ViewerEndpoint::openhcs(5555) }
}

/// A TCP endpoint on ports that were free a moment ago, control port included.
pub fn tcp(home: &TempDir) -> ViewerEndpoint {
    loop {
        let data = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = data.local_addr().unwrap().port();
        if port < 64_000 && std::net::TcpListener::bind(("127.0.0.1", port + 1000)).is_ok() {
            return ViewerEndpoint { transport: Transport::Tcp, ..ipc(home) }.with_port(port);
        }
    }
}

pub fn producer(endpoint: &ViewerEndpoint) -> Producer {
    Producer::connect(quick(endpoint)).unwrap()
}

/// Deadlines that a test can wait for.
pub fn quick(endpoint: &ViewerEndpoint) -> ProducerConfig {
    ProducerConfig { reply_timeout: PATIENCE, connect_timeout: PATIENCE, ..ProducerConfig::new(endpoint.clone()) }
}

pub fn success(_: &Batch) -> Answer {
    Answer::Reply(SUCCESS.to_vec())
}

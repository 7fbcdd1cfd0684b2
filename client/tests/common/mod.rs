//! A stand-in viewer: a REP socket on a thread that answers as it is told and reports what it saw.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that unwraps says where a test failed")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use shared_memory::ShmemConf;
use tempfile::TempDir;
use wellscope_client::{Producer, ProducerConfig, StreamingConfig, Transport, ViewerEndpoint};
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
    /// Binary frames of the message.
    pub frames: usize,
}

pub struct StandIn {
    pub seen: Receiver<Seen>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Serves `url` with raw answers to messages of one frame.
    pub fn serve(url: &str, mut answer: impl FnMut(&[u8]) -> Answer + Send + 'static) -> (Self, Receiver<Vec<u8>>) {
        Self::serve_frames(url, move |message, binary| {
            assert!(binary.is_empty(), "peer, empty delimiter, one frame");
            answer(message)
        })
    }

    /// Serves `url` with raw answers; messages may have binary frames. A ROUTER, because a REP could not stay silent.
    pub fn serve_frames(
        url: &str,
        mut answer: impl FnMut(&[u8], &[Vec<u8>]) -> Answer + Send + 'static,
    ) -> (Self, Receiver<Vec<u8>>) {
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
                assert!(frames.len() >= 3 && frames[1].is_empty(), "peer, empty delimiter, message");
                let answer = answer(&frames[2], &frames[3..]);
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
        let (mut stand_in, _) = Self::serve_frames(url, move |message, binary| {
            let sizes: Vec<u64> = binary.iter().map(|frame| frame.len() as u64).collect();
            let batch = Batch::decode_with_frames(message, &sizes, &BatchLimits::default())
                .unwrap_or_else(|error| panic!("{error}"));
            let mut pixels = Vec::new();
            let mut segments = Vec::new();
            for item in &batch.items {
                let Payload::Image(image) = &item.payload else { continue };
                match &image.source {
                    PixelSource::Inline(bytes) => pixels.push(bytes.clone()),
                    PixelSource::Frames(indices) => {
                        pixels.push(indices.iter().flat_map(|&index| binary[index].clone()).collect());
                    }
                    PixelSource::SharedMemory { name, .. } => {
                        let bytes = read_segment(name).expect("segment exists while the request is open");
                        pixels.push(bytes[..image.size_bytes as usize].to_vec());
                        segments.push(name.clone());
                    }
                }
            }
            let answer = answer(&batch);
            sender.send(Seen { raw: message.to_vec(), batch, pixels, segments, frames: binary.len() }).ok();
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

/// A stream with deadlines that a test can wait for.
pub fn stream(endpoint: &ViewerEndpoint) -> StreamingConfig {
    StreamingConfig { deadline: PATIENCE, drop_timeout: PATIENCE, ..StreamingConfig::new(endpoint.clone()) }
}

/// Waits for something that must happen.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Segments of this process that the system still has. Of other tests too, where several run in one process.
#[cfg(target_os = "linux")]
pub fn own_segments() -> Vec<String> {
    let pid = |name: &str| -> Option<u32> {
        let owner = name.strip_prefix("wellscope_")?.split('_').next()?.get(3..)?;
        u32::from_str_radix(owner, 36).ok()
    };
    let names =
        std::fs::read_dir("/dev/shm").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| pid(name) == Some(std::process::id())).collect()
}

/// Nothing is left of this test. Only nextest gives each test a process of its own, so only there all segments are looked at.
pub fn assert_no_segment_is_left(seen: &[String]) {
    assert!(seen.iter().all(|name| read_segment(name).is_none()), "a segment that was sent is still there");
    #[cfg(target_os = "linux")]
    if std::env::var_os("NEXTEST").is_some() {
        assert_eq!(own_segments(), Vec::<String>::new());
    }
}

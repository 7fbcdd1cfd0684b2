//! Speed of intake, as ratios within one run: figures of one machine at one time, comparable with nothing else.
//!
//! `cargo run --release -p wellscope-benches` prints a table and a JSON line per figure. More figures, and those against
//! napari, come with the memory work (`benches` in ARCHITECTURE.md).

mod save_batch;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use wellscope_protocol::batch::{
    Batch, ComponentDomain, ComponentNames, DisplayConfig, ImageLayout, ImagePayload, Item, Payload, PixelSource,
    VariableSize,
};
use wellscope_protocol::dtype::{DType, ElementType};
use wellscope_protocol::reply::BatchReply;
use wellscope_receiver::{Delivery, Receiver, ReceiverConfig};

/// A batch of the size that the incumbent was measured with: 8 images of 2048 x 2048 uint16, 64 MiB.
const LARGE: Shape = Shape { images: 8, side: 2048 };
/// The same bytes as one image.
const ONE_LARGE: Shape = Shape { images: 1, side: 5792 };
/// A batch whose cost is all but its pixels.
const SMALL: Shape = Shape { images: 4, side: 64 };
const ROUNDS: usize = 15;

#[derive(Clone, Copy)]
struct Shape {
    images: u64,
    side: u64,
}

impl Shape {
    fn image_bytes(self) -> usize {
        (self.side * self.side * 2) as usize
    }

    fn batch_bytes(self) -> usize {
        self.image_bytes() * self.images as usize
    }
}

fn main() -> anyhow::Result<()> {
    let memcpy = memcpy_time(LARGE);
    let reply = median(Bench::start(Kept::Last)?.exchange(LARGE, ROUNDS)?);
    figure("64 MiB batch, request to reply", "over a memcpy of it into warm memory", reply, memcpy);
    // A plate fills fresh memory, which the system clears first.
    let reply = median(Bench::start(Kept::All)?.exchange(LARGE, ROUNDS)?);
    figure("64 MiB batch into fresh memory", "over a memcpy of it into warm memory", reply, memcpy);

    for (what, shape) in [("save_batch of 64 MiB, 8 images", LARGE), ("save_batch of 64 MiB, 1 image", ONE_LARGE)] {
        let bench = Bench::start(Kept::Last)?;
        let (saved, copied) = save_batch::times(bench.home.path(), shape)?;
        figure(what, "over a memcpy of it into warm memory", saved, copied);
    }

    let bench = Bench::start(Kept::Last)?;
    let early = median(bench.exchange(SMALL, 16)?);
    bench.exchange(SMALL, 1024)?;
    let late = median(bench.exchange(SMALL, 16)?);
    figure("small batch after 4,096 planes", "over the same after 64", late, early);
    Ok(())
}

/// Which deliveries stay in memory.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    /// One batch at a time, so that its buffers serve the next but one, as in a viewer that replaces planes.
    Last,
    /// All, as in a viewer that fills.
    All,
}

/// A receiver whose deliveries are kept, as the viewer keeps them, and a producer's socket.
struct Bench {
    _receiver: Receiver,
    _keeper: std::thread::JoinHandle<()>,
    home: tempfile::TempDir,
    socket: zmq::Socket,
    _context: zmq::Context,
}

impl Bench {
    fn start(kept: Kept) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("wsb").tempdir()?;
        let mut config = ReceiverConfig { port: 5555, ..ReceiverConfig::new(home.path().to_owned()) };
        // The segments are sent again and again, as no producer does; on a slow machine they would be cleaned up meanwhile.
        config.limits.late_unlink_millis = 3_600_000;
        let (receiver, inbox) = Receiver::start(config, Arc::new(|| {}))?;
        let keeper = std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok(delivery) = inbox.recv() {
                if let Delivery::Batch(batch) = delivery {
                    // Taken: the ticket ends here, the pixels stay.
                    let batch: Vec<_> = batch.items.into_iter().map(|item| item.payload).collect();
                    if kept == Kept::Last {
                        held.clear();
                    }
                    held.push(batch);
                }
            }
            drop(held);
        });
        let context = zmq::Context::new();
        let socket = context.socket(zmq::REQ)?;
        socket.set_linger(0)?;
        socket.set_rcvtimeo(30_000)?;
        socket.connect(&receiver.endpoints().data_url)?;
        Ok(Self { _receiver: receiver, _keeper: keeper, home, socket, _context: context })
    }

    /// Times from request to reply, with segments that stand ready.
    fn exchange(&self, shape: Shape, rounds: usize) -> anyhow::Result<Vec<Duration>> {
        let segments = Segments::create(shape)?;
        let frame = batch_of(shape, &segments.names).encode()?;
        let mut times = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let started = Instant::now();
            self.socket.send(&frame, 0)?;
            let reply = self.socket.recv_bytes(0)?;
            times.push(started.elapsed());
            let reply = BatchReply::decode(&reply).context("the reply cannot be read")?;
            ensure!(matches!(reply, BatchReply::Success), "the batch was refused");
        }
        Ok(times)
    }
}

/// Shared memory as a producer makes it; removed when dropped. Linux only, like the rest of this bench.
struct Segments {
    names: Vec<String>,
}

impl Segments {
    fn create(shape: Shape) -> anyhow::Result<Self> {
        let names: Vec<String> =
            (0..shape.images).map(|index| format!("napari_{:06x}{:06x}", std::process::id(), index)).collect();
        for name in &names {
            std::fs::write(format!("/dev/shm/{name}"), vec![7_u8; shape.image_bytes()])?;
        }
        Ok(Self { names })
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
        }
    }
}

fn batch_of(shape: Shape, names: &[String]) -> Batch {
    let item = |(index, name): (usize, &String)| Item {
        path: format!("/plate/{index}.tif"),
        address: BTreeMap::from([("site".to_owned(), (index as i64).into()), ("well".to_owned(), "A01".into())]),
        image_id: None,
        producer_identity: None,
        ack_route: None,
        shape_planes: Vec::new(),
        payload: Payload::Image(ImagePayload {
            shape: vec![shape.side, shape.side],
            dtype: DType::little(ElementType::U16),
            size_bytes: shape.image_bytes() as u64,
            source: PixelSource::SharedMemory { name: name.clone(), kept: false },
            labels: false,
            layout: ImageLayout { plane_axes: Vec::new(), height: shape.side, width: shape.side, samples: 1 },
            spatial_origin_yx: None,
            source_spatial_shape_yx: None,
            voxel_spacing: None,
        }),
    };
    Batch {
        items: names.iter().enumerate().map(item).collect(),
        display_config: DisplayConfig {
            component_modes: BTreeMap::new(),
            component_order: vec!["site".into(), "well".into()],
            colormap: "gray".into(),
            variable_size: VariableSize::PadToMax,
        },
        component_names: ComponentNames::new(),
        component_domain: ComponentDomain::new(),
        timestamp: None,
    }
}

fn memcpy_time(shape: Shape) -> Duration {
    let source = vec![7_u8; shape.batch_bytes()];
    let mut target = vec![0_u8; shape.batch_bytes()];
    let time = |_| {
        let started = Instant::now();
        target.copy_from_slice(black_box(&source));
        black_box(&target);
        started.elapsed()
    };
    median((0..ROUNDS).map(time).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn figure(what: &str, against: &str, measured: Duration, reference: Duration) {
    let ratio = measured.as_secs_f64() / reference.as_secs_f64();
    println!("{what:<34} {measured:>10.2?}   {ratio:>6.2} x {against} ({reference:.2?})");
    println!(
        "{}",
        serde_json::json!({"figure": what, "against": against, "ratio": ratio,
            "seconds": measured.as_secs_f64(), "reference_seconds": reference.as_secs_f64()})
    );
}

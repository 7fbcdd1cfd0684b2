//! Streams a synthetic plate to a viewer, for benches and by hand:
//!
//! `cargo run --release -p wellscope-client --example stream_pattern -- --wells 4 --channels 2 --size 1024`
//!
//! Every image is a different one, so that a wrong plane shows: cells lie elsewhere in each well and site, look otherwise in
//! each channel, and drift with z.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ndarray::Array2;
use wellscope_client::{
    AckMode, BatchRequest, ControlClient, Generation, ImageItem, Producer, ProducerConfig, Transport, ViewerEndpoint,
    step_identity,
};
use wellscope_protocol::batch::ComponentDomain;
use wellscope_protocol::component::ComponentValue;

const USAGE: &str = "Streams a synthetic plate to a viewer.

  --port N        data port of the viewer                         [5555]
  --transport T   ipc or tcp                                      [ipc; tcp on Windows]
  --host H        host of the viewer, for tcp                     [localhost]
  --wells N       wells, in rows of 12                            [4]
  --sites N       sites per well                                  [2]
  --channels N    channels per site                               [2]
  --z N           planes per channel                              [3]
  --size N        height and width of an image, in pixels         [512]
  --batch N       images per batch                                [8]
  --count N       stop after so many images; 0: one whole plate   [0]
  --rate R        images per second; 0: as fast as they are taken [0]
  --acks          ask for acks over a private address (G4)
  --settle        wait until the viewer has drawn everything";

struct Options {
    endpoint: ViewerEndpoint,
    wells: usize,
    sites: usize,
    channels: usize,
    z: usize,
    size: usize,
    batch: usize,
    count: usize,
    rate: f64,
    acks: bool,
    settle: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            endpoint: ViewerEndpoint::openhcs(5555),
            wells: 4,
            sites: 2,
            channels: 2,
            z: 3,
            size: 512,
            batch: 8,
            count: 0,
            rate: 0.0,
            acks: false,
            settle: false,
        };
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--port" => options.endpoint.port = value()?.parse()?,
                "--transport" => {
                    options.endpoint.transport = match value()?.as_str() {
                        "ipc" => Transport::Ipc,
                        "tcp" => Transport::Tcp,
                        other => return Err(format!("--transport is ipc or tcp, found {other:?}").into()),
                    }
                }
                "--host" => options.endpoint.host = value()?,
                "--wells" => options.wells = value()?.parse()?,
                "--sites" => options.sites = value()?.parse()?,
                "--channels" => options.channels = value()?.parse()?,
                "--z" => options.z = value()?.parse()?,
                "--size" => options.size = value()?.parse()?,
                "--batch" => options.batch = value()?.parse()?,
                "--count" => options.count = value()?.parse()?,
                "--rate" => options.rate = value()?.parse()?,
                "--acks" => options.acks = true,
                "--settle" => options.settle = true,
                other => return Err(format!("unknown option {other:?}\n\n{USAGE}").into()),
            }
        }
        Ok(options)
    }
}

/// Where one image of the plate lies; counting through them goes z first, then channel, site, well.
#[derive(Clone, Copy)]
struct Position {
    well: usize,
    site: usize,
    channel: usize,
    z: usize,
}

impl Position {
    fn nth(index: usize, options: &Options) -> Self {
        let (rest, z) = (index / options.z, index % options.z);
        let (rest, channel) = (rest / options.channels, rest % options.channels);
        Self { well: rest / options.sites % options.wells, site: rest % options.sites, channel, z }
    }

    fn well_name(self) -> String {
        let row = char::from(b'A' + (self.well / 12 % 26) as u8);
        format!("{row}{:02}", self.well % 12 + 1)
    }

    fn item(self, pixels: &Array2<u16>) -> ImageItem<'_> {
        let path = format!("/plate/{}_s{}_w{}_z{}.tif", self.well_name(), self.site + 1, self.channel + 1, self.z + 1);
        ImageItem::new(path, pixels.view())
            .at("well", self.well_name())
            .at("site", self.site as i64 + 1)
            .at("channel", self.channel as i64 + 1)
            .at("z_index", self.z as i64 + 1)
            .at("timepoint", 1)
    }
}

/// Soft discs on a dim ramp, 12 bits deep.
fn pattern(position: Position, size: usize) -> Array2<u16> {
    let seed = position.well * 7919 + position.site * 104_729;
    let radius = size as f32 / (10.0 + 4.0 * position.channel as f32);
    let cells: Vec<(f32, f32)> = (0..12)
        .map(|cell| {
            let spread = |step: usize| ((seed + cell * step) % 997) as f32 / 997.0 * size as f32;
            (spread(409) + position.z as f32 * 2.0, spread(263))
        })
        .collect();
    let mut image = Array2::from_shape_fn((size, size), |(y, x)| 80 + ((y + 2 * x) % 64) as u16);
    for (center_y, center_x) in cells {
        let span = |center: f32| {
            let from = (center - radius).max(0.0) as usize;
            from..((center + radius) as usize + 1).min(size).max(from)
        };
        for y in span(center_y).filter(|&y| y < size) {
            for x in span(center_x).filter(|&x| x < size) {
                let distance = (y as f32 - center_y).hypot(x as f32 - center_x) / radius;
                let light = 3000.0 * (1.0 - distance * distance).max(0.0);
                image[(y, x)] = image[(y, x)].saturating_add(light as u16).min(4095);
            }
        }
    }
    image
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(std::env::args().skip(1))?;
    if [options.wells, options.sites, options.channels, options.z, options.size, options.batch].contains(&0) {
        return Err("wells, sites, channels, z, size and batch must be at least 1".into());
    }
    let plate = options.wells * options.sites * options.channels * options.z;
    let count = if options.count == 0 { plate } else { options.count };

    let mut config = ProducerConfig::new(options.endpoint.clone());
    if options.acks {
        (config.acks, config.generation) = (AckMode::Private, Generation::G4);
    }
    let mut producer = Producer::connect(config)?;

    // Sliders have their full length from the start.
    let numbers = |n: usize| (1..=n as i64).map(ComponentValue::from).collect::<Vec<_>>();
    let wells =
        (0..options.wells).map(|well| Position { well, site: 0, channel: 0, z: 0 }.well_name().into()).collect();
    let domain = ComponentDomain::from([
        ("well".to_owned(), wells),
        ("site".to_owned(), numbers(options.sites)),
        ("channel".to_owned(), numbers(options.channels)),
        ("z_index".to_owned(), numbers(options.z)),
        ("timepoint".to_owned(), numbers(1)),
    ]);

    // Drawn before the clock starts: what is measured is the wire. Memory holds at most this many different images.
    let distinct = plate.min(count).min((1 << 30) / (2 * options.size * options.size).max(1)).max(1);
    let images: Vec<Array2<u16>> =
        (0..distinct).map(|index| pattern(Position::nth(index, &options), options.size)).collect();

    let started = Instant::now();
    let mut acknowledged = 0;
    let mut slowest = Duration::ZERO;
    for first in (0..count).step_by(options.batch) {
        let mut request =
            BatchRequest::new().identity(step_identity("Pattern", 0)).domain(domain.clone()).name("channel", 1, "DAPI");
        for index in first..(first + options.batch).min(count) {
            request = request.item(Position::nth(index, &options).item(&images[index % distinct]));
        }
        if options.rate > 0.0 {
            let due = Duration::from_secs_f64(first as f64 / options.rate);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        let sent = Instant::now();
        producer.send_batch(request)?;
        slowest = slowest.max(sent.elapsed());
        acknowledged += producer.acks(Duration::ZERO).len();
    }
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = (count * options.size * options.size * 2) as f64 / 1e6;
    println!(
        "{count} images in {seconds:.3} s: {:.0} images/s, {:.0} MB/s; slowest batch {:.1} ms",
        count as f64 / seconds,
        megabytes / seconds,
        slowest.as_secs_f64() * 1e3
    );
    if options.acks {
        while acknowledged < count {
            let acks = producer.acks(Duration::from_secs(5));
            if acks.is_empty() {
                break;
            }
            acknowledged += acks.len();
        }
        println!("{acknowledged} of {count} acknowledged after {:.3} s", started.elapsed().as_secs_f64());
    }
    if options.settle {
        let settled = ControlClient::connect(&options.endpoint)?.settle(Duration::from_secs(120))?;
        println!("settled after {:.3} s: {} updates", started.elapsed().as_secs_f64(), settled.updates);
    }
    Ok(())
}

//! Pictures of the canvas on whatever draws here (in CI a software rasteriser), against a reference computed on the CPU.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use half::f16;
use wellscope::colormap::{ColormapRows, LABEL_COLOURS, by_name, label_colour};
use wellscope::render::canvas::{Canvas, Work};
use wellscope::render::report::RenderReport;
use wellscope::render::scene::{
    Blending, CanvasCamera, CanvasRect, Interpolation, Neighbour, PlaneDraw, PlaneId, PlanePixels, PlaneSource, Scene,
};
use wellscope::render::tiles::Tiling;
use wellscope::render::timing::{PlaneTiming, TimedStage};
use wellscope_protocol::dtype::ElementType;
use wellscope_shaders::contrast::normalized_from_intensity;

/// Difference per sample that rasterisers may have: rounding of one step in the colormap and one on output.
const TOLERANCE: u8 = 2;

struct Bench {
    device: wgpu::Device,
    queue: wgpu::Queue,
    canvas: Canvas,
    rows: ColormapRows,
    report: RenderReport,
    generation: u64,
}

impl Bench {
    fn new(budget_bytes: u64) -> Self {
        Self::with_tiling(budget_bytes, Tiling::default())
    }

    fn with_tiling(budget_bytes: u64, tiling: Tiling) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = bevy::tasks::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .expect("something to draw with: apt-get install mesa-vulkan-drivers");
        let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
        let (device, queue) = bevy::tasks::block_on(adapter.request_device(&descriptor)).unwrap();
        let canvas = Canvas::with_tiling(&device, &queue, budget_bytes, tiling);
        Self { device, queue, canvas, rows: ColormapRows::default(), report: RenderReport::default(), generation: 0 }
    }

    /// Shows planes and runs frames until all of it is drawn and nothing is left to do.
    fn show(&mut self, scene: Scene) -> Vec<[u8; 4]> {
        self.generation += 1;
        let scene = Scene { generation: self.generation, ..scene };
        self.finish(&scene);
        self.read()
    }

    /// Runs frames until the scene is drawn and nothing is left to do; tiles are made by threads meanwhile.
    fn finish(&mut self, scene: &Scene) {
        for _ in 0..20_000 {
            let work = self.canvas.update(scene, self.rows.rows(), &self.report);
            if work == Work::None && self.report.drawn_generation() == scene.generation {
                return;
            }
            if work == Work::Background {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        panic!("the scene was not drawn: {:?}", self.report.snapshot());
    }

    fn read(&self) -> Vec<[u8; 4]> {
        let texture = self.canvas.texture().unwrap();
        let (width, height) = (texture.width(), texture.height());
        let row = (4 * width).next_multiple_of(256);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(row * height),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_texture_to_buffer(
            texture.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row),
                    rows_per_image: Some(height),
                },
            },
            texture.size(),
        );
        self.queue.submit([encoder.finish()]);
        buffer.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let bytes = buffer.slice(..).get_mapped_range();
        bytes
            .chunks_exact(row as usize)
            .flat_map(|row| {
                row[..4 * width as usize].chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2], pixel[3]])
            })
            .collect()
    }
}

fn source(id: u64, element: ElementType, samples: u8, [height, width]: [u32; 2], bytes: Vec<u8>) -> PlaneSource {
    let length = bytes.len();
    assert_eq!(length, (height * width) as usize * usize::from(samples) * element.size_bytes());
    PlaneSource {
        id: PlaneId(id),
        width,
        height,
        samples,
        element,
        pixels: PlanePixels::from_vec(bytes),
        labels: false,
        timing: None,
    }
}

fn draw(plane: PlaneSource, contrast_limits: [f32; 2]) -> PlaneDraw {
    PlaneDraw {
        layer: 1,
        plane,
        origin_yx: [0.0, 0.0],
        contrast_limits,
        gamma: 1.0,
        colormap: 0,
        opacity: 1.0,
        blending: Blending::Additive,
        interpolation: Interpolation::Nearest,
    }
}

/// One screen pixel per data pixel, looking at an image of this size.
fn looking_at([height, width]: [u32; 2], draws: Vec<PlaneDraw>) -> Scene {
    Scene {
        canvas: CanvasRect { x: 0, y: 0, width, height },
        camera: CanvasCamera { center_yx: [f64::from(height - 1) / 2.0, f64::from(width - 1) / 2.0], zoom: 1.0 },
        draws,
        ..Scene::default()
    }
}

#[track_caller]
fn assert_close(found: &[[u8; 4]], wanted: &[[u8; 3]], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let differs = found.iter().zip(wanted).any(|(a, b)| a.abs_diff(*b) > TOLERANCE);
        assert!(!differs, "{what}: pixel {place} is {found:?}, expected {wanted:?}");
        assert_eq!(found[3], 255, "{what}: the canvas is opaque");
    }
}

fn gray(value: f32, limits: [f32; 2]) -> [u8; 3] {
    [(normalized_from_intensity(value, limits) * 255.0).round() as u8; 3]
}

/// 16 values of every kind, signs and extremes included, as bytes and as numbers.
fn values(element: ElementType) -> Vec<(Vec<u8>, f64)> {
    let steps = (0..16_i64).map(|step| step - 8);
    steps
        .map(|step| match element {
            ElementType::Bool => (vec![u8::from(step % 2 == 0)], f64::from(u8::from(step % 2 == 0))),
            ElementType::U8 => (vec![(step + 8) as u8 * 17], f64::from((step + 8) as u8 * 17)),
            ElementType::I8 => (vec![(step * 15) as i8 as u8], (step * 15) as f64),
            ElementType::U16 => {
                (((step + 8) as u16 * 4369).to_le_bytes().to_vec(), f64::from((step + 8) as u16 * 4369))
            }
            ElementType::I16 => ((step as i16 * 4000).to_le_bytes().to_vec(), (step * 4000) as f64),
            ElementType::U32 => {
                (((step + 8) as u32 * 0x1000_0000).to_le_bytes().to_vec(), ((step + 8) * 0x1000_0000) as f64)
            }
            ElementType::I32 => ((step as i32 * 0x0800_0000).to_le_bytes().to_vec(), (step * 0x0800_0000) as f64),
            ElementType::U64 => {
                (((step + 8) as u64 * 1_000_000).to_le_bytes().to_vec(), ((step + 8) * 1_000_000) as f64)
            }
            ElementType::I64 => ((step * 1_000_000_000).to_le_bytes().to_vec(), (step * 1_000_000_000) as f64),
            ElementType::F16 => {
                let value = f16::from_f64(step as f64 * 1.5);
                (value.to_le_bytes().to_vec(), value.to_f64())
            }
            ElementType::F32 => ((step as f32 * 1e-9).to_le_bytes().to_vec(), f64::from(step as f32 * 1e-9)),
            ElementType::F64 => ((step as f64 * 1e6).to_le_bytes().to_vec(), step as f64 * 1e6),
        })
        .collect()
}

#[test]
fn every_element_type_is_drawn_as_the_cpu_computes_it() {
    let mut bench = Bench::new(1 << 20);
    for (id, element) in ElementType::ALL.into_iter().enumerate() {
        let values = values(element);
        let numbers: Vec<f32> = values.iter().map(|(_, number)| *number as f32).collect();
        let limits = [
            numbers.iter().copied().fold(f32::INFINITY, f32::min),
            numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        ];
        let bytes = values.into_iter().flat_map(|(bytes, _)| bytes).collect();
        let plane = source(id as u64 + 1, element, 1, [4, 4], bytes);
        let found = bench.show(looking_at([4, 4], vec![draw(plane, limits)]));
        let wanted: Vec<_> = numbers.iter().map(|value| gray(*value, limits)).collect();
        assert_close(&found, &wanted, element.name());
        assert!(
            wanted.iter().any(|pixel| pixel[0] > 200) && wanted.iter().any(|pixel| pixel[0] < 50),
            "a real picture"
        );
    }
}

#[test]
fn display_settings_are_applied_in_napari_s_order() {
    let mut bench = Bench::new(1 << 20);
    let ramp: Vec<u8> = (0..16).map(|step| step * 16).collect();
    let plane = source(1, ElementType::U8, 1, [4, 4], ramp.clone());
    let limits = [32.0, 192.0];

    let viridis = by_name("viridis").unwrap();
    let row = bench.rows.row_of("viridis");
    let found =
        bench.show(looking_at([4, 4], vec![PlaneDraw { colormap: row, gamma: 0.5, ..draw(plane.clone(), limits) }]));
    let wanted: Vec<[u8; 3]> = ramp
        .iter()
        .map(|value| {
            let normalized = normalized_from_intensity(f32::from(*value), limits).powf(0.5);
            let [red, green, blue, _] = viridis.table[(normalized * 255.0).round() as usize];
            [red, green, blue]
        })
        .collect();
    assert_close(&found, &wanted, "contrast, then gamma, then colormap");

    let equal = bench.show(looking_at([4, 4], vec![draw(plane.clone(), [64.0, 64.0])]));
    let wanted: Vec<[u8; 3]> = ramp.iter().map(|value| if *value > 64 { [255; 3] } else { [0; 3] }).collect();
    assert_close(&equal, &wanted, "equal limits");

    let half = PlaneDraw { opacity: 0.5, ..draw(plane.clone(), [0.0, 240.0]) };
    let found = bench.show(looking_at([4, 4], vec![half]));
    let wanted: Vec<[u8; 3]> =
        ramp.iter().map(|value| [(f32::from(*value) / 240.0 * 127.5).round() as u8; 3]).collect();
    assert_close(&found, &wanted, "opacity");
}

#[test]
fn layers_are_blended_in_display_values() {
    let mut bench = Bench::new(1 << 20);
    let (green, magenta) = (bench.rows.row_of("green"), bench.rows.row_of("magenta"));
    let flat = |id, value| source(id, ElementType::U8, 1, [1, 2], vec![value, 255]);
    let lower = PlaneDraw { layer: 1, colormap: green, ..draw(flat(1, 100), [0.0, 255.0]) };
    let upper = PlaneDraw { layer: 2, colormap: magenta, ..draw(flat(2, 60), [0.0, 255.0]) };
    let show = |bench: &mut Bench, blending| {
        bench.show(looking_at([1, 2], vec![lower.clone(), PlaneDraw { blending, opacity: 0.5, ..upper.clone() }]))
    };
    assert_close(&show(&mut bench, Blending::Additive), &[[30, 100, 30], [128, 255, 128]], "a sum in gamma space");
    assert_close(&show(&mut bench, Blending::Translucent), &[[30, 50, 30], [128, 128, 128]], "over");
    assert_close(&show(&mut bench, Blending::Opaque), &[[60, 0, 60], [255, 0, 255]], "replaced");
    let bright = PlaneDraw { layer: 2, colormap: green, ..draw(flat(3, 200), [0.0, 255.0]) };
    let clamped = bench.show(looking_at([1, 2], vec![lower.clone(), bright]));
    assert_close(&clamped, &[[0, 255, 0], [0, 255, 0]], "sums end at full colour");
}

#[test]
fn colour_and_holes_in_float_data_are_drawn_as_such() {
    let mut bench = Bench::new(1 << 20);
    let rgb = source(1, ElementType::U8, 3, [1, 2], vec![10, 20, 30, 200, 100, 50]);
    assert_close(
        &bench.show(looking_at([1, 2], vec![draw(rgb, [0.0, 255.0])])),
        &[[10, 20, 30], [200, 100, 50]],
        "RGB",
    );
    let floats: Vec<u8> = [f32::NAN, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let plane = source(2, ElementType::F32, 1, [1, 2], floats);
    let scene = Scene { background: [9, 8, 7], ..looking_at([1, 2], vec![draw(plane, [0.0, 1.0])]) };
    assert_close(&bench.show(scene), &[[9, 8, 7], [255, 255, 255]], "NaN shows the background");
}

#[test]
fn the_camera_maps_data_to_pixels_exactly() {
    let mut bench = Bench::new(1 << 20);
    let plane = source(1, ElementType::U8, 1, [2, 2], vec![50, 100, 150, 200]);
    let mut scene = looking_at([2, 2], vec![draw(plane.clone(), [0.0, 255.0])]);
    scene.canvas = CanvasRect { x: 0, y: 0, width: 6, height: 6 };
    scene.camera = CanvasCamera { center_yx: [0.5, 0.5], zoom: 2.0 };
    scene.background = [1, 1, 1];
    let found = bench.show(scene.clone());
    let row = |values: [u8; 6]| values.map(|value| [value; 3]);
    let wanted = [
        row([1; 6]),
        row([1, 50, 50, 100, 100, 1]),
        row([1, 50, 50, 100, 100, 1]),
        row([1, 150, 150, 200, 200, 1]),
        row([1, 150, 150, 200, 200, 1]),
        row([1; 6]),
    ]
    .concat();
    assert_close(&found, &wanted, "twice enlarged");

    // A crop lies where it was cut out, and far zoomed in the mapping still holds.
    scene.draws[0].origin_yx = [1000.0, 2000.0];
    scene.camera = CanvasCamera { center_yx: [1001.0, 2001.0], zoom: 600.0 };
    assert_close(&bench.show(scene.clone()), &[[200; 3]; 36], "inside of one pixel");

    scene.camera = CanvasCamera { center_yx: [0.0, 0.0], zoom: 1.0 };
    assert_close(&bench.show(scene), &[[1; 3]; 36], "beside the image");
}

#[test]
fn far_zoomed_in_on_a_wide_image_edges_stay_where_they_are() {
    let mut bench = Bench::new(1 << 20);
    let plane = source(1, ElementType::U8, 1, [1, 16_000], (0..16_000).map(|x| (x % 2) as u8 * 200).collect());
    let mut scene = looking_at([1, 64], vec![draw(plane, [0.0, 255.0])]);
    // The edge between the texels 15,000 and 15,001 lies in the middle; a pixel is finer than f32 resolves there.
    scene.camera = CanvasCamera { center_yx: [0.0, 15_000.5], zoom: 4000.0 };
    let wanted = [[[0; 3]; 32], [[200; 3]; 32]].concat();
    assert_close(&bench.show(scene), &wanted, "the edge is in the middle");
}

#[test]
fn a_plane_whose_bytes_do_not_fit_is_magenta_and_the_others_are_drawn() {
    let mut bench = Bench::new(1 << 20);
    let mut broken = source(1, ElementType::U16, 1, [4, 2], vec![0; 16]);
    broken.pixels = PlanePixels::from_vec(vec![0; 9]);
    let whole = source(2, ElementType::U8, 1, [4, 2], vec![90; 8]);
    let beside = PlaneDraw { layer: 2, origin_yx: [0.0, 2.0], ..draw(whole, [0.0, 255.0]) };
    let scene = looking_at([4, 4], vec![PlaneDraw { gamma: 2.0, ..draw(broken, [0.0, 9.0]) }, beside]);
    let row = [[255, 0, 255], [255, 0, 255], [90; 3], [90; 3]];
    assert_close(&bench.show(scene), &[row, row, row, row].concat(), "magenta beside gray");
}

#[test]
fn planes_that_their_producer_replaced_leave_the_gpu() {
    let mut bench = Bench::new(1 << 20);
    for id in 1..=50 {
        bench.show(looking_at([8, 8], vec![draw(source(id, ElementType::U8, 1, [8, 8], vec![9; 64]), [0.0, 255.0])]));
    }
    let counts = bench.report.snapshot();
    assert!(counts.resident_tiles <= 2 && counts.resident_bytes <= 4 * 64, "{counts:?}");
    assert_eq!(counts.evictions, 0);
}

#[test]
fn smooth_pixels_are_interpolated_between_centres() {
    let mut bench = Bench::new(1 << 20);
    let plane = source(1, ElementType::U8, 1, [1, 2], vec![0, 200]);
    let mut scene =
        looking_at([1, 2], vec![PlaneDraw { interpolation: Interpolation::Linear, ..draw(plane, [0.0, 255.0]) }]);
    scene.canvas = CanvasRect { x: 0, y: 0, width: 8, height: 1 };
    scene.camera = CanvasCamera { center_yx: [0.0, 0.5], zoom: 4.0 };
    let wanted: Vec<[u8; 3]> = [0, 0, 25, 75, 125, 175, 200, 200].map(|value| [value; 3]).to_vec();
    assert_close(&bench.show(scene), &wanted, "linear");
}

#[test]
fn a_slider_move_to_a_resident_plane_uploads_nothing_and_an_unchanged_scene_draws_nothing() {
    let mut bench = Bench::new(1 << 20);
    let planes: Vec<_> = (1..=3).map(|id| source(id, ElementType::U16, 1, [8, 8], vec![id as u8; 128])).collect();
    let mut scene = looking_at([8, 8], vec![draw(planes[0].clone(), [0.0, 1000.0])]);
    scene.prefetch =
        planes[1..].iter().map(|plane| Neighbour { plane: plane.clone(), origin_yx: [0.0, 0.0] }).collect();
    bench.show(scene.clone());
    let before = bench.report.snapshot();
    assert_eq!((before.uploads, before.upload_bytes), (3, 3 * 128), "the visible plane and its neighbours");

    for plane in &planes[1..] {
        scene.draws[0].plane = plane.clone();
        bench.show(scene.clone());
    }
    let after = bench.report.snapshot();
    assert_eq!(after.uploads, before.uploads, "moving uploads nothing");
    assert_eq!(after.canvas_renders, before.canvas_renders + 2);

    let scene = Scene { generation: bench.generation, ..scene };
    bench.canvas.update(&scene, bench.rows.rows(), &bench.report);
    let idle = bench.report.snapshot();
    assert_eq!((idle.uploads, idle.canvas_renders), (after.uploads, after.canvas_renders), "a hover over the panels");
}

#[test]
fn the_last_plane_stays_until_the_next_is_resident() {
    let mut bench = Bench::new(1 << 30);
    // Two planes that take more than one frame's share of uploads together.
    let side = 4000;
    let large =
        |id, value: u8| source(id, ElementType::U16, 1, [side, side], [value, 0].repeat((side * side) as usize));
    let small = CanvasRect { x: 0, y: 0, width: 2, height: 2 };
    let scene_of = |generation, planes: Vec<PlaneSource>| Scene {
        generation,
        canvas: small,
        camera: CanvasCamera { center_yx: [1000.0, 1000.0], zoom: 1.0 },
        draws: planes
            .into_iter()
            .enumerate()
            .map(|(layer, plane)| PlaneDraw { layer: layer as u64, ..draw(plane, [0.0, 255.0]) })
            .collect(),
        ..Scene::default()
    };
    bench.canvas.update(&scene_of(1, vec![large(1, 10), large(2, 20)]), bench.rows.rows(), &bench.report);
    assert_eq!(bench.report.drawn_generation(), 0, "32 MB of 33.5 are used; the second plane waits");
    bench.finish(&scene_of(1, vec![large(1, 10), large(2, 20)]));
    assert_close(&bench.read(), &[[30; 3]; 4], "both");
    bench.canvas.update(&scene_of(2, vec![large(3, 100), large(4, 50)]), bench.rows.rows(), &bench.report);
    assert_eq!(bench.report.drawn_generation(), 1);
    assert_close(&bench.read(), &[[120; 3]; 4], "the new plane of the first layer, the old one of the second");
    bench.finish(&scene_of(2, vec![large(3, 100), large(4, 50)]));
    assert_eq!(bench.report.drawn_generation(), 2);
    assert_close(&bench.read(), &[[150; 3]; 4], "both new");
}

#[test]
fn planes_are_told_as_uploaded_and_as_drawn_once_each() {
    let mut bench = Bench::new(1 << 20);
    let timed = |id: u64| {
        let mut plane = source(id, ElementType::U8, 1, [2, 2], vec![id as u8; 4]);
        plane.timing = Some(Arc::new(PlaneTiming::new(9, PlaneId(id), Instant::now(), 0)));
        plane
    };
    let [shown, ahead] = [1, 2].map(timed);
    let mut scene = looking_at([2, 2], vec![draw(shown.clone(), [0.0, 255.0])]);
    scene.prefetch = vec![Neighbour { plane: ahead.clone(), origin_yx: [0.0, 0.0] }];
    bench.show(scene.clone());
    let told = |bench: &Bench| {
        bench.report.take_timed().into_iter().map(|event| (event.plane.0, event.stage)).collect::<Vec<_>>()
    };
    assert_eq!(told(&bench), [(1, TimedStage::Uploaded), (2, TimedStage::Uploaded), (1, TimedStage::Drawn)]);
    scene.draws = vec![draw(ahead, [0.0, 255.0])];
    bench.show(scene.clone());
    assert_eq!(told(&bench), [(2, TimedStage::Drawn)]);
    scene.draws = vec![draw(shown, [0.0, 255.0])];
    bench.show(scene);
    assert_eq!(told(&bench), []);
}

#[test]
fn textures_stay_within_their_budget() {
    let mut bench = Bench::new(10_000);
    // As the stack does: a plane that nobody holds any more leaves without counting as evicted.
    let mut held = Vec::new();
    for id in 1..=60_u64 {
        let value = id as u8 * 4;
        let plane = source(id, ElementType::U8, 1, [32, 32], vec![value; 1024]);
        held.push(plane.clone());
        let found = bench.show(looking_at([32, 32], vec![draw(plane, [0.0, 255.0])]));
        assert_close(&found[..1], &[[value; 3]], "each plane is shown all the same");
        assert!(bench.report.snapshot().resident_bytes <= 10_000, "{:?}", bench.report.snapshot());
    }
    assert!(bench.report.snapshot().evictions >= 50);
}

/// Cuts planes that a test can afford.
const SMALL_TILES: Tiling = Tiling { whole_side: 16, tile_side: 8 };

/// A plane of scattered values with its numbers, every bit pattern that makes a finite value being possible.
fn scattered(id: u64, element: ElementType, [height, width]: [u32; 2]) -> (PlaneSource, Vec<f64>) {
    let palette = values(element);
    let place = |index: u32| (index.wrapping_mul(2_654_435_761) >> 11) as usize % palette.len();
    let chosen: Vec<_> = (0..height * width).map(|index| palette[place(index)].clone()).collect();
    let bytes = chosen.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    (source(id, element, 1, [height, width], bytes), chosen.into_iter().map(|(_, number)| number).collect())
}

/// What a canvas pixel must show: the mean of the pixels that share its texel, or the first of them for labels and masks.
/// Computed pixel by pixel in f64, without levels, windows or tiles.
fn reduced_at(numbers: &[f64], [height, width]: [u32; 2], element: ElementType, level: u32, [y, x]: [u32; 2]) -> f64 {
    let side = 1 << level;
    let (top, left) = (y / side * side, x / side * side);
    if matches!(element, ElementType::Bool | ElementType::U32 | ElementType::I32 | ElementType::U64 | ElementType::I64)
    {
        return numbers[(top * width + left) as usize];
    }
    let (bottom, right) = ((top + side).min(height), (left + side).min(width));
    let square =
        (top..bottom).flat_map(|row| (left..right).map(move |column| numbers[(row * width + column) as usize]));
    let mean = square.clone().sum::<f64>() / square.count() as f64;
    let is_integer = matches!(element, ElementType::U8 | ElementType::I8 | ElementType::U16 | ElementType::I16);
    if is_integer { (mean + 0.5).floor() } else { mean }
}

#[test]
fn every_element_type_is_right_at_every_level_and_on_every_tile() {
    let size @ [height, width] = [37, 50];
    for (id, element) in ElementType::ALL.into_iter().enumerate() {
        let mut bench = Bench::with_tiling(1 << 20, SMALL_TILES);
        let (plane, numbers) = scattered(id as u64 + 1, element, size);
        let limits = [
            numbers.iter().copied().fold(f64::INFINITY, f64::min) as f32,
            numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max) as f32,
        ];
        for level in 0..3_u32 {
            let side = 1 << level;
            // Screen pixel n shows texel n of the level. The plane ends within the last texels' pixels, which are left out.
            let canvas @ [rows, columns] = size.map(|pixels| pixels / side);
            let mut scene = looking_at(canvas, vec![draw(plane.clone(), limits)]);
            scene.camera.zoom = 1.0 / f64::from(side);
            let middle = |texels: u32| f64::from(texels * side) / 2.0 - 0.5;
            scene.camera.center_yx = [middle(rows), middle(columns)];
            let found = bench.show(scene);
            let wanted: Vec<[u8; 3]> = (0..rows * columns)
                .map(|place| {
                    let [y, x] = [(place / columns * side), (place % columns * side)];
                    gray(reduced_at(&numbers, [height, width], element, level, [y, x]) as f32, limits)
                })
                .collect();
            assert_close(&found, &wanted, &format!("{} at level {level}", element.name()));
        }
    }
}

#[test]
fn tiles_join_without_seams_however_they_are_looked_at() {
    let (plane, _) = scattered(1, ElementType::U16, [60, 70]);
    for (interpolation, zoom, center_yx) in [
        (Interpolation::Linear, 3.3, [30.2, 33.7]),
        (Interpolation::Linear, 0.9, [29.5, 34.5]),
        (Interpolation::Nearest, 7.7, [8.1, 15.9]),
        (Interpolation::Nearest, 0.31, [29.5, 34.5]),
    ] {
        let mut scene = looking_at([64, 64], vec![PlaneDraw { interpolation, ..draw(plane.clone(), [0.0, 65_535.0]) }]);
        scene.camera = CanvasCamera { center_yx, zoom };
        let whole = Bench::new(1 << 20).show(scene.clone());
        let cut = Bench::with_tiling(1 << 20, SMALL_TILES).show(scene);
        let wanted: Vec<[u8; 3]> = whole.iter().map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        assert_close(&cut, &wanted, &format!("{interpolation:?} at zoom {zoom}"));
    }
}

#[test]
fn only_the_tiles_in_view_are_uploaded_and_none_twice() {
    let mut bench = Bench::with_tiling(1 << 20, SMALL_TILES);
    let (plane, _) = scattered(1, ElementType::U16, [800, 800]);
    let mut scene = looking_at([8, 8], vec![draw(plane, [0.0, 65_535.0])]);
    scene.camera.center_yx = [403.5, 403.5];
    bench.show(scene.clone());
    let first = bench.report.snapshot();
    // One tile of full resolution with its border of one texel; what could stand in for it is not needed.
    assert!(first.uploads <= 2, "{first:?}");
    scene.camera.center_yx = [403.5, 407.5];
    bench.show(scene.clone());
    scene.camera.center_yx = [403.5, 403.5];
    bench.show(scene);
    let after = bench.report.snapshot();
    assert_eq!(after.uploads, first.uploads + 1, "half a tile to the right and back: one more tile");
    assert_eq!(after.upload_bytes - first.upload_bytes, 10 * 10 * 2);
}

#[test]
fn while_a_plane_is_made_drawable_the_last_one_stays() {
    let mut bench = Bench::new(1 << 20);
    let scene_of = |generation, plane| Scene { generation, ..looking_at([4, 4], vec![draw(plane, [0.0, 255.0])]) };
    bench.finish(&scene_of(1, source(1, ElementType::U8, 1, [4, 4], vec![7; 16])));
    // Colour is packed by a worker, so that it cannot be there in the frame that first asks for it.
    let colour = scene_of(2, source(2, ElementType::U8, 3, [4, 4], vec![200; 48]));
    let work = bench.canvas.update(&colour, bench.rows.rows(), &bench.report);
    assert_eq!((work, bench.report.drawn_generation()), (Work::Background, 1));
    assert_eq!(bench.report.snapshot().missing_tiles, 1);
    assert_close(&bench.read(), &[[7; 3]; 16], "the last plane");
    bench.finish(&colour);
    assert_close(&bench.read(), &[[200; 3]; 16], "the new plane");
}

#[test]
fn neighbours_that_find_no_room_do_not_keep_the_threads_busy() {
    // Room for one plane; its neighbours are colour, which workers pack.
    let mut bench = Bench::new(64 * 64 * 4);
    let colour = |id| source(id, ElementType::U8, 3, [64, 64], vec![id as u8; 64 * 64 * 3]);
    let mut scene = looking_at([64, 64], vec![draw(colour(1), [0.0, 255.0])]);
    scene.prefetch = (2..6).map(|id| Neighbour { plane: colour(id), origin_yx: [0.0, 0.0] }).collect();
    bench.show(scene.clone());
    let scene = Scene { generation: bench.generation, ..scene };
    for _ in 0..5 {
        assert_eq!(bench.canvas.update(&scene, bench.rows.rows(), &bench.report), Work::None);
    }
    assert_eq!(bench.report.snapshot().uploads, 1);
}

/// Ids are seen as themselves: by colours of their own, at every zoom, with no third one between two, and 0 as what is below.
#[test]
fn labels_are_drawn_by_their_ids() {
    let ids = [0_u64, 1, 2, 70_001, 16_777_217, u64::from(u32::MAX), 1, 0];
    let wanted = |limit: u64| -> Vec<[u8; 3]> {
        let colour = |id: &u64| if *id == 0 { [0; 3] } else { label_colour(*id as u32) };
        ids.iter().filter(|id| **id <= limit).map(colour).collect()
    };
    for (element, limit) in [
        (ElementType::U8, u64::from(u8::MAX)),
        (ElementType::I16, i16::MAX as u64),
        (ElementType::I32, u64::from(u32::MAX)),
        (ElementType::U64, u64::from(u32::MAX)),
    ] {
        let bytes: Vec<u8> = ids
            .iter()
            .filter(|id| **id <= limit)
            .flat_map(|id| id.to_le_bytes()[..element.size_bytes()].to_vec())
            .collect();
        let width = (bytes.len() / element.size_bytes()) as u32;
        let plane = PlaneSource { labels: true, ..source(1, element, 1, [1, width], bytes) };
        let labels = PlaneDraw { colormap: LABEL_COLOURS, gamma: 3.0, ..draw(plane, [0.0, 1.0]) };
        for interpolation in [Interpolation::Nearest, Interpolation::Linear] {
            let scene = looking_at([1, width], vec![PlaneDraw { interpolation, ..labels.clone() }]);
            let found = Bench::new(1 << 20).show(scene);
            assert_close(&found, &wanted(limit), element.name());
        }
    }
    // Translucent over an image, and reduced by picking: of two pixels, which share a texel, the first one.
    let below = draw(source(1, ElementType::U8, 1, [2, 40], vec![255; 80]), [0.0, 255.0]);
    let few =
        PlaneSource { labels: true, ..source(2, ElementType::U8, 1, [2, 40], [2, 2, 2, 2, 2, 9, 0, 0].repeat(10)) };
    let over = PlaneDraw {
        layer: 2,
        colormap: LABEL_COLOURS,
        blending: Blending::Translucent,
        opacity: 0.5,
        ..draw(few, [0.0, 1.0])
    };
    let mut scene = looking_at([1, 20], vec![below, over]);
    scene.camera = CanvasCamera { center_yx: [0.5, 19.5], zoom: 0.5 };
    let half = label_colour(2).map(|part| ((u16::from(part) + 255) / 2) as u8);
    let found = Bench::with_tiling(1 << 20, SMALL_TILES).show(scene);
    assert_close(&found, &[half, half, half, [255; 3]].repeat(5), "reduced");
}

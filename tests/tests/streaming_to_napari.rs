//! `StreamingBackend` against the incumbent: OpenHCS 0.8.6's own napari server takes its batches and says what it has.
// Xvfb, and the pinned environment of napari: on Linux only.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

use std::time::Duration;

use ndarray::{Array2, Array3};
use wellscope_client::{
    Count, ImageItem, LossReason, PixelTransport, RequestItem, RoiItem, SaveRequest, StateOptions, StreamingBackend,
    StreamingConfig, Ticket, WaitError, step_identity,
};
use wellscope_protocol::batch::{Address, PlaneAxis, Shape, ShapeGeometry};
use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::pickle::PickleValue;
use wellscope_tests::incumbent::Incumbent;

/// napari draws under a software rasteriser, on a machine that may be busy with a build.
const LIMIT: Duration = Duration::from_secs(120);

fn address(well: &str, channel: i64) -> Address {
    let components: [(&str, ComponentValue); 5] = [
        ("well", well.into()),
        ("channel", channel.into()),
        ("site", 1.into()),
        ("z_index", 1.into()),
        ("timepoint", 1.into()),
    ];
    components.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn request(addresses: Vec<Address>, step: &str, position: i64) -> SaveRequest {
    SaveRequest {
        identity: step_identity(step, position),
        names: [("channel".to_owned(), [("1".to_owned(), "DAPI".to_owned())].into())].into(),
        // napari takes the last batch's word for all that it holds, so each batch names all values that there will be.
        domain: [
            ("channel".to_owned(), vec![1.into(), 2.into()]),
            ("well".to_owned(), ["A01", "A02", "A03"].map(Into::into).to_vec()),
        ]
        .into(),
        ..SaveRequest::new(addresses)
    }
}

fn shape(geometry: ShapeGeometry, label: u32) -> Shape {
    let metadata = [("label".to_owned(), label.into())].into_iter().collect();
    Shape { geometry, label: Some(label), plane_indices: Vec::new(), metadata }
}

fn find<'v>(layers: &'v [PickleValue], data_type: &str, step: &str) -> &'v PickleValue {
    let has_step =
        |layer: &PickleValue| layer.get("producer_identities").is_some_and(|ids| format!("{ids:?}").contains(step));
    let has_type =
        |layer: &PickleValue| layer.get("data_types").is_some_and(|types| format!("{types:?}").contains(data_type));
    let mut found = layers.iter().filter(|layer| has_type(layer) && has_step(layer));
    let layer = found.next().unwrap_or_else(|| panic!("no layer of {data_type} by {step} in {layers:#?}"));
    assert!(found.next().is_none(), "two layers of {data_type} by {step}");
    layer
}

fn numbers(value: Option<&PickleValue>) -> Vec<u64> {
    value.and_then(PickleValue::items).unwrap_or_default().iter().filter_map(PickleValue::as_u64).collect()
}

#[test]
fn napari_takes_images_labels_shapes_and_points_and_says_so() {
    let napari = Incumbent::start().unwrap();
    let backend =
        StreamingBackend::connect(StreamingConfig { deadline: LIMIT, ..StreamingConfig::new(napari.endpoint()) })
            .unwrap();

    // Several batches in flight at a REP socket, every segment used more than once.
    let mut tickets: Vec<Ticket> = Vec::new();
    for (well, level) in [("A01", 100u16), ("A02", 200), ("A03", 300)] {
        for channel in 1..=2 {
            let image = Array2::from_shape_fn((32, 48), |(y, x)| level * channel + (y * 48 + x) as u16);
            let request = request(vec![address(well, channel.into())], "Smooth", 1);
            tickets.push(backend.save_batch([image.view()], &[format!("/p/{well}_{channel}.tif")], &request).unwrap());
        }
    }
    tickets.iter().for_each(|ticket| ticket.wait(LIMIT).unwrap());

    // The same memory again, for a batch of everything else.
    let labels = Array2::from_shape_fn((32, 48), |(y, x)| if y < 16 && x < 24 { 5i32 } else { 0 });
    let stack = Array3::from_shape_fn((3, 32, 48), |(z, _, _)| z as f32 + 0.5);
    let outlines = vec![
        shape(ShapeGeometry::Polygon(vec![[1.0, 1.0], [1.0, 9.0], [9.0, 5.0]]), 1),
        shape(ShapeGeometry::Polygon(vec![[11.0, 1.0], [11.0, 9.0], [19.0, 5.0]]), 2),
    ];
    let seeds = vec![shape(ShapeGeometry::Points(vec![[4.0, 5.0], [14.0, 5.0]]), 1)];
    let items: Vec<RequestItem<'_>> = vec![
        ImageItem::new("", labels.view()).labels().into(),
        RoiItem::shapes("", outlines).into(),
        RoiItem::points("", seeds).into(),
    ];
    let paths = ["/p/labels.tif", "/p/cells.roi.zip", "/p/seeds.roi.zip"];
    let segmented = request(vec![address("A01", 1)], "Segment", 2);
    let planes = SaveRequest {
        plane_axis: Some(PlaneAxis { component: "z_index".to_owned(), values: vec![1.into(), 2.into(), 3.into()] }),
        ..request(vec![address("A01", 1)], "Project", 3)
    };
    backend.save_batch(items, &paths, &segmented).unwrap().wait(LIMIT).unwrap();
    backend.save_batch([stack.view()], &["/p/stack.tif"], &planes).unwrap().wait(LIMIT).unwrap();
    let status = backend.status();
    assert_eq!((status.shown.batches, status.shown.items, status.on_its_way), (8, 10, Count::default()));
    assert!(status.pool_bytes > 0, "nothing was kept for the next batch");

    let client = napari.client().unwrap();
    client.settle(LIMIT).unwrap();
    let state = client.state(&StateOptions::default()).unwrap();
    assert_eq!(state.get("component_item_count").and_then(PickleValue::as_u64), Some(10), "{state}");
    let layers = state.get("layers").and_then(PickleValue::items).unwrap();
    assert_eq!(layers.len(), 5, "{layers:#?}");

    let smooth = find(layers, "image", "Smooth");
    assert_eq!(smooth.get("item_count").and_then(PickleValue::as_u64), Some(6));
    // channel and well are its only axes with several values; the others have one.
    let shape = numbers(smooth.get("data_shape"));
    assert_eq!((shape.iter().product::<u64>(), &shape[shape.len() - 2..]), (6 * 32 * 48, &[32, 48][..]), "{smooth}");
    let summaries = smooth.get("payload_summaries").and_then(PickleValue::items).unwrap();
    let of = |path: &str| {
        let is_it = |summary: &&PickleValue| summary.get("path").and_then(PickleValue::as_str) == Some(path);
        let summary = summaries.iter().find(is_it);
        let summary = summary.unwrap_or_else(|| panic!("{path} is not in {summaries:#?}"));
        ["min", "max"].map(|key| summary.get(key).and_then(PickleValue::as_f64).unwrap())
    };
    assert_eq!(of("/p/A01_1.tif"), [100.0, 100.0 + 32.0 * 48.0 - 1.0]);
    assert_eq!(of("/p/A03_2.tif"), [600.0, 600.0 + 32.0 * 48.0 - 1.0]);

    let segmented = find(layers, "image", "Segment");
    let summary = &segmented.get("payload_summaries").and_then(PickleValue::items).unwrap()[0];
    assert_eq!(summary.get("nonzero_count").and_then(PickleValue::as_u64), Some(16 * 24), "{summary}");
    assert_eq!(find(layers, "shapes", "Segment").get("item_count").and_then(PickleValue::as_u64), Some(1));
    assert_eq!(find(layers, "points", "Segment").get("item_count").and_then(PickleValue::as_u64), Some(1));
    let stack = numbers(find(layers, "image", "Project").get("data_shape"));
    assert_eq!(stack.iter().product::<u64>(), 3 * 32 * 48, "{stack:?}");

    let losses = backend.close(LIMIT);
    assert!(losses.is_empty(), "{losses}\n{}", napari.log());

    // It reads one frame per message, so it is asked first and gets none; what it can take still comes through.
    let config =
        StreamingConfig { pixels: PixelTransport::Frames, deadline: LIMIT, ..StreamingConfig::new(napari.endpoint()) };
    let frames = StreamingBackend::connect(config).unwrap();
    let image = Array2::<u8>::zeros((8, 8));
    let refused = request(vec![address("B01", 1)], "Smooth", 1);
    let outcome = frames.save_batch([image.view()], &["/p/B01.tif"], &refused).unwrap().wait(LIMIT);
    assert!(matches!(outcome, Err(WaitError::Lost(LossReason::TakesNoFrames { .. }))), "{outcome:?}");
    let inline = ImageItem::new("", image.view()).inline();
    frames.save_batch([inline], &["/p/B01.tif"], &refused).unwrap().wait(LIMIT).unwrap();
}

//! Items of several planes, crops and shapes of crops, as `state` describes them: each as its producer sent it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod common;

use common::{Sent, SentPayload, at, batch, flat, take};
use wellscope::viewer::Viewer;
use wellscope_protocol::batch::Shape;
use wellscope_protocol::control::*;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode};
use wellscope_receiver::ReceivedPayload;

const FRAME: &str = "source_spatial_shape_yx";

fn answer(viewer: &mut Viewer, request: &ControlRequest) -> PickleValue {
    decode(&viewer.answer(request).encode(PongSpelling::G3), &PickleLimits::CONTROL_REPLY).unwrap()
}

fn layers(reply: &PickleValue) -> &[PickleValue] {
    reply.get("layers").unwrap().items().unwrap()
}

/// The summary of the only item of the `place`th layer, as `state` gives it.
fn item_summary(viewer: &mut Viewer, place: usize) -> PickleValue {
    let reply = answer(viewer, &ControlRequest::State(StateOptions::default()));
    let layer = &layers(&reply)[place];
    assert_eq!(layer.get("payload_summary_count").unwrap().as_u64(), Some(1));
    layer.get("payload_summaries").unwrap().items().unwrap()[0].clone()
}

fn z_stack(values: Vec<u16>) -> Sent {
    Sent {
        address: vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())],
        step: "Blur",
        payload: SentPayload::ZStack(values, [2, 3]),
    }
}

/// Fields as openhcs 0.8.6 has them (`napari_viewer_server.py`, `payload_summary`).
#[test]
fn a_state_describes_an_array_of_several_planes_as_it_was_sent() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![z_stack(vec![0, 20, 30])]));
    let summary = item_summary(&mut viewer, 0);
    let keys: Vec<&str> = summary.fields().iter().map(|(key, _)| *key).collect();
    let known = ["data_type", "path", "components", "payload_type", "aggregate_component_values", "shape", "dtype"];
    assert_eq!(keys, [&known[..], &["size", "nonzero_count", "min", "max"]].concat());
    assert_eq!(summary.get("shape"), Some(&PickleValue::tuple([3_u64, 2, 3])));
    let number = |key| summary.get(key).unwrap().as_i64().unwrap();
    assert_eq!((number("size"), number("nonzero_count"), number("min"), number("max")), (18, 12, 0, 30));
    let planes = summary.get("aggregate_component_values").unwrap();
    assert_eq!(planes.get("z_index"), Some(&PickleValue::tuple([1_i64, 2, 3])));
    assert!(summary.get("components").unwrap().get("z_index").is_none(), "it has one value per plane");

    // One value is shared by all planes.
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![z_stack(vec![7])]));
    let summary = item_summary(&mut viewer, 0);
    assert_eq!(summary.get("components").unwrap().get("z_index").unwrap().as_i64(), Some(1));
    assert_eq!(summary.get("shape"), Some(&PickleValue::tuple([1_u64, 2, 3])));
}

#[test]
fn a_state_counts_what_is_left_of_an_item_whose_planes_were_replaced() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![z_stack(vec![10, 20, 30])]));
    take(&mut viewer, batch(vec![z_stack(vec![40, 50])]));
    // The second has the first two planes now; the first has lost the plane that it is counted by.
    let summary = item_summary(&mut viewer, 0);
    let number = |key| summary.get(key).unwrap().as_i64().unwrap();
    assert_eq!((number("nonzero_count"), number("min"), number("max")), (12, 40, 50));
}

#[test]
fn a_state_describes_shapes_over_all_planes_of_their_item() {
    let mut viewer = Viewer::default();
    let triangle = |y: f64| vec![[y, 0.0], [y, 6.0], [y + 5.0, 6.0]];
    let polygons = vec![(triangle(0.0), 0), (triangle(10.0), 2), (triangle(20.0), 2)];
    let address = vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())];
    let payload = SentPayload::PolygonsOfPlanes(polygons, vec![1, 2, 3]);
    take(&mut viewer, batch(vec![Sent { address, step: "Segment", payload }]));
    let summary = item_summary(&mut viewer, 0);
    let number = |key| summary.get(key).unwrap().as_i64().unwrap();
    assert_eq!((number("item_count"), number("shape_payload_count"), number("shape_coordinate_count")), (3, 3, 9));
    let bounds = summary.get("shape_coordinate_bounds_yx").unwrap();
    assert_eq!(bounds.get("min_yx"), Some(&PickleValue::tuple([0.0, 0.0])));
    assert_eq!(bounds.get("max_yx"), Some(&PickleValue::tuple([25.0, 6.0])));
    assert_eq!(
        summary.get("aggregate_component_values").unwrap().get("z_index"),
        Some(&PickleValue::tuple([1_i64, 2, 3]))
    );
}

#[test]
fn a_crop_says_where_it_lies() {
    let mut viewer = Viewer::default();
    let mut crop = batch(vec![flat("A01", 1, 7)]);
    let ReceivedPayload::Image(image) = &mut crop.items[0].payload else { panic!() };
    (image.spatial_origin_yx, image.source_spatial_shape_yx) = (Some([-2, 6]), Some([32, 48]));
    take(&mut viewer, crop);
    let reply = answer(&mut viewer, &ControlRequest::Payloads(PayloadOptions::default()));
    for summary in [
        item_summary(&mut viewer, 0),
        layers(&reply)[0].get("payloads").unwrap().items().unwrap()[0].get("summary").unwrap().clone(),
    ] {
        assert_eq!(summary.get("spatial_origin_yx"), Some(&PickleValue::tuple([-2_i64, 6])));
        assert_eq!(summary.get("source_spatial_shape_yx"), Some(&PickleValue::tuple([32_i64, 48])));
    }
}

/// polystore 0.2.19 adds the origin of a crop to the coordinates of what was found in it, before it sends them.
#[test]
fn shapes_of_a_crop_stay_where_they_were_sent_and_reach_over_their_frame() {
    let in_frame = |set_frame: &dyn Fn(&mut Shape), points: Vec<[f64; 2]>| {
        let mut shapes =
            batch(vec![Sent { address: at("A01", 1), step: "Segment", payload: SentPayload::Polygons(vec![points]) }]);
        let ReceivedPayload::Shapes(sent) = &mut shapes.items[0].payload else { panic!() };
        sent[0].metadata.insert("spatial_origin_yx".into(), vec![40, 60].into());
        set_frame(&mut sent[0]);
        let mut viewer = Viewer::default();
        take(&mut viewer, shapes);
        viewer
    };
    let frame = |shape: &mut Shape| {
        shape.metadata.insert(FRAME.into(), vec![100, 120].into());
    };
    let square = vec![[40.5, 61.5], [40.5, 64.5], [43.5, 64.5], [43.5, 61.5]];
    let mut viewer = in_frame(&frame, square.clone());
    let (_, set) = viewer.visible_shapes().next().unwrap();
    assert_eq!(set.shapes[0].geometry.bounding_points(), square);
    let extent = viewer.layers[0].extent.unwrap();
    assert_eq!((extent.min_yx, extent.max_yx), ([-0.5, -0.5], [99.5, 119.5]));
    let count = |viewer: &mut Viewer, key| item_summary(viewer, 0).get(key).unwrap().as_u64().unwrap();
    assert_eq!(count(&mut viewer, "missing_source_spatial_shape_count"), 0);
    assert_eq!(count(&mut viewer, "shape_out_of_source_bounds_count"), 0);

    // Outlines run along the edges of pixels: half a pixel beyond the frame's outermost centres is inside (openhcs 0.8.6).
    let edges = |far: f64| vec![[-0.5, -0.5], [-0.5, 119.5], [far, 119.5]];
    let mut viewer = in_frame(&frame, edges(99.5));
    assert_eq!(count(&mut viewer, "shape_out_of_source_bounds_count"), 0);
    let mut viewer = in_frame(&frame, edges(99.6));
    assert_eq!(count(&mut viewer, "shape_out_of_source_bounds_count"), 1);

    let nonsense: [&dyn Fn(&mut Shape); 3] = [
        &|shape| drop(shape.metadata.insert(FRAME.into(), vec![0, 5].into())),
        &|shape| drop(shape.metadata.insert(FRAME.into(), vec![1e300, 5.0].into())),
        &|shape| drop(shape.metadata.insert(FRAME.into(), "x".into())),
    ];
    for no_frame in nonsense {
        let mut viewer = in_frame(no_frame, square.clone());
        assert_eq!(count(&mut viewer, "missing_source_spatial_shape_count"), 1);
        assert_eq!(viewer.layers[0].extent.unwrap().max_yx, [43.5, 64.5]);
    }
}

//! Requests of real clients, byte for byte, and what the viewer answers: compared with the real viewer's replies.
//!
//! Captured from openhcs 0.8.6; see `tests/captures`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod common;

use std::path::Path;

use common::{Sent, SentPayload, at, batch, batch_as, flat, go, take};
use wellscope::viewer::Viewer;
use wellscope_protocol::batch::ProducerIdentity;
use wellscope_protocol::control::*;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode};

fn frame(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/G3_openhcs-0.8.6/control");
    std::fs::read(folder.join(format!("{name}.pickle"))).unwrap()
}

fn request(name: &str) -> ControlRequest {
    ControlRequest::decode(&frame(&format!("{name}.request"))).unwrap()
}

fn captured(name: &str) -> PickleValue {
    decode(&frame(&format!("{name}.reply")), &PickleLimits::CONTROL_REPLY).unwrap()
}

fn answer(viewer: &mut Viewer, request: &ControlRequest) -> PickleValue {
    decode(&viewer.answer(request).encode(PongSpelling::G3), &PickleLimits::CONTROL_REPLY).unwrap()
}

/// Same keys and values, whatever the order of keys; identities are a dict subclass there and a dict here.
fn assert_same(ours: &PickleValue, theirs: &PickleValue, at: &str) {
    match (ours, theirs) {
        (PickleValue::Dict(_), PickleValue::Dict(_) | PickleValue::Object(_)) => {
            let sorted = |value: &PickleValue| {
                let mut keys: Vec<_> = value.fields().iter().map(|(key, _)| (*key).to_owned()).collect();
                keys.sort();
                keys
            };
            assert_eq!(sorted(ours), sorted(theirs), "keys at {at}");
            for (key, ours) in ours.fields() {
                assert_same(ours, theirs.get(key).unwrap(), &format!("{at}.{key}"));
            }
        }
        (PickleValue::Tuple(ours), PickleValue::Tuple(theirs))
        | (PickleValue::List(ours), PickleValue::List(theirs)) => {
            assert_eq!(ours.len(), theirs.len(), "length at {at}");
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                assert_same(ours, theirs, &format!("{at}[{index}]"));
            }
        }
        _ => assert_eq!(ours, theirs, "at {at}"),
    }
}

fn layers(reply: &PickleValue) -> &[PickleValue] {
    reply.get("layers").unwrap().items().unwrap()
}

fn records(reply: &PickleValue) -> &[PickleValue] {
    layers(reply)[0].get("payloads").unwrap().items().unwrap()
}

/// A viewer with what the real one held when it was captured: four images of one step, the pixels from its own reply.
fn viewer_as_captured() -> Viewer {
    let mut viewer = Viewer::new("OpenHCS Napari Visualization", false);
    let reply = captured("payloads");
    let sent = records(&reply).iter().map(|record| {
        let rows = record.get("array_values").unwrap().items().unwrap();
        let values = rows.iter().flat_map(|row| row.items().unwrap()).map(|value| value.as_u64().unwrap() as u16);
        let components = record.get("components").unwrap();
        let well = if components.get("well").unwrap().as_str() == Some("A01") { "A01" } else { "B02" };
        Sent {
            address: at(well, components.get("channel").unwrap().as_i64().unwrap()),
            step: "Gaussian Blur",
            payload: SentPayload::Pixels(values.collect(), [16, 24]),
        }
    });
    let paths = records(&reply).iter().map(|record| record.get("path").unwrap().as_str().unwrap().to_owned());
    let scoped = |identity: ProducerIdentity| ProducerIdentity { step_scope_id: Some("scope-1".into()), ..identity };
    take(&mut viewer, batch_as(sent.collect(), scoped, &paths.collect::<Vec<_>>()));
    viewer.apply(wellscope::viewer::command::ViewCommand::LookAt([7.5, 11.5], 18.228125));
    viewer.names.entry("channel".into()).or_default().insert("1".into(), "DAPI".into());
    viewer.names.entry("well".into()).or_default().insert("A01".into(), "A01".into());
    viewer
}

fn shapes(well: &'static str, count: usize) -> Sent {
    let polygon = |number: usize| vec![[1.0, number as f64], [1.0, 6.0], [6.0, 6.0]];
    Sent { address: at(well, 1), step: "Segment", payload: SentPayload::Polygons((0..count).map(polygon).collect()) }
}

#[test]
fn payloads_equal_those_of_the_real_viewer() {
    let mut viewer = viewer_as_captured();
    let ours = answer(&mut viewer, &request("payloads"));
    assert_same(&ours, &captured("payloads"), "payloads");
    // The same when nothing was measured yet.
    for layer in viewer.layers.values_mut() {
        let coordinates: Vec<_> = layer.entries().map(|(coordinate, _)| coordinate.clone()).collect();
        for coordinate in coordinates {
            if let Some(wellscope::viewer::layer::Entry::Plane(plane)) = layer.get_mut(&coordinate) {
                plane.statistics = None;
            }
        }
    }
    assert_same(&answer(&mut viewer, &request("payloads")), &captured("payloads"), "unmeasured");
}

#[test]
fn navigation_intensity_viewport_and_isolation_equal_those_of_the_real_viewer() {
    let mut viewer = viewer_as_captured();
    viewer.apply(wellscope::viewer::command::ViewCommand::SetContrast(
        viewer.layers.values().next().unwrap().id,
        [2.0, 4095.0],
    ));
    // The channel that the captured navigation goes to.
    go(&mut viewer, "channel", 2);
    viewer.apply(wellscope::viewer::command::ViewCommand::SetContrast(
        viewer.layers.values().next().unwrap().id,
        [2.0, 4095.0],
    ));
    let count_fields = ["component_group_count", "component_item_count"];
    for name in ["navigate", "image_intensity"] {
        let (ours, theirs) = (answer(&mut viewer, &request(name)), captured(name));
        for (key, theirs) in theirs.fields() {
            // Its other routes came with other messages.
            if !count_fields.contains(&key) {
                assert_same(ours.get(key).unwrap(), theirs, &format!("{name}.{key}"));
            }
        }
    }
    assert_same(&answer(&mut viewer, &request("viewport")), &captured("viewport"), "viewport");
    assert_eq!((viewer.camera.center_yx, viewer.camera.zoom), ([8.0, 12.0], 2.0));

    // Three more routes, to be hidden, as there.
    for step in ["a", "b", "c"] {
        take(&mut viewer, batch(vec![Sent { step, ..flat("A01", 1, 1) }]));
    }
    let (ours, theirs) = (answer(&mut viewer, &request("isolate_layers")), captured("isolate_layers"));
    for key in ["status", "type", "message", "applied", "changed_route_count", "missing_route_keys", "layer_count"] {
        assert_same(ours.get(key).unwrap(), theirs.get(key).unwrap(), key);
    }
    let visible = |reply: &PickleValue| -> Vec<_> {
        let fact = |layer: &PickleValue, key| layer.get(key).unwrap().as_bool().unwrap();
        layers(reply).iter().map(|layer| (fact(layer, "visible"), fact(layer, "selected"))).collect()
    };
    assert_eq!(visible(&ours), visible(&theirs));
    let (ours, theirs) = (answer(&mut viewer, &request("isolate_layers_missing")), captured("isolate_layers_missing"));
    for key in ["status", "type", "message", "applied", "changed_route_count", "missing_route_keys"] {
        assert_same(ours.get(key).unwrap(), theirs.get(key).unwrap(), key);
    }
    assert_eq!(visible(&ours), visible(&theirs), "nothing is applied when a route is missing");
}

#[test]
fn payloads_are_selected_by_position_or_by_name_and_sliced() {
    let mut viewer = viewer_as_captured();
    let mut ask = |axis_indices, array_slices, max_array_elements| {
        let options = PayloadOptions {
            axis_indices,
            array_slices,
            max_array_elements,
            include_array_values: true,
            ..Default::default()
        };
        answer(&mut viewer, &ControlRequest::Payloads(options))
    };
    let real = captured("payloads");
    let by_position = ask(Some(AxisIndices::Positions(vec![1, 0])), None, 4096);
    assert_eq!(records(&by_position).len(), 1);
    assert_same(&records(&by_position)[0], &records(&real)[1], "channel 2 of A01");
    let by_name = ask(Some(AxisIndices::Named(vec![("well".into(), 1)])), None, 4096);
    assert_eq!(records(&by_name).len(), 2, "the channel is free");
    assert!(records(&ask(Some(AxisIndices::Named(vec![("depth".into(), 0)])), None, 4096)).is_empty());

    let sliced = ask(Some(AxisIndices::Positions(vec![0, 0])), Some(vec![(1, 3), (22, 99)]), 4);
    let values = records(&sliced)[0].get("array_values").unwrap();
    let row = |values: [i64; 2]| PickleValue::tuple(values);
    assert_eq!(values, &PickleValue::Tuple(vec![row([3113, 2204]), row([1690, 1651])]));
    let summary = records(&sliced)[0].get("array_value_summary").unwrap();
    assert_eq!(summary.get("min").unwrap().as_i64(), Some(1651));
    assert_eq!(summary.get("max").unwrap().as_i64(), Some(3113));

    let too_large = ask(None, None, 383);
    let summary = records(&too_large)[0].get("array_value_summary").unwrap();
    assert_eq!(summary.get("omitted_reason").unwrap().as_str(), Some("max_array_elements_exceeded"));
    assert_eq!(summary.get("max").unwrap().as_i64(), Some(4088), "measured all the same");
    let too_deep = ask(None, Some(vec![(0, 1); 3]), 4096);
    let summary = records(&too_deep)[0].get("array_value_summary").unwrap();
    assert_eq!(summary.get("omitted_reason").unwrap().as_str(), Some("slice_rank_exceeds_array_rank"));
}

#[test]
fn planes_of_one_array_are_records_of_their_own() {
    let mut viewer = Viewer::default();
    let stack = Sent {
        address: vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())],
        step: "Blur",
        payload: SentPayload::ZStack(vec![10, 20, 30], [2, 3]),
    };
    take(&mut viewer, batch(vec![stack]));
    let reply = answer(&mut viewer, &ControlRequest::Payloads(PayloadOptions::default()));
    let records = records(&reply);
    assert_eq!(records.len(), 3);
    let last = &records[2];
    assert_eq!(last.get("components").unwrap().get("z_index").unwrap().as_i64(), Some(3));
    assert_eq!(last.get("axis_indices"), Some(&PickleValue::tuple([2_u64])));
    assert_eq!(last.get("aggregate_axis_indices"), Some(&PickleValue::tuple([2_u64])));
    assert_eq!(last.get("summary").unwrap().get("shape"), Some(&PickleValue::tuple([2_u64, 3])));
    assert_eq!(last.get("summary").unwrap().get("min").unwrap().as_i64(), Some(30));
}

#[test]
fn the_state_sums_up_all_planes_of_an_item() {
    let mut viewer = Viewer::default();
    let stack = |values| Sent {
        address: vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())],
        step: "Blur",
        payload: SentPayload::ZStack(values, [2, 3]),
    };
    take(&mut viewer, batch(vec![stack(vec![10, 0, 30])]));
    let polygons = vec![(vec![[0.0, 0.0], [0.0, 4.0], [4.0, 4.0]], 0), (vec![[9.0, 9.0], [9.0, 12.0], [12.0, 9.0]], 2)];
    take(
        &mut viewer,
        batch(vec![Sent {
            address: vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())],
            step: "Cells",
            payload: SentPayload::PolygonsOfPlanes(polygons, vec![1, 2, 3]),
        }]),
    );
    let options = StateOptions { include_payload_summaries: true, ..Default::default() };
    let reply = answer(&mut viewer, &ControlRequest::State(options));
    let summaries = layers(&reply)[0].get("payload_summaries").unwrap().items().unwrap().to_vec();
    assert_eq!(summaries.len(), 1, "one item of three planes");
    let number = |summary: &PickleValue, key| summary.get(key).unwrap().as_i64().unwrap();
    assert_eq!(summaries[0].get("shape"), Some(&PickleValue::tuple([3_u64, 2, 3])));
    assert_eq!((number(&summaries[0], "min"), number(&summaries[0], "max")), (0, 30));
    assert_eq!(number(&summaries[0], "nonzero_count"), 12, "of 18; one plane is 0");
    let shapes = layers(&reply)[1].get("payload_summaries").unwrap().items().unwrap().to_vec();
    assert_eq!(shapes.len(), 1);
    assert_eq!(number(&shapes[0], "item_count"), 2, "over all planes");
}

#[test]
fn shapes_are_listed_up_to_the_limits() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![shapes("A01", 3), shapes("B02", 3)]));
    let mut ask = |options: PayloadOptions| {
        let reply = answer(&mut viewer, &ControlRequest::Payloads(options));
        let listed = |record: &PickleValue| record.get("shape_payloads").unwrap().items().unwrap().to_vec();
        records(&reply).iter().map(listed).collect::<Vec<_>>()
    };
    let counts = |listed: &[Vec<PickleValue>]| listed.iter().map(Vec::len).collect::<Vec<_>>();
    let all = ask(PayloadOptions::default());
    assert_eq!(counts(&all), [3, 3]);
    let row = |row: [f64; 2]| PickleValue::tuple(row);
    assert_eq!(all[0][0].get("type").unwrap().as_str(), Some("polygon"));
    assert_eq!(
        all[0][0].get("coordinates"),
        Some(&PickleValue::tuple([row([1.0, 0.0]), row([1.0, 6.0]), row([6.0, 6.0])]))
    );
    assert_eq!(
        counts(&ask(PayloadOptions { max_shape_payloads: 2, max_total_shape_payloads: Some(3), ..Default::default() })),
        [2, 1]
    );
    let brief = ask(PayloadOptions { shape_detail: ShapeDetail::Summary, ..Default::default() });
    assert!(brief[0][0].get("coordinates").is_none() && brief[0][0].get("metadata").is_some());
    assert_eq!(counts(&ask(PayloadOptions { include_shape_payloads: false, ..Default::default() })), [0, 0]);
}

#[test]
fn an_intensity_window_spans_the_matching_planes_and_their_channels() {
    let mut viewer = viewer_as_captured();
    let ours = answer(&mut viewer, &request("apply_intensity_window"));
    assert_eq!(ours.get("status").unwrap().as_str(), Some("success"), "the real viewer fails here: {ours}");
    assert_eq!(ours.get("type").unwrap().as_str(), Some("intensity_window_ack"));
    let count = |key| ours.get(key).unwrap().as_u64();
    assert_eq!(count("matched_payload_count"), Some(4));
    assert_eq!((count("contributing_payload_count"), count("contributing_pixel_count")), (Some(4), Some(4 * 384)));
    // Against all pixels sorted.
    let mut pixels: Vec<f64> = Vec::new();
    for record in records(&captured("payloads")) {
        let rows = record.get("array_values").unwrap().items().unwrap();
        pixels.extend(rows.iter().flat_map(|row| row.items().unwrap()).map(|value| value.as_f64().unwrap()));
    }
    pixels.sort_by(f64::total_cmp);
    let percentile = |percent: f64| {
        let position = percent / 100.0 * (pixels.len() - 1) as f64;
        let low = position.floor() as usize;
        pixels[low] + (pixels[low + 1] - pixels[low]) * position.fract()
    };
    let limits = [percentile(1.0), percentile(99.0)];
    let resolved: Vec<f64> =
        ours.get("resolved_limits").unwrap().items().unwrap().iter().filter_map(PickleValue::as_f64).collect();
    assert!(resolved.iter().zip(limits).all(|(ours, sorted)| (ours - sorted).abs() < 1e-9), "{resolved:?} {limits:?}");
    for channel in [1, 2] {
        go(&mut viewer, "channel", channel);
        let drawn = viewer.resolve(&mut Default::default()).draws[0].contrast_limits;
        assert_eq!(drawn, limits.map(|limit| limit as f32), "channel {channel}");
    }
}

#[test]
fn an_intensity_window_of_one_channel_leaves_the_others_and_bad_ones_are_refused() {
    let mut viewer = viewer_as_captured();
    let route_key = viewer.layers.keys().next().unwrap().clone();
    take(&mut viewer, batch(vec![shapes("A01", 1), flat("A01", 1, 7)]));
    let limits = |viewer: &mut Viewer, channel: i64| {
        go(viewer, "channel", channel);
        go(viewer, "well", "A01");
        viewer.intensity(&viewer.layers[0]).unwrap().contrast_limits
    };
    let before = limits(&mut viewer, 1);
    let window = |route_key: &str, axis_indices: &[(&str, u64)], [low_percentile, high_percentile]: [f64; 2]| {
        ControlRequest::ApplyIntensityWindow(IntensityWindowOptions {
            route_key: route_key.to_owned(),
            axis_indices: axis_indices.iter().map(|(axis, index)| ((*axis).to_owned(), *index)).collect(),
            low_percentile,
            high_percentile,
        })
    };
    let reply = answer(&mut viewer, &window(&route_key, &[("channel", 1)], [0.0, 100.0]));
    assert_eq!(reply.get("matched_payload_count").unwrap().as_u64(), Some(2));
    assert_eq!(limits(&mut viewer, 2), [11.0, 4093.0], "from the least to the greatest of both wells");
    assert_eq!(limits(&mut viewer, 1), before);

    let other_keys: Vec<String> = viewer.layers.keys().skip(1).cloned().collect();
    let (shapes, constant) = (&other_keys[0], &other_keys[1]);
    for (request, needed) in [
        (window("nope", &[], [1.0, 99.0]), "No Napari layer is registered for route_key 'nope'."),
        (window(shapes, &[], [1.0, 99.0]), "not an image route"),
        (window(constant, &[], [1.0, 99.0]), "strictly increasing, got (7.0, 7.0)"),
        (window(&route_key, &[("depth", 0)], [1.0, 99.0]), "unknown axes [\"depth\"]"),
        (window(&route_key, &[("well", 9)], [1.0, 99.0]), "no payload records matching axis_indices {'well': 9}"),
        (window(&route_key, &[], [99.0, 1.0]), "low_percentile < high_percentile"),
        (window(&route_key, &[], [f64::NAN, 99.0]), "[0, 100]"),
        (window(&route_key, &[], [1.0, 101.0]), "[0, 100]"),
    ] {
        let reply = answer(&mut viewer, &request);
        let message = reply.get("message").unwrap().as_str().unwrap();
        assert!(message.contains(needed), "{message}");
        assert_eq!(reply.get("type").unwrap().as_str(), Some("intensity_window_ack"));
    }
    assert_eq!(limits(&mut viewer, 1), before, "a refused request changes nothing");
}

#[test]
fn a_data_index_leads_to_the_slice_of_its_element() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2), shapes("A01", 2), shapes("B02", 3)]));
    let keys: Vec<String> = viewer.layers.keys().cloned().collect();
    let navigate = |place: usize, data_index, axis_indices: &[(&str, u64)], shown: Option<bool>| {
        ControlRequest::Navigate(NavigateOptions {
            route_key: keys[place].clone(),
            axis_indices: axis_indices.iter().map(|(axis, index)| ((*axis).to_owned(), *index)).collect(),
            visible: shown,
            selected: shown,
            data_index: Some(data_index),
        })
    };
    let reply = answer(&mut viewer, &navigate(1, 3, &[], Some(true)));
    assert_eq!(reply.get("type").unwrap().as_str(), Some("navigation_ack"), "{reply}");
    let layer = &layers(&reply)[0];
    assert_eq!(layer.get("selected_data_indices"), Some(&PickleValue::tuple([3_u64])));
    assert_eq!(layer.get("selected").unwrap().as_bool(), Some(true));
    assert_eq!(layer.get("payload_summaries"), Some(&PickleValue::Tuple(vec![])), "as the real viewer's");
    let (layer, set) = viewer.visible_shapes().next().unwrap();
    assert_eq!(set.shapes.len(), 3, "it lies in B02");
    assert_eq!(layer.selected_in(set), Some(1), "the second of B02, after two of A01");

    for (request, needed) in [
        (navigate(1, 5, &[], Some(true)), "Viewer data_index 5 is outside 5 populated feature row(s)."),
        (navigate(0, 0, &[], Some(true)), "does not support native feature-bearing data selection"),
        (navigate(1, 4, &[("well", 0)], Some(true)), "conflict with explicit axis_indices: {'well': (1, 0)}"),
    ] {
        let reply = answer(&mut viewer, &request);
        assert!(reply.get("message").unwrap().as_str().unwrap().contains(needed), "{reply}");
    }
    viewer.apply(wellscope::viewer::command::ViewCommand::SetVisible(viewer.layers[1].id, false));
    let hidden = answer(&mut viewer, &navigate(1, 0, &[], None));
    assert!(hidden.get("message").unwrap().as_str().unwrap().contains("to be visible and selected"), "{hidden}");
    // New shapes in place of the old ones: the count may now mean another.
    take(&mut viewer, batch(vec![shapes("A01", 1)]));
    assert_eq!(viewer.layers[1].selected_element, None);
}

//! What users rely on: nothing received is hidden, nothing set is lost, what is shown is what was sent.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of a test that unwraps says where it failed")]

mod common;

use common::{Sent, SentPayload, at, batch, batch_as, batch_with, config, drawn, flat, go, take};
use wellscope::viewer::Viewer;
use wellscope::viewer::command::ViewCommand;
use wellscope_protocol::batch::{ComponentDomain, ComponentNames, ProducerIdentity};
use wellscope_protocol::control::{ControlReply, ControlRequest, NavigateOptions, StateOptions};

fn layer_id(viewer: &Viewer, place: usize) -> wellscope::viewer::layer::LayerId {
    viewer.layers.get_index(place).unwrap().1.id
}

fn names(pairs: &[(&str, &str, &str)]) -> ComponentNames {
    let mut names = ComponentNames::new();
    for (component, value, name) in pairs {
        names.entry((*component).to_owned()).or_default().insert((*value).to_owned(), (*name).to_owned());
    }
    names
}

#[test]
fn the_first_image_is_shown_at_once_and_sliders_browse_the_rest() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("B02", 1, 7), flat("B02", 2, 8), flat("A01", 1, 9)]));
    assert_eq!(drawn(&viewer), [7], "the first to arrive, not the first in order");
    let sliders: Vec<_> = viewer.axes.sliders().map(|(_, axis)| axis.component.clone()).collect();
    assert_eq!(sliders, ["channel", "well"], "only what has more than one value");
    go(&mut viewer, "channel", 2);
    assert_eq!(drawn(&viewer), [8]);
    go(&mut viewer, "channel", 1);
    go(&mut viewer, "well", "A01");
    assert_eq!(drawn(&viewer), [9]);
}

#[test]
fn a_hole_is_said_and_hides_nothing() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("A01", 2, 2), flat("B02", 1, 3)]));
    go(&mut viewer, "well", "B02");
    go(&mut viewer, "channel", 2);
    assert_eq!(drawn(&viewer), Vec::<u16>::new());
    assert_eq!(viewer.holes(), ["1. Blur"]);
    assert_eq!(viewer.overlay(), "Site 1 | Z 1 | T 1 | Ch 2 | Well B02", "the place is named all the same");
    go(&mut viewer, "channel", 1);
    assert_eq!(drawn(&viewer), [3]);
    assert!(viewer.holes().is_empty());
    take(&mut viewer, batch(vec![flat("B02", 2, 4)]));
    go(&mut viewer, "channel", 2);
    assert_eq!(drawn(&viewer), [4], "the missing image fills its hole when it comes");
}

#[test]
fn settings_survive_updates() {
    let mut viewer = Viewer::default();
    let ramp = |well, low: u16| Sent {
        address: at(well, 1),
        step: "Blur",
        payload: SentPayload::Pixels((0..24).map(|step| low + step * 10).collect(), [4, 6]),
    };
    take(&mut viewer, batch(vec![ramp("B02", 100), ramp("C03", 900)]));
    let layer = layer_id(&viewer, 0);
    viewer.camera.resize([300.0, 200.0]);
    viewer.apply(ViewCommand::SetContrast(layer, [123.0, 456.0]));
    viewer.apply(ViewCommand::SetGamma(layer, 0.6));
    viewer.apply(ViewCommand::SetColormap(layer, "magma".into()));
    viewer.apply(ViewCommand::LookAt([1.0, 2.0], 3.0));
    go(&mut viewer, "well", "C03");
    let settings = |viewer: &Viewer| {
        let draw = &viewer.resolve(&mut Default::default()).draws[0];
        (draw.contrast_limits, draw.gamma, draw.colormap, viewer.camera, drawn(viewer))
    };
    let before = settings(&viewer);
    assert_eq!(before.0, [123.0, 456.0]);

    // A well that sorts first, a brighter image, a replacement of another plane, and a whole new layer.
    take(&mut viewer, batch(vec![ramp("A01", 5000), ramp("B02", 60_000)]));
    take(&mut viewer, batch(vec![Sent { step: "Threshold", ..ramp("A01", 1) }]));
    assert_eq!(settings(&viewer), before, "the slider stands on the well, not on its index");
    let replaced = ramp("C03", 40_000);
    take(&mut viewer, batch(vec![replaced]));
    let after = settings(&viewer);
    assert_eq!((after.0, after.1, after.2, after.3), (before.0, before.1, before.2, before.3));
    assert_eq!(after.4, [40_000], "the replaced plane is shown");
    assert_eq!(viewer.counters.replaced, 2);

    viewer.clear_state();
    take(&mut viewer, batch(vec![ramp("C03", 7)]));
    let next_run = settings(&viewer);
    assert_eq!((next_run.0, next_run.1, next_run.2, next_run.3), (before.0, before.1, before.2, before.3));
}

#[test]
fn contrast_comes_from_the_first_image_with_content_and_from_each_channel_itself() {
    let mut viewer = Viewer::default();
    let ramp = |channel, factor: u16| Sent {
        address: at("A01", channel),
        step: "Blur",
        payload: SentPayload::Pixels((0..2400).map(|step| step * factor).collect(), [40, 60]),
    };
    take(&mut viewer, batch(vec![flat("B02", 1, 0), ramp(1, 1), ramp(2, 20)]));
    let limits = |viewer: &Viewer| viewer.resolve(&mut Default::default()).draws[0].contrast_limits;
    let dim = limits(&viewer);
    assert!(dim[0] < 10.0 && (2380.0..2400.0).contains(&dim[1]), "a blank image sets no limits: {dim:?}");
    go(&mut viewer, "well", "A01");
    go(&mut viewer, "channel", 2);
    let bright = limits(&viewer);
    assert!((47_600.0..48_000.0).contains(&bright[1]), "{bright:?}");
    go(&mut viewer, "channel", 1);
    assert_eq!(limits(&viewer), dim);
}

#[test]
fn overlay_and_labels_use_names_where_they_are_known() {
    let mut viewer = Viewer::default();
    let known = names(&[("channel", "1", "DAPI"), ("well", "A01", "A01")]);
    let sent = vec![flat("A01", 1, 1), flat("A01", 2, 2), flat("B02", 1, 3), flat("B02", 2, 4)];
    take(&mut viewer, batch_with(config(&[]), known, ComponentDomain::new(), sent));
    assert_eq!(viewer.overlay(), "Site 1 | Z 1 | T 1 | Ch1: DAPI | A01");
    go(&mut viewer, "channel", 2);
    go(&mut viewer, "well", "B02");
    assert_eq!(viewer.overlay(), "Site 1 | Z 1 | T 1 | Ch 2 | Well B02");
}

#[test]
fn declared_values_make_sliders_before_their_images_come() {
    let mut viewer = Viewer::default();
    let domain: ComponentDomain =
        [("well".to_owned(), vec!["A01".into(), "B02".into(), "C03".into()])].into_iter().collect();
    take(&mut viewer, batch_with(config(&[]), ComponentNames::new(), domain, vec![flat("B02", 1, 5)]));
    assert_eq!(viewer.axes.find("well").unwrap().1.len(), 3);
    assert_eq!(drawn(&viewer), [5]);
    go(&mut viewer, "well", "C03");
    assert_eq!(viewer.holes(), ["1. Blur"]);
    assert_eq!(viewer.overlay(), "Site 1 | Ch 1 | Z 1 | T 1 | Well C03", "a place that will be filled");
}

#[test]
fn outside_of_a_layer_is_no_hole_and_the_overlay_names_what_is_shown() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2)]));
    take(&mut viewer, batch(vec![Sent { step: "Other", ..flat("C03", 1, 3) }]));
    go(&mut viewer, "well", "C03");
    assert_eq!(drawn(&viewer), [3]);
    assert!(viewer.holes().is_empty(), "the first step never said that it would send C03");
    assert_eq!(viewer.overlay_of(viewer.selected_layer().unwrap()), "");
    assert_eq!(viewer.overlay(), "Site 1 | Ch 1 | Z 1 | T 1 | Well C03", "the label of the layer that is there");
}

#[test]
fn a_z_stack_in_one_array_is_a_slider_over_its_planes_without_a_copy() {
    let mut viewer = Viewer::default();
    let stack = Sent {
        address: vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())],
        step: "Blur",
        payload: SentPayload::ZStack(vec![10, 20, 30], [4, 6]),
    };
    take(&mut viewer, batch(vec![stack]));
    assert_eq!(viewer.layers.get_index(0).unwrap().1.title, "1. Blur image stack");
    for (z, value) in [(1, 10), (2, 20), (3, 30)] {
        go(&mut viewer, "z_index", z);
        assert_eq!(drawn(&viewer), [value]);
    }
    let state = viewer.state(&StateOptions::default());
    assert_eq!(state.component_item_count, 1, "one item of three planes");
    assert_eq!(viewer.layers.get_index(0).unwrap().1.host_bytes, 3 * 48);
}

#[test]
fn layer_mode_makes_a_layer_per_value() {
    let mut viewer = Viewer::default();
    let sent = vec![flat("A01", 1, 1), flat("A01", 2, 2)];
    take(&mut viewer, batch_with(config(&["channel"]), ComponentNames::new(), ComponentDomain::new(), sent));
    let titles: Vec<_> = viewer.layers.values().map(|layer| layer.title.clone()).collect();
    assert_eq!(titles, ["1. Blur channel 1", "1. Blur channel 2"]);
    assert_eq!(drawn(&viewer), [1, 2], "both are drawn");
    viewer.apply(ViewCommand::SetVisible(layer_id(&viewer, 0), false));
    assert_eq!(drawn(&viewer), [2]);
}

#[test]
fn images_of_different_sizes_share_a_layer() {
    let mut viewer = Viewer::default();
    let sized =
        |well, value, shape| Sent { address: at(well, 1), step: "Blur", payload: SentPayload::Flat(value, shape) };
    take(&mut viewer, batch(vec![sized("A01", 1, [4, 6]), sized("B02", 2, [10, 3])]));
    let extent = viewer.extent().unwrap();
    assert_eq!((extent.max_yx, extent.min_yx), ([9.5, 5.5], [-0.5, -0.5]), "the largest of each side");
    go(&mut viewer, "well", "B02");
    let draw = &viewer.resolve(&mut Default::default()).draws[0];
    assert_eq!((draw.plane.height, draw.plane.width, draw.origin_yx), (10, 3, [0.0, 0.0]));
}

#[test]
fn clear_state_keeps_the_picture_until_the_route_sends_again() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2)]));
    go(&mut viewer, "well", "B02");
    viewer.clear_state();
    assert_eq!(drawn(&viewer), [2], "still visible");
    let state = viewer.state(&StateOptions::default());
    assert_eq!((state.component_group_count, state.component_item_count), (0, 0), "but no longer accumulated");
    let layer = &state.layers[0];
    let counts = (layer.item_count, layer.component_value_count, layer.payload_summary_count);
    assert_eq!(counts, (0, 0, 0), "its items are forgotten");
    assert!(layer.visible && !layer.data_shape.is_empty(), "its picture is told of");
    assert_eq!(layer.producer_identities.len(), 1, "and whose it is");
    take(&mut viewer, batch(vec![flat("A01", 1, 3)]));
    assert_eq!(drawn(&viewer), [3], "the old run's B02 is gone");
    assert_eq!(viewer.axes.sliders().count(), 0);
    take(&mut viewer, batch(vec![flat("B02", 1, 4)]));
    assert_eq!(drawn(&viewer), [4], "the slider returns to the well that the user chose");
}

#[test]
fn the_next_submission_of_a_pipeline_takes_over_its_layers_with_their_settings() {
    let mut viewer = Viewer::default();
    let submitted = |plate: &str, submission: &str, values: &[u16]| {
        let sent: Vec<Sent> = values.iter().map(|value| flat("A01", i64::from(*value), *value)).collect();
        let paths = vec![String::new(); sent.len()];
        let scope = format!("{plate}::pipeline::submission_{submission}::step_0");
        batch_as(sent, |identity| ProducerIdentity { step_scope_id: Some(scope.clone()), ..identity }, &paths)
    };
    take(&mut viewer, submitted("/plate", "7f31", &[1, 2]));
    take(&mut viewer, batch(vec![Sent { step: "Other", ..flat("A01", 1, 9) }]));
    let layer = layer_id(&viewer, 0);
    viewer.apply(ViewCommand::SetContrast(layer, [12.0, 34.0]));
    go(&mut viewer, "channel", 1);
    // Without `clear_state` nobody said that a new run begins: both are kept.
    take(&mut viewer, submitted("/plate", "7f32", &[1]));
    assert_eq!(viewer.layers.len(), 3);

    viewer.clear_state();
    take(&mut viewer, submitted("/plate 2", "7f33", &[1]));
    assert_eq!(viewer.layers.len(), 4, "another plate has layers of its own");
    viewer.clear_state();
    take(&mut viewer, submitted("/plate", "7f34", &[1]));
    let keys: Vec<&str> = viewer.layers.keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 4);
    assert!(keys[2].contains("submission_7f34"), "the one shown last: {keys:?}");
    assert_eq!(viewer.layers[2].route_key, keys[2]);

    viewer.apply(ViewCommand::Remove(layer_id(&viewer, 2)));
    take(&mut viewer, submitted("/plate", "7f35", &[1]));
    let (key, first) = viewer.layers.get_index(0).unwrap();
    assert!(key.contains("submission_7f35"), "{key}");
    assert_eq!((first.id, first.title.as_str()), (layer, "1. Blur"));
    assert_eq!(first.identities.len(), 1, "those of the run before are gone");
    let draws = viewer.resolve(&mut Default::default()).draws;
    let draw = draws.iter().find(|draw| draw.layer == layer.0).unwrap();
    assert_eq!(draw.contrast_limits, [12.0, 34.0]);
}

#[test]
fn replace_layers_keeps_only_the_last_item_of_a_route() {
    let mut viewer = Viewer::new("", true);
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2)]));
    assert_eq!(drawn(&viewer), [2]);
    assert_eq!(viewer.layers.get_index(0).unwrap().1.len(), 1);
}

#[test]
fn a_removed_layer_comes_back_with_its_next_item() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1)]));
    viewer.apply(ViewCommand::Remove(layer_id(&viewer, 0)));
    assert!(viewer.layers.is_empty() && viewer.selected.is_none());
    assert_eq!(viewer.overlay(), "");
    take(&mut viewer, batch(vec![flat("A01", 1, 5)]));
    assert_eq!(drawn(&viewer), [5]);
    assert!(viewer.selected.is_some());
}

#[test]
fn shapes_follow_the_sliders() {
    let mut viewer = Viewer::default();
    let polygon = vec![[1.0, 1.0], [1.0, 6.0], [6.0, 6.0]];
    let shapes = Sent { address: at("B02", 1), step: "Segment", payload: SentPayload::Polygons(vec![polygon]) };
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2), shapes]));
    assert_eq!(viewer.visible_shapes().count(), 0, "the slider stands on A01");
    go(&mut viewer, "well", "B02");
    let (layer, set) = viewer.visible_shapes().next().unwrap();
    assert_eq!((layer.title.as_str(), set.shapes.len()), ("1. Segment ROIs", 1));
}

#[test]
fn shapes_of_a_stack_lie_on_their_planes() {
    let mut viewer = Viewer::default();
    let polygon = |y: f64| vec![[y, 1.0], [y, 6.0], [y + 4.0, 6.0]];
    let address = vec![("well", "A01".into()), ("channel", 1.into()), ("site", 1.into()), ("timepoint", 1.into())];
    let sent = |shapes| Sent {
        address: address.clone(),
        step: "Segment",
        payload: SentPayload::PolygonsOfPlanes(shapes, vec![1, 2, 3]),
    };
    take(&mut viewer, batch(vec![sent(vec![(polygon(0.0), 2), (polygon(10.0), 0), (polygon(20.0), 2)])]));
    let shown = |viewer: &mut Viewer, z: i64| {
        go(viewer, "z_index", z);
        viewer.visible_shapes().map(|(_, set)| set.shapes.len()).sum::<usize>()
    };
    assert_eq!([1, 2, 3].map(|z| shown(&mut viewer, z)), [1, 0, 2]);
    let state = viewer.state(&StateOptions::default());
    assert_eq!((state.component_item_count, state.layers[0].feature_row_count), (1, 3), "one item of three shapes");
    take(&mut viewer, batch(vec![sent(vec![(polygon(0.0), 1)])]));
    assert_eq!([1, 2, 3].map(|z| shown(&mut viewer, z)), [0, 1, 0], "the next item replaces all of it");
}

#[test]
fn navigate_counts_a_layers_own_values_and_refuses_what_is_not_there() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("B02", 1, 1), flat("A01", 1, 2), flat("C03", 1, 3)]));
    let key = viewer.layers.get_index(0).unwrap().0.clone();
    let navigate = |route_key: &str, axis_indices: &[(&str, u64)]| {
        ControlRequest::Navigate(NavigateOptions {
            route_key: route_key.to_owned(),
            axis_indices: axis_indices.iter().map(|(axis, index)| ((*axis).to_owned(), *index)).collect(),
            visible: None,
            selected: None,
            data_index: None,
        })
    };
    assert!(matches!(viewer.answer(&navigate(&key, &[("well", 2)])), ControlReply::NavigationAck(_)));
    assert_eq!(drawn(&viewer), [3], "A01, B02, C03");
    let mut message = |request: &ControlRequest| match viewer.answer(request) {
        ControlReply::Error { reply_type, message } => (reply_type, message),
        other => panic!("{other:?}"),
    };
    let missing = message(&navigate("nope", &[]));
    assert_eq!(missing, ("navigation_ack".into(), "No Napari layer is registered for route_key 'nope'.".into()));
    assert!(message(&navigate(&key, &[("well", 3)])).1.contains("outside the route-local extent 3"));
    assert!(message(&navigate(&key, &[("depth", 0)])).1.contains("no axis 'depth'"));
    assert_eq!(drawn(&viewer), [3], "a refused request changes nothing");
}

#[test]
fn late_statistics_of_a_replaced_plane_are_dropped() {
    let mut viewer = Viewer::default();
    let first = viewer.take_batch(batch(vec![flat("A01", 1, 1)]));
    let second = viewer.take_batch(batch(vec![flat("A01", 1, 9)]));
    let measure = |job: &wellscope::viewer::ingest::StatisticsJob| {
        wellscope::statistics::plane_statistics(job.plane.element, 1, &job.plane.pixels.read().unwrap())
    };
    viewer.take_statistics(&second.jobs[0], measure(&second.jobs[0]));
    viewer.take_statistics(&first.jobs[0], measure(&first.jobs[0]));
    let state = viewer.state(&StateOptions::default());
    let summary = format!("{:?}", state.layers[0].payload_summaries[0].content);
    assert!(summary.contains("Int(9)") && !summary.contains("Int(1)"), "{summary}");
}

fn display(viewer: &Viewer, channel: i64) -> &wellscope::viewer::display::ChannelDisplay {
    let (_, axis) = viewer.axes.find("channel").unwrap();
    viewer.layers[0].display.channel(axis.id_of(&channel.into())).unwrap()
}

fn range_of(viewer: &Viewer, channel: i64) -> Option<[f64; 2]> {
    display(viewer, channel).statistics.range().map(|range| range.to_f64())
}

#[test]
fn a_replaced_plane_leaves_the_statistics_of_its_channel_and_layer() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 500), flat("B02", 1, 20), flat("A01", 2, 7)]));
    assert_eq!(range_of(&viewer, 1), Some([20.0, 500.0]));
    let all = viewer.layers[0].display.totals();
    assert_eq!((all.plane_count, all.range.map(|range| range.to_f64())), (3, Some([7.0, 500.0])));
    assert_eq!(viewer.layers[0].display.statistics().totals(), all);

    // Sent again, and not measured yet: what is merged stays, so that panels do not jump. Then sent once more.
    let second = viewer.take_batch(batch(vec![flat("A01", 1, 90)]));
    assert_eq!(range_of(&viewer, 1), Some([20.0, 500.0]));
    take(&mut viewer, batch(vec![flat("A01", 1, 30)]));
    assert_eq!(range_of(&viewer, 1), Some([20.0, 30.0]));
    let late = &second.jobs[0];
    let statistics = wellscope::statistics::plane_statistics(late.plane.element, 1, &late.plane.pixels.read().unwrap());
    viewer.take_statistics(late, statistics);
    assert_eq!(range_of(&viewer, 1), Some([20.0, 30.0]), "late statistics add nothing");
    let counted = display(&viewer, 1).statistics.totals();
    assert_eq!((counted.plane_count, counted.pixel_count), (2, 48));
    assert_eq!(range_of(&viewer, 2), Some([7.0, 7.0]), "other channels are not touched");
}

#[test]
fn limits_that_a_user_chose_outlive_replaced_and_dropped_planes() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 500)]));
    let id = viewer.layers[0].id;
    viewer.apply(ViewCommand::SetContrast(id, [1.0, 2.0]));
    take(&mut viewer, batch(vec![flat("A01", 1, 90)]));
    viewer.clear_state();
    assert_eq!(range_of(&viewer, 1), Some([90.0, 90.0]), "what is still shown still counts");
    take(&mut viewer, batch(vec![flat("C03", 1, 4)]));
    assert_eq!(range_of(&viewer, 1), Some([4.0, 4.0]), "the run before is gone");
    assert_eq!(viewer.layers[0].display.totals().plane_count, 1);
    assert_eq!(display(&viewer, 1).contrast_limits, Some([1.0, 2.0]));
}

#[test]
fn state_tells_the_range_of_each_channel_and_of_the_layer() {
    let mut viewer = Viewer::default();
    take(&mut viewer, batch(vec![flat("A01", 2, 500), flat("A01", 1, 20), flat("B02", 1, 0)]));
    let told = format!("{:?}", viewer.statistics());
    let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text} in {told}"));
    for text in [
        "Str(\"planes\"), Int(3)",
        "Str(\"pixels\"), Int(72)",
        "Str(\"min\"), Int(0)), (Str(\"max\"), Int(500)), (Str(\"nonzero\"), Int(48)",
        "Str(\"min\"), Int(0)), (Str(\"max\"), Int(20)",
        "Str(\"min\"), Int(500)), (Str(\"max\"), Int(500)",
    ] {
        place(text);
    }
    assert!(place("Str(\"channel\"), Int(1)") < place("Str(\"channel\"), Int(2)"), "{told}");
}

#[test]
fn a_preview_shows_another_place_of_a_slider_as_its_channel_would() {
    let mut viewer = Viewer::default();
    let pixels = |values: Vec<u16>| SentPayload::Pixels(values, [2, 2]);
    let sent = |well, channel, values| Sent { address: at(well, channel), step: "Blur", payload: pixels(values) };
    take(
        &mut viewer,
        batch(vec![
            sent("A01", 1, vec![0, 100, 50, 25]),
            sent("B02", 1, vec![100, 50, 0, 0]),
            sent("A01", 2, vec![9, 9, 9, 7]),
        ]),
    );
    let id = layer_id(&viewer, 0);
    viewer.apply(ViewCommand::SetContrast(id, [0.0, 100.0]));
    viewer.apply(ViewCommand::SetColormap(id, "viridis".into()));
    let (well, axis) = viewer.axes.find("well").unwrap();
    let [a01, b02] = ["A01", "B02"].map(|name| axis.id_of(&name.into()).unwrap());
    let viridis = wellscope::colormap::by_name("viridis").unwrap().table;
    let preview = viewer.preview_at(well, b02).unwrap();
    assert_eq!(preview.colormap, "viridis");
    let expected = [255, 128, 0, 0].map(|entry: usize| viridis[entry]).concat();
    assert_eq!(preview.rgba(&viridis).unwrap(), expected);
    let (channel, channels) = viewer.axes.find("channel").unwrap();
    let other = viewer.preview_at(channel, channels.id_of(&2.into()).unwrap()).unwrap();
    assert_eq!((other.colormap, other.contrast_limits), ("gray", [7.0, 9.0]), "settings of the channel that it shows");
    assert_eq!(drawn(&viewer), [0], "nothing moved");

    go(&mut viewer, "channel", 2);
    assert!(viewer.preview_at(well, a01).is_some());
    assert!(viewer.preview_at(well, b02).is_none(), "not received");
    viewer.apply(ViewCommand::SetVisible(id, false));
    assert!(viewer.preview_at(well, a01).is_none(), "a hidden layer would show nothing");
}

#[test]
fn large_planes_get_a_thumbnail_with_their_statistics_and_small_ones_none() {
    let mut viewer = Viewer::default();
    let large = Sent { address: at("A01", 1), step: "Blur", payload: SentPayload::Flat(300, [200, 400]) };
    let ingested = viewer.take_batch(batch(vec![large, flat("B02", 1, 5)]));
    for job in &ingested.jobs {
        let plane = &job.plane;
        let bytes = plane.pixels.read().unwrap();
        let raster = wellscope::viewer::preview::raster_of(plane, &bytes);
        viewer.take_statistics(job, wellscope::statistics::measure(raster));
    }
    let planes: Vec<_> = viewer.layers[0].entries().filter_map(|(_, entry)| entry.as_plane()).collect();
    let picture = planes[0].small_picture().unwrap();
    let small = picture.raster();
    assert_eq!((small.width, small.height, small.bytes.len()), (100, 50, 100 * 50 * 2));
    assert!(small.bytes.as_chunks().0.iter().all(|value| u16::from_le_bytes(*value) == 300));
    assert!(planes[1].thumbnail.is_none());
    let own = planes[1].small_picture().unwrap();
    assert_eq!(own.raster().bytes, &*planes[1].source.pixels.read().unwrap());
}

/// Plays the renderer: everything that is shown is uploaded and drawn in this frame.
fn render(viewer: &mut Viewer, report: &wellscope::render::RenderReport) {
    viewer.give_up_unseen();
    for draw in viewer.resolve(&mut Default::default()).draws {
        draw.plane.note_uploaded(report);
        draw.plane.note_drawn(report);
    }
    report.update(|counts| counts.frames += 1);
    // What the next update begins with.
    viewer.frames_drawn = report.snapshot().frames;
    viewer.take_timed(&report.take_timed());
}

#[test]
fn latency_counts_planes_that_are_seen_as_they_arrive_once_each() {
    let mut viewer = Viewer::default();
    let report = wellscope::render::RenderReport::default();
    let counts = |viewer: &Viewer| {
        let latency = &viewer.layers[0].latency;
        [&latency.stacked, &latency.uploaded, &latency.drawn, &latency.frames].map(|stage| stage.percentiles().count)
    };
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2)]));
    assert_eq!(counts(&viewer), [2, 0, 0, 0]);
    render(&mut viewer, &report);
    render(&mut viewer, &report);
    assert_eq!(counts(&viewer), [2, 1, 1, 1], "B02 is not seen");
    go(&mut viewer, "well", "B02");
    render(&mut viewer, &report);
    assert_eq!(counts(&viewer), [2, 1, 1, 1], "and when it is, it waited for the user, not for the viewer");

    take(&mut viewer, batch(vec![flat("B02", 1, 3)]));
    render(&mut viewer, &report);
    assert_eq!(counts(&viewer), [3, 2, 2, 2], "a replaced plane is a new one");
    let frames = viewer.layers[0].latency.frames.percentiles();
    assert_eq!((frames.p50, frames.max), (1, 1), "drawn in the frame that took it in");
    let id = layer_id(&viewer, 0);
    viewer.apply(ViewCommand::SetVisible(id, false));
    take(&mut viewer, batch(vec![flat("B02", 1, 4)]));
    render(&mut viewer, &report);
    viewer.apply(ViewCommand::SetVisible(id, true));
    render(&mut viewer, &report);
    assert_eq!(counts(&viewer), [4, 2, 2, 2], "hidden when it came");
}

#[test]
fn a_plane_that_the_user_left_before_it_was_drawn_is_not_awaited() {
    let mut viewer = Viewer::default();
    let report = wellscope::render::RenderReport::default();
    take(&mut viewer, batch(vec![flat("A01", 1, 1), flat("B02", 1, 2)]));
    go(&mut viewer, "well", "B02");
    render(&mut viewer, &report);
    go(&mut viewer, "well", "A01");
    render(&mut viewer, &report);
    assert_eq!(viewer.layers[0].latency.drawn.percentiles().count, 0);
    let told = format!("{:?}", viewer.latency());
    assert!(told.contains("stacked") && told.contains("Str(\"count\"), Int(2)"), "{told}");
}

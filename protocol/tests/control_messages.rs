//! Control requests of real clients are understood, and our replies equal those of the real viewer.
//!
//! Captured from openhcs 0.8.6 (napari viewer server), zmqruntime 0.2.24 and 0.6.5; see `tests/captures`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use wellscope_protocol::control::*;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode, encode};

const ROUTE: &str = "origin_pipeline_kind_main_projection_main_step_0_scope_scope-1_name_Gaussian_Blur";

fn frame(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(format!("{name}.pickle"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn request(name: &str) -> Result<ControlRequest, ControlRequestError> {
    ControlRequest::decode(&frame(&format!("G3_openhcs-0.8.6/{name}.request")))
}

fn captured_reply(name: &str) -> PickleValue {
    decode(&frame(&format!("G3_openhcs-0.8.6/control/{name}.reply")), &PickleLimits::CONTROL_REPLY).unwrap()
}

/// Producer identities of the real viewer are a dict subclass; a plain dict serves.
fn with_plain_dicts(value: PickleValue) -> PickleValue {
    match value {
        PickleValue::Object(object) if object.name == "StreamProducerIdentityPayload" => {
            PickleValue::dict(object.fields.into_iter().map(|(key, value)| (key, with_plain_dicts(value))))
        }
        PickleValue::Tuple(items) => PickleValue::Tuple(items.into_iter().map(with_plain_dicts).collect()),
        PickleValue::List(items) => PickleValue::List(items.into_iter().map(with_plain_dicts).collect()),
        PickleValue::Dict(items) => {
            PickleValue::Dict(items.into_iter().map(|(key, value)| (key, with_plain_dicts(value))).collect())
        }
        other => other,
    }
}

/// Says at which key two values part, so that a failing test shows one line and not two state replies.
fn assert_same(ours: &PickleValue, theirs: &PickleValue, at: &str) {
    match (ours, theirs) {
        (PickleValue::Dict(ours), PickleValue::Dict(theirs)) => {
            let keys =
                |items: &[(PickleValue, PickleValue)]| items.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            assert_eq!(keys(ours), keys(theirs), "keys at {at}");
            for ((key, ours), (_, theirs)) in ours.iter().zip(theirs) {
                assert_same(ours, theirs, &format!("{at}.{key}"));
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

fn assert_equals_captured(ours: &ControlReply, name: &str) {
    let ours = decode(&ours.encode(PongSpelling::G3), &PickleLimits::CONTROL_REPLY).unwrap();
    assert_same(&ours, &with_plain_dicts(captured_reply(name)), name);
}

#[test]
fn requests_without_payload_are_understood() {
    assert_eq!(request("control/ping"), Ok(ControlRequest::Ping));
    assert_eq!(request("control/settle_empty"), Ok(ControlRequest::Settle));
    assert_eq!(request("control/clear_state"), Ok(ControlRequest::ClearState));
    let shutdown = |force| ControlRequest::Shutdown(ShutdownRequest { force, ..Default::default() });
    assert_eq!(request("control/shutdown"), Ok(shutdown(false)));
    assert_eq!(request("control/force_shutdown"), Ok(shutdown(true)));
    for folder in ["G3_zmqruntime-0.2.24_control", "G4_zmqruntime-0.6.5_control"] {
        assert_eq!(ControlRequest::decode(&frame(&format!("{folder}/ping.request"))), Ok(ControlRequest::Ping));
    }
    let Ok(ControlRequest::Shutdown(shutdown)) =
        ControlRequest::decode(&frame("G4_zmqruntime-0.6.5_control/shutdown.request"))
    else {
        panic!("no shutdown");
    };
    assert_eq!(shutdown.process_identity, Some(ProcessIdentity { pid: 3750, create_time: 1_795_359_562.03 }));
    assert_eq!(shutdown.observation_operation.as_deref(), Some("endpoint shutdown"));
}

#[test]
fn requests_with_classes_are_understood() {
    assert_eq!(request("control/state_full"), Ok(ControlRequest::State(StateOptions::default())));
    let Ok(ControlRequest::State(brief)) = request("control_agent_requests/state") else { panic!("no state") };
    assert!(!brief.include_component_values && !brief.include_payload_summaries);

    let selected = ControlRequest::Payloads(PayloadOptions {
        route_key: Some(ROUTE.to_owned()),
        include_array_values: true,
        ..Default::default()
    });
    assert_eq!(request("control/payloads"), Ok(selected));

    let Ok(ControlRequest::Navigate(navigate)) = request("control/navigate") else { panic!("no navigate") };
    assert_eq!(navigate.route_key, ROUTE);
    assert_eq!(navigate.axis_indices, [("well".to_owned(), 1), ("channel".to_owned(), 1)]);
    assert_eq!((navigate.visible, navigate.selected, navigate.data_index), (Some(true), Some(true), None));

    let isolate = IsolateLayersOptions { visible_route_keys: vec!["zzz".to_owned()], ..Default::default() };
    assert_eq!(request("control/isolate_layers_missing"), Ok(ControlRequest::IsolateLayers(isolate)));

    // The agent's key is an enum member, not text.
    let window = IntensityWindowOptions {
        route_key: "r".to_owned(),
        axis_indices: Vec::new(),
        low_percentile: 1.0,
        high_percentile: 99.0,
    };
    let window = ControlRequest::ApplyIntensityWindow(window);
    assert_eq!(request("control_agent_requests/apply_intensity_window"), Ok(window));

    let intensity = ImageIntensityOptions {
        route_key: ROUTE.to_owned(),
        presentation: NativeIntensity { contrast_limits: [10.0, 4000.0], gamma: 1.5 },
    };
    assert_eq!(request("control/image_intensity"), Ok(ControlRequest::ImageIntensity(intensity)));

    let viewport = Viewport { center: [0.0, 8.0, 12.0], zoom: 2.0 };
    assert_eq!(request("control/viewport"), Ok(ControlRequest::Viewport(viewport)));
}

#[test]
fn both_screenshot_classes_are_understood() {
    let screenshot = |output_dir_path: &str| {
        Ok(ControlRequest::Screenshot(ScreenshotRequest {
            output_dir_path: output_dir_path.to_owned(),
            capture_scope: CaptureScope::Widget,
            frame_condition: FrameCondition::Immediate,
            observation_timeout_s: 5.0,
        }))
    };
    assert_eq!(request("control/screenshot"), screenshot("/home/u/h/shots"));
    assert_eq!(request("control_agent_requests/screenshot"), screenshot("/var/shots"));
}

#[test]
fn every_captured_request_survives_our_own_plain_dicts() {
    let mut seen = 0;
    for folder in ["G3_openhcs-0.8.6/control", "G3_openhcs-0.8.6/control_agent_requests", "G4_zmqruntime-0.6.5_control"]
    {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(folder)).unwrap()
        {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if !name.ends_with(".request.pickle") {
                continue;
            }
            match ControlRequest::decode(&fs::read(&path).unwrap()) {
                Ok(ControlRequest::Unknown { .. }) => {
                    assert!(["no_type.", "unknown."].iter().any(|n| name.starts_with(n)))
                }
                Ok(request) => {
                    seen += 1;
                    assert_eq!(ControlRequest::decode(&request.encode()), Ok(request), "{name}");
                }
                Err(error) => {
                    assert!(name.contains("no_payload") || name.starts_with("not_mapping"), "{name}: {error}")
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn bad_requests_are_answered_in_the_incumbents_words() {
    for name in ["state_no_payload", "screenshot_no_payload", "not_mapping"] {
        let error = request(&format!("control/{name}")).unwrap_err();
        assert_equals_captured(&error.into(), name);
    }
    for name in ["unknown", "no_type"] {
        let Ok(ControlRequest::Unknown { type_name }) = request(&format!("control/{name}")) else { panic!("{name}") };
        assert_equals_captured(&ControlReply::unsupported(&type_name), name);
    }
    let no_route = format!("No Napari layer is registered for route_key '{}'.", "nope");
    assert_equals_captured(&ControlReply::error("navigation_ack", no_route), "navigate_bad");
}

#[test]
fn wrong_fields_are_named() {
    let message = |request_type: &str, payload: PickleValue| {
        let request = PickleValue::dict([("type", request_type.into()), ("payload", payload)]);
        ControlRequest::decode(&encode(&request)).unwrap_err()
    };
    let payload = |items: &[(&str, PickleValue)]| PickleValue::dict(items.iter().cloned());
    let cases = [
        ("navigate", payload(&[]), "route_key"),
        ("navigate", payload(&[("route_key", "r".into()), ("visible", 1_i64.into())]), "visible"),
        ("navigate", payload(&[("route_key", "r".into()), ("data_index", (-1_i64).into())]), "data_index"),
        ("navigate", payload(&[("route_key", "r".into()), ("axis_indices", PickleValue::list(["z"]))]), "axis_indices"),
        ("state", payload(&[("max_component_values_per_layer", true.into())]), "max_component_values_per_layer"),
        ("payloads", payload(&[("controls", payload(&[("axis_indices", "all".into())]))]), "axis_indices"),
        ("isolate_layers", payload(&[("visible_route_keys", PickleValue::Tuple(vec![]))]), "at least one visible"),
        (
            "apply_intensity_window",
            payload(&[("route_key", "r".into()), ("low_percentile", 99.0.into())]),
            "low_percentile",
        ),
        ("viewport", payload(&[("center", PickleValue::tuple([0.0, 1.0])), ("zoom", 1.0.into())]), "center"),
        ("viewport", payload(&[("center", PickleValue::tuple([0.0; 3])), ("zoom", f64::NAN.into())]), "zoom"),
        ("screenshot", payload(&[("capture_scope", "desktop".into())]), "capture_scope"),
        ("viewport", PickleValue::Int(3), "ViewerNativeViewportPresentation"),
    ];
    for (request_type, payload, word) in cases {
        let error = message(request_type, payload);
        assert!(error.message.contains(word), "{request_type}: {error}");
    }
    let shutdown =
        PickleValue::dict([("type", "shutdown"), ("process_identity", "me")].map(|(k, v)| (k, PickleValue::from(v))));
    assert_eq!(ControlRequest::from_value(&shutdown).unwrap_err().reply_type, "shutdown_ack");
}

#[test]
fn a_request_that_names_code_is_refused_by_name() {
    let error = ControlRequest::decode(b"\x80\x04cposix\nsystem\n\x8c\x04true\x85R.").unwrap_err();
    assert_eq!(error.reply_type, "error");
    assert!(error.message.contains("posix.system"), "{error}");
}

fn pong() -> Pong {
    Pong {
        port: 5555,
        control_port: 6555,
        ready: true,
        server: "NapariViewerServer".to_owned(),
        server_type: "napari".to_owned(),
        application: Some(Application { id: "openhcs".to_owned(), version: "0.8.6".to_owned() }),
        log_file_path: Some("/home/u/h/viewer.log".to_owned()),
        process_identity: Some(ProcessIdentity { pid: 28520, create_time: 1_795_359_303.49 }),
        usage: Some(ProcessUsage { memory_mb: 367.285_156_25, cpu_percent: 0.0 }),
        extensions: None,
    }
}

#[test]
fn pong_equals_the_real_one() {
    assert_equals_captured(&ControlReply::Pong(pong()), "ping");
    let bare = Pong { application: None, log_file_path: None, process_identity: None, usage: None, ..pong() };
    assert_eq!(bare.to_value(PongSpelling::G3).fields().len(), 8);
}

/// Both spellings have it at the top level, where zmqruntime 0.2.24 and 0.6.5 ignore what they do not know.
#[test]
fn pong_says_what_the_viewer_takes_beyond_the_wire() {
    let ours = Pong { extensions: Some(Extensions::own()), ..pong() };
    for spelling in [PongSpelling::G3, PongSpelling::G4] {
        let (bare, sent) = (pong().to_value(spelling), ours.to_value(spelling));
        assert_eq!(Extensions::from_pong(&bare), None);
        let read = decode(&encode(&sent), &PickleLimits::default()).unwrap();
        let extensions = Extensions::from_pong(&read).unwrap();
        assert_eq!(extensions, Extensions::own());
        assert!(extensions.accepts("frames") && extensions.accepts("shm_kept") && !extensions.accepts("telepathy"));
        let others: Vec<_> = sent.fields().into_iter().filter(|(key, _)| *key != "wellscope").collect();
        assert_eq!(others, bare.fields());
    }
    let nonsense = PickleValue::dict([("wellscope", PickleValue::from("yes"))]);
    assert_eq!(Extensions::from_pong(&nonsense), None);
}

#[test]
fn g4_pong_has_the_keys_of_the_real_one() {
    let theirs = decode(&frame("G4_zmqruntime-0.6.5_control/pong.reply"), &PickleLimits::default()).unwrap();
    let ours = pong().to_value(PongSpelling::G4);
    for (key, value) in ours.fields() {
        let theirs = theirs.get(key).unwrap_or_else(|| panic!("{key} is not in the real pong"));
        if let PickleValue::Dict(_) = value {
            let names =
                |value: &PickleValue| value.fields().iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
            assert_eq!(names(value), names(theirs), "{key}");
        } else if let Some(items) = value.items() {
            // The real one holds enum members; their values are the words.
            let words =
                |items: &[PickleValue]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>();
            assert_eq!(words(items), words(theirs.items().unwrap()), "{key}");
        }
    }
    assert_eq!(theirs.get("server_role").unwrap().as_str(), ours.get("server_role").unwrap().as_str());
}

#[test]
fn acknowledgements_equal_the_real_ones() {
    assert_equals_captured(&ControlReply::ShutdownAck, "shutdown");
    assert_equals_captured(&ControlReply::ShutdownAck, "force_shutdown");
    assert_equals_captured(&ControlReply::ClearStateAck, "clear_state");
    let viewport = Viewport { center: [0.0, 8.0, 12.0], zoom: 2.0 };
    assert_equals_captured(&ControlReply::ViewportAck(viewport), "viewport");
}

#[test]
fn settle_replies_equal_the_real_ones() {
    let settle = |phase, completed_update_count, total_update_count| {
        ControlReply::SettleAck(SettleAck { phase, completed_update_count, total_update_count })
    };
    let running = |work_unit_active| SettlePhase::Running {
        active_route: Some(ROUTE.to_owned()),
        work_unit_count: 0,
        work_unit_active,
    };
    assert_equals_captured(&settle(SettlePhase::Complete, 0, 0), "settle_empty");
    assert_equals_captured(&settle(SettlePhase::Complete, 3, 3), "settle_2");
    assert_equals_captured(&settle(running(false), 0, 1), "settle_running_0");
    assert_equals_captured(&settle(running(true), 0, 1), "settle_running_1");
    let why = "origin_manual_kind_manual_projection_sparse: Napari image stack missing routed image(s) for projected \
               coordinate(s) [(1, 1)] on axes ('channel', 'well').";
    assert_equals_captured(&settle(SettlePhase::Failed(why.to_owned()), 0, 1), "settle_sparse");
}

#[test]
fn settle_never_contradicts_itself() {
    let items = |phase, completed_update_count, total_update_count| {
        ControlReply::SettleAck(SettleAck { phase, completed_update_count, total_update_count })
            .to_value(PongSpelling::G3)
    };
    let complete = items(SettlePhase::Complete, 1, 3);
    assert_eq!(complete.get("completed_update_count"), complete.get("total_update_count"));
    let running = items(SettlePhase::Running { active_route: None, work_unit_count: 4, work_unit_active: true }, 5, 3);
    assert_eq!(running.get("completed_update_count").unwrap().as_i64(), Some(3));
    assert_eq!(running.get("active_route_work_unit_count").unwrap().as_i64(), Some(0));
    assert_eq!(running.get("active_route_work_unit_active").unwrap().as_bool(), Some(false));
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn named(items: &[(&str, PickleValue)]) -> NamedValues {
    items.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn layer() -> LayerState {
    let axes = vec![
        ("channel".to_owned(), vec![PickleValue::Int(1), PickleValue::Int(2)]),
        ("well".to_owned(), vec!["A01".into(), "B02".into()]),
    ];
    LayerState {
        route_key: ROUTE.to_owned(),
        producer_identities: vec![named(&[
            ("origin", "pipeline".into()),
            ("output_kind", "main".into()),
            ("output_key", "main".into()),
            ("projection_key", "main".into()),
            ("step_name", "Gaussian Blur".into()),
            ("pipeline_position", PickleValue::Int(0)),
            ("step_scope_id", "scope-1".into()),
            ("invocation_key", PickleValue::None),
            ("artifact_kind", PickleValue::None),
        ])],
        title: "1. Gaussian Blur".to_owned(),
        mounted: true,
        item_count: 4,
        data_types: owned(&["image"]),
        component_value_count: 4,
        payload_summary_count: 4,
        axis_labels: owned(&["site", "channel", "z_index", "timepoint", "well", "y", "x"]),
        stack_axes: owned(&["channel", "well"]),
        axis_offsets: vec![0, 0],
        scalar_labels: owned(&["Site 1", "Z 1", "T 1"]),
        labels: vec![
            ("channel".to_owned(), owned(&["Ch1: DAPI", "Ch 2"])),
            ("well".to_owned(), owned(&["A01", "Well B02"])),
        ],
        axis_component_values: axes.clone(),
        routed_component_values: axes,
        data_shape: vec![1, 2, 1, 1, 2, 16, 24],
        scale: vec![1.0; 7],
        translate: vec![0.0; 7],
        native_intensity: Some(NativeIntensity { contrast_limits: [2.0, 4095.0], gamma: 1.0 }),
        visible: true,
        selected: true,
        ..Default::default()
    }
}

fn state() -> StateReply {
    StateReply {
        viewer_title: "OpenHCS Napari Visualization".to_owned(),
        layers: vec![layer()],
        native_viewport: Some(Viewport { center: [0.0, 7.5, 11.5], zoom: 18.228_125 }),
        active_dimension_label_route: Some(ROUTE.to_owned()),
        viewer_ndim: 7,
        current_step: vec![0, 1, 0, 0, 1, 7, 11],
        axis_labels: owned(&["site", "channel", "z_index", "timepoint", "well", "y", "x"]),
        component_group_count: 4,
        component_item_count: 4,
        wellscope: Vec::new(),
    }
}

#[test]
fn state_replies_equal_the_real_ones() {
    let empty = StateReply {
        viewer_title: "OpenHCS Napari Visualization".to_owned(),
        native_viewport: Some(Viewport { center: [0.0; 3], zoom: 1.0 }),
        viewer_ndim: 2,
        current_step: vec![0, 0],
        axis_labels: owned(&["-2", "-1"]),
        ..Default::default()
    };
    assert_equals_captured(&ControlReply::State(empty), "state_empty");
    assert_equals_captured(&ControlReply::NavigationAck(state()), "navigate");

    let mut bright = state();
    bright.layers[0].native_intensity = Some(NativeIntensity { contrast_limits: [10.0, 4000.0], gamma: 1.5 });
    assert_equals_captured(&ControlReply::ImageIntensityAck(bright), "image_intensity");
}

#[test]
fn summaries_equal_the_real_ones() {
    let components = named(&[
        ("site", PickleValue::Int(1)),
        ("channel", PickleValue::Int(1)),
        ("z_index", PickleValue::Int(1)),
        ("timepoint", PickleValue::Int(1)),
        ("well", "A01".into()),
    ]);
    let image = PayloadSummary {
        data_type: "image".to_owned(),
        path: "/plate/A01_s1_w1.tif".to_owned(),
        components: components.clone(),
        source_frame: SourceFrame::default(),
        aggregate_component_values: vec![],
        content: PayloadContent::Array {
            shape: vec![16, 24],
            dtype: "uint16".to_owned(),
            nonzero_count: 384,
            min_max: Some((PickleValue::Int(15), PickleValue::Int(4088))),
        },
    };
    let shapes = PayloadSummary {
        data_type: "shapes".to_owned(),
        path: "/plate/A01_s1_w1.roi.zip".to_owned(),
        components,
        source_frame: SourceFrame::default(),
        aggregate_component_values: vec![],
        content: PayloadContent::Shapes {
            count: 3,
            coordinate_count: 10,
            missing_source_spatial_shape_count: 3,
            out_of_source_bounds_count: 0,
            bounds: Some(ShapeBounds { min_yx: [0.0, 0.0], max_yx: [6.0, 8.0] }),
        },
    };
    let mut ours = state();
    ours.layers = vec![
        LayerState { payload_summaries: vec![image], payload_summary_count: 1, ..layer() },
        LayerState { payload_summaries: vec![shapes], payload_summary_count: 1, ..layer() },
    ];
    let ours = ControlReply::State(ours).to_value(PongSpelling::G3);
    let theirs = captured_reply("state_full");
    let first_summary = |state: &PickleValue, layer: usize| {
        let layer = &state.get("layers").unwrap().items().unwrap()[layer];
        (
            layer.get("payload_summaries").unwrap().items().unwrap()[0].clone(),
            layer.get("payload_summaries_truncated").cloned(),
        )
    };
    for layer in 0..2 {
        assert_eq!(first_summary(&ours, layer), first_summary(&theirs, layer));
    }
    let image = |state: &PickleValue| state.get("layers").unwrap().items().unwrap()[0].clone();
    assert_eq!(
        image(&ours).fields().iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(),
        image(&theirs).fields().iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn isolation_that_misses_a_route_says_so_and_changes_nothing() {
    let isolation = LayerIsolationAck { state: state(), changed_route_count: 3, missing_route_keys: owned(&["zzz"]) };
    let ours = ControlReply::LayerIsolationAck(isolation).to_value(PongSpelling::G3);
    let theirs = captured_reply("isolate_layers_missing");
    for key in ["type", "status", "message", "applied", "changed_route_count", "missing_route_keys"] {
        assert_eq!(ours.get(key), theirs.get(key), "{key}");
    }
    let applied = LayerIsolationAck { state: state(), changed_route_count: 3, ..Default::default() };
    let ours = ControlReply::LayerIsolationAck(applied).to_value(PongSpelling::G3);
    let theirs = captured_reply("isolate_layers");
    for key in ["message", "applied", "changed_route_count", "missing_route_keys"] {
        assert_eq!(ours.get(key), theirs.get(key), "{key}");
    }
    let keys = |state: &PickleValue| state.fields().iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&theirs));
}

#[test]
fn payload_records_equal_the_real_ones() {
    let theirs = with_plain_dicts(captured_reply("payloads"));
    let layer_of = |reply: &PickleValue| reply.get("layers").unwrap().items().unwrap()[0].clone();
    let record = layer_of(&theirs).get("payloads").unwrap().items().unwrap()[0].clone();
    let components =
        named(&record.get("components").unwrap().fields().iter().map(|(k, v)| (*k, (*v).clone())).collect::<Vec<_>>());
    let min_max = Some((PickleValue::Int(15), PickleValue::Int(4088)));
    let ours = PayloadRecord {
        summary: PayloadSummary {
            data_type: "image".to_owned(),
            path: "/plate/A01_s1_w1.tif".to_owned(),
            components,
            source_frame: SourceFrame::default(),
            aggregate_component_values: vec![],
            content: PayloadContent::Array {
                shape: vec![16, 24],
                dtype: "uint16".to_owned(),
                nonzero_count: 384,
                min_max: min_max.clone(),
            },
        },
        axis_indices: vec![0, 0],
        aggregate_axis_indices: vec![],
        array_values: Some(ArrayValues {
            values: record.get("array_values").unwrap().items().unwrap().to_vec(),
            slice_ranges: vec![(0, 16), (0, 24)],
            requested_slice_ranges: None,
            dtype: "uint16".to_owned(),
            shape: vec![16, 24],
            nonzero_count: 384,
            min_max,
            omitted: None,
        }),
        shape_payloads: vec![],
    };
    let LayerState { route_key, producer_identities, title, mounted, item_count, axis_labels, stack_axes, .. } =
        layer();
    let layer = LayerPayloads {
        route_key,
        producer_identities,
        title,
        mounted,
        item_count,
        axis_labels,
        stack_axes,
        pending_update: false,
        payloads: vec![ours],
    };
    let state = state();
    let reply =
        PayloadsReply { viewer_title: state.viewer_title, layers: vec![layer], native_viewport: state.native_viewport };
    let ours = ControlReply::Payloads(reply).to_value(PongSpelling::G3);
    // The real reply has four records; ours the first of them.
    let mut expected = theirs.clone();
    if let PickleValue::Dict(items) = &mut expected {
        let mut layer = layer_of(&theirs);
        if let PickleValue::Dict(fields) = &mut layer {
            fields.last_mut().unwrap().1 = PickleValue::Tuple(vec![record]);
        }
        items.iter_mut().find(|(key, _)| key.as_str() == Some("layers")).unwrap().1 = PickleValue::Tuple(vec![layer]);
    }
    assert_same(&ours, &expected, "payloads");
}

#[test]
fn values_beyond_the_limit_are_left_out_and_the_reply_says_why() {
    let values = ArrayValues {
        values: vec![PickleValue::Int(1)],
        slice_ranges: vec![(0, 1)],
        requested_slice_ranges: Some(vec![(0, 5)]),
        dtype: "uint8".to_owned(),
        shape: vec![1],
        nonzero_count: 1,
        min_max: None,
        omitted: Some(ArrayOmission::MaxArrayElements(0)),
    };
    let content = PayloadContent::Array { shape: vec![1], dtype: "uint8".to_owned(), nonzero_count: 1, min_max: None };
    let summary = PayloadSummary {
        data_type: "image".to_owned(),
        path: String::new(),
        components: vec![],
        source_frame: SourceFrame::default(),
        aggregate_component_values: vec![],
        content,
    };
    let record = PayloadRecord {
        summary,
        axis_indices: vec![],
        aggregate_axis_indices: vec![],
        array_values: Some(values),
        shape_payloads: vec![],
    };
    let layer = LayerPayloads { payloads: vec![record], ..Default::default() };
    let reply = PayloadsReply { layers: vec![layer], ..Default::default() };
    let reply = ControlReply::Payloads(reply).to_value(PongSpelling::G3);
    let record = &reply.get("layers").unwrap().items().unwrap()[0].get("payloads").unwrap().items().unwrap()[0];
    assert_eq!(record.get("array_values"), Some(&PickleValue::Tuple(vec![])));
    let summary = record.get("array_value_summary").unwrap();
    assert_eq!(summary.get("omitted_reason").unwrap().as_str(), Some("max_array_elements_exceeded"));
    assert_eq!(summary.get("included").unwrap().as_bool(), Some(false));
}

#[test]
fn screenshot_reply_equals_the_real_one_with_its_class_and_enums() {
    let Ok(ControlRequest::Screenshot(request)) = request("control/screenshot") else { panic!("no screenshot") };
    let path = "/home/u/h/shots/20261122T145919520241Z_napari_5555_OpenHCS_Napari_Visualization.png";
    let screenshot = ScreenshotAck {
        viewer_title: "OpenHCS Napari Visualization".to_owned(),
        path: path.to_owned(),
        uri: format!("file://{path}"),
        size_bytes: 87040,
        sha256: "6f59c8bf4a6db2ae4983a401d140827bd26c1919ef4041d1843226122adbbab5".to_owned(),
        width: 1440,
        height: 925,
        request,
    };
    assert_equals_captured(&ControlReply::ScreenshotAck(screenshot), "screenshot");
}

#[test]
fn intensity_window_reply_has_the_fields_that_clients_read() {
    let window = IntensityWindowAck {
        route_key: ROUTE.to_owned(),
        requested_percentiles: [1.0, 99.0],
        axis_indices: vec![("well".to_owned(), 1)],
        resolved_limits: [40.5, 4000.0],
        matched_payloads: vec![MatchedPayload {
            path: "/plate/B02_s1_w1.tif".to_owned(),
            components: named(&[("well", "B02".into())]),
            axis_indices: vec![0, 1],
            aggregate_axis_indices: vec![],
        }],
        contributing_payload_count: 1,
        contributing_pixel_count: 384,
    };
    let reply = ControlReply::IntensityWindowAck(window).to_value(PongSpelling::G3);
    assert_eq!(reply.get("type").unwrap().as_str(), Some("intensity_window_ack"));
    assert_eq!(reply.get("resolved_limits"), Some(&PickleValue::tuple([40.5, 4000.0])));
    assert_eq!(reply.get("matched_payload_count").unwrap().as_i64(), Some(1));
    let matched = &reply.get("matched_payload_identities").unwrap().items().unwrap()[0];
    assert_eq!(matched.get("axis_indices"), Some(&PickleValue::tuple([0_i64, 1])));
}

#[test]
fn our_own_facts_stand_under_one_key() {
    let reply = ControlReply::State(StateReply { wellscope: named(&[("overlay_text", "Well B02".into())]), ..state() });
    let value = reply.to_value(PongSpelling::G3);
    assert_eq!(value.get("wellscope").unwrap().get("overlay_text").unwrap().as_str(), Some("Well B02"));
}

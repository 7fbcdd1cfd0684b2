//! Control calls against a stand-in that answers with real and made-up pickles.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::time::Duration;

use common::*;
use wellscope_client::{
    Application, AxisIndices, CaptureScope, ControlClient, ControlError, FrameCondition, ImageIntensityOptions,
    IntensityWindowOptions, IsolateLayersOptions, NativeIntensity, NavigateOptions, PING_TIMEOUT, PayloadOptions,
    RequestError, ScreenshotRequest, Settled, ShapeDetail, StateOptions, Viewport,
};
use wellscope_protocol::control::ControlRequest;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode, encode};

fn dict<const N: usize>(items: [(&str, PickleValue); N]) -> PickleValue {
    PickleValue::dict(items)
}

/// Answers the n-th request with the n-th reply, the last one for ever.
fn replies(url: &str, replies: Vec<PickleValue>) -> (StandIn, std::sync::mpsc::Receiver<Vec<u8>>) {
    let mut count = 0;
    StandIn::serve(url, move |_| {
        let reply = &replies[count.min(replies.len() - 1)];
        count += 1;
        Answer::Reply(encode(reply))
    })
}

fn next(requests: &std::sync::mpsc::Receiver<Vec<u8>>) -> PickleValue {
    decode(&requests.recv_timeout(PATIENCE).unwrap(), &PickleLimits::default()).unwrap()
}

fn settle_ack(phase: &str, completed: u32, total: u32, route: Option<&str>) -> PickleValue {
    dict([
        ("status", "success".into()),
        ("type", "settle_ack".into()),
        ("message", "".into()),
        ("settle_phase", phase.into()),
        ("completed_update_count", completed.into()),
        ("total_update_count", total.into()),
        ("active_route", route.into()),
        ("active_route_work_unit_count", u32::from(route.is_some()).into()),
        ("active_route_work_unit_active", route.is_some().into()),
    ])
}

#[test]
fn pongs_of_both_generations_are_read() {
    let g3 = dict([("application_id", "openhcs".into()), ("application_version", "0.8.6".into())]);
    let g4 = dict([("identifier", "openhcs".into()), ("version", "0.8.6".into())]);
    for application in [g3, g4] {
        let home = home();
        let endpoint = tcp(&home);
        let pong = dict([
            ("type", "pong".into()),
            ("port", 5555u32.into()),
            ("control_port", 6555u32.into()),
            ("ready", true.into()),
            ("server_type", "napari".into()),
            ("application", application),
            ("process_identity", dict([("pid", 7u32.into()), ("create_time", 1.5.into())])),
        ]);
        let (_viewer, requests) = replies(&endpoint.control_url().unwrap(), vec![pong]);
        let pong = ControlClient::connect(&endpoint).unwrap().ping(PATIENCE).unwrap();
        assert_eq!((pong.port, pong.control_port, pong.ready), (Some(5555), Some(6555), true));
        assert_eq!(pong.application, Some(Application { id: "openhcs".to_owned(), version: "0.8.6".to_owned() }));
        assert_eq!(pong.process.map(|process| (process.pid, process.create_time)), Some((7, 1.5)));
        assert_eq!(next(&requests), dict([("type", "ping".into())]));
    }
}

#[test]
fn settle_asks_until_the_viewer_is_done() {
    let home = home();
    let endpoint = tcp(&home);
    let acks = vec![
        settle_ack("running", 0, 2, Some("a")),
        settle_ack("running", 1, 2, Some("b")),
        settle_ack("complete", 2, 2, None),
    ];
    let (_viewer, requests) = replies(&endpoint.control_url().unwrap(), acks);
    let settled = ControlClient::connect(&endpoint).unwrap().settle(PATIENCE).unwrap();
    assert_eq!(settled, Settled { updates: 2, polls: 3 });
    assert_eq!(requests.iter().take(3).count(), 3);
}

#[test]
fn settle_ends_at_its_deadline_and_at_a_failure_and_at_nonsense() {
    let cases = [
        (settle_ack("running", 1, 2, Some("slow_route")), "1 of 2 updates done, at slow_route"),
        (settle_ack("complete", 1, 2, None), "completed_update_count"),
        (settle_ack("complete", 2, 2, Some("a")), "active_route"),
        (settle_ack("dancing", 0, 0, None), "settle_phase"),
        (dict([("status", "success".into())]), "settle_phase"),
        (dict([("status", "error".into()), ("message", "draw failed".into())]), "draw failed"),
        (PickleValue::None, "status"),
    ];
    for (reply, sentence) in cases {
        let home = home();
        let endpoint = tcp(&home);
        let (_viewer, _requests) = replies(&endpoint.control_url().unwrap(), vec![reply]);
        let error = ControlClient::connect(&endpoint).unwrap().settle(Duration::from_secs(4)).unwrap_err();
        assert!(error.to_string().contains(sentence), "{error} should say {sentence}");
    }
}

#[test]
fn a_viewer_that_falls_silent_at_the_deadline_has_not_settled() {
    let home = home();
    let endpoint = tcp(&home);
    let running = encode(&settle_ack("running", 1, 2, Some("slow_route")));
    let mut is_first = true;
    let (_viewer, requests) = StandIn::serve(&endpoint.control_url().unwrap(), move |_| {
        if std::mem::take(&mut is_first) { Answer::Reply(running.clone()) } else { Answer::Silence }
    });
    let error = ControlClient::connect(&endpoint).unwrap().settle(Duration::from_secs(4)).unwrap_err();
    assert!(error.to_string().contains("1 of 2 updates done, at slow_route"), "{error}");
    assert_eq!(requests.try_iter().count(), 2);
}

#[test]
fn requests_carry_the_objects_that_openhcs_expects() {
    let home = home();
    let endpoint = tcp(&home);
    let (_viewer, requests) = replies(
        &endpoint.control_url().unwrap(),
        vec![dict([("status", "success".into()), ("type", "state_ack".into())])],
    );
    let client = ControlClient::connect(&endpoint).unwrap();
    let options = StateOptions { route_key: Some("r".into()), ..StateOptions::default() };
    client.state(&options).unwrap();
    let request = next(&requests);
    assert_eq!(ControlRequest::from_value(&request).unwrap(), ControlRequest::State(options));
    assert_eq!(request.get("type").unwrap().as_str(), Some("state"));
    let payload = request.get("payload").unwrap();
    assert_eq!(payload.type_name(), "ViewerStateControlOptions");
    assert_eq!(payload.get("route_key").unwrap().as_str(), Some("r"));

    let axis_indices = vec![("well".to_owned(), 3)];
    client.navigate(&NavigateOptions { route_key: "r".into(), axis_indices, ..NavigateOptions::default() }).unwrap();
    let payload = next(&requests).get("payload").unwrap().clone();
    assert_eq!(payload.type_name(), "ViewerNavigationControlOptions");
    assert_eq!(payload.get("axis_indices").unwrap().get("well").unwrap().as_u64(), Some(3));
    assert!(payload.get("visible").unwrap().is_none());

    client.viewport(Viewport { center: [0.0, 8.0, 12.0], zoom: 2.0 }).unwrap();
    let payload = next(&requests).get("payload").unwrap().clone();
    assert_eq!(payload.type_name(), "ViewerNativeViewportPresentation");
    assert_eq!(payload.get("center").unwrap().items().unwrap().len(), 3);

    let shot = ScreenshotRequest {
        output_dir_path: "shots".to_owned(),
        capture_scope: CaptureScope::Widget,
        frame_condition: FrameCondition::Immediate,
        observation_timeout_s: 5.0,
    };
    client.screenshot(&shot).unwrap();
    let request = next(&requests);
    assert_eq!(ControlRequest::from_value(&request).unwrap(), ControlRequest::Screenshot(shot));
    let payload = request.get("payload").unwrap().clone();
    assert_eq!(payload.type_name(), "WindowSnapshotCaptureSpec");
    assert_eq!(payload.get("capture_scope").unwrap().as_str(), Some("widget"));

    for (call, name) in [
        (client.clear_state(), "clear_state"),
        (client.shutdown(), "shutdown"),
        (client.force_shutdown(), "force_shutdown"),
    ] {
        call.unwrap();
        assert_eq!(next(&requests), dict([("type", name.into())]));
    }
}

#[test]
fn requests_about_layers_carry_the_objects_that_openhcs_expects() {
    let home = home();
    let endpoint = tcp(&home);
    let (_viewer, requests) = replies(&endpoint.control_url().unwrap(), vec![dict([("status", "success".into())])]);
    let client = ControlClient::connect(&endpoint).unwrap();
    let axis_indices = vec![("well".to_owned(), 1)];
    let check = |request: ControlRequest, class: &str, inner: Option<(&str, &str)>| {
        let sent = next(&requests);
        assert_eq!(ControlRequest::from_value(&sent).unwrap(), request);
        let payload = sent.get("payload").unwrap();
        assert_eq!(payload.type_name(), class);
        if let Some((field, class)) = inner {
            assert_eq!(payload.get(field).unwrap().type_name(), class);
        }
    };

    let isolation = IsolateLayersOptions {
        visible_route_keys: vec!["a".into(), "b".into()],
        selected_route_key: Some("b".into()),
        axis_indices: axis_indices.clone(),
    };
    client.isolate(&isolation).unwrap();
    check(ControlRequest::IsolateLayers(isolation), "ViewerLayerIsolationControlOptions", None);

    let window = IntensityWindowOptions {
        route_key: "a".into(),
        axis_indices: axis_indices.clone(),
        low_percentile: 1.0,
        high_percentile: 99.5,
    };
    client.apply_intensity_window(&window).unwrap();
    check(ControlRequest::ApplyIntensityWindow(window), "ViewerIntensityWindowControlOptions", None);

    let presentation = NativeIntensity { contrast_limits: [2.0, 300.0], gamma: 0.5 };
    let intensity = ImageIntensityOptions { route_key: "a".into(), presentation };
    client.image_intensity(&intensity).unwrap();
    let inner = ("presentation", "ViewerNativeImageIntensityPresentation");
    check(ControlRequest::ImageIntensity(intensity), "ViewerImageIntensityControlOptions", Some(inner));

    let payloads = PayloadOptions {
        route_key: Some("a".into()),
        axis_indices: Some(AxisIndices::Named(axis_indices)),
        include_array_values: true,
        array_slices: Some(vec![(0, 4), (2, 8)]),
        max_total_shape_payloads: Some(9),
        shape_detail: ShapeDetail::Summary,
        ..PayloadOptions::default()
    };
    client.payloads(&payloads).unwrap();
    let inner = ("controls", "ViewerPayloadControlOptions");
    check(ControlRequest::Payloads(payloads), "ViewerPayloadProjectionOptions", Some(inner));
}

#[test]
fn an_isolation_that_was_not_applied_is_an_error() {
    let home = home();
    let endpoint = tcp(&home);
    let reply = dict([
        ("status", "success".into()),
        ("applied", false.into()),
        ("missing_route_keys", PickleValue::tuple(["b"])),
    ]);
    let (_viewer, _requests) = replies(&endpoint.control_url().unwrap(), vec![reply]);
    let error = ControlClient::connect(&endpoint).unwrap().isolate(&IsolateLayersOptions::default()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("route b"), "{error}");
}

#[test]
fn a_refusal_says_what_the_viewer_said_and_a_foreign_pickle_is_an_error() {
    let home = home();
    let endpoint = tcp(&home);
    let refusal = dict([("status", "error".into()), ("type", "error".into()), ("message", "Unknown route.".into())]);
    let (_viewer, _requests) = replies(&endpoint.control_url().unwrap(), vec![refusal]);
    let error = ControlClient::connect(&endpoint).unwrap().navigate(&NavigateOptions::default()).unwrap_err();
    assert!(matches!(&error, ControlError::Refused { message, .. } if message == "Unknown route."), "{error}");

    let other = tcp(&home);
    let (_viewer, _requests) =
        StandIn::serve(&other.control_url().unwrap(), |_| Answer::Reply(b"cos\nsystem\n.".to_vec()));
    let error = ControlClient::connect(&other).unwrap().ping(PATIENCE).unwrap_err();
    assert!(matches!(error, ControlError::Unreadable { .. }), "{error}");
}

#[test]
fn a_viewer_that_is_absent_or_hangs_is_an_error_at_the_deadline() {
    let home = home();
    let endpoint = tcp(&home);
    let client = ControlClient::connect(&endpoint).unwrap();
    let error = client.ping(PING_TIMEOUT).unwrap_err();
    assert!(matches!(error, ControlError::Request(RequestError::NobodyListens { .. })), "{error}");
    let mut silent = true;
    let pong = dict([("type", "pong".into()), ("ready", true.into())]);
    let (_viewer, requests) = StandIn::serve(&endpoint.control_url().unwrap(), move |_| {
        if std::mem::take(&mut silent) { Answer::Silence } else { Answer::Reply(encode(&pong)) }
    });
    let error = client.ping(Duration::from_secs(2)).unwrap_err();
    assert!(matches!(error, ControlError::Request(RequestError::NoReply { .. })), "{error}");
    assert_eq!(next(&requests).get("type").unwrap().as_str(), Some("ping"));
    assert!(client.ping(PATIENCE).unwrap().ready);
}

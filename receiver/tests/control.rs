//! The control socket: what it answers by itself, in time, and what it hands to the app.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use common::*;
use serde_json::json;
use wellscope_protocol::control::{ControlReply, ControlRequest, ProcessIdentity, ShutdownRequest};
use wellscope_protocol::endpoint::Transport;
use wellscope_protocol::pickle::{self, PickleLimits, PickleValue};
use wellscope_receiver::{ControlCall, Delivery, SettleProgress};

fn ask(viewer: &Viewer, request: &[u8]) -> PickleValue {
    value(&viewer.control(request))
}

fn value(pickle: &[u8]) -> PickleValue {
    pickle::decode(pickle, &PickleLimits::default()).unwrap()
}

fn text<'a>(reply: &'a PickleValue, key: &str) -> &'a str {
    reply.get(key).and_then(PickleValue::as_str).unwrap_or_else(|| panic!("no text {key:?} in {reply:?}"))
}

fn number(reply: &PickleValue, key: &str) -> u64 {
    reply.get(key).and_then(PickleValue::as_u64).unwrap_or_else(|| panic!("no number {key:?} in {reply:?}"))
}

fn next_call(viewer: &Viewer) -> ControlCall {
    match viewer.next() {
        Delivery::Call(call) => call,
        other => panic!("a call was expected, got {other:?}"),
    }
}

#[test]
fn ping_is_answered_with_the_ports_and_the_application() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let viewer = start_with(transport, |config| {
            config.identity.application = Some(("openhcs".into(), "0.8.6".into()));
        });
        let pong = ask(&viewer, PING);
        assert_eq!(text(&pong, "type"), "pong");
        assert_eq!(number(&pong, "port"), u64::from(viewer.receiver().endpoints().port));
        assert_eq!(number(&pong, "control_port"), u64::from(viewer.receiver().endpoints().control_port));
        assert_eq!(text(&pong, "server"), "NapariViewerServer");
        assert_eq!(text(pong.get("application").unwrap(), "application_version"), "0.8.6");
        let identity = ProcessIdentity::from_value(pong.get("process_identity").unwrap()).unwrap();
        assert_eq!(identity.pid, std::process::id());
        assert!(pong.get("memory_mb").unwrap().as_f64().unwrap() > 1.0);
    }
}

#[test]
fn the_process_started_when_the_pong_says() {
    let viewer = start(Transport::Ipc);
    let pong = ask(&viewer, PING);
    let identity = ProcessIdentity::from_value(pong.get("process_identity").unwrap()).unwrap();
    // The folder of a process is made when it starts.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(identity.create_time < now + 2.0 && identity.create_time > now - 3600.0, "{identity:?}, now {now}");
    assert_eq!(ProcessIdentity::from_value(ask(&viewer, PING).get("process_identity").unwrap()), Some(identity));
}

#[test]
fn ping_is_answered_while_the_app_takes_nothing_and_a_producer_waits() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.queue_batches = 1);
    assert_eq!(viewer.send_batch(json!([])), success());
    let producer = viewer.producer();
    producer.send(batch(json!([])).to_string().as_str(), 0).unwrap();
    let stuck = viewer.client();
    stuck.send(control_request("clear_state").as_slice(), 0).unwrap();
    assert_eq!(text(&value(&stuck.recv_bytes(0).unwrap()), "type"), "clear_state_ack");
    let waiting = viewer.client();
    waiting.send(ControlRequest::Settle.encode(), 0).unwrap();
    for _ in 0..3 {
        assert_eq!(text(&ask(&viewer, PING), "type"), "pong");
    }
    assert_eq!(producer.poll(zmq::POLLIN, 0).unwrap(), 0, "the producer still waits");
}

#[test]
fn clear_state_reaches_the_app_between_the_batches_around_it() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.queue_batches = 1);
    assert_eq!(viewer.send_batch(json!([])), success());
    // The channel is full: acknowledged all the same, and kept in order.
    assert_eq!(text(&ask(&viewer, &control_request("clear_state")), "status"), "success");
    let producer = viewer.producer();
    producer.send(batch(json!([])).to_string().as_str(), 0).unwrap();
    assert!(matches!(viewer.next(), Delivery::Batch(batch) if batch.sequence == 1));
    assert!(matches!(viewer.next(), Delivery::Clear));
    assert!(matches!(viewer.next(), Delivery::Batch(batch) if batch.sequence == 2));
    assert_eq!(reply(&producer), success());
}

#[test]
fn what_found_the_channel_full_arrives_without_another_request() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.queue_batches = 1);
    assert_eq!(viewer.send_batch(json!([])), success());
    ask(&viewer, &control_request("clear_state"));
    viewer.next_batch();
    assert!(matches!(viewer.next(), Delivery::Clear));
}

#[test]
fn shutdown_is_acknowledged_and_then_asked_of_the_app() {
    for kind in ["shutdown", "force_shutdown"] {
        let viewer = start(Transport::Ipc);
        let reply = ask(&viewer, &control_request(kind));
        assert_eq!((text(&reply, "type"), text(&reply, "status")), ("shutdown_ack", "success"));
        assert!(matches!(viewer.next(), Delivery::ShutdownRequested));
    }
}

#[test]
fn shutdown_of_another_process_is_refused() {
    let viewer = start(Transport::Ipc);
    let own = ProcessIdentity::from_value(ask(&viewer, PING).get("process_identity").unwrap()).unwrap();
    let request = |identity| {
        ControlRequest::Shutdown(ShutdownRequest {
            force: true,
            process_identity: Some(identity),
            ..ShutdownRequest::default()
        })
        .encode()
    };
    let other = ProcessIdentity { create_time: own.create_time - 1.0, ..own };
    assert_eq!(text(&ask(&viewer, &request(other)), "status"), "error");
    assert!(viewer.deliveries.is_empty());
    assert_eq!(text(&ask(&viewer, &request(own)), "status"), "success");
    assert!(matches!(viewer.next(), Delivery::ShutdownRequested));
}

#[test]
fn bad_requests_get_an_error_and_the_next_is_served() {
    let viewer = start(Transport::Ipc);
    for request in [&b"not a pickle"[..], b"", b"{\"type\": \"ping\"}", b"\x80\x04]."] {
        assert_eq!(text(&ask(&viewer, request), "status"), "error");
        viewer.next_problem();
    }
    let unknown = ask(&viewer, &control_request("bogus"));
    assert_eq!(text(&unknown, "message"), "Unsupported Napari control message: 'bogus'.");
    assert_eq!(text(&ask(&viewer, PING), "type"), "pong");
}

#[test]
fn a_pickle_that_would_run_a_command_runs_nothing() {
    let viewer = start(Transport::Ipc);
    let marker = viewer.home.path().join("executed");
    let mut hostile = b"cposix\nsystem\n(Vtouch ".to_vec();
    hostile.extend(marker.to_str().unwrap().as_bytes());
    hostile.extend(b"\ntR.");
    assert_eq!(text(&ask(&viewer, &hostile), "status"), "error");
    assert!(!marker.exists());
}

#[test]
fn the_app_answers_calls_from_any_thread_and_in_any_order() {
    let viewer = start(Transport::Ipc);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let client = viewer.client();
            client.send(ControlRequest::State(Default::default()).encode(), 0).unwrap();
            let call = next_call(&viewer);
            assert!(matches!(call.request, ControlRequest::State(_)));
            (client, call)
        })
        .collect();
    for (index, (client, call)) in clients.into_iter().enumerate().rev() {
        let answer = ControlReply::error("error", format!("answer {index}"));
        std::thread::spawn(move || call.replier.reply(answer)).join().unwrap();
        assert_eq!(text(&value(&client.recv_bytes(0).unwrap()), "message"), format!("answer {index}"));
    }
}

#[test]
fn a_call_that_the_app_drops_gets_an_error() {
    let viewer = start(Transport::Ipc);
    let client = viewer.client();
    client.send(ControlRequest::State(Default::default()).encode(), 0).unwrap();
    drop(next_call(&viewer));
    assert_eq!(text(&value(&client.recv_bytes(0).unwrap()), "status"), "error");
}

#[test]
fn settle_that_the_app_does_not_answer_is_running_with_the_items_it_has_taken() {
    let viewer = start(Transport::Ipc);
    let segment = Segment::new(&[1; 4]);
    let images = json!([image(&segment.name, &[2, 2], "uint8"), image(&segment.name, &[2, 2], "uint8")]);
    assert_eq!(viewer.send_batch(images), success());
    let mut items = viewer.next_batch().items;
    items.remove(0).ack.succeed();
    let client = viewer.client();
    client.send(ControlRequest::Settle.encode(), 0).unwrap();
    let reply = value(&client.recv_bytes(0).unwrap());
    assert_eq!((text(&reply, "status"), text(&reply, "settle_phase")), ("success", "running"));
    assert_eq!((number(&reply, "completed_update_count"), number(&reply, "total_update_count")), (1, 2));
    // Too late: the client has its answer, and the next question gets its own.
    let progress = SettleProgress { taken: u64::MAX, routes: vec!["a".into()], work_units: 1 };
    viewer.receiver.as_ref().unwrap().settling().frame_ended(progress, true);
    assert_eq!(text(&ask(&viewer, PING), "type"), "pong");
    assert_eq!(text(&ask(&viewer, &ControlRequest::Settle.encode()), "settle_phase"), "complete");
}

#[test]
fn more_calls_than_may_wait_are_busy_at_once() {
    let viewer = start_with(Transport::Ipc, |config| config.limits.max_pending_calls = 2);
    let request = ControlRequest::State(Default::default()).encode();
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let client = viewer.client();
            client.send(&request[..], 0).unwrap();
            (client, next_call(&viewer))
        })
        .collect();
    assert!(text(&ask(&viewer, &request), "message").contains("busy"));
    drop(clients);
}

#[test]
fn exchanges_are_recorded_whole_although_the_app_answers_later() {
    let recorded = tempfile::tempdir().unwrap();
    let folder = recorded.path().join("case");
    let viewer = start_with(Transport::Ipc, |config| config.record = Some(folder.clone()));
    assert_eq!(viewer.send_batch(json!([])), success());
    viewer.next_batch();
    let slow = viewer.client();
    let state = ControlRequest::State(Default::default()).encode();
    slow.send(state.as_slice(), 0).unwrap();
    let call = next_call(&viewer);
    // Meanwhile: one more message, a ping, a request that is refused, one that needs no app.
    assert_eq!(viewer.send_batch(json!([])), success());
    viewer.next_batch();
    ask(&viewer, PING);
    let mut expected = Vec::new();
    for request in [&b"no pickle"[..], &control_request("clear_state")] {
        expected.push((2, request.to_vec(), viewer.control(request)));
    }
    call.replier.reply(ControlReply::error("error", "done"));
    expected.push((1, state, slow.recv_bytes(0).unwrap()));

    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(after, request, reply)| json!({"after_messages": after, "request": hex(&request), "reply": hex(&reply)}))
        .collect();
    let lines = std::fs::read_to_string(folder.join("control.jsonl")).unwrap();
    let found: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, expected);
}

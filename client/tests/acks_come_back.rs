//! Acks of both generations, and who may listen for them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use ndarray::Array2;
use wellscope_client::{
    AckError, AckMode, BatchRequest, ConnectError, Generation, ImageItem, Producer, ProducerConfig,
};
use wellscope_protocol::batch::Batch;

fn one_image<'a>(pixels: &'a Array2<u8>, image_id: &str) -> BatchRequest<'a> {
    BatchRequest::new()
        .item(ImageItem::new("a.tif", pixels.view()).at("well", "A01").image_id(Some(image_id.to_owned())))
}

/// Answers success and pushes what `acks` makes of the batch to the url that it names.
fn acknowledging(
    url: &str,
    mut acks: impl FnMut(&Batch) -> Vec<(String, serde_json::Value)> + Send + 'static,
) -> (StandIn, Arc<Mutex<Vec<zmq::Socket>>>) {
    let context = zmq::Context::new();
    let sockets = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sockets);
    let viewer = StandIn::serve_batches(url, move |batch| {
        for (url, ack) in acks(batch) {
            let socket = context.socket(zmq::PUSH).unwrap();
            socket.set_linger(1000).unwrap();
            socket.connect(&url).unwrap();
            socket.send(ack.to_string().as_bytes(), 0).unwrap();
            kept.lock().unwrap().push(socket);
        }
        success(batch)
    });
    (viewer, sockets)
}

fn g3_ack(image_id: &str, status: &str) -> serde_json::Value {
    let mut ack = serde_json::json!({"type": "image_ack", "image_id": image_id, "viewer_port": 5555, "viewer_type": "napari",
        "status": status, "timestamp": 1.7e9});
    if status == "error" {
        ack["error"] = "no such layer".into();
    }
    ack
}

#[test]
fn g3_acks_come_over_the_shared_port_and_those_of_others_are_left_out() {
    let home = home();
    let mut endpoints = vec![tcp(&home)];
    if cfg!(unix) {
        endpoints.push(ipc(&home));
    }
    for endpoint in endpoints {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ack_url = endpoint.ack_url(port).unwrap();
        let (_viewer, _sockets) = acknowledging(&endpoint.data_url().unwrap(), move |batch| {
            assert!(batch.items.iter().all(|item| item.ack_route.is_none()));
            let id = batch.items[0].image_id.clone().unwrap();
            let status = if id == "broken" { "error" } else { "success" };
            vec![(ack_url.clone(), g3_ack("foreign", "success")), (ack_url.clone(), g3_ack(&id, status))]
        });
        let config = ProducerConfig { acks: AckMode::Shared { port }, ..quick(&endpoint) };
        let mut producer = Producer::connect(config.clone()).unwrap();
        let pixels = Array2::zeros((3, 3));
        for id in ["one", "broken"] {
            producer.send_batch(one_image(&pixels, id)).unwrap();
            let acks = producer.acks(PATIENCE);
            assert_eq!(acks.iter().map(|ack| ack.image_id.as_str()).collect::<Vec<_>>(), [id]);
            assert_eq!(acks[0].error.as_deref(), (id == "broken").then_some("no such layer"));
            assert_eq!(producer.unacknowledged(), 0);
        }
        assert!(producer.acks(MOMENT).is_empty());
        // A second listener would take the acks of the first.
        let taken = Producer::connect(config.clone()).err().expect("the shared port is taken");
        assert!(matches!(taken, ConnectError::Acks(AckError::Taken { .. })), "{taken}");
        drop(producer);
        Producer::connect(config).unwrap();
    }
}

#[test]
fn g4_acks_come_over_a_private_route_and_must_repeat_it() {
    let home = home();
    let mut endpoints = vec![tcp(&home)];
    if cfg!(unix) {
        endpoints.push(ipc(&home));
    }
    for endpoint in endpoints {
        let (viewer, _sockets) = acknowledging(&endpoint.data_url().unwrap(), |batch| {
            let item = &batch.items[0];
            let route = item.ack_route.clone().expect("G4 items carry a return route");
            let id = item.image_id.clone().unwrap();
            let ack = serde_json::json!({"type": "image_ack", "image_id": id, "viewer_port": 5555, "viewer_type": "napari",
                "return_route": route.return_route, "producer": route.producer, "status": "success", "timestamp": 1.7e9,
                "error": null});
            let mut earlier = ack.clone();
            earlier["return_route"]["incarnation"] = "11111111-2222-3333-4444-555555555555".into();
            vec![(route.url.clone(), earlier), (route.url, ack)]
        });
        let config = ProducerConfig { acks: AckMode::Private, generation: Generation::G4, ..quick(&endpoint) };
        let mut producer = Producer::connect(config).unwrap();
        let pixels = Array2::zeros((3, 3));
        producer.send_batch(one_image(&pixels, "one")).unwrap();
        let seen = viewer.next();
        let route = seen.batch.items[0].ack_route.clone().unwrap();
        assert_eq!(route.return_route["owner"]["pid"], std::process::id());
        assert_eq!(route.return_route["owner"], route.producer);
        assert!(!route.url.contains('*') && route.return_route["url"] == route.url);
        // The ack of an earlier listener at the same address does not count, whichever comes first.
        let acks = producer.acks(PATIENCE);
        assert_eq!(acks.len(), 1);
        assert_eq!(acks[0].image_id, "one");
        assert!(producer.acks(MOMENT).is_empty());
        drop(producer);
        if let Some(path) = route.url.strip_prefix("ipc://") {
            assert!(!std::path::Path::new(path).exists(), "the ack socket is removed");
        }
    }
}

#[test]
fn a_private_address_needs_g4() {
    let home = home();
    let config = ProducerConfig { acks: AckMode::Private, ..quick(&tcp(&home)) };
    let error = Producer::connect(config).err().expect("G3 cannot tell a private address");
    assert!(matches!(error, ConnectError::Acks(AckError::PrivateNeedsG4)), "{error}");
}

#[test]
fn a_refused_batch_expects_no_acks() {
    let home = home();
    let endpoint = tcp(&home);
    let _viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), |_| {
        Answer::Reply(br#"{"status": "error", "type": "batch", "message": "no"}"#.to_vec())
    });
    let config = ProducerConfig { acks: AckMode::Private, generation: Generation::G4, ..quick(&endpoint) };
    let mut producer = Producer::connect(config).unwrap();
    producer.send_batch(one_image(&Array2::zeros((3, 3)), "one")).unwrap_err();
    assert_eq!(producer.unacknowledged(), 0);
}

//! Several producers at one receiver, with segments that block until a test lets them go.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps says where it failed")]

use std::io;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wellscope_store::Store;

use super::*;
use crate::acks::AckOutlet;
use crate::config::{DataSocket, Limits};
use crate::copy::Helpers;
use crate::delivery::{Delivery, ReceivedPayload};
use crate::in_flight::InFlight;
use crate::platform::{FileIdentity, Segment, SegmentError, SharedMemory};
use crate::serve::BatchServer;
use crate::settling::Settling;
use crate::wake::{Waker, wake_pair};
use crate::workers::{Crew, Workers};

/// Longer than anything here takes, so that it only ends tests that hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Segments of 4 bytes: of `slow` ones a read says that it began, and ends when the test lets it; reading `panic` panics.
struct Scripted {
    began: Sender<()>,
    go_on: Receiver<()>,
}

struct ScriptedSegment {
    name: String,
    began: Sender<()>,
    go_on: Receiver<()>,
}

impl SharedMemory for Scripted {
    fn open(&self, name: &str) -> Result<Box<dyn Segment>, SegmentError> {
        let (began, go_on) = (self.began.clone(), self.go_on.clone());
        Ok(Box::new(ScriptedSegment { name: name.into(), began, go_on }))
    }

    fn unlink_if_same(&self, _name: &str, _identity: FileIdentity) -> io::Result<bool> {
        Ok(false)
    }
}

impl Segment for ScriptedSegment {
    fn len_bytes(&self) -> u64 {
        4
    }

    fn identity(&self) -> Option<FileIdentity> {
        None
    }

    fn read_at(&self, _offset: u64, into: &mut [u8]) -> Result<(), SegmentError> {
        match self.name.as_str() {
            "slow" => {
                self.began.send(()).unwrap();
                self.go_on.recv_timeout(PATIENCE).unwrap();
            }
            "panic" => panic!("a bug, as this test needs one"),
            _ => {}
        }
        into.fill(7);
        Ok(())
    }
}

struct Fixture {
    context: zmq::Context,
    url: String,
    thread: Option<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    waker: Waker,
    counters: Arc<Counters>,
    deliveries: Receiver<Delivery>,
    began: Receiver<()>,
    go_on: Sender<()>,
}

fn start(limits: Limits) -> Fixture {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).unwrap();
    socket.set_linger(0).unwrap();
    let url = "inproc://data".to_owned();
    socket.bind(&url).unwrap();
    let (waker, wake) = wake_pair(&context, "test").unwrap();
    let (counters, stopping) = (Arc::<Counters>::default(), Arc::<AtomicBool>::default());
    let (delivery_sender, deliveries) = crossbeam_channel::bounded(limits.queue_batches);
    let (began_sender, began) = crossbeam_channel::unbounded();
    let (go_on, go_on_receiver) = crossbeam_channel::unbounded();
    let (jobs, taken_jobs) = crossbeam_channel::bounded(limits.max_requests_in_hand);
    let (answered_sender, answered) = crossbeam_channel::unbounded();
    let outbox = Outbox::new(
        delivery_sender,
        Settling::new(counters.clone()),
        Arc::new(|| ()),
        counters.clone(),
        stopping.clone(),
    );
    let outlet = AckOutlet {
        sender: crossbeam_channel::bounded(1).0,
        counters: counters.clone(),
        shared_url: "ipc:///nowhere".into(),
        viewer_port: 5555,
        allow_remote: false,
    };
    let server = BatchServer {
        data_socket: DataSocket::Rep,
        recorder: None,
        shared_memory: Box::new(Scripted { began: began_sender, go_on: go_on_receiver }),
        store: Store::unbounded(),
        helpers: Helpers::of_machine(),
        in_flight: InFlight::new(1 << 20, counters.clone(), stopping.clone()),
        outlet: Arc::new(outlet),
        counters: counters.clone(),
        limits: limits.clone(),
        stopping: stopping.clone(),
    };
    let intake = Intake {
        server,
        outbox: outbox.clone(),
        left_segments: crossbeam_channel::bounded(1).0,
        counters: counters.clone(),
        busy_timeout: Duration::from_millis(limits.busy_timeout_millis),
        stuck: AtomicBool::new(false),
    };
    let workers = Workers {
        intake,
        jobs: taken_jobs,
        answered: answered_sender,
        waker: waker.clone(),
        stopping: stopping.clone(),
        crew: Mutex::new(Crew::default()),
    };
    Arc::new(workers).start().unwrap();
    let thread = RequestThread {
        data: DataThread {
            socket,
            wake,
            stopping: stopping.clone(),
            outbox,
            frame_limits: FrameLimits { max_frames: 8, max_bytes: 1 << 20 },
        },
        jobs,
        answered,
        queue: Queue::new(limits.max_requests_in_hand, limits.max_message_bytes, counters.clone()),
    };
    let thread = Some(std::thread::spawn(move || thread.run()));
    Fixture { context, url, thread, stopping, waker, counters, deliveries, began, go_on }
}

impl Fixture {
    fn connect(&self, kind: zmq::SocketType) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.connect(&self.url).unwrap();
        socket
    }

    fn next_path(&self) -> String {
        loop {
            if let Delivery::Batch(batch) = self.deliveries.recv_timeout(PATIENCE).unwrap() {
                let item = &batch.items[0];
                assert!(matches!(&item.payload, ReceivedPayload::Image(image)
                    if image.pixels.to_vec().unwrap() == [7; 4]));
                return item.item.path.clone();
            }
        }
    }

    fn in_hand(&self) -> u64 {
        self.counters.snapshot().requests_in_hand
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn frame(path: &str, segment: &str) -> String {
    format!(
        r#"{{"type": "batch", "display_config": {{}}, "images": [
            {{"path": "{path}", "metadata": {{"well": "A01"}}, "shape": [2, 2], "dtype": "uint8", "shm_name": "{segment}"}}
        ]}}"#
    )
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8(reply).unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_producer_whose_pixels_take_long_holds_up_no_other() {
    let fixture = start(Limits::default());
    let (slow, quick) = (fixture.connect(zmq::REQ), fixture.connect(zmq::REQ));
    slow.send(&frame("slow", "slow"), 0).unwrap();
    fixture.began.recv_timeout(PATIENCE).unwrap();
    for round in 0..20 {
        quick.send(&frame(&format!("quick{round}"), "quick"), 0).unwrap();
        assert!(text(quick.recv_bytes(0).unwrap()).contains("success"));
        assert_eq!(fixture.next_path(), format!("quick{round}"));
    }
    assert_eq!(fixture.in_hand(), 1, "the slow one is still being served");
    fixture.go_on.send(()).unwrap();
    assert!(text(slow.recv_bytes(0).unwrap()).contains("success"));
    assert_eq!(fixture.next_path(), "slow");
}

#[test]
fn requests_of_one_peer_are_served_and_answered_in_their_order() {
    let fixture = start(Limits::default());
    let peer = fixture.connect(zmq::DEALER);
    // The first is held, good ones and bad ones wait behind it, although other workers are free.
    peer.send_multipart(["", &frame("0", "slow")], 0).unwrap();
    for number in 1..30 {
        let request = if number % 3 == 2 { format!("bad {number}") } else { frame(&number.to_string(), "quick") };
        peer.send_multipart(["", &request], 0).unwrap();
    }
    fixture.began.recv_timeout(PATIENCE).unwrap();
    eventually("all are read", || fixture.in_hand() == 30);
    assert!(fixture.deliveries.is_empty(), "a later request overtook the first");
    fixture.go_on.send(()).unwrap();
    for number in 0..30 {
        let reply = peer.recv_multipart(0).unwrap();
        assert_eq!((reply.len(), reply[0].len()), (2, 0));
        assert_eq!(text(reply[1].clone()).contains("success"), number % 3 != 2, "reply {number}");
    }
    let paths: Vec<String> = (0..20).map(|_| fixture.next_path()).collect();
    let expected: Vec<String> = (0..30).filter(|number| number % 3 != 2).map(|number| number.to_string()).collect();
    assert_eq!(paths, expected);
    assert_eq!(fixture.in_hand(), 0);
}

#[test]
fn a_panic_of_a_worker_is_an_error_reply_and_others_are_served() {
    let fixture = start(Limits::default());
    let producer = fixture.connect(zmq::REQ);
    for _ in 0..8 {
        producer.send(&frame("bad", "panic"), 0).unwrap();
        assert!(text(producer.recv_bytes(0).unwrap()).contains("That is a bug of the viewer"));
    }
    producer.send(&frame("good", "quick"), 0).unwrap();
    assert!(text(producer.recv_bytes(0).unwrap()).contains("success"));
    assert_eq!(fixture.next_path(), "good");
    assert_eq!(fixture.counters.snapshot().in_flight_bytes, 0);
}

#[test]
fn a_peer_that_leaves_before_its_reply_loses_nothing_of_others() {
    let fixture = start(Limits::default());
    let (leaving, staying) = (fixture.connect(zmq::REQ), fixture.connect(zmq::REQ));
    leaving.send(&frame("leaving", "slow"), 0).unwrap();
    fixture.began.recv_timeout(PATIENCE).unwrap();
    staying.send(&frame("staying", "slow"), 0).unwrap();
    fixture.began.recv_timeout(PATIENCE).unwrap();
    drop(leaving);
    fixture.go_on.send(()).unwrap();
    fixture.go_on.send(()).unwrap();
    assert!(text(staying.recv_bytes(0).unwrap()).contains("success"));
    let mut paths = [fixture.next_path(), fixture.next_path()];
    paths.sort();
    assert_eq!(paths, ["leaving", "staying"]);
    eventually("the request of the peer that left is done with", || fixture.in_hand() == 0);
}

#[test]
fn while_producers_wait_for_a_busy_app_a_bad_request_is_answered_at_once() {
    let limits = Limits { queue_batches: 1, busy_timeout_millis: 60_000, ..Limits::default() };
    let fixture = start(limits);
    let producers: Vec<_> = (0..6).map(|_| fixture.connect(zmq::REQ)).collect();
    producers.iter().for_each(|producer| producer.send(&frame("waits", "quick"), 0).unwrap());
    // One fits into the channel, the other five wait: more than the standing workers.
    assert!(text(producers[first_readable(&producers)].recv_bytes(0).unwrap()).contains("success"));
    let other = fixture.connect(zmq::REQ);
    for _ in 0..10 {
        other.send("garbage", 0).unwrap();
        assert!(text(other.recv_bytes(0).unwrap()).contains("error"));
    }
    assert_eq!(fixture.in_hand(), 5);
    (0..6).for_each(|_| assert_eq!(fixture.next_path(), "waits"));
    eventually("all are answered", || fixture.in_hand() == 0);
}

fn first_readable(sockets: &[zmq::Socket]) -> usize {
    let mut polled: Vec<_> = sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
    assert!(zmq::poll(&mut polled, PATIENCE.as_millis() as i64).unwrap() > 0);
    polled.iter().position(|item| item.is_readable()).unwrap()
}

#[test]
fn a_flood_of_requests_is_bounded_and_each_is_answered() {
    let limits = Limits { max_requests_in_hand: 8, ..Limits::default() };
    let fixture = start(limits);
    let peer = fixture.connect(zmq::DEALER);
    peer.send_multipart(["", &frame("0", "slow")], 0).unwrap();
    fixture.began.recv_timeout(PATIENCE).unwrap();
    for number in 1..200 {
        peer.send_multipart(["", &format!("flood {number}")], 0).unwrap();
    }
    eventually("as many as may be are read", || fixture.in_hand() == 8);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(fixture.in_hand(), 8);
    fixture.go_on.send(()).unwrap();
    for _ in 0..200 {
        peer.recv_multipart(0).unwrap();
        assert!(fixture.in_hand() <= 8);
    }
    peer.set_rcvtimeo(30).unwrap();
    assert!(peer.recv_multipart(0).is_err(), "a reply too many");
}

#[test]
fn no_further_request_is_read_once_enough_bytes_are_held() {
    let limits = Limits { max_message_bytes: 10_000, ..Limits::default() };
    let fixture = start(limits);
    let peer = fixture.connect(zmq::DEALER);
    peer.send_multipart(["", &frame("0", "slow")], 0).unwrap();
    fixture.began.recv_timeout(PATIENCE).unwrap();
    (0..10).for_each(|_| peer.send_multipart(["", &"x".repeat(6_000)], 0).unwrap());
    eventually("two are read", || fixture.in_hand() == 3);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(fixture.in_hand(), 3);
    fixture.go_on.send(()).unwrap();
    (0..11).for_each(|_| drop(peer.recv_multipart(0).unwrap()));
}

#[test]
fn messages_that_a_rep_socket_drops_are_dropped() {
    let fixture = start(Limits::default());
    let peer = fixture.connect(zmq::DEALER);
    peer.send("no envelope", 0).unwrap();
    peer.send_multipart(["a", "b", "c"], 0).unwrap();
    peer.send_multipart(["a", ""], 0).unwrap();
    peer.send("", 0).unwrap();
    peer.send_multipart(vec!["x"; 40], 0).unwrap();
    // What a proxy adds comes back; an empty body is a request, and so are several frames.
    peer.send_multipart(["proxy", "", ""], 0).unwrap();
    peer.send_multipart(["", "one", "", "three"], 0).unwrap();
    let reply = peer.recv_multipart(0).unwrap();
    assert_eq!((reply.len(), &reply[0][..], reply[1].len()), (3, &b"proxy"[..], 0));
    assert!(text(peer.recv_multipart(0).unwrap()[1].clone()).contains("not valid JSON"));
    peer.set_rcvtimeo(30).unwrap();
    assert!(peer.recv_multipart(0).is_err(), "a dropped message got a reply");
}

//! A receiver with an app's model behind it: what a viewer would answer, without a window and a GPU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wellscope::render::screenshot::Picture;
use wellscope::statistics::plane_statistics;
use wellscope::systems::control::save;
use wellscope::viewer::Viewer;
use wellscope_protocol::control::{ControlReply, ControlRequest, ScreenshotRequest};
use wellscope_protocol::endpoint::Transport;
use wellscope_protocol::pickle::{PickleLimits, PickleValue, decode};
use wellscope_receiver::{DataSocket, Delivery, Receiver, ReceiverConfig, SettleProgress};

use crate::cases::{Case, Step, files_below};
use crate::described;

/// Longer than any step takes, so that it only ends tests that hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Size of the canvas on which the replies of openhcs 0.8.6 were captured, as their zoom says.
const CANVAS_XY: [f64; 2] = [1000.0, 307.0];

const PORT: u16 = 5555;

/// What came of one step.
pub enum Outcome {
    /// Reply and deliveries of a message.
    Message(Value),
    /// Type and reply of a control request.
    Call(String, PickleValue),
}

/// The case's shared memory, under the names that its messages have; removed at the end.
struct Segments(Vec<PathBuf>);

impl Segments {
    fn create(folder: &Path) -> Self {
        let path = |file: &PathBuf| Path::new("/dev/shm").join(file.file_stem().unwrap());
        let files = files_below(folder);
        for file in &files {
            std::fs::copy(file, path(file)).unwrap();
        }
        Self(files.iter().map(path).collect())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The app: what it does with deliveries, at once.
struct Model {
    viewer: Viewer,
    receiver: Receiver,
    next_delivery: Box<dyn FnMut(Duration) -> Option<Delivery>>,
    taken: u64,
    /// Whether frames show what was taken.
    draws: bool,
    /// Where pictures go, whatever folder was asked for.
    pictures: tempfile::TempDir,
}

impl Model {
    /// Takes one delivery, if one comes in time.
    fn take(&mut self, patience: Duration) -> Option<Value> {
        let delivery = (self.next_delivery)(patience)?;
        self.taken += 1;
        let mut described = Value::Null;
        match delivery {
            Delivery::Batch(_) | Delivery::Problem(_) => {
                described = described::delivery(&delivery);
                if let Delivery::Batch(batch) = delivery {
                    for job in self.viewer.take_batch(batch).jobs {
                        let plane = &job.plane;
                        let bytes = plane.pixels.read().unwrap();
                        let statistics = plane_statistics(plane.element, plane.samples, &bytes);
                        self.viewer.take_statistics(&job, statistics);
                    }
                }
            }
            Delivery::Clear => self.viewer.clear_state(),
            Delivery::ShutdownRequested => {}
            Delivery::Call(call) => {
                let reply = match &call.request {
                    ControlRequest::Screenshot(request) => self.picture(request),
                    request => self.viewer.answer(request),
                };
                call.replier.reply(reply);
            }
        }
        self.end_frame();
        Some(described)
    }

    /// As the app does after each frame.
    fn end_frame(&mut self) {
        let settling = self.receiver.settling();
        let settled = settling.take_settled();
        self.viewer.unsettled_routes.retain(|route| !settled.contains(route));
        let routes = self.viewer.unsettled_routes.clone();
        let work_units = self.viewer.revision;
        settling.frame_ended(SettleProgress { taken: self.taken, routes, work_units }, self.draws);
    }

    /// A picture of 2 x 1 pixels. A capture's folder is another machine's, so it is not written there.
    fn picture(&self, asked: &ScreenshotRequest) -> ControlReply {
        let picture = Picture { width: 2, height: 1, rgba: vec![0, 128, 255, 255, 9, 9, 9, 255] };
        let output_dir_path = self.pictures.path().to_str().unwrap().to_owned();
        let here = ScreenshotRequest { output_dir_path, ..asked.clone() };
        let mut reply = save(&picture, &here, &self.viewer.title, PORT).unwrap();
        if let ControlReply::ScreenshotAck(ack) = &mut reply {
            ack.request = asked.clone();
        }
        reply
    }
}

/// Carries out the steps of a case with a receiver and a model of its own; recorded when `record` names a folder.
pub fn replay(case: &Case, record: Option<PathBuf>) -> Vec<Outcome> {
    // Cases name the same segments, and tests run at once, each perhaps in a process of its own.
    let turn = File::create(std::env::temp_dir().join("wellscope-transcripts.lock")).unwrap();
    turn.lock().unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut config = ReceiverConfig::new(home.path().to_owned());
    (config.transport, config.data_socket, config.record) = (Transport::Ipc, case.data_socket, record);
    config.pong_spelling = case.pong_spelling;
    config.identity.application = Some(("openhcs".into(), "0.8.6".into()));
    config.identity.log_file = Some("/home/u/h/viewer.log".into());
    let (receiver, deliveries) = Receiver::start(config, Arc::new(|| ())).unwrap();
    let _segments = Segments::create(&case.segments);

    let context = zmq::Context::new();
    let connected = |kind, url: &str| {
        let socket = context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(PATIENCE.as_millis() as i32).unwrap();
        socket.connect(url).unwrap();
        socket
    };
    // XPUB hears of the subscription; what a PUB sends before it is lost.
    let kind = if case.data_socket == DataSocket::Sub { zmq::XPUB } else { zmq::REQ };
    let data = connected(kind, &receiver.endpoints().data_url);
    let control = connected(zmq::REQ, &receiver.endpoints().control_url);
    if case.data_socket == DataSocket::Sub {
        assert_eq!(data.recv_bytes(0).unwrap(), b"\x01");
    }
    let mut viewer = Viewer::new("OpenHCS Napari Visualization", false);
    viewer.camera.resize(CANVAS_XY);
    let pictures = tempfile::tempdir().unwrap();
    let next_delivery = Box::new(move |patience| deliveries.recv_timeout(patience).ok());
    let mut model = Model { viewer, receiver, next_delivery, taken: 0, draws: case.draws, pictures };
    model.end_frame();
    let mut step = |step: &Step| match step {
        Step::Message(message) => {
            data.send_multipart(message, 0).unwrap();
            let reply = match case.data_socket {
                DataSocket::Rep => serde_json::from_slice(&data.recv_bytes(0).unwrap()).unwrap(),
                DataSocket::Sub => Value::Null,
            };
            // The outcome of a message, after the problem of items that were left out of it.
            let mut delivered = Vec::new();
            loop {
                delivered.push(model.take(PATIENCE).unwrap());
                let problem = delivered.last().and_then(|last| last["problem"].as_str());
                if !problem.is_some_and(|text| text.starts_with("Left out")) {
                    break;
                }
            }
            Outcome::Message(json!({"reply": reply, "deliveries": delivered}))
        }
        Step::Call(request) => {
            control.send(request, 0).unwrap();
            let started = Instant::now();
            while control.poll(zmq::POLLIN, 0).unwrap() == 0 {
                assert!(started.elapsed() < PATIENCE, "no reply came");
                model.take(Duration::from_millis(5));
            }
            let reply = control.recv_bytes(0).unwrap();
            while model.take(Duration::ZERO).is_some() {}
            model.end_frame();
            let name = ControlRequest::decode(request).ok().and_then(|request| request.type_name());
            let reply = decode(&reply, &PickleLimits::CONTROL_REPLY).unwrap();
            Outcome::Call(name.unwrap_or("(refused or unknown)").to_owned(), reply)
        }
    };
    case.steps.iter().map(&mut step).collect()
}

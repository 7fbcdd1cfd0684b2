//! Starting and ending the threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use crate::acks::{AckOutlet, AckThread};
use crate::config::{DataSocket, ReceiverConfig};
use crate::control_socket::{AnswerLane, ControlThread};
use crate::copy::Helpers;
use crate::counters::Counters;
use crate::data_socket::{DataThread, PublishedThread, Queue, RequestThread};
use crate::delivery::{Delivery, Wake};
use crate::endpoints::{self, BoundEndpoints, Endpoints, StartError};
use crate::in_flight::InFlight;
use crate::intake::Intake;
use crate::message::FrameLimits;
use crate::outbox::Outbox;
use crate::platform::{ProcessMeter, SystemSharedMemory};
use crate::record::Recorder;
use crate::serve::BatchServer;
use crate::settling::Settling;
use crate::wake::{Waker, wake_pair};
use crate::workers::{Crew, Workers};

/// A running receiver. Dropping it closes and removes its sockets and ends its threads.
pub struct Receiver {
    bound: Option<BoundEndpoints>,
    endpoints: Endpoints,
    counters: Arc<Counters>,
    settling: Arc<Settling>,
    stopping: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    /// Dropped to end the ack thread, after the others.
    stop_acks: Option<Sender<()>>,
    socket_threads: Vec<RunningThread>,
    ack_thread: Option<RunningThread>,
}

struct RunningThread {
    handle: JoinHandle<()>,
    /// Disconnects when the thread is through.
    done: crossbeam_channel::Receiver<()>,
}

/// Names of at most 15 bytes: Linux cuts longer ones.
const THREAD_NAMES: [&str; 3] = ["wellscope-acks", "wellscope-data", "wellscope-ctrl"];

/// How long an end waits for the threads. Only a copy of gigabytes in progress takes longer; then the thread is left to end by itself.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a closing control socket tries to get its last replies out; only clients that do not read make it wait.
const CONTROL_LINGER_MILLIS: i32 = 200;

/// Segments that wait for the ack thread, which takes them at once. The channel's memory is all used sooner or later, so that it is
/// no larger than it needs to be.
const LEFT_SEGMENTS_QUEUE: usize = 4_096;

impl Receiver {
    /// Binds the endpoints and starts serving. `wake` is called after each delivery.
    ///
    /// The channel is bounded by [`crate::Limits::queue_batches`]: when it is full, producers wait for their reply, then hear that the
    /// viewer is busy; control calls are kept aside in order; problems are only logged.
    ///
    /// # Errors
    /// See [`StartError`]: somebody serves this port, or the system refuses. Nothing stays bound then.
    pub fn start(
        config: ReceiverConfig,
        wake: Wake,
    ) -> Result<(Receiver, crossbeam_channel::Receiver<Delivery>), StartError> {
        let limits = config.limits.clone();
        let context = zmq::Context::new();
        let data = data_socket(&context, &config).map_err(system)?;
        let control =
            server_socket(&context, zmq::ROUTER, limits.max_control_message_bytes, &config).map_err(system)?;
        // A client that asked for the end gets its ack although the socket closes right after.
        control.set_linger(CONTROL_LINGER_MILLIS).map_err(system)?;
        let bound = endpoints::bind(&config, &context, &data, &control)?;
        let endpoints = bound.endpoints.clone();
        let recorders = config.record.as_deref().map(|folder| {
            Recorder::create(folder, limits.max_recording_bytes).map_err(|source| StartError::Folder {
                action: "record into a new folder",
                path: folder.to_owned(),
                source,
            })
        });
        let (recorder, control_recorder) = recorders.transpose()?.unzip();

        let counters = Arc::new(Counters::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (delivery_sender, deliveries) = crossbeam_channel::bounded(limits.queue_batches.max(1));
        let (ack_sender, acks) = crossbeam_channel::bounded(limits.max_pending_acks.max(1));
        let (left_sender, left_segments) = crossbeam_channel::bounded(LEFT_SEGMENTS_QUEUE);
        let (stop_acks, acks_stopped) = crossbeam_channel::bounded(1);
        let (answer_sender, answered) = crossbeam_channel::unbounded();
        let (data_waker, data_wake) = wake_pair(&context, "data").map_err(system)?;
        let (control_waker, control_wake) = wake_pair(&context, "control").map_err(system)?;
        let settling = Settling::new(counters.clone());
        let outbox = Outbox::new(delivery_sender, settling.clone(), wake, counters.clone(), stopping.clone());

        let mut receiver = Receiver {
            bound: Some(bound),
            endpoints: endpoints.clone(),
            counters: counters.clone(),
            settling: settling.clone(),
            stopping: stopping.clone(),
            wakers: vec![data_waker.clone(), control_waker.clone()],
            stop_acks: Some(stop_acks),
            socket_threads: Vec::new(),
            ack_thread: None,
        };

        let ack_thread = AckThread {
            context: context.clone(),
            acks,
            left_segments,
            stop: acks_stopped,
            shared_memory: Box::new(SystemSharedMemory),
            late_unlink: Duration::from_millis(limits.late_unlink_millis),
            counters: counters.clone(),
        };
        receiver.ack_thread = Some(spawn(THREAD_NAMES[0], move || ack_thread.run())?);

        let outlet = Arc::new(AckOutlet {
            sender: ack_sender,
            counters: counters.clone(),
            shared_url: endpoints.ack_url.clone(),
            viewer_port: endpoints.port,
            allow_remote: endpoints.serves_other_hosts,
        });
        let intake = Intake {
            server: BatchServer {
                data_socket: config.data_socket,
                recorder: recorder.map(Mutex::new),
                store: config.store,
                helpers: Helpers::of_machine(),
                in_flight: InFlight::new(limits.max_in_flight_bytes, counters.clone(), stopping.clone()),
                limits: limits.clone(),
                shared_memory: Box::new(SystemSharedMemory),
                outlet,
                counters: counters.clone(),
                stopping: stopping.clone(),
            },
            outbox: outbox.clone(),
            left_segments: left_sender,
            counters: counters.clone(),
            busy_timeout: Duration::from_millis(limits.busy_timeout_millis),
            stuck: AtomicBool::new(false),
        };
        let frame_limits = FrameLimits::of(&limits.batch_limits());
        let data = DataThread {
            socket: data,
            wake: data_wake,
            stopping: stopping.clone(),
            outbox: outbox.clone(),
            frame_limits,
        };
        let data_thread = match config.data_socket {
            DataSocket::Rep => {
                let (jobs, taken_jobs) = crossbeam_channel::bounded(limits.max_requests_in_hand.max(1));
                let (answer_sender, answered) = crossbeam_channel::unbounded();
                let workers = Workers {
                    intake,
                    jobs: taken_jobs,
                    answered: answer_sender,
                    waker: data_waker,
                    stopping: stopping.clone(),
                    crew: Mutex::new(Crew::default()),
                };
                Arc::new(workers)
                    .start()
                    .map_err(|error| StartError::System { reason: format!("threads that serve: {error}") })?;
                let queue = Queue::new(limits.max_requests_in_hand, limits.max_message_bytes, counters.clone());
                let thread = RequestThread { data, jobs, answered, queue };
                spawn(THREAD_NAMES[1], move || thread.run())
            }
            DataSocket::Sub => {
                let thread = PublishedThread { data, intake };
                spawn(THREAD_NAMES[1], move || thread.run())
            }
        };
        receiver.socket_threads.push(data_thread?);

        let control_thread = ControlThread {
            socket: control,
            wake: control_wake,
            answers: AnswerLane { sender: answer_sender, waker: control_waker },
            answered,
            stopping,
            outbox,
            settling,
            counters,
            identity: config.identity,
            ports: (endpoints.port, endpoints.control_port),
            spelling: config.pong_spelling,
            max_pending_calls: limits.max_pending_calls,
            recorder: control_recorder,
            meter: ProcessMeter::new(),
        };
        receiver.socket_threads.push(spawn(THREAD_NAMES[2], move || control_thread.run())?);
        tracing::info!(data = %endpoints.data_url, control = %endpoints.control_url, "receiving");
        Ok((receiver, deliveries))
    }

    /// Running totals of what was received, copied and answered.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// What the app tells of its frames, so that `settle` is answered.
    pub fn settling(&self) -> Arc<Settling> {
        self.settling.clone()
    }

    /// Where this receiver listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Closes and removes the sockets and ends the threads. Segments that producers left behind are removed now. Dropping does the same.
    pub fn shut_down(self) {
        drop(self);
    }

    fn stop(&mut self) {
        if let Some(bound) = &mut self.bound {
            bound.remove_socket_files();
        }
        self.stopping.store(true, Ordering::Release);
        self.wakers.iter().for_each(Waker::wake);
        let deadline = Instant::now() + JOIN_TIMEOUT;
        self.socket_threads.drain(..).for_each(|thread| thread.join_until(deadline));
        // After the data thread, so that the segments of its last batch are known.
        self.stop_acks = None;
        if let Some(thread) = self.ack_thread.take() {
            thread.join_until(deadline);
        }
        // The sockets are closed; now the locks go.
        self.bound = None;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

impl RunningThread {
    fn join_until(self, deadline: Instant) {
        // Nothing is ever sent: the channel only disconnects.
        match self.done.recv_deadline(deadline) {
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
                tracing::warn!(thread = self.handle.thread().name(), "a thread is still at work and ends by itself");
            }
            _ => {
                if self.handle.join().is_err() {
                    tracing::error!("a receiver thread ended in a panic");
                }
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<RunningThread, StartError> {
    let (alive, done) = crossbeam_channel::bounded(0);
    let body = move || {
        let _alive: Sender<()> = alive;
        run();
    };
    let handle = std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| StartError::System { reason: format!("thread {name}: {error}") })?;
    Ok(RunningThread { handle, done })
}

/// Requests of one peer that wait in the ROUTER socket, before the peer itself has to hold them. REQ peers have one at a time; a DEALER
/// that sends ahead may have binary frames of gigabytes in each, which ZeroMQ counts by messages only.
const REQUEST_QUEUE: i32 = 4;

/// Messages of publishers that wait in the SUB socket, as many as openhcs 0.5's own viewer holds. They are short: pixels lie in
/// shared memory.
const PUBLISHED_QUEUE: i32 = 100_000;

fn data_socket(context: &zmq::Context, config: &ReceiverConfig) -> zmq::Result<zmq::Socket> {
    let max_message_bytes = config.limits.max_message_bytes;
    match config.data_socket {
        DataSocket::Rep => {
            let socket = server_socket(context, zmq::ROUTER, max_message_bytes, config)?;
            socket.set_rcvhwm(REQUEST_QUEUE)?;
            Ok(socket)
        }
        DataSocket::Sub => {
            let socket = server_socket(context, zmq::SUB, max_message_bytes, config)?;
            socket.set_rcvhwm(PUBLISHED_QUEUE)?;
            socket.set_subscribe(b"")?;
            Ok(socket)
        }
    }
}

fn server_socket(
    context: &zmq::Context,
    kind: zmq::SocketType,
    max_message_bytes: u64,
    config: &ReceiverConfig,
) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    // Without a limit libzmq reserves whatever length a peer announces.
    socket.set_maxmsgsize(i64::try_from(max_message_bytes).unwrap_or(i64::MAX))?;
    socket.set_ipv6(config.bind.is_ipv6())?;
    Ok(socket)
}

fn system(error: zmq::Error) -> StartError {
    StartError::System { reason: format!("ZeroMQ: {error}") }
}

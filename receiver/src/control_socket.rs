//! The thread that owns the control socket. It answers by itself whatever does not need the app, so that a ping is answered
//! while the app is busy: clients take a viewer that misses a 200 ms ping for dead, and OpenHCS kills it.
//!
//! A ROUTER socket, because one client's slow question must not hold up another's ping.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use wellscope_protocol::control::{
    Application, ControlReply, ControlRequest, Extensions, Pong, PongSpelling, ProcessIdentity, ProcessUsage,
};

use crate::acks::VIEWER_TYPE;
use crate::config::ViewerIdentity;
use crate::counters::{self, Counters};
use crate::delivery::{ControlCall, Delivery, Replier, Severity};
use crate::outbox::Outbox;
use crate::platform::ProcessMeter;
use crate::record::{Asked, ControlRecorder};
use crate::settling::Settling;
use crate::text::printable;
use crate::wake::{WakeSignal, Waker};

/// What the thread owns.
pub(crate) struct ControlThread {
    pub socket: zmq::Socket,
    pub wake: WakeSignal,
    pub answers: AnswerLane,
    pub answered: Receiver<Answer>,
    pub stopping: Arc<AtomicBool>,
    pub outbox: Arc<Outbox>,
    pub settling: Arc<Settling>,
    pub counters: Arc<Counters>,
    pub identity: ViewerIdentity,
    pub ports: (u16, u16),
    pub spelling: PongSpelling,
    pub max_pending_calls: usize,
    pub recorder: Option<ControlRecorder>,
    pub meter: ProcessMeter,
}

/// How answers of the app come back to this thread, from whatever thread gives them.
#[derive(Clone)]
pub(crate) struct AnswerLane {
    pub sender: Sender<Answer>,
    pub waker: Waker,
}

/// The app's answer to the call with this number; `None`: it dropped the call.
pub(crate) struct Answer {
    call: u64,
    reply: Option<ControlReply>,
}

/// Who waits for a reply.
struct Caller {
    /// Frames before the empty one.
    envelope: Vec<Vec<u8>>,
    /// What was asked, where exchanges are recorded.
    asked: Option<Asked>,
}

/// A request that the app has and a client waits for.
struct PendingCall {
    call: u64,
    caller: Caller,
    is_settle: bool,
    deadline: Instant,
}

/// A client of `settle` polls, so it is better told soon that work is going on.
const SETTLE_DEADLINE: Duration = Duration::from_millis(200);
/// Agents give up after 5 s.
const CALL_DEADLINE: Duration = Duration::from_secs(4);
/// A screenshot may wait for a frame of a slow renderer.
const SCREENSHOT_DEADLINE: Duration = Duration::from_secs(60);
/// While something waits for room in the channel to the app, it is tried again this often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// Frames of one message that are looked at; a request has three, a few more behind proxies.
const MAX_FRAMES: usize = 8;

impl ControlThread {
    pub(crate) fn run(mut self) {
        let mut pending: Vec<PendingCall> = Vec::new();
        let mut next_call = 0;
        while !self.stopping.load(Ordering::Acquire) {
            let flushed = self.outbox.flush();
            let mut sockets = [self.socket.as_poll_item(zmq::POLLIN), self.wake.socket().as_poll_item(zmq::POLLIN)];
            match zmq::poll(&mut sockets, poll_timeout_millis(&pending, flushed)) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(error) => {
                    let text = format!("The control socket failed; clients get no answers any more: {error}");
                    self.outbox.report(Severity::Error, text);
                    return;
                }
            }
            if sockets[1].is_readable() {
                self.wake.clear();
            }
            while let Ok(answer) = self.answered.try_recv() {
                self.finish(&mut pending, answer);
            }
            self.expire(&mut pending);
            // A bounded number per round, so that a flood of requests does not hold up answers of the app.
            for _ in 0..64 {
                match self.take_request() {
                    Ok(Some((envelope, request))) => self.answer(&mut pending, &mut next_call, envelope, &request),
                    Ok(None) => {}
                    Err(zmq::Error::EINTR) => {}
                    Err(zmq::Error::EAGAIN) => break,
                    Err(error) => {
                        tracing::error!(%error, "cannot receive on the control socket");
                        break;
                    }
                }
            }
        }
        // Answers that the app gave just before the end, e.g. to the client that asked for it.
        while let Ok(answer) = self.answered.try_recv() {
            self.finish(&mut pending, answer);
        }
    }

    /// One request: who asked, and the payload. `None`: not a request that a REQ peer sends; dropped.
    fn take_request(&self) -> zmq::Result<Option<(Vec<Vec<u8>>, zmq::Message)>> {
        let mut envelope = vec![self.socket.recv_msg(zmq::DONTWAIT)?.to_vec()];
        let mut payload = None;
        let mut delimited = false;
        let mut frames = 1;
        while self.socket.get_rcvmore()? {
            let frame = self.socket.recv_msg(0)?;
            frames += 1;
            if frames > MAX_FRAMES {
                continue;
            }
            if delimited {
                payload = Some(frame);
            } else if frame.is_empty() {
                delimited = true;
            } else {
                envelope.push(frame.to_vec());
            }
        }
        // Identity, (routing frames of proxies,) an empty frame, one payload.
        match payload {
            Some(payload) if frames <= MAX_FRAMES && frames == envelope.len() + 2 => Ok(Some((envelope, payload))),
            _ => {
                tracing::warn!(frames, "a control message without the envelope of a REQ socket was dropped");
                Ok(None)
            }
        }
    }

    fn answer(&mut self, pending: &mut Vec<PendingCall>, next_call: &mut u64, envelope: Vec<Vec<u8>>, request: &[u8]) {
        let decoded = catch_unwind(|| ControlRequest::decode(request));
        // Pings come several times a second and tell nothing: see the module of recordings.
        let is_ping = matches!(decoded, Ok(Ok(ControlRequest::Ping)));
        let recorder = self.recorder.as_ref().filter(|_| !is_ping);
        let caller = Caller { envelope, asked: recorder.map(|recorder| recorder.asked(request)) };
        let request = match decoded {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => {
                let text = error.to_string();
                self.outbox.report(Severity::Warning, format!("A control request was refused. {}", printable(&text)));
                return self.send(&caller, &ControlReply::from(error));
            }
            Err(_) => {
                let text = "The viewer failed while it read this request. That is a bug of the viewer.";
                self.outbox.report(Severity::Error, text.into());
                return self.send(&caller, &error_reply(text));
            }
        };
        match request {
            ControlRequest::Ping => {
                let pong = self.pong();
                self.send(&caller, &ControlReply::Pong(pong));
            }
            ControlRequest::Shutdown(shutdown) => {
                if let Some(meant) = shutdown.process_identity
                    && let Some(own) = self.own_identity()
                    && meant != own
                {
                    let text = format!(
                        "This viewer is process {} (started {}), not the process {} (started {}) that is to shut down.",
                        own.pid, own.create_time, meant.pid, meant.create_time
                    );
                    return self.send(&caller, &error_reply(text));
                }
                tracing::info!("a client asked the viewer to shut down");
                self.send(&caller, &ControlReply::ShutdownAck);
                self.outbox.deliver_or_keep(Delivery::ShutdownRequested);
            }
            ControlRequest::ClearState => {
                self.outbox.deliver_or_keep(Delivery::Clear);
                self.send(&caller, &ControlReply::ClearStateAck);
            }
            ControlRequest::Unknown { type_name } => {
                self.send(&caller, &ControlReply::unsupported(&type_name));
            }
            request => self.forward(pending, next_call, caller, request),
        }
    }

    fn forward(&self, pending: &mut Vec<PendingCall>, next_call: &mut u64, caller: Caller, request: ControlRequest) {
        let is_settle = matches!(request, ControlRequest::Settle);
        // Calls past their deadline are pending no more, but may still wait for an app that takes nothing.
        if pending.len().max(self.outbox.waiting()) >= self.max_pending_calls {
            counters::add(&self.counters.controls_timed_out, 1);
            return self.send(&caller, &self.busy_reply(is_settle));
        }
        let patience = match request {
            ControlRequest::Settle => SETTLE_DEADLINE,
            ControlRequest::Screenshot(_) => SCREENSHOT_DEADLINE,
            _ => CALL_DEADLINE,
        };
        let call = *next_call;
        *next_call += 1;
        pending.push(PendingCall { call, caller, is_settle, deadline: Instant::now() + patience });
        let lane = self.answers.clone();
        let replier = Replier::new(move |reply| {
            // Without the thread nobody waits for the answer either.
            if lane.sender.send(Answer { call, reply }).is_ok() {
                lane.waker.wake();
            }
        });
        if is_settle {
            return self.settling.ask(self.outbox.waiting(), replier);
        }
        self.outbox.deliver_or_keep(Delivery::Call(ControlCall { request, replier }));
    }

    fn finish(&self, pending: &mut Vec<PendingCall>, answer: Answer) {
        // An unknown call has had its deadline; the client was told then.
        let Some(index) = pending.iter().position(|waiting| waiting.call == answer.call) else { return };
        let waiting = pending.swap_remove(index);
        let reply = answer
            .reply
            .unwrap_or_else(|| error_reply("The viewer dropped this request without an answer; ask again."));
        self.send(&waiting.caller, &reply);
    }

    fn expire(&self, pending: &mut Vec<PendingCall>) {
        let now = Instant::now();
        pending.retain(|waiting| {
            if waiting.deadline > now {
                return true;
            }
            counters::add(&self.counters.controls_timed_out, 1);
            self.send(&waiting.caller, &self.busy_reply(waiting.is_settle));
            false
        });
    }

    /// What a client hears when the app does not answer in time. A settle that is told "running" asks again.
    fn busy_reply(&self, is_settle: bool) -> ControlReply {
        if !is_settle {
            return error_reply("The viewer is busy and did not answer in time; ask again later.");
        }
        // Whatever it waits for comes with a frame; one that got lost must not leave clients asking for ever.
        self.outbox.wake();
        ControlReply::SettleAck(self.settling.running())
    }

    fn send(&self, caller: &Caller, reply: &ControlReply) {
        let counter = if matches!(reply, ControlReply::Error { .. }) {
            &self.counters.errors_replied
        } else {
            &self.counters.controls_answered
        };
        counters::add(counter, 1);
        let reply = reply.encode(self.spelling);
        if let (Some(recorder), Some(asked)) = (&self.recorder, &caller.asked)
            && let Some(end) = recorder.exchange(asked, &reply)
        {
            self.outbox.report(Severity::Warning, end);
        }
        let frames = caller.envelope.iter().cloned().chain([Vec::new(), reply]);
        // A ROUTER never waits for a peer: one that is gone or does not read loses its reply.
        if let Err(error) = self.socket.send_multipart(frames, zmq::DONTWAIT) {
            tracing::debug!(%error, "a control reply could not be sent");
        }
    }

    fn own_identity(&self) -> Option<ProcessIdentity> {
        Some(ProcessIdentity { pid: std::process::id(), create_time: self.meter.create_time()? })
    }

    fn pong(&mut self) -> Pong {
        let usage = self.meter.usage();
        Pong {
            port: self.ports.0,
            control_port: self.ports.1,
            ready: true,
            server: self.identity.server.clone(),
            server_type: VIEWER_TYPE.into(),
            application: (self.identity.application.clone()).map(|(id, version)| Application { id, version }),
            log_file_path: self.identity.log_file.as_ref().map(|path| path.display().to_string()),
            process_identity: self.own_identity(),
            usage: usage.map(|usage| ProcessUsage { memory_mb: usage.memory_mb, cpu_percent: usage.cpu_percent }),
            extensions: Some(Extensions::own()),
        }
    }
}

fn error_reply(message: impl Into<String>) -> ControlReply {
    ControlReply::error("error", message)
}

/// Until the next deadline; forever when nothing is pending, so that an idle viewer uses no CPU.
fn poll_timeout_millis(pending: &[PendingCall], flushed: bool) -> i64 {
    let deadline = pending.iter().map(|waiting| waiting.deadline).min();
    let until_deadline = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let wait = match (until_deadline, flushed) {
        (None, true) => return -1,
        (None, false) => FLUSH_INTERVAL,
        (Some(wait), true) => wait,
        (Some(wait), false) => wait.min(FLUSH_INTERVAL),
    };
    // Rounded up, or the last millisecond would be polled away in a busy loop.
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX - 1) + 1
}

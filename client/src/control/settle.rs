//! Waiting until a viewer has drawn everything it was sent.

use std::time::{Duration, Instant};

use wellscope_protocol::pickle::PickleValue;

use super::{ControlClient, ControlError, STATE_TIMEOUT, bad_reply, require_success};

/// How often OpenHCS asks while the viewer is at work.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A viewer that has drawn everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Layers that were redrawn; a viewer that is always up to date may say 0.
    pub updates: u64,
    /// How often we had to ask.
    pub polls: u64,
}

/// One `settle_ack`, checked as zmqruntime checks it.
struct SettleAck {
    complete: bool,
    completed: u64,
    total: u64,
    route: Option<String>,
    work_units: u64,
    work_unit_active: bool,
}

impl ControlClient {
    /// Asks until the viewer has drawn everything. An error when it says that it failed, when `deadline` passes, or
    /// when it makes no progress for [`STATE_TIMEOUT`].
    pub fn settle(&self, deadline: Duration) -> Result<Settled, ControlError> {
        let started = Instant::now();
        let mut progress = (0, 0);
        let mut progressed_at = started;
        let mut polls = 0;
        let mut last: Option<SettleAck> = None;
        loop {
            // At least a moment: the first question of a short deadline deserves its answer.
            let left = deadline.saturating_sub(started.elapsed()).clamp(Duration::from_millis(10), STATE_TIMEOUT);
            let reply = match (self.call("settle", None, left), last.take()) {
                (Ok(reply), _) => reply,
                // The deadline came before the answer to the last question; the one before it says how far the viewer was.
                (Err(_), Some(ack)) if started.elapsed() >= deadline => return Err(ack.not_settled(started.elapsed())),
                (Err(error), _) => return Err(error),
            };
            let ack = SettleAck::read(&reply)?;
            polls += 1;
            if ack.complete {
                return Ok(Settled { updates: ack.completed, polls });
            }
            if (ack.completed, ack.work_units) > progress || ack.work_unit_active {
                progress = (ack.completed, ack.work_units);
                progressed_at = Instant::now();
            }
            if started.elapsed() + POLL_INTERVAL > deadline || progressed_at.elapsed() > STATE_TIMEOUT {
                return Err(ack.not_settled(started.elapsed()));
            }
            last = Some(ack);
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl SettleAck {
    fn not_settled(self, waited: Duration) -> ControlError {
        let route = self.route.unwrap_or_else(|| "no route".to_owned());
        ControlError::NotSettled { waited, completed: self.completed, total: self.total, route }
    }

    fn read(reply: &PickleValue) -> Result<Self, ControlError> {
        require_success("settle", reply)?;
        let wrong = |field| bad_reply("settle", field, reply);
        let count = |field| reply.get(field).and_then(PickleValue::as_u64).ok_or_else(|| wrong(field));
        let complete = match reply.get("settle_phase").and_then(PickleValue::as_str) {
            Some("running") => false,
            Some("complete") => true,
            Some("failed") => {
                let message = reply.get("message").and_then(PickleValue::as_str).unwrap_or("it gave no reason");
                return Err(ControlError::Refused { request: "settle", message: message.to_owned() });
            }
            _ => return Err(wrong("settle_phase")),
        };
        let route = match reply.get("active_route") {
            Some(PickleValue::None) => None,
            Some(value) => Some(value.as_str().ok_or_else(|| wrong("active_route"))?.to_owned()),
            None => return Err(wrong("active_route")),
        };
        let ack = Self {
            complete,
            completed: count("completed_update_count")?,
            total: count("total_update_count")?,
            work_units: count("active_route_work_unit_count")?,
            work_unit_active: reply
                .get("active_route_work_unit_active")
                .and_then(PickleValue::as_bool)
                .ok_or_else(|| wrong("active_route_work_unit_active"))?,
            route,
        };
        if ack.completed > ack.total || (ack.complete && ack.completed != ack.total) {
            return Err(wrong("completed_update_count"));
        }
        if ack.complete && ack.route.is_some() {
            return Err(wrong("active_route"));
        }
        if ack.route.is_none() && (ack.work_units > 0 || ack.work_unit_active) {
            return Err(wrong("active_route_work_unit_count"));
        }
        Ok(ack)
    }
}

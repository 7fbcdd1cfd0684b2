//! Whether a viewer takes binary frames. Asked on its control socket, by a thread of its own: a viewer that hangs must not hold
//! up what else is to be done. A REP socket that expects one frame would break on several, so none are sent before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use wellscope_protocol::control::Extensions;

use super::connection::Waker;
use crate::control::ControlClient;
use crate::endpoint::ViewerEndpoint;

/// How long one attempt may take.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts, when nobody answered.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The question and its answer, for one viewer at a time.
pub(super) struct FramesQuestion {
    endpoint: ViewerEndpoint,
    state: Asked,
}

enum Asked {
    NotYet,
    /// `None` comes when nobody answered.
    Waiting(Receiver<Option<bool>>),
    InVain(Instant),
    Answered(bool),
}

impl FramesQuestion {
    pub fn new(endpoint: ViewerEndpoint) -> Self {
        Self { endpoint, state: Asked::NotYet }
    }

    /// Another viewer may have come.
    pub fn forget(&mut self) {
        self.state = Asked::NotYet;
    }

    /// What the viewer said; `None` until it said something. `waker` rings when it is worth asking again.
    pub fn answer(&mut self, waker: &Arc<Waker>) -> Option<bool> {
        if let Asked::Waiting(receiver) = &self.state {
            match receiver.try_recv() {
                Ok(Some(takes_frames)) => self.state = Asked::Answered(takes_frames),
                Ok(None) | Err(TryRecvError::Disconnected) => self.state = Asked::InVain(Instant::now()),
                Err(TryRecvError::Empty) => return None,
            }
        }
        match &self.state {
            Asked::Answered(takes_frames) => Some(*takes_frames),
            Asked::Waiting(_) => None,
            Asked::NotYet => self.ask(waker, Duration::ZERO),
            Asked::InVain(at) => {
                let pause = AGAIN_AFTER.saturating_sub(at.elapsed());
                self.ask(waker, pause)
            }
        }
    }

    fn ask(&mut self, waker: &Arc<Waker>, pause: Duration) -> Option<bool> {
        let (sender, receiver) = channel();
        let (endpoint, waker) = (self.endpoint.clone(), Arc::clone(waker));
        let ask = move || {
            std::thread::sleep(pause);
            let pong = ControlClient::connect(&endpoint).ok().and_then(|client| client.ping(PING_TIMEOUT).ok());
            let takes_frames = pong.map(|pong| {
                Extensions::from_pong(&pong.reply).is_some_and(|extensions| extensions.accepts(Extensions::FRAMES))
            });
            // Nobody listens when the stream has ended.
            let _ = sender.send(takes_frames);
            waker.wake();
        };
        self.state = match std::thread::Builder::new().name("wellscope-ask-frames".to_owned()).spawn(ask) {
            Ok(_) => Asked::Waiting(receiver),
            Err(_) => Asked::InVain(Instant::now()),
        };
        None
    }
}

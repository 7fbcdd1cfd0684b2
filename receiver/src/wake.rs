//! Waking a thread that sleeps in `zmq::poll`, from any other thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The sending end. Cloned handles share one inproc socket behind a lock that is held for one non-blocking send.
#[derive(Clone)]
pub(crate) struct Waker {
    socket: Arc<Mutex<zmq::Socket>>,
    pending: Arc<AtomicBool>,
}

/// The end that a socket thread polls beside its own socket.
pub(crate) struct WakeSignal {
    socket: zmq::Socket,
    pending: Arc<AtomicBool>,
}

/// A connected pair over `inproc://<name>`. The name must be unique in `context`.
pub(crate) fn wake_pair(context: &zmq::Context, name: &str) -> zmq::Result<(Waker, WakeSignal)> {
    let address = format!("inproc://wake-{name}");
    let receiver = context.socket(zmq::PULL)?;
    receiver.set_linger(0)?;
    receiver.bind(&address)?;
    let sender = context.socket(zmq::PUSH)?;
    sender.set_linger(0)?;
    sender.connect(&address)?;
    let pending = Arc::new(AtomicBool::new(false));
    let waker = Waker { socket: Arc::new(Mutex::new(sender)), pending: pending.clone() };
    Ok((waker, WakeSignal { socket: receiver, pending }))
}

impl Waker {
    /// Makes the thread's poll return. Never blocks; several calls before it wakes count as one.
    pub(crate) fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // With at most one signal pending the pipe cannot be full; a closed context means nobody is left to wake.
        let _ = socket.send(zmq::Message::new(), zmq::DONTWAIT);
    }
}

impl WakeSignal {
    pub(crate) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Takes the signal back; call before looking at what it announced.
    pub(crate) fn clear(&self) {
        while self.socket.recv_msg(zmq::DONTWAIT).is_ok() {}
        // A wake between these lines sends nothing, but what it announces was stored before: the swap makes it visible here.
        self.pending.swap(false, Ordering::AcqRel);
    }
}

//! Threads that serve requests, so that several producers are served at once.
//!
//! A worker may have to wait for the app, or for memory. When all of them do, one more starts, up to a bound: a producer whose
//! batch is wrong, or needs nothing from the app, hears so although others wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};

use crate::intake::Intake;
use crate::message::Message;
use crate::patience::Waiting;
use crate::wake::Waker;

/// One request.
pub(crate) struct Job {
    /// Who asked: the frames before the empty one.
    pub envelope: Vec<Vec<u8>>,
    /// What is behind it.
    pub message: Message,
}

/// One reply.
pub(crate) struct Answered {
    pub envelope: Vec<Vec<u8>>,
    pub reply: Vec<u8>,
    /// Bytes that the request kept in memory.
    pub request_bytes: u64,
}

/// What the workers share. Only their threads hold it, so that `answered` ends with the last of them.
pub(crate) struct Workers {
    pub intake: Intake,
    pub jobs: Receiver<Job>,
    pub answered: Sender<Answered>,
    pub waker: Waker,
    pub stopping: Arc<AtomicBool>,
    pub crew: Mutex<Crew>,
}

/// How many there are.
#[derive(Default)]
pub(crate) struct Crew {
    threads: usize,
    waiting: usize,
}

/// Of at most 15 bytes: Linux cuts longer names.
const THREAD_NAME: &str = "wellscope-work";
/// Most threads, those that wait included.
const MAX_THREADS: usize = 32;

/// Workers that stay: as many as have cores, at least two, so that one long request leaves one for others.
fn standing_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

impl Workers {
    /// Starts the threads that stay.
    ///
    /// # Errors
    /// When the system gives none. Fewer than wanted are no error.
    pub(crate) fn start(self: Arc<Self>) -> std::io::Result<()> {
        for index in 0..standing_threads() {
            self.crew().threads += 1;
            if let Err(error) = self.clone().spawn() {
                self.crew().threads -= 1;
                if index == 0 {
                    return Err(error);
                }
                tracing::warn!(%error, "fewer producers are served at once");
            }
        }
        Ok(())
    }

    fn crew(&self) -> MutexGuard<'_, Crew> {
        self.crew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: Arc<Self>) -> std::io::Result<()> {
        std::thread::Builder::new().name(THREAD_NAME.into()).spawn(move || self.run()).map(drop)
    }

    fn run(self: Arc<Self>) {
        while let Ok(job) = self.jobs.recv() {
            if self.stopping.load(Ordering::Acquire) {
                break;
            }
            let answer = || self.intake.answer(&job.message, &self);
            let reply = catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Intake::failed_reply());
            let Job { envelope, message } = job;
            let request_bytes = message.size_bytes();
            // Let go before the socket's thread takes the next one for it.
            drop(message);
            // The socket's thread waits for the last of these before it ends.
            let _ = self.answered.send(Answered { envelope, reply, request_bytes });
            self.waker.wake();
            let mut crew = self.crew();
            if crew.threads.saturating_sub(crew.waiting) > standing_threads() {
                crew.threads -= 1;
                return;
            }
        }
        self.crew().threads -= 1;
    }
}

impl Waiting for Arc<Workers> {
    fn begins(&self) {
        let mut crew = self.crew();
        crew.waiting += 1;
        if crew.waiting < crew.threads || crew.threads >= MAX_THREADS {
            return;
        }
        crew.threads += 1;
        drop(crew);
        if let Err(error) = self.clone().spawn() {
            self.crew().threads -= 1;
            tracing::warn!(%error, "producers wait until the app takes images");
        }
    }

    fn ends(&self) {
        self.crew().waiting -= 1;
    }
}

//! How long one request may wait for the app or for memory, and who is told that it does.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Told when a thread waits for something that only the app can bring about, so that others can take over its work.
pub(crate) trait Waiting: Sync {
    /// The calling thread will not go on by itself.
    fn begins(&self);
    /// It goes on.
    fn ends(&self);
}

/// Nobody takes over.
pub(crate) struct Alone;

impl Waiting for Alone {
    fn begins(&self) {}
    fn ends(&self) {}
}

/// Several threads of one request: it waits as soon as one of them does, and goes on when none does any more.
pub(crate) struct Together<'a> {
    request: &'a dyn Waiting,
    threads: Mutex<usize>,
}

impl<'a> Together<'a> {
    pub(crate) fn new(request: &'a dyn Waiting) -> Self {
        Self { request, threads: Mutex::default() }
    }
}

impl Waiting for Together<'_> {
    fn begins(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        *threads += 1;
        if *threads == 1 {
            self.request.begins();
        }
    }

    fn ends(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        *threads -= 1;
        if *threads == 0 {
            self.request.ends();
        }
    }
}

/// Until when a request may wait.
#[derive(Clone, Copy)]
pub(crate) struct Patience<'a> {
    pub deadline: Instant,
    pub waiting: &'a dyn Waiting,
}

impl Patience<'_> {
    /// Tries at once and, when that fails as `is_busy` says, once more, waiting until the deadline.
    pub(crate) fn attempt<T>(&self, mut attempt: impl FnMut(Instant) -> T, is_busy: impl Fn(&T) -> bool) -> T {
        let first = attempt(Instant::now());
        if !is_busy(&first) {
            return first;
        }
        // What came back may hold memory that the second attempt waits for.
        drop(first);
        self.wait(attempt)
    }

    /// Does what may wait until the deadline.
    pub(crate) fn wait<T>(&self, wait: impl FnOnce(Instant) -> T) -> T {
        struct Ends<'a>(&'a dyn Waiting);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.ends();
            }
        }
        self.waiting.begins();
        let _ends = Ends(self.waiting);
        wait(self.deadline)
    }
}

//! Making tiles off the render thread: planes are brought back from disk, reduced, narrowed and packed by worker threads.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::host::wake::Wake;
use crate::render::pyramid::level_texels;
use crate::render::scene::{PlaneBytes, PlaneSource};
use crate::render::texels::is_native;
use crate::render::tiles::{Tile, TileKey};

/// A tile to be made.
#[derive(Clone)]
pub struct TileJob {
    /// Which part of which level.
    pub tile: Tile,
    /// The pixels.
    pub plane: PlaneSource,
}

/// What became of a tile.
pub enum Prepared {
    /// Its texels, `tile.texels` wide and high.
    Texels(Vec<u8>),
    /// The plane's own bytes, which are texels as they are, now in memory.
    Plane(PlaneBytes),
    /// The disk does not give the plane back; the sentence says why.
    Lost(String),
}

/// Threads that make tiles, the most wanted first.
pub struct Preparer {
    shared: Arc<Shared>,
    done: Receiver<(TileJob, Prepared)>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<TileJob>,
    in_work: HashSet<TileKey>,
    wake: Option<Wake>,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Preparer {
    /// Starts the threads; they end when this is dropped.
    pub fn start(threads: usize) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (finished, done) = unbounded();
        for number in 0..threads {
            let (worker, finished) = (Arc::clone(&shared), finished.clone());
            let started =
                std::thread::Builder::new().name(format!("tiles-{number}")).spawn(move || work(&worker, &finished));
            if let Err(error) = started {
                tracing::warn!("a thread that makes tiles could not be started: {error}");
            }
        }
        Self { shared, done }
    }

    /// Called when a tile is ready.
    pub fn wake_with(&self, wake: &Wake) {
        let mut state = self.shared.lock();
        if state.wake.is_none() {
            state.wake = Some(wake.clone());
        }
    }

    /// Replaces the list of tiles to make, most wanted first. What is in work already goes on.
    pub fn want(&self, jobs: Vec<TileJob>) {
        let mut state = self.shared.lock();
        if jobs.is_empty() && state.waiting.is_empty() {
            return;
        }
        let State { waiting, in_work, .. } = &mut *state;
        waiting.clear();
        waiting.extend(jobs.into_iter().filter(|job| !in_work.contains(&job.tile.key)));
        drop(state);
        self.shared.changed.notify_all();
    }

    /// A tile that was made since the last call.
    pub fn take(&self) -> Option<(TileJob, Prepared)> {
        let (job, prepared) = self.done.try_recv().ok()?;
        self.shared.lock().in_work.remove(&job.tile.key);
        Some((job, prepared))
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.waiting.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn work(shared: &Shared, finished: &Sender<(TileJob, Prepared)>) {
    loop {
        let mut state = shared.lock();
        let job = loop {
            if state.is_over {
                return;
            }
            if let Some(job) = state.waiting.pop_front() {
                break job;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.in_work.insert(job.tile.key);
        let wake = state.wake.clone();
        drop(state);
        let prepared = prepare(&job);
        if finished.send((job, prepared)).is_err() {
            return;
        }
        if let Some(wake) = wake {
            wake.wake();
        }
    }
}

/// Makes one tile.
pub fn prepare(TileJob { tile, plane }: &TileJob) -> Prepared {
    match plane.pixels.read() {
        Ok(bytes) if tile.key.level == 0 && is_native(plane) => Prepared::Plane(bytes),
        Ok(bytes) => Prepared::Texels(level_texels(plane, &bytes, tile.key.level, tile.texels)),
        Err(error) => Prepared::Lost(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::scene::{PlaneId, PlanePixels};
    use crate::render::tiles::Tiling;
    use wellscope_protocol::dtype::ElementType;

    fn job(id: u64, level: u8) -> TileJob {
        let pixels = PlanePixels::from_vec((0..64).collect());
        let plane = PlaneSource {
            id: PlaneId(id),
            width: 8,
            height: 8,
            samples: 1,
            element: ElementType::U8,
            pixels,
            labels: false,
            timing: None,
        };
        TileJob { tile: Tiling::default().tile(PlaneId(id), [8, 8], level, 0, 0), plane }
    }

    #[test]
    fn tiles_come_back_and_the_loop_is_woken_for_each() {
        let preparer = Preparer::start(2);
        let (wake, woken) = Wake::with_channel();
        preparer.wake_with(&wake);
        preparer.want((1..=8).map(|id| job(id, 1)).collect());
        let mut found = HashSet::new();
        while found.len() < 8 {
            woken.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
            while let Some((job, prepared)) = preparer.take() {
                assert!(matches!(prepared, Prepared::Texels(texels) if texels.len() == 16));
                assert!(found.insert(job.tile.key), "{:?} was made twice", job.tile.key);
            }
        }
        assert!(preparer.shared.lock().in_work.is_empty());
    }

    #[test]
    fn what_is_no_longer_wanted_is_not_made() {
        let preparer = Preparer::start(0);
        preparer.want((1..=8).map(|id| job(id, 1)).collect());
        preparer.want(vec![job(9, 1)]);
        let waiting: Vec<u64> = preparer.shared.lock().waiting.iter().map(|job| job.tile.key.plane.0).collect();
        assert_eq!(waiting, [9]);
    }

    #[test]
    fn full_resolution_of_a_native_plane_is_the_plane_itself() {
        assert!(matches!(prepare(&job(1, 0)), Prepared::Plane(bytes) if bytes.len() == 64));
    }
}

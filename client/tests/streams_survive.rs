//! What a stream does when its viewer is late, gone, hanging, slow or unwilling: the work goes on and the loss is counted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests; clippy.toml exempts only functions marked as such")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use common::*;
use ndarray::Array2;
use wellscope_client::{
    AtBound, LossReason, SaveError, SaveRequest, StreamingBackend, StreamingConfig, Ticket, ViewerEndpoint, WaitError,
};

const BYTES: u64 = 64;

fn save(backend: &StreamingBackend, value: u8) -> Result<Ticket, SaveError> {
    let image = Array2::from_elem((8, 8), value);
    let request = SaveRequest::new(vec![[("well".to_owned(), "A01".into())].into()]);
    backend.save_batch([image.view()], &[format!("{value}")], &request)
}

fn connect(config: StreamingConfig) -> StreamingBackend {
    StreamingBackend::connect(config).unwrap()
}

fn endpoints(home: &tempfile::TempDir) -> Vec<ViewerEndpoint> {
    let mut endpoints = vec![tcp(home)];
    if cfg!(unix) {
        endpoints.push(ipc(home));
    }
    endpoints
}

#[test]
fn a_viewer_that_comes_late_gets_everything_in_order() {
    let home = home();
    for endpoint in endpoints(&home) {
        let backend = connect(stream(&endpoint));
        let tickets: Vec<Ticket> = (0..10).map(|value| save(&backend, value).unwrap()).collect();
        assert_eq!(backend.status().on_its_way.batches, 10);
        assert!(!backend.status().is_connected);
        let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
        tickets.iter().for_each(|ticket| ticket.wait(PATIENCE).unwrap());
        let values: Vec<u8> = (0..10).map(|_| viewer.next().pixels[0][0]).collect();
        assert_eq!(values, (0..10).collect::<Vec<_>>());
        assert!(backend.close(PATIENCE).is_empty());
        assert_no_segment_is_left(&[]);
    }
}

#[test]
fn without_a_viewer_batches_are_lost_at_their_deadline_and_counted() {
    let home = home();
    let backend = connect(StreamingConfig { deadline: MOMENT, ..stream(&tcp(&home)) });
    let tickets = [save(&backend, 1).unwrap(), save(&backend, 2).unwrap()];
    for ticket in tickets {
        let error = ticket.wait(PATIENCE).unwrap_err();
        assert!(matches!(error, WaitError::Lost(LossReason::NobodyListens { .. })), "{error}");
    }
    let losses = backend.losses();
    assert_eq!((losses.viewer_gone.batches, losses.viewer_gone.items, losses.viewer_gone.bytes), (2, 2, 2 * BYTES));
    assert_eq!(losses.outages, 1);
    drop(backend);
    assert_no_segment_is_left(&[]);
}

#[test]
fn dropping_a_stream_without_a_viewer_takes_no_longer_than_told() {
    let home = home();
    let backend = connect(StreamingConfig { drop_timeout: MOMENT, ..stream(&tcp(&home)) });
    let ticket = save(&backend, 1).unwrap();
    let begun = Instant::now();
    drop(backend);
    assert!(begun.elapsed() < PATIENCE, "it waited for the deadline of the batch");
    assert_eq!(ticket.outcome(), Some(Err(LossReason::Closed)));
    assert_no_segment_is_left(&[]);
}

/// The first viewer takes four batches and dies with them; the second answers.
#[test]
fn a_viewer_that_dies_takes_one_batch_along_and_the_next_gets_the_others() {
    let home = home();
    for endpoint in endpoints(&home) {
        let url = endpoint.data_url().unwrap();
        let dying = StandIn::serve_batches(&url, |_| Answer::Silence);
        let backend = connect(stream(&endpoint));
        let tickets: Vec<Ticket> = (0..6).map(|value| save(&backend, value).unwrap()).collect();
        let taken: Vec<_> = (0..4).map(|_| dying.next()).collect();
        assert!(dying.seen.recv_timeout(MOMENT).is_err(), "no more than four are handed over at once");
        drop(dying);
        let error = tickets[0].wait(PATIENCE).unwrap_err();
        assert!(matches!(error, WaitError::Lost(LossReason::WentAway { .. })), "{error}");
        assert!(read_segment(&taken[0].segments[0]).is_none(), "the lost batch left its segment");
        let next = StandIn::serve_batches(&url, success);
        tickets[1..].iter().for_each(|ticket| ticket.wait(PATIENCE).unwrap());
        let values: Vec<u8> = (1..6).map(|_| next.next().pixels[0][0]).collect();
        assert_eq!(values, [1, 2, 3, 4, 5]);
        save(&backend, 6).unwrap().wait(PATIENCE).unwrap();
        let losses = backend.close(PATIENCE);
        assert_eq!((losses.viewer_gone.batches, losses.total().batches, losses.outages), (1, 1, 1), "{losses}");
        let seen: Vec<String> = taken.into_iter().flat_map(|seen| seen.segments).collect();
        assert_no_segment_is_left(&seen);
    }
}

/// A viewer may come to a batch long after it was given up: it must not find the pixels of another.
#[test]
fn segments_that_a_hanging_viewer_may_still_read_are_not_used_again() {
    let home = home();
    let endpoint = tcp(&home);
    let mut count = 0;
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |batch| {
        count += 1;
        // The first two arrive on the first connection, which hangs.
        if count <= 2 { Answer::Silence } else { success(batch) }
    });
    let backend = connect(StreamingConfig { deadline: Duration::from_secs(2), ..stream(&endpoint) });
    let first = save(&backend, 1).unwrap();
    let hung = viewer.next();
    std::thread::sleep(Duration::from_secs(1));
    let second = save(&backend, 2).unwrap();
    let sent_twice = viewer.next();
    let error = first.wait(PATIENCE).unwrap_err();
    assert!(matches!(error, WaitError::Lost(LossReason::NoReply { .. })), "{error}");
    assert!(read_segment(&hung.segments[0]).is_none(), "the lost batch left its segment");
    // A loaded machine may need longer than its deadline for the second attempt; it is lost then, and not shown wrongly.
    let second = second.wait(PATIENCE);
    let third = save(&backend, 3).unwrap();
    third.wait(PATIENCE).unwrap();
    assert!(second.is_ok(), "{second:?}");
    let repeated = viewer.next();
    assert_eq!(repeated.segments, sent_twice.segments, "the same message again");
    assert_eq!(repeated.pixels[0], [2; 64]);
    let fresh = viewer.next();
    assert!(fresh.segments != hung.segments && fresh.segments != sent_twice.segments, "{:?}", fresh.segments);
    assert!(read_segment(&sent_twice.segments[0]).is_none());
    let losses = backend.close(PATIENCE);
    assert_eq!((losses.no_reply.batches, losses.total().batches, losses.outages), (1, 1, 1), "{losses}");
    assert_no_segment_is_left(&fresh.segments);
}

#[test]
fn refusals_are_counted_and_told_in_the_viewers_words() {
    let home = home();
    let endpoint = tcp(&home);
    let mut count = 0;
    let _viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |_| {
        count += 1;
        Answer::Reply(match count {
            1 => br#"{"status": "error", "type": "batch", "message": "no such component"}"#.to_vec(),
            2 => b"[]".to_vec(),
            _ => SUCCESS.to_vec(),
        })
    });
    let backend = connect(stream(&endpoint));
    let refused = save(&backend, 1).unwrap().wait(PATIENCE);
    let message = "no such component".to_owned();
    assert_eq!(refused, Err(WaitError::Lost(LossReason::Refused { message: message.clone() })));
    assert_eq!(backend.losses().last_refusal, Some(message));
    let odd = save(&backend, 2).unwrap().wait(PATIENCE).unwrap_err();
    assert!(matches!(odd, WaitError::Lost(LossReason::BadReply { .. })), "{odd}");
    save(&backend, 3).unwrap().wait(PATIENCE).unwrap();
    let losses = backend.close(PATIENCE);
    assert_eq!((losses.refused.batches, losses.total().batches, losses.outages), (2, 2, 0));
    assert_no_segment_is_left(&[]);
}

/// A viewer that answers nothing until told.
fn held_viewer(endpoint: &ViewerEndpoint) -> (StandIn, Arc<AtomicBool>) {
    let is_free = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_free);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), move |batch| {
        let begun = Instant::now();
        while !told.load(Ordering::Acquire) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        success(batch)
    });
    (viewer, is_free)
}

#[test]
fn at_the_bound_batches_are_refused_counted_and_taken_again_later() {
    let home = home();
    let endpoint = tcp(&home);
    let (viewer, is_free) = held_viewer(&endpoint);
    let bounds = [
        StreamingConfig { max_batches: 3, ..stream(&endpoint) },
        StreamingConfig { max_bytes: 3 * BYTES + 1, ..stream(&endpoint) },
    ];
    for config in bounds {
        is_free.store(false, Ordering::Release);
        let backend = connect(StreamingConfig { at_bound: AtBound::Refuse, ..config });
        (0..3).for_each(|value| drop(save(&backend, value).unwrap()));
        for _ in 0..4 {
            let full = save(&backend, 9).unwrap_err();
            assert!(matches!(full, SaveError::Full { batches: 3, bytes } if bytes == 3 * BYTES), "{full}");
        }
        assert_eq!(backend.status().on_its_way.batches, 3);
        is_free.store(true, Ordering::Release);
        assert_eq!(backend.flush(PATIENCE).batches, 0);
        save(&backend, 4).unwrap().wait(PATIENCE).unwrap();
        let losses = backend.close(PATIENCE);
        assert_eq!((losses.not_taken.batches, losses.not_taken.bytes, losses.outages), (4, 4 * BYTES, 1));
        assert_eq!(losses.total().batches, 4);
        let values: Vec<u8> = (0..4).map(|_| viewer.next().pixels[0][0]).collect();
        assert_eq!(values, [0, 1, 2, 4]);
    }
}

#[test]
fn a_batch_above_the_bound_goes_alone() {
    let home = home();
    let endpoint = tcp(&home);
    let _viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let backend = connect(StreamingConfig { max_bytes: BYTES - 1, at_bound: AtBound::Block, ..stream(&endpoint) });
    for value in 0..5 {
        save(&backend, value).unwrap();
    }
    assert!(backend.close(PATIENCE).is_empty());
}

#[test]
fn all_waits_at_the_bound_together_stay_within_the_patience() {
    let home = home();
    let endpoint = tcp(&home);
    let (_viewer, is_free) = held_viewer(&endpoint);
    let patience = Duration::from_millis(200);
    let at_bound = AtBound::Wait { patience };
    let backend = connect(StreamingConfig { max_batches: 1, at_bound, ..stream(&endpoint) });
    let begun = Instant::now();
    save(&backend, 0).unwrap();
    until("the connection", || backend.status().is_connected);
    let full = (0..50).filter(|_| matches!(save(&backend, 1), Err(SaveError::Full { .. }))).count();
    assert_eq!(full, 50);
    assert!(begun.elapsed() >= patience, "nobody waited");
    // 50 waits of their own would be 10 s; together they are the patience and a twentieth of the time.
    assert!(begun.elapsed() < 25 * patience, "{:?}", begun.elapsed());
    is_free.store(true, Ordering::Release);
    assert_eq!(backend.close(PATIENCE).not_taken.batches, 50);
}

#[test]
fn who_asks_to_wait_waits_and_loses_nothing() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), |batch| {
        std::thread::sleep(Duration::from_millis(2));
        success(batch)
    });
    let backend = connect(StreamingConfig { max_batches: 2, at_bound: AtBound::Block, ..stream(&endpoint) });
    for value in 0..100 {
        save(&backend, value).unwrap();
        assert!(backend.status().on_its_way.batches <= 2);
    }
    assert!(backend.close(PATIENCE).is_empty());
    assert_eq!((0..100).map(|_| viewer.next().pixels[0][0]).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
}

#[test]
fn many_threads_save_at_once_each_in_its_order_and_within_the_bound() {
    const THREADS: u8 = 8;
    const BATCHES: u8 = 30;
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), success);
    let backend = connect(StreamingConfig { max_batches: 5, at_bound: AtBound::Block, ..stream(&endpoint) });
    let start = Barrier::new(THREADS.into());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (backend, start) = (&backend, &start);
            scope.spawn(move || {
                start.wait();
                for batch in 0..BATCHES {
                    let image = Array2::from_shape_fn((50, 50), |(y, _)| if y == 0 { thread } else { batch });
                    let request = SaveRequest::new(vec![[("well".to_owned(), i64::from(thread).into())].into()]);
                    backend.save_batch([image.view()], &["a"], &request).unwrap();
                    assert!(backend.status().on_its_way.batches <= 5);
                }
            });
        }
    });
    assert_eq!(backend.flush(PATIENCE).batches, 0);
    let mut next = [0; THREADS as usize];
    for _ in 0..u32::from(THREADS) * u32::from(BATCHES) {
        let seen = viewer.next();
        let (thread, batch) = (seen.pixels[0][0], seen.pixels[0][50]);
        assert_eq!(batch, next[usize::from(thread)], "of thread {thread}");
        assert_eq!(seen.pixels[0], [vec![thread; 50], vec![batch; 2450]].concat(), "pixels of two batches are mixed");
        next[usize::from(thread)] += 1;
    }
    let status = backend.status();
    assert_eq!((status.shown.batches, status.saved.bytes), (240, 240 * 2500));
    assert!(backend.close(PATIENCE).is_empty());
    assert_no_segment_is_left(&[]);
}

/// What the test below starts in a process of its own, to kill it. By itself it does nothing.
#[test]
fn a_producer_to_be_killed() {
    let Some(port) = std::env::var_os("WELLSCOPE_TEST_KILLED_PORT") else { return };
    let home = home();
    let port: u16 = port.to_str().unwrap().parse().unwrap();
    let endpoint = ViewerEndpoint { port, ..tcp(&home) };
    let backend = connect(stream(&endpoint));
    for value in 0..3 {
        save(&backend, value).unwrap();
    }
    std::thread::sleep(3 * PATIENCE);
}

#[cfg(target_os = "linux")]
#[test]
fn segments_of_a_killed_producer_are_removed_by_the_next() {
    let home = home();
    let endpoint = tcp(&home);
    let viewer = StandIn::serve_batches(&endpoint.data_url().unwrap(), |_| Answer::Silence);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_producer_to_be_killed", "--nocapture"])
        .env("WELLSCOPE_TEST_KILLED_PORT", endpoint.port.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let seen: Vec<String> = (0..3).flat_map(|_| viewer.next().segments).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|name| read_segment(name).is_some()), "a killed process cannot clean up");
    let next = connect(stream(&endpoint));
    assert_no_segment_is_left(&seen);
    // Its own are not touched by those who come after it.
    let ticket = save(&next, 1).unwrap();
    let own = viewer.next().segments;
    drop(connect(stream(&endpoint)));
    assert!(read_segment(&own[0]).is_some());
    assert_eq!(ticket.outcome(), None);
    drop(viewer);
    assert_eq!(next.close(MOMENT).total().batches, 1);
}

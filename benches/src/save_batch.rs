//! How long a pipeline is held up by showing 64 MiB: `save_batch` of our client against a copy of as many bytes.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::Array2;
use wellscope_client::{SaveRequest, StreamingBackend, StreamingConfig, Transport, ViewerEndpoint};

use crate::{ROUNDS, Shape, median};

const LIMIT: Duration = Duration::from_secs(30);

/// Medians of `save_batch` and of a memcpy into warm memory, taken in turn. The receiver at `home` answers before the next
/// round, as in a pipeline that computes for longer than it copies.
pub fn times(home: &Path, shape: Shape) -> anyhow::Result<(Duration, Duration)> {
    let endpoint = ViewerEndpoint { transport: Transport::Ipc, home: home.to_owned(), ..ViewerEndpoint::openhcs(5555) };
    let backend = StreamingBackend::connect(StreamingConfig::new(endpoint))?;
    let side = shape.side as usize;
    let arrays: Vec<Array2<u16>> =
        (0..shape.images).map(|index| Array2::from_elem((side, side), index as u16)).collect();
    let paths: Vec<String> = (0..shape.images).map(|index| format!("/plate/{index}.tif")).collect();
    let request =
        SaveRequest::new((0..shape.images as i64).map(|site| [("site".to_owned(), site.into())].into()).collect());
    let mut targets = arrays.clone();
    let (mut saves, mut copies) = (Vec::new(), Vec::new());
    // The first rounds make the segments and map them.
    for round in 0..ROUNDS + 3 {
        let started = Instant::now();
        let ticket = backend.save_batch(arrays.iter().map(|array| array.view()), &paths, &request)?;
        let saved = started.elapsed();
        ticket.wait(LIMIT)?;
        let started = Instant::now();
        for (target, source) in targets.iter_mut().zip(&arrays) {
            if let (Some(target), Some(source)) = (target.as_slice_mut(), source.as_slice()) {
                target.copy_from_slice(black_box(source));
            }
        }
        black_box(&targets);
        let copied = started.elapsed();
        if round >= 3 {
            saves.push(saved);
            copies.push(copied);
        }
    }
    let losses = backend.close(LIMIT);
    anyhow::ensure!(losses.is_empty(), "{losses}");
    Ok((median(saves), median(copies)))
}

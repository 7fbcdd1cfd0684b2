//! Any bytes on the data socket give a batch or an error; a batch keeps its promises about sizes and survives `encode`. Binary frames
//! of fixed lengths lie beside them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wellscope_fuzz::assert_survives_encode;
use wellscope_protocol::batch::{Batch, BatchLimits, Payload, PixelSource, image_ids};
use wellscope_protocol::dtype::checked_size_bytes;

fuzz_target!(|frame: &[u8]| {
    let limits = BatchLimits::default();
    // For the error acks of a frame that is refused.
    assert!(image_ids(frame, 3).len() <= 3 + 1, "at most one of the message and three of its items");
    if let Ok(batch) = Batch::decode(frame, &limits) {
        check(&batch, &[], &limits);
    }
    if let Ok(decoded) = Batch::decode_items(frame, &FRAME_BYTES, &limits) {
        check(&decoded.batch, &FRAME_BYTES, &limits);
    }
});

/// Lengths that small shapes have.
const FRAME_BYTES: [u64; 6] = [4, 0, 6, 768, 1, u64::MAX];

fn check(batch: &Batch, frame_bytes: &[u64], limits: &BatchLimits) {
    let mut used = vec![false; frame_bytes.len()];
    for item in &batch.items {
        let Payload::Image(image) = &item.payload else { continue };
        assert_eq!(checked_size_bytes(&image.shape, image.dtype), Ok(image.size_bytes));
        assert!(image.size_bytes <= limits.max_image_bytes);
        if let PixelSource::Inline(pixels) = &image.source {
            assert_eq!(pixels.len() as u64, image.size_bytes);
        }
        if let PixelSource::Frames(indices) = &image.source {
            assert_eq!(indices.iter().map(|index| frame_bytes[*index]).sum::<u64>(), image.size_bytes);
            assert!(!indices.iter().any(|index| std::mem::replace(&mut used[*index], true)), "a frame is used twice");
        }
        let planes: u64 = image.layout.plane_axes.iter().map(|axis| axis.values.len() as u64).product();
        let pixels = image.layout.height * image.layout.width * u64::from(image.layout.samples);
        assert_eq!(planes * pixels * image.dtype.size_bytes() as u64, image.size_bytes, "{:?}", image.layout);
    }
    assert_survives_encode(batch, frame_bytes, limits);
}

//! Copies pixels to where they wait for the viewer: warm segments, buffers for frames, or text.

use wellscope_protocol::batch::PixelSource;
use wellscope_protocol::batch::frame_ranges;

use super::config::PixelTransport;
use crate::element::Pixels;
use crate::prepare::{Placement, little_endian_bytes};
use crate::segment::{Segment, SegmentError};
use crate::segment_pool::SegmentPool;

/// Arrays up to here travel as text where there is no shared memory: every viewer takes that, and it costs no frame.
const INLINE_BYTES: u64 = 4096;

/// What of a batch lives until its reply.
#[derive(Default)]
pub(super) struct Pixelware {
    pub segments: Vec<Segment>,
    /// One buffer per array, to be cut into frames.
    pub buffers: Vec<Vec<u8>>,
}

/// Decides for each array how it travels.
pub(super) struct StreamPlacement<'p> {
    pub pool: &'p SegmentPool,
    pub transport: PixelTransport,
    /// Whether the viewer is on this machine.
    pub is_local: bool,
    pub held: Pixelware,
    pub next_frame: usize,
}

impl StreamPlacement<'_> {
    fn segment(&mut self, pixels: &dyn Pixels, size_bytes: u64) -> Result<PixelSource, SegmentError> {
        let segment = self.pool.filled(pixels, size_bytes)?;
        let name = segment.name().to_owned();
        self.held.segments.push(segment);
        Ok(PixelSource::SharedMemory { name, kept: true })
    }

    fn frames(&mut self, pixels: &dyn Pixels, size_bytes: u64) -> PixelSource {
        let bytes = match pixels.contiguous() {
            Some(bytes) => bytes.to_vec(),
            None => {
                let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
                pixels.write_to(&mut bytes);
                bytes
            }
        };
        let first = self.next_frame;
        self.next_frame += frame_ranges(bytes.len()).len();
        self.held.buffers.push(bytes);
        PixelSource::Frames((first..self.next_frame).collect())
    }
}

impl Placement for StreamPlacement<'_> {
    fn place(&mut self, pixels: &dyn Pixels, size_bytes: u64) -> Result<PixelSource, SegmentError> {
        match (self.transport, self.is_local) {
            (PixelTransport::SharedMemory, _) => self.segment(pixels, size_bytes),
            (PixelTransport::Frames, _) => Ok(self.frames(pixels, size_bytes)),
            (PixelTransport::Inline, _) => Ok(PixelSource::Inline(little_endian_bytes(pixels, size_bytes))),
            (PixelTransport::Auto, false) if size_bytes <= INLINE_BYTES => {
                Ok(PixelSource::Inline(little_endian_bytes(pixels, size_bytes)))
            }
            (PixelTransport::Auto, false) => Ok(self.frames(pixels, size_bytes)),
            (PixelTransport::Auto, true) => match self.segment(pixels, size_bytes) {
                Err(error) => {
                    tracing::debug!(%error, "no shared memory; pixels travel as binary frames");
                    Ok(self.frames(pixels, size_bytes))
                }
                placed => placed,
            },
        }
    }
}

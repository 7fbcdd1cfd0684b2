//! Pixels of one image in the store: blocks of whole planes.

use std::ops::Range;
use std::sync::Arc;

use wellscope_store::{Pixels, Store, StoreError};

/// Planes share a block up to this size: large enough that the disk and the system's pages are used well, small enough that a
/// stack larger than memory spills in parts.
const BLOCK_BYTES: usize = 4 << 20;

/// Pixels of one image: blocks of whole consecutive planes, each in memory or on disk by itself. Clones share them.
#[derive(Clone, Debug)]
pub struct ImagePixels(Arc<Blocks>);

#[derive(Debug)]
struct Blocks {
    blocks: Vec<Pixels>,
    layout: BlockLayout,
}

/// How the planes of an image are divided into blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockLayout {
    plane_bytes: usize,
    plane_count: usize,
    planes_per_block: usize,
}

impl BlockLayout {
    /// `None` when the bytes are no whole number of planes, or more than this machine can address.
    pub(crate) fn new(total_bytes: u64, plane_bytes: u64) -> Option<Self> {
        let (total, plane) = (usize::try_from(total_bytes).ok()?, usize::try_from(plane_bytes).ok()?);
        if plane == 0 || total % plane != 0 {
            return None;
        }
        Some(Self { plane_bytes: plane, plane_count: total / plane, planes_per_block: (BLOCK_BYTES / plane).max(1) })
    }

    pub(crate) fn total_bytes(&self) -> usize {
        self.plane_bytes * self.plane_count
    }

    pub(crate) fn block_count(&self) -> usize {
        self.plane_count.div_ceil(self.planes_per_block)
    }

    /// Bytes of the image that lie in a block.
    pub(crate) fn block(&self, index: usize) -> Range<usize> {
        let block_bytes = self.plane_bytes * self.planes_per_block;
        let start = index * block_bytes;
        start..(start + block_bytes).min(self.total_bytes())
    }

    /// What the blocks count for in the budgets of a store.
    pub(crate) fn footprint(&self) -> u64 {
        (0..self.block_count()).map(|index| Store::footprint(self.block(index).len() as u64)).sum()
    }
}

impl ImagePixels {
    pub(crate) fn new(blocks: Vec<Pixels>, layout: BlockLayout) -> Self {
        Self(Arc::new(Blocks { blocks, layout }))
    }

    /// Pixels that belong to no store; for tests and tools. One block; the last plane may be incomplete, and is left out then.
    pub fn from_bytes(bytes: Vec<u8>, plane_bytes: usize) -> Self {
        let plane_count = bytes.len().checked_div(plane_bytes).unwrap_or(0);
        let layout = BlockLayout { plane_bytes, plane_count, planes_per_block: plane_count.max(1) };
        Self::new(vec![Pixels::from_vec(bytes)], layout)
    }

    /// The block that holds a plane, and the plane's bytes in it. Planes count in C order over all leading axes.
    pub fn plane(&self, index: usize) -> Option<(Pixels, Range<usize>)> {
        let layout = &self.0.layout;
        if index >= layout.plane_count {
            return None;
        }
        let block = self.0.blocks.get(index / layout.planes_per_block)?;
        let start = index % layout.planes_per_block * layout.plane_bytes;
        Some((block.clone(), start..start + layout.plane_bytes))
    }

    /// Number of planes.
    pub fn plane_count(&self) -> usize {
        self.0.layout.plane_count
    }

    /// Bytes of one plane: height x width x samples x element size.
    pub fn plane_bytes(&self) -> usize {
        self.0.layout.plane_bytes
    }

    /// Bytes of all planes.
    pub fn total_bytes(&self) -> usize {
        self.0.layout.total_bytes()
    }

    /// All planes behind each other, read back from the disk where needed; a copy, for tests and small images.
    ///
    /// # Errors
    /// See [`Pixels::read`].
    pub fn to_vec(&self) -> Result<Vec<u8>, StoreError> {
        let mut all = Vec::with_capacity(self.total_bytes());
        for index in 0..self.plane_count() {
            if let Some((block, range)) = self.plane(index) {
                all.extend_from_slice(&block.read()?[range]);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_share_blocks_up_to_four_mebibytes() {
        let layout = BlockLayout::new(5 * (3 << 19), 3 << 19).unwrap();
        assert_eq!((layout.planes_per_block, layout.block_count()), (2, 3));
        assert_eq!([0, 1, 2].map(|index| layout.block(index).len()), [3 << 20, 3 << 20, 3 << 19]);
        assert_eq!(layout.footprint(), 5 * (3 << 19));
        let large = BlockLayout::new(3 * (8 << 20), 8 << 20).unwrap();
        assert_eq!((large.planes_per_block, large.block_count()), (1, 3));
        assert_eq!(BlockLayout::new(10, 3), None);
        assert_eq!(BlockLayout::new(0, 0), None);
        assert_eq!(BlockLayout::new(100, 100).unwrap().footprint(), 4096);
    }

    #[test]
    fn planes_are_found_in_their_blocks() {
        let layout = BlockLayout::new(5 * (3 << 19), 3 << 19).unwrap();
        let block = |index| Pixels::from_vec(vec![index as u8; layout.block(index).len()]);
        let image = ImagePixels::new((0..3).map(block).collect(), layout);
        let places: Vec<_> = (0..5).map(|index| image.plane(index).unwrap()).collect();
        let blocks: Vec<u8> = places.iter().map(|(pixels, range)| pixels.read().unwrap()[range.clone()][0]).collect();
        assert_eq!(blocks, [0, 0, 1, 1, 2]);
        assert_eq!((places[0].1.start, places[1].1.start, places[4].1.start), (0, 3 << 19, 0));
        assert!(image.plane(5).is_none());
        assert_eq!(image.to_vec().unwrap().len(), image.total_bytes());
    }

    #[test]
    fn bytes_of_a_test_are_an_image() {
        let image = ImagePixels::from_bytes(vec![1, 2, 3, 4, 5, 6], 2);
        let (pixels, range) = image.plane(2).unwrap();
        assert_eq!(&pixels.read().unwrap()[range], &[5, 6]);
        assert_eq!((image.plane_count(), image.plane_bytes(), image.total_bytes()), (3, 2, 6));
        assert_eq!(ImagePixels::from_bytes(vec![1], 0).plane_count(), 0);
    }
}

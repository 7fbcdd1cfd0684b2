//! The spill file: made at the first spill, without a name, so that nothing stays behind.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::extents::{Extent, UNIT_BYTES};

/// Bytes at offsets; dropping it gives the disk back what it took. A trait, so that tests can let writes and reads fail.
pub(crate) trait SpillFile: Send + Sync {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Makes the file in a folder.
pub(crate) type OpenFile = Box<dyn Fn(&Path) -> io::Result<Arc<dyn SpillFile>> + Send + Sync>;

/// A file in `folder`, which is made, for this user alone. On Unix it has no name any more when this returns; on Windows the
/// system removes it when it is closed, however that comes about.
pub(crate) fn open_unnamed(folder: &Path) -> io::Result<Arc<dyn SpillFile>> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    Ok(Arc::new(Unnamed::new(tempfile::tempfile_in(folder)?)))
}

#[cfg(unix)]
struct Unnamed(File);

#[cfg(unix)]
impl Unnamed {
    fn new(file: File) -> Self {
        Self(file)
    }
}

#[cfg(unix)]
impl SpillFile for Unnamed {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, offset)
    }
}

/// Elsewhere position and transfer are two calls, so they happen under a lock.
#[cfg(not(unix))]
struct Unnamed(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl Unnamed {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn at(&self, offset: u64) -> io::Result<std::sync::MutexGuard<'_, File>> {
        let mut file = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        io::Seek::seek(&mut *file, io::SeekFrom::Start(offset))?;
        Ok(file)
    }
}

#[cfg(not(unix))]
impl SpillFile for Unnamed {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        io::Write::write_all(&mut *self.at(offset)?, bytes)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        io::Read::read_exact(&mut *self.at(offset)?, bytes)
    }
}

/// Writes one block into its ranges.
pub(crate) fn write_block(file: &dyn SpillFile, extents: &[Extent], bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    for extent in extents {
        let (part, after) = rest.split_at(rest.len().min(extent_bytes(extent)));
        file.write_all_at(part, extent.first * UNIT_BYTES)?;
        rest = after;
    }
    Ok(())
}

/// Reads one block back.
pub(crate) fn read_block(file: &dyn SpillFile, extents: &[Extent], bytes: &mut [u8]) -> io::Result<()> {
    let mut rest = bytes;
    for extent in extents {
        let (part, after) = rest.split_at_mut(rest.len().min(extent_bytes(extent)));
        file.read_exact_at(part, extent.first * UNIT_BYTES)?;
        rest = after;
    }
    Ok(())
}

fn extent_bytes(extent: &Extent) -> usize {
    usize::try_from(extent.units * UNIT_BYTES).unwrap_or(usize::MAX)
}

/// Tells changed bytes from written ones: four independent lanes, so that it runs at memory speed. No defence against intent;
/// the file is nobody else's.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1_u64, 2, 3, 4];
    let (chunks, rest) = bytes.as_chunks::<32>();
    for chunk in chunks {
        let (words, _) = chunk.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
        }
    }
    let tail = rest.iter().fold(bytes.len() as u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(PRIME));
    lanes.into_iter().fold(tail, |sum, lane| (sum ^ lane).wrapping_mul(PRIME).rotate_left(31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_from_several_ranges() {
        let folder = tempfile::tempdir().unwrap();
        let file = open_unnamed(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|index| (index % 251) as u8).collect();
        let extents = [Extent { first: 5, units: 1 }, Extent { first: 1, units: 2 }];
        write_block(file.as_ref(), &extents, &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        read_block(file.as_ref(), &extents, &mut back).unwrap();
        assert_eq!(back, bytes);
        let mut at_5 = vec![0; 4096];
        file.read_exact_at(&mut at_5, 5 * 4096).unwrap();
        assert_eq!(at_5, bytes[..4096]);
    }

    #[test]
    fn every_changed_byte_changes_the_checksum() {
        let bytes = vec![7_u8; 100];
        let sum = checksum(&bytes);
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 0x80;
            assert_ne!(checksum(&changed), sum, "byte {index}");
        }
        assert_ne!(checksum(&bytes[..99]), sum);
        let (mut swapped, distinct) = ((0..100).collect::<Vec<u8>>(), (0..100).collect::<Vec<u8>>());
        swapped.swap(0, 32);
        assert_ne!(checksum(&swapped), checksum(&distinct), "chunks changed places");
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_the_users_alone_and_stays_empty() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("wellscope/spill");
        let file = open_unnamed(&folder).unwrap();
        file.write_all_at(b"pixels", 0).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}

//! Pages of TIFF files by number. A file's pages are a chain; its offsets are read once per file and kept, so that reading page
//! 900 of a stack does not walk 900 directories each time.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// More pages than this in one file is taken for damage.
const MAX_PAGES: usize = 4_000_000;
/// Files whose offsets are kept. A plate of single pages needs none; one of stacks is read file by file.
const MAX_KEPT_FILES: usize = 4096;

/// Offsets of the pages of files that were read.
#[derive(Debug, Default)]
pub(crate) struct PageIndex {
    offsets: Mutex<HashMap<Arc<Path>, Arc<[u64]>>>,
}

impl PageIndex {
    /// The offsets of the pages of a file.
    pub(crate) fn offsets(&self, path: &Arc<Path>, file: &mut File) -> io::Result<Arc<[u64]>> {
        let kept = |index: &Mutex<HashMap<_, Arc<[u64]>>>| {
            // A poisoned lock only means that another reader died; the map is whole.
            index.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
        };
        if let Some(offsets) = kept(&self.offsets) {
            return Ok(offsets);
        }
        let offsets: Arc<[u64]> = page_offsets(file)?.into();
        let mut all = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KEPT_FILES {
            all.clear();
        }
        all.insert(Arc::clone(path), Arc::clone(&offsets));
        Ok(offsets)
    }
}

/// The numbers that a TIFF header fixes: byte order, and 32- or 64-bit offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    big_endian: bool,
    big_tiff: bool,
}

impl Header {
    fn read(file: &mut File) -> io::Result<Self> {
        let mut start = [0; 4];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut start)?;
        let big_endian = match &start[..2] {
            b"II" => false,
            b"MM" => true,
            _ => return Err(damaged("it does not begin with II or MM, so it is no TIFF")),
        };
        let header = Self { big_endian, big_tiff: false };
        match header.number(&start[2..]) {
            42 => Ok(header),
            43 => Ok(Self { big_tiff: true, ..header }),
            _ => Err(damaged("it is neither TIFF (42) nor BigTIFF (43)")),
        }
    }

    /// Up to eight bytes in the file's order.
    fn number(self, bytes: &[u8]) -> u64 {
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
    }

    const fn offset_len(self) -> usize {
        if self.big_tiff { 8 } else { 4 }
    }

    fn read_number(self, file: &mut File, at: u64, len: usize) -> io::Result<u64> {
        let mut bytes = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes[..len])?;
        Ok(self.number(&bytes[..len]))
    }

    /// The bytes of a header whose first page lies at `offset`.
    fn with_first_page(self, offset: u64) -> Vec<u8> {
        let put = |value: u64, len: usize| {
            let bytes = value.to_le_bytes();
            let mut bytes = bytes[..len].to_vec();
            if self.big_endian {
                bytes.reverse();
            }
            bytes
        };
        let mut header = if self.big_endian { b"MM".to_vec() } else { b"II".to_vec() };
        if self.big_tiff {
            header.extend([put(43, 2), put(8, 2), put(0, 2), put(offset, 8)].concat());
        } else {
            header.extend([put(42, 2), put(offset, 4)].concat());
        }
        header
    }
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

/// The offset of every page's directory, in order.
pub(crate) fn page_offsets(file: &mut File) -> io::Result<Vec<u64>> {
    let header = Header::read(file)?;
    let (first_at, count_len, entry_len) = if header.big_tiff { (8, 8, 20) } else { (4, 2, 12) };
    let mut offsets = Vec::new();
    let mut seen = HashSet::new();
    let mut next = header.read_number(file, first_at, header.offset_len())?;
    while next != 0 {
        if !seen.insert(next) || offsets.len() >= MAX_PAGES {
            return Err(damaged("its pages form a circle"));
        }
        offsets.push(next);
        let entries = header.read_number(file, next, count_len)?;
        let after = entries
            .checked_mul(entry_len)
            .and_then(|len| len.checked_add(next)?.checked_add(count_len as u64))
            .ok_or_else(|| damaged("a page claims more tags than a file can hold"))?;
        next = match header.read_number(file, after, header.offset_len()) {
            Ok(next) => next,
            // A file that was cut off behind this page still has this page.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(cause) => return Err(cause),
        };
    }
    Ok(offsets)
}

/// A file that a decoder reads as if its first page were another one.
#[derive(Debug)]
pub(crate) struct FromPage<R> {
    file: R,
    header: Vec<u8>,
    position: u64,
}

impl FromPage<File> {
    pub(crate) fn new(mut file: File, offset: u64) -> io::Result<Self> {
        let header = Header::read(&mut file)?.with_first_page(offset);
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, header, position: 0 })
    }

    /// The file as it is.
    pub(crate) fn whole(mut file: File) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, header: Vec::new(), position: 0 })
    }
}

impl<R: Read + Seek> Read for FromPage<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(self.position).unwrap_or(usize::MAX);
        let read = match self.header.get(start..).filter(|header| !header.is_empty()) {
            Some(header) => {
                let len = header.len().min(buffer.len());
                buffer[..len].copy_from_slice(&header[..len]);
                self.file.seek(SeekFrom::Current(len as i64))?;
                len
            }
            None => self.file.read(buffer)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for FromPage<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

//! Pixels and descriptions of TIFF files, with every size checked before memory is taken for it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn};
use tiff::decoder::{BufferLayoutPreference, Decoder, DecodingResult, DecodingSampleType, Limits};
use tiff::tags::{CompressionMethod, SampleFormat, Tag};
use tiff::{TiffError, TiffFormatError, TiffUnsupportedError};
use wellscope_protocol::dtype::ElementType;

use crate::error::ReadError;
use crate::plate::PlaneShape;
pub(crate) use crate::tiff_pages::PageIndex;
use crate::tiff_pages::{FromPage, page_offsets};
use crate::{AnyArray, ArrayElement};

/// Bytes of one decoded plane: 16,384 x 16,384 pixels of 64 bits, or 32,768 x 32,768 of 16 bits.
const MAX_PLANE_BYTES: u64 = 2 << 30;
/// Bytes of one value of the file, such as a list of tiles, or the OME-XML of a large plate.
const MAX_TAG_BYTES: usize = 64 << 20;
/// From this size on, a file must hold at least one byte per [`MAX_RATIO`] that it claims. No camera image is compressed so well.
const UNCHECKED_BYTES: u64 = 256 << 20;
const MAX_RATIO: u64 = 20_000;

type PageDecoder = Decoder<BufReader<FromPage<File>>>;

/// One page as an array.
pub(crate) fn read_page(path: &Arc<Path>, page: usize, pages: &PageIndex) -> Result<AnyArray, ReadError> {
    let mut decoder = open_page(path, page, pages)?;
    let layout = Layout::of(&mut decoder, path)?;
    layout.check_size(path, &mut decoder)?;
    let mut result = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut result).map_err(|error| undecodable(path, error))?;
    layout.array_of(result).ok_or_else(|| ReadError::Decode {
        path: path.to_path_buf(),
        reason: format!("its pixels do not fill {:?}", layout.shape),
    })
}

/// Type and extents of one page, from its tags.
pub(crate) fn shape_of_page(path: &Arc<Path>, page: usize, pages: &PageIndex) -> Result<PlaneShape, ReadError> {
    let mut decoder = open_page(path, page, pages)?;
    let layout = Layout::of(&mut decoder, path)?;
    Ok(PlaneShape { shape: layout.shape, element: layout.element })
}

/// The ImageDescription of the first page, empty when there is none.
pub(crate) fn description(path: &Path) -> Result<String, ReadError> {
    let file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
    let file = FromPage::whole(file).map_err(|cause| unreadable(path, &cause))?;
    let mut decoder = decoder_of(path, file)?;
    let Some(value) = decoder.find_tag(Tag::ImageDescription).map_err(|error| undecodable(path, error))? else {
        return Ok(String::new());
    };
    // Bytes that are not ASCII (µ in Latin-1) make no valid text; what counts in it is ASCII.
    Ok(value
        .clone()
        .into_string()
        .or_else(|_| value.into_u8_vec().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        .unwrap_or_default())
}

/// Number of pages of a file.
pub(crate) fn page_count(path: &Path) -> Result<usize, ReadError> {
    let mut file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
    page_offsets(&mut file).map(|offsets| offsets.len()).map_err(|cause| unreadable(path, &cause))
}

fn open_page(path: &Arc<Path>, page: usize, pages: &PageIndex) -> Result<PageDecoder, ReadError> {
    let io = |cause: io::Error| unreadable(path, &cause);
    let mut file = File::open(path).map_err(io)?;
    let file = if page == 0 {
        FromPage::whole(file).map_err(io)?
    } else {
        let offsets = pages.offsets(path, &mut file).map_err(io)?;
        let offset =
            *offsets.get(page).ok_or(ReadError::NoPage { path: path.to_path_buf(), page, found: offsets.len() })?;
        FromPage::new(file, offset).map_err(io)?
    };
    decoder_of(path, file)
}

fn decoder_of(path: &Path, file: FromPage<File>) -> Result<PageDecoder, ReadError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_PLANE_BYTES as usize;
    limits.intermediate_buffer_size = MAX_PLANE_BYTES as usize;
    limits.ifd_value_size = MAX_TAG_BYTES;
    Decoder::new(BufReader::with_capacity(1 << 16, file))
        .map(|decoder| decoder.with_limits(limits))
        .map_err(|error| undecodable(path, error))
}

/// What the tags of a page say about its pixels.
struct Layout {
    /// `[y, x]` or `[y, x, samples]`.
    shape: Vec<usize>,
    element: ElementType,
    /// One bit per pixel, eight to a byte.
    packed_bits: bool,
    /// Samples one behind the other (planar) rather than side by side.
    planar: bool,
    bytes: u64,
}

impl Layout {
    fn of(decoder: &mut PageDecoder, path: &Path) -> Result<Self, ReadError> {
        let failed = |error| undecodable(path, error);
        let (width, height) = decoder.dimensions().map_err(failed)?;
        let too_large = |claimed_bytes| ReadError::TooLarge {
            path: path.to_owned(),
            claimed_bytes,
            reason: format!("one plane may have {MAX_PLANE_BYTES}"),
        };
        // Before the layout, which multiplies them.
        if u64::from(width) * u64::from(height) > MAX_PLANE_BYTES {
            return Err(too_large(u64::from(width) * u64::from(height)));
        }
        let bits = decoder.colortype().map_err(failed)?.bit_depth();
        let layout = decoder.image_buffer_layout().map_err(failed)?;
        let (element, packed_bits) = element_of(&layout, bits).ok_or_else(|| ReadError::Decode {
            path: path.to_owned(),
            reason: format!(
                "{bits} bits of {:?} per sample; needed 1, 8, 16, 32 or 64 bits of integers, or 16, 32 or 64 of floats",
                layout.sample_format
            ),
        })?;
        let (width, height) = (width as usize, height as usize);
        let planar = layout.planes > 1;
        let row_bytes = if packed_bits { width.div_ceil(8) } else { width * element.size_bytes() };
        let samples = layout.complete_len / (row_bytes * height).max(1);
        let shape = if samples == 1 { vec![height, width] } else { vec![height, width, samples] };
        let bytes = (shape.iter().product::<usize>() * element.size_bytes()) as u64;
        if bytes > MAX_PLANE_BYTES {
            return Err(too_large(bytes));
        }
        Ok(Self { shape, element, packed_bits, planar, bytes })
    }

    /// Refuses sizes that the file cannot hold, before memory is taken for them.
    fn check_size(&self, path: &Path, decoder: &mut PageDecoder) -> Result<(), ReadError> {
        let held = std::fs::metadata(path).map_err(|cause| unreadable(path, &cause))?.len();
        let compression = decoder.find_tag_unsigned::<u16>(Tag::Compression).ok().flatten().unwrap_or(1);
        let plain = CompressionMethod::from_u16_exhaustive(compression) == CompressionMethod::None;
        let stored = if self.packed_bits { self.bytes / 8 } else { self.bytes };
        let reason = if plain && held < stored {
            format!("it is not compressed and has {held} bytes, so it was cut off or its header is wrong")
        } else if self.bytes > UNCHECKED_BYTES && held.saturating_mul(MAX_RATIO) < self.bytes {
            format!("it has only {held} bytes, so its header is wrong")
        } else {
            return Ok(());
        };
        Err(ReadError::TooLarge { path: path.to_owned(), claimed_bytes: self.bytes, reason })
    }

    fn array_of(&self, result: DecodingResult) -> Option<AnyArray> {
        match result {
            DecodingResult::U8(values) if self.packed_bits => self.bits(&values),
            DecodingResult::U8(values) => self.array(values),
            DecodingResult::U16(values) => self.array(values),
            DecodingResult::U32(values) => self.array(values),
            DecodingResult::U64(values) => self.array(values),
            DecodingResult::I8(values) => self.array(values),
            DecodingResult::I16(values) => self.array(values),
            DecodingResult::I32(values) => self.array(values),
            DecodingResult::I64(values) => self.array(values),
            DecodingResult::F16(values) => self.array(values),
            DecodingResult::F32(values) => self.array(values),
            DecodingResult::F64(values) => self.array(values),
        }
    }

    fn array<T: ArrayElement>(&self, values: Vec<T>) -> Option<AnyArray> {
        let &[height, width, samples] = self.shape.as_slice() else {
            return ArrayD::from_shape_vec(IxDyn(&self.shape), values).ok().map(T::wrap);
        };
        if !self.planar {
            return ArrayD::from_shape_vec(IxDyn(&self.shape), values).ok().map(T::wrap);
        }
        let mut planes = ArrayD::from_shape_vec(IxDyn(&[samples, height, width]), values).ok()?;
        planes = planes.permuted_axes(IxDyn(&[1, 2, 0]));
        Some(T::wrap(planes.as_standard_layout().into_owned()))
    }

    /// Rows of eight pixels a byte, the leftmost in the highest bit.
    fn bits(&self, bytes: &[u8]) -> Option<AnyArray> {
        let &[height, width] = self.shape.as_slice() else { return None };
        let rows =
            ndarray::ArrayView2::from_shape((height, width.div_ceil(8)), bytes.get(..height * width.div_ceil(8))?)
                .ok()?;
        let mut values = Vec::with_capacity(height * width);
        for row in rows.axis_iter(Axis(0)) {
            values.extend((0..width).map(|x| row[x / 8] >> (7 - x % 8) & 1 == 1));
        }
        self.array(values)
    }
}

fn element_of(layout: &BufferLayoutPreference, bits: u8) -> Option<(ElementType, bool)> {
    if bits == 1 && layout.sample_format == SampleFormat::Uint && layout.planes == 1 {
        return Some((ElementType::Bool, true));
    }
    let element = match layout.sample_type? {
        DecodingSampleType::U8 => ElementType::U8,
        DecodingSampleType::U16 => ElementType::U16,
        DecodingSampleType::U32 => ElementType::U32,
        DecodingSampleType::U64 => ElementType::U64,
        DecodingSampleType::I8 => ElementType::I8,
        DecodingSampleType::I16 => ElementType::I16,
        DecodingSampleType::I32 => ElementType::I32,
        DecodingSampleType::I64 => ElementType::I64,
        DecodingSampleType::F16 => ElementType::F16,
        DecodingSampleType::F32 => ElementType::F32,
        DecodingSampleType::F64 => ElementType::F64,
    };
    (element.size_bytes() * 8 == usize::from(bits)).then_some((element, false))
}

fn unreadable(path: &Path, cause: &io::Error) -> ReadError {
    if matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
        return ReadError::Decode { path: path.to_owned(), reason: reason_of_io(cause) };
    }
    ReadError::Io { path: path.to_owned(), cause: cause.to_string() }
}

fn reason_of_io(cause: &io::Error) -> String {
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        "it ends too early, so it was cut off".to_owned()
    } else {
        cause.to_string()
    }
}

fn undecodable(path: &Path, error: TiffError) -> ReadError {
    let reason = match error {
        TiffError::IoError(cause) => return unreadable(path, &cause),
        TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(method)) => {
            format!("it is compressed with {method:?}; needed none, LZW, Deflate, PackBits, Zstd or JPEG")
        }
        TiffError::FormatError(TiffFormatError::TiffSignatureNotFound | TiffFormatError::TiffSignatureInvalid) => {
            match std::fs::metadata(path) {
                Ok(metadata) if metadata.len() == 0 => "it is empty".to_owned(),
                _ => "it is no TIFF (it does not begin as one)".to_owned(),
            }
        }
        TiffError::LimitsExceeded => "its header claims more than is taken at once".to_owned(),
        other => other.to_string(),
    };
    ReadError::Decode { path: path.to_owned(), reason }
}

//! Writing TIFF files that other programs read: OME-XML where the element type allows it, tifffile's own description elsewhere.
//!
//! A file appears under its name only when it is whole: it is written beside it and renamed. A process that is killed leaves
//! at most a hidden `.part` file, which nothing takes for an image.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use ndarray::ArrayD;
use tiff::TiffResult;
use tiff::encoder::compression::{CompressionAlgorithm, Deflate, DeflateLevel};
use tiff::encoder::{DirectoryEncoder, TiffEncoder, TiffKind};
use tiff::tags::Tag;
use wellscope_protocol::dtype::ElementType;

use crate::AnyArray;
use crate::error::WriteError;
use crate::plate::VoxelSizeUm;

/// What is written into the description of a TIFF file, beside the pixels.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TiffMetadata {
    /// Axes of the array, slowest first, of T, C, Z, Y, X and S (samples: colour), ending with "YX" or "YXS".
    /// Empty means by the number of axes: YX, ZYX, CZYX, TCZYX.
    pub axes: String,
    /// Name of the image.
    pub name: String,
    /// Names of channels, in the order of axis C.
    pub channel_names: Vec<String>,
    /// Distances between voxels.
    pub voxel_size_um: VoxelSizeUm,
    /// Whether to compress (Deflate, which every reader knows). Off by default: it takes longer than the disk.
    pub compress: bool,
}

/// Files above this are written as BigTIFF: offsets of others have 32 bits.
const MAX_CLASSIC_BYTES: usize = 0xFFFF_FFFF - (64 << 20);
/// Uncompressed bytes of one compressed strip.
const STRIP_BYTES: usize = 1 << 20;

/// Writes one array as a TIFF file, replacing a file of that name.
///
/// bool is stored with one bit per pixel, as tifffile does, so that it is read back as bool.
///
/// # Errors
/// When axes and shape do not go together, or the system refuses. An existing file is then left as it was.
pub fn write_tiff(path: impl AsRef<Path>, array: &AnyArray, metadata: &TiffMetadata) -> Result<(), WriteError> {
    let path = path.as_ref();
    let pages = Pages::of(path, array, metadata)?;
    let description = pages.description(metadata);
    write_whole(path, |file| {
        let file = BufWriter::with_capacity(1 << 18, file);
        let written = if pages.bytes.len() > MAX_CLASSIC_BYTES {
            TiffEncoder::new_big(file).and_then(|encoder| pages.write(encoder, &description, metadata.compress))
        } else {
            TiffEncoder::new(file).and_then(|encoder| pages.write(encoder, &description, metadata.compress))
        };
        written.map_err(|error| match error {
            tiff::TiffError::IoError(cause) => WriteError::Io { path: path.to_owned(), cause },
            other => WriteError::Encode { path: path.to_owned(), reason: other.to_string() },
        })
    })
}

/// Writes a file beside `path` and gives it its name when `write` succeeded.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut std::fs::File) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let io = |cause| WriteError::Io { path: path.to_owned(), cause };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{}-", name.chars().take(64).collect::<String>());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: what the umask leaves. The default of temporary files is the owner only.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(io)?;
    write(file.as_file_mut())?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// An array as pages of one file.
struct Pages<'a> {
    /// All pages, C order, in the machine's byte order.
    bytes: Cow<'a, [u8]>,
    element: ElementType,
    axes: String,
    shape: &'a [usize],
    count: usize,
    height: usize,
    width: usize,
    samples: usize,
}

impl<'a> Pages<'a> {
    fn of(path: &Path, array: &'a AnyArray, metadata: &TiffMetadata) -> Result<Self, WriteError> {
        let shape = array.shape();
        let axes = match (metadata.axes.as_str(), shape.len()) {
            ("", rank @ 2..=5) => ["YX", "ZYX", "CZYX", "TCZYX"][rank - 2].to_owned(),
            (axes, _) => axes.to_uppercase(),
        };
        let refused =
            |reason| Err(WriteError::Axes { axes: axes.clone(), shape: shape.to_vec(), reason, path: path.to_owned() });
        if axes.len() != shape.len() {
            return refused("needed one letter per extent");
        }
        let Some(others) = axes.strip_suffix("YXS").or_else(|| axes.strip_suffix("YX")) else {
            return refused("needed YX or YXS at the end");
        };
        let mut sorted: Vec<char> = others.chars().collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != others.len() || !sorted.iter().all(|axis| "TCZ".contains(*axis)) {
            return refused("needed T, C and Z, each at most once, before YX");
        }
        let count = shape[..others.len()].iter().product();
        let (height, width) = (shape[others.len()], shape[others.len() + 1]);
        let samples = shape.get(others.len() + 2).copied().unwrap_or(1);
        if array.is_empty() || [height, width].iter().any(|&extent| u32::try_from(extent).is_err()) {
            return refused("needed extents of at least 1 and below 2^32");
        }
        let element = array.element_type();
        if u16::try_from(samples).is_err() || (samples > 1 && element == ElementType::Bool) {
            return refused("needed at most 65,535 samples per pixel, and one of bool");
        }
        let bytes = match array {
            AnyArray::Bool(array) => Cow::Owned(packed(array, width)),
            _ => bytes_of(array),
        };
        Ok(Self { bytes, element, axes, shape, count, height, width, samples })
    }

    fn row_bytes(&self) -> usize {
        match self.element {
            ElementType::Bool => self.width.div_ceil(8),
            element => self.width * self.samples * element.size_bytes(),
        }
    }

    fn write<W: Write + Seek, K: TiffKind>(
        &self,
        mut encoder: TiffEncoder<W, K>,
        description: &str,
        compress: bool,
    ) -> TiffResult<()> {
        let page_bytes = self.row_bytes() * self.height;
        for (index, page) in self.bytes.chunks_exact(page_bytes).enumerate() {
            let mut directory = encoder.image_directory()?;
            self.write_page(&mut directory, page, compress)?;
            if index == 0 {
                directory.write_tag(Tag::ImageDescription, description)?;
                directory.write_tag(Tag::Software, concat!("wellscope ", env!("CARGO_PKG_VERSION")))?;
            }
            directory.finish()?;
        }
        Ok(())
    }

    fn write_page<W: Write + Seek, K: TiffKind>(
        &self,
        directory: &mut DirectoryEncoder<'_, W, K>,
        page: &[u8],
        compress: bool,
    ) -> TiffResult<()> {
        let row_bytes = self.row_bytes();
        let rows_per_strip = if compress { (STRIP_BYTES / row_bytes).clamp(1, self.height) } else { self.height };
        let mut offsets: Vec<u64> = Vec::new();
        let mut lengths: Vec<u64> = Vec::new();
        for strip in page.chunks(rows_per_strip * row_bytes) {
            let mut compressed = Vec::new();
            let strip = if compress {
                Deflate::with_level(DeflateLevel::Fast).write_to(&mut compressed, strip)?;
                compressed.as_slice()
            } else {
                strip
            };
            offsets.push(directory.write_data(strip)?);
            lengths.push(strip.len() as u64);
        }
        let (bits, format) = self.sample_kind();
        directory.write_tag(Tag::ImageWidth, self.width as u32)?;
        directory.write_tag(Tag::ImageLength, self.height as u32)?;
        directory.write_tag(Tag::BitsPerSample, vec![bits; self.samples].as_slice())?;
        directory.write_tag(Tag::SampleFormat, vec![format; self.samples].as_slice())?;
        directory.write_tag(Tag::SamplesPerPixel, self.samples as u16)?;
        directory.write_tag(Tag::RowsPerStrip, rows_per_strip as u32)?;
        directory.write_tag(Tag::Compression, if compress { 8u16 } else { 1 })?;
        let is_colour = matches!(self.samples, 3 | 4);
        directory.write_tag(Tag::PhotometricInterpretation, if is_colour { 2u16 } else { 1 })?;
        let extra = self.samples - if is_colour { 3 } else { 1 };
        if extra > 0 {
            // 2: alpha that colours were not multiplied with; 0: not said.
            directory.write_tag(Tag::ExtraSamples, vec![if is_colour { 2u16 } else { 0 }; extra].as_slice())?;
        }
        write_offsets(directory, Tag::StripOffsets, &offsets)?;
        write_offsets(directory, Tag::StripByteCounts, &lengths)
    }

    /// Bits per sample, and 1 for unsigned, 2 for signed integers, 3 for floats.
    fn sample_kind(&self) -> (u16, u16) {
        let bits = (self.element.size_bytes() * 8) as u16;
        match self.element {
            ElementType::Bool => (1, 1),
            ElementType::U8 | ElementType::U16 | ElementType::U32 | ElementType::U64 => (bits, 1),
            ElementType::I8 | ElementType::I16 | ElementType::I32 | ElementType::I64 => (bits, 2),
            ElementType::F16 | ElementType::F32 | ElementType::F64 => (bits, 3),
        }
    }

    fn description(&self, metadata: &TiffMetadata) -> String {
        match ome_type(self.element) {
            Some(pixel_type) => self.ome_xml(pixel_type, metadata),
            None => format!("{{\"shape\": {:?}, \"axes\": \"{}\"}}", self.shape, self.axes),
        }
    }

    fn extent(&self, axis: char) -> usize {
        self.axes.find(axis).map_or(1, |index| self.shape[index])
    }

    fn ome_xml(&self, pixel_type: &str, metadata: &TiffMetadata) -> String {
        let mut order: String = self.axes.chars().rev().filter(|axis| "TCZ".contains(*axis)).collect();
        for axis in "ZCT".chars() {
            if !order.contains(axis) {
                order.push(axis);
            }
        }
        let size_c = self.extent('C') * self.samples;
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:schemaLocation=\"http://www.openmicroscopy.org/Schemas/OME/2016-06 \
             http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd\" Creator=\"wellscope {}\">\
             <Image ID=\"Image:0\" Name=\"{}\"><Pixels ID=\"Pixels:0\" DimensionOrder=\"XY{order}\" Type=\"{pixel_type}\" \
             SizeX=\"{}\" SizeY=\"{}\" SizeC=\"{size_c}\" SizeZ=\"{}\" SizeT=\"{}\"",
            env!("CARGO_PKG_VERSION"),
            escaped(&metadata.name),
            self.width,
            self.height,
            self.extent('Z'),
            self.extent('T'),
        );
        let VoxelSizeUm { z, y, x } = metadata.voxel_size_um;
        for (axis, size) in [("X", x), ("Y", y), ("Z", z)] {
            if let Some(size) = size.filter(|size| size.is_finite() && *size > 0.0) {
                // Writing to a String cannot fail.
                let _ = write!(xml, " PhysicalSize{axis}=\"{size}\" PhysicalSize{axis}Unit=\"&#181;m\"");
            }
        }
        xml.push('>');
        for channel in 0..self.extent('C') {
            let name = metadata.channel_names.get(channel).map(|name| format!(" Name=\"{}\"", escaped(name)));
            let _ = write!(
                xml,
                "<Channel ID=\"Channel:0:{channel}\" SamplesPerPixel=\"{}\"{}/>",
                self.samples,
                name.unwrap_or_default()
            );
        }
        let _ = write!(xml, "<TiffData IFD=\"0\" PlaneCount=\"{}\"/></Pixels></Image></OME>", self.count);
        xml
    }
}

/// Offsets and lengths take 32 bits in a classic file, where they always fit, and 64 in BigTIFF.
fn write_offsets<W: Write + Seek, K: TiffKind>(
    directory: &mut DirectoryEncoder<'_, W, K>,
    tag: Tag,
    values: &[u64],
) -> TiffResult<()> {
    let small: Result<Vec<u32>, _> = values.iter().map(|&value| u32::try_from(value)).collect();
    match small {
        Ok(small) => directory.write_tag(tag, small.as_slice()),
        Err(_) => directory.write_tag(tag, values),
    }
}

/// The type's name in OME-XML; `None` for those that it does not know.
const fn ome_type(element: ElementType) -> Option<&'static str> {
    Some(match element {
        ElementType::Bool => "bit",
        ElementType::I8 => "int8",
        ElementType::U8 => "uint8",
        ElementType::I16 => "int16",
        ElementType::U16 => "uint16",
        ElementType::I32 => "int32",
        ElementType::U32 => "uint32",
        ElementType::F32 => "float",
        ElementType::F64 => "double",
        ElementType::I64 | ElementType::U64 | ElementType::F16 => return None,
    })
}

/// Text of an attribute in ASCII, which is all that a TIFF description may hold; the rest as character references.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            ' '..='~' => out.push(character),
            // XML 1.0 knows no other control characters, not even escaped.
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
            c => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
        }
    }
    out
}

/// The elements in C order, in the machine's byte order.
pub(crate) fn bytes_of(array: &AnyArray) -> Cow<'_, [u8]> {
    fn of<T: bytemuck::NoUninit>(array: &ArrayD<T>) -> Cow<'_, [u8]> {
        match array.as_slice() {
            Some(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            None => {
                let values: Vec<T> = array.iter().copied().collect();
                Cow::Owned(bytemuck::cast_slice(&values).to_vec())
            }
        }
    }
    with_array!(array, array => of(array))
}

/// Eight pixels a byte, the leftmost in the highest bit; rows begin with a byte.
fn packed(array: &ArrayD<bool>, width: usize) -> Vec<u8> {
    let values: Vec<bool> = array.iter().copied().collect();
    let rows = values.chunks_exact(width);
    rows.flat_map(|row| row.chunks(8))
        .map(|eight| eight.iter().enumerate().fold(0, |byte, (place, &value)| byte | u8::from(value) << (7 - place)))
        .collect()
}

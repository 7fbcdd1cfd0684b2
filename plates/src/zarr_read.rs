//! Planes of zarr arrays (versions 2 and 3), read chunk by chunk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;
use wellscope_protocol::dtype::{DType, ElementType, checked_size_bytes};
use zarrs::array::{Array, ArraySubset};
use zarrs::filesystem::FilesystemStore;

use crate::error::ReadError;
use crate::plate::PlaneShape;
use crate::{AnyArray, ArrayElement};

/// Bytes of one plane, and of one chunk: as for TIFF.
const MAX_BYTES: u64 = 2 << 30;

/// One multiscale image: the array of full resolution, and which of its axes are what.
#[derive(Clone, Debug)]
pub(crate) struct ZarrImage {
    /// The folder of the array.
    pub(crate) path: PathBuf,
    /// Extents of all axes.
    pub(crate) shape: Vec<u64>,
    pub(crate) element: ElementType,
    /// The axis of timepoints, channels and z, in this order, where there is one.
    pub(crate) axes: [Option<usize>; 3],
}

/// What the metadata of an array says.
#[derive(Clone, Debug)]
pub(crate) struct ArrayHeader {
    pub(crate) shape: Vec<u64>,
    pub(crate) element: ElementType,
}

/// Reads shape and type of an array, and refuses what no memory can hold.
pub(crate) fn read_header(folder: &Path) -> Result<ArrayHeader, String> {
    let (metadata, is_v3) = read_json(&folder.join("zarr.json"))
        .map(|json| (json, true))
        .or_else(|_| read_json(&folder.join(".zarray")).map(|json| (json, false)))
        .map_err(|_| "there is no array: neither zarr.json nor .zarray can be read".to_owned())?;
    let numbers = |value: &Value| -> Option<Vec<u64>> { value.as_array()?.iter().map(Value::as_u64).collect() };
    let shape = numbers(&metadata["shape"]).ok_or("the array has no shape")?;
    let (dtype, chunks) = if is_v3 {
        (&metadata["data_type"], &metadata["chunk_grid"]["configuration"]["chunk_shape"])
    } else {
        (&metadata["dtype"], &metadata["chunks"])
    };
    let dtype =
        dtype.as_str().ok_or_else(|| format!("the array's data type is {dtype}; needed one number per pixel"))?;
    let dtype = DType::parse(dtype).map_err(|error| error.to_string())?;
    let chunks = numbers(chunks).ok_or("the array has no regular chunks")?;
    if chunks.len() != shape.len() || shape.len() < 2 {
        return Err(format!("shape {shape:?} and chunks {chunks:?}; needed one extent per axis, of two axes or more"));
    }
    checked_size_bytes(&shape, dtype).map_err(|error| error.to_string())?;
    match checked_size_bytes(&chunks, dtype) {
        Ok(bytes) if bytes <= MAX_BYTES => Ok(ArrayHeader { shape, element: dtype.element }),
        _ => Err(format!("chunks of {chunks:?} {dtype} are too large; one may have {MAX_BYTES} bytes")),
    }
}

pub(crate) fn read_json(path: &Path) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|cause| cause.to_string())?;
    serde_json::from_slice(&bytes).map_err(|cause| format!("not JSON: {cause}"))
}

pub(crate) fn shape_of_plane(images: &[ZarrImage], image: u32) -> Result<PlaneShape, ReadError> {
    let image = get(images, image)?;
    let plane = image.shape.get(image.shape.len().saturating_sub(2)..).unwrap_or_default();
    Ok(PlaneShape { shape: plane.iter().map(|&extent| extent as usize).collect(), element: image.element })
}

/// One plane, `[y, x]`, at these indices of timepoint, channel and z.
pub(crate) fn read_plane(images: &[ZarrImage], image: u32, index: [u32; 3]) -> Result<AnyArray, ReadError> {
    let image = get(images, image)?;
    let failed = |reason: String| ReadError::Decode { path: image.path.clone(), reason };
    // Read anew: the file may have changed since the plate was opened, and sizes are trusted only when checked.
    let header = read_header(&image.path).map_err(failed)?;
    if header.shape != image.shape || header.element != image.element {
        return Err(ReadError::Differs {
            path: image.path.clone(),
            expected: format!("{} {:?}", image.element, image.shape),
            found: format!("{} {:?}", header.element, header.shape),
        });
    }
    let rank = image.shape.len();
    let whole_plane = |axis: usize| axis + 2 >= rank;
    let mut ranges: Vec<std::ops::Range<u64>> =
        image.shape.iter().enumerate().map(|(axis, &extent)| 0..if whole_plane(axis) { extent } else { 1 }).collect();
    for (axis, at) in image.axes.iter().zip(index) {
        if let Some(axis) = *axis {
            ranges[axis] = u64::from(at)..u64::from(at) + 1;
        }
    }
    let bytes = image.shape[rank - 2..].iter().product::<u64>().saturating_mul(image.element.size_bytes() as u64);
    if bytes > MAX_BYTES {
        let reason = format!("one plane may have {MAX_BYTES}");
        return Err(ReadError::TooLarge { path: image.path.clone(), claimed_bytes: bytes, reason });
    }
    let store = Arc::new(FilesystemStore::new(&image.path).map_err(|error| failed(error.to_string()))?);
    let array = Array::open(store, "/").map_err(|error| failed(error.to_string()))?;
    let subset = ArraySubset::new_with_ranges(&ranges);
    match image.element {
        ElementType::Bool => retrieve::<bool>(&array, &subset),
        ElementType::I8 => retrieve::<i8>(&array, &subset),
        ElementType::U8 => retrieve::<u8>(&array, &subset),
        ElementType::I16 => retrieve::<i16>(&array, &subset),
        ElementType::U16 => retrieve::<u16>(&array, &subset),
        ElementType::I32 => retrieve::<i32>(&array, &subset),
        ElementType::U32 => retrieve::<u32>(&array, &subset),
        ElementType::I64 => retrieve::<i64>(&array, &subset),
        ElementType::U64 => retrieve::<u64>(&array, &subset),
        ElementType::F16 => retrieve::<f16>(&array, &subset),
        ElementType::F32 => retrieve::<f32>(&array, &subset),
        ElementType::F64 => retrieve::<f64>(&array, &subset),
    }
    .map_err(failed)
}

fn retrieve<T>(array: &Array<FilesystemStore>, subset: &ArraySubset) -> Result<AnyArray, String>
where
    T: ArrayElement + zarrs::array::ElementOwned,
{
    let plane: ArrayD<T> = array.retrieve_array_subset(subset).map_err(|error| error.to_string())?;
    let rank = plane.ndim();
    let shape = IxDyn(&plane.shape()[rank - 2..]);
    plane.into_shape_with_order(shape).map(T::wrap).map_err(|error| error.to_string())
}

fn get(images: &[ZarrImage], image: u32) -> Result<&ZarrImage, ReadError> {
    images.get(image as usize).ok_or_else(|| ReadError::Decode {
        path: PathBuf::new(),
        reason: "this image belongs to another plate".to_owned(),
    })
}

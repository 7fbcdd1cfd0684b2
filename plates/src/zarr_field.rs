//! One field of an OME-Zarr plate as an array: t, c, z, y, x, one chunk per plane (or per 2048 x 2048 of it).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use ndarray::ArrayD;
use serde_json::json;
use wellscope_protocol::dtype::ElementType;
use zarrs::array::{Array, ArraySubset};
use zarrs::filesystem::FilesystemStore;

use crate::error::WriteError;
use crate::zarr_write::write_json;
use crate::{AnyArray, ArrayElement};

/// Rows and columns of one chunk.
const CHUNK_EXTENT: usize = 2048;

/// One plane of a field: `[y, x]`.
#[derive(Clone, Copy, Debug)]
pub struct FieldPlane<'a> {
    /// Channel (wavelength).
    pub channel: i64,
    /// Plane of the stack.
    pub z_index: i64,
    /// Time point.
    pub timepoint: i64,
    /// Pixels.
    pub pixels: &'a AnyArray,
}

/// Smallest and largest finite value; 0 and 1 when there is none.
pub(crate) fn limits<'a>(planes: impl Iterator<Item = &'a FieldPlane<'a>>) -> (f64, f64) {
    fn of<T: ArrayElement>(array: &ArrayD<T>) -> (f64, f64) {
        let values = array.iter().map(|value| value.to_f64()).filter(|value| value.is_finite());
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    }
    let (low, high) = planes
        .map(|plane| with_array!(plane.pixels, array => of(array)))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (l, h)| (low.min(l), high.max(h)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// The array of a field: t, c, z, y, x.
pub(crate) struct FieldLayout {
    pub(crate) element: ElementType,
    pub(crate) shape: [usize; 5],
    /// Sorted values of timepoint, channel and z.
    pub(crate) values: [Vec<i64>; 3],
}

impl FieldLayout {
    pub(crate) fn of(field: &str, planes: &[FieldPlane<'_>]) -> Result<Self, WriteError> {
        let first = planes.first().ok_or_else(|| WriteError::Empty { field: field.to_owned() })?;
        let described = |plane: &AnyArray| format!("{} {:?}", plane.element_type(), plane.shape());
        let &[height, width] = first.pixels.shape() else {
            return Err(WriteError::PlanesDiffer {
                field: field.to_owned(),
                position: "a plane has two axes, this one".to_owned(),
                first: described(first.pixels),
                found: "no such plane".to_owned(),
            });
        };
        for plane in planes {
            if plane.pixels.element_type() != first.pixels.element_type()
                || plane.pixels.shape() != first.pixels.shape()
            {
                return Err(WriteError::PlanesDiffer {
                    field: field.to_owned(),
                    position: format!("channel {} z {} timepoint {}", plane.channel, plane.z_index, plane.timepoint),
                    first: described(first.pixels),
                    found: described(plane.pixels),
                });
            }
        }
        let values: [fn(&FieldPlane<'_>) -> i64; 3] =
            [|plane| plane.timepoint, |plane| plane.channel, |plane| plane.z_index];
        let values =
            values.map(|value| planes.iter().map(value).collect::<BTreeSet<i64>>().into_iter().collect::<Vec<_>>());
        let shape = [values[0].len(), values[1].len(), values[2].len(), height, width];
        Ok(Self { element: first.pixels.element_type(), shape, values })
    }

    pub(crate) fn write_array(&self, folder: &Path, planes: &[FieldPlane<'_>]) -> Result<(), WriteError> {
        let failed = |reason: String| WriteError::Encode { path: folder.to_owned(), reason };
        let [.., height, width] = self.shape;
        fs::create_dir(folder).map_err(|cause| WriteError::Io { path: folder.to_owned(), cause })?;
        // Shuffling bytes helps numbers of several bytes; lz4 keeps up with the disk.
        let shuffle = u8::from(self.element.size_bytes() > 1);
        let metadata = json!({
            "zarr_format": 2,
            "shape": self.shape,
            "chunks": [1, 1, 1, height.min(CHUNK_EXTENT), width.min(CHUNK_EXTENT)],
            "dtype": dtype_code(self.element),
            "compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": shuffle, "blocksize": 0},
            "fill_value": if self.element == ElementType::Bool { json!(false) } else { json!(0) },
            "order": "C",
            "filters": null,
            "dimension_separator": "/",
        });
        write_json(&folder.join(".zarray"), &metadata)?;
        let store = Arc::new(FilesystemStore::new(folder).map_err(|error| failed(error.to_string()))?);
        let array = Array::open(store, "/").map_err(|error| failed(error.to_string()))?;
        for plane in planes {
            let at = |values: &[i64], value: i64| values.binary_search(&value).unwrap_or_default() as u64;
            let [t, c, z] = [
                at(&self.values[0], plane.timepoint),
                at(&self.values[1], plane.channel),
                at(&self.values[2], plane.z_index),
            ];
            let subset =
                ArraySubset::new_with_ranges(&[t..t + 1, c..c + 1, z..z + 1, 0..height as u64, 0..width as u64]);
            store_plane(&array, &subset, plane.pixels).map_err(failed)?;
        }
        Ok(())
    }
}

fn store_plane(array: &Array<FilesystemStore>, subset: &ArraySubset, plane: &AnyArray) -> Result<(), String> {
    fn store<T>(array: &Array<FilesystemStore>, subset: &ArraySubset, plane: &ArrayD<T>) -> Result<(), String>
    where
        T: ArrayElement + zarrs::array::Element,
    {
        let standard = plane.as_standard_layout();
        let values = standard.as_slice().ok_or("the plane is not contiguous")?;
        array.store_array_subset(subset, values).map_err(|error| error.to_string())
    }
    with_array!(plane, plane => store(array, subset, plane))
}

/// The type in zarr version 2: `<u2`, `|b1`.
const fn dtype_code(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "|b1",
        ElementType::I8 => "|i1",
        ElementType::U8 => "|u1",
        ElementType::I16 => "<i2",
        ElementType::U16 => "<u2",
        ElementType::I32 => "<i4",
        ElementType::U32 => "<u4",
        ElementType::I64 => "<i8",
        ElementType::U64 => "<u8",
        ElementType::F16 => "<f2",
        ElementType::F32 => "<f4",
        ElementType::F64 => "<f8",
    }
}

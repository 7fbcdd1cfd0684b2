//! Element types that an image may have, and how an array of them becomes the bytes of the wire.

use half::f16;
use ndarray::ArrayViewD;
use wellscope_protocol::dtype::{ByteOrder, DType, ElementType};

mod sealed {
    pub trait Sealed {}
}

/// A pixel type that the wire knows: `bool`, every integer up to 64 bits, `f16`, `f32` and `f64`.
///
/// Sealed, because a viewer accepts these and no others.
pub trait Element: sealed::Sealed + bytemuck::NoUninit + Sync {
    /// What numpy calls it.
    const ELEMENT_TYPE: ElementType;

    /// Its dtype in the byte order of this machine.
    const DTYPE: DType = DType {
        element: Self::ELEMENT_TYPE,
        order: if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little },
    };
}

macro_rules! element {
    ($($rust:ty => $wire:ident),* $(,)?) => { $(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const ELEMENT_TYPE: ElementType = ElementType::$wire;
        }
    )* };
}

element! {
    bool => Bool, i8 => I8, u8 => U8, i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64,
    f16 => F16, f32 => F32, f64 => F64,
}

/// An array whose element type is no longer known to the compiler.
pub(crate) trait Pixels {
    /// Extent per axis, numpy C order.
    fn shape(&self) -> Vec<u64>;
    /// Element type and byte order of what [`Pixels::write_to`] writes.
    fn dtype(&self) -> DType;
    /// Bytes that the caller gave, where that can differ from shape x dtype.
    fn given_bytes(&self) -> Option<usize>;
    /// The bytes themselves, where they already lie in C order.
    fn contiguous(&self) -> Option<&[u8]>;
    /// Writes the elements in C order. `target` must have exactly shape x dtype bytes; bytes that one side lacks are
    /// left as they are.
    fn write_to(&self, target: &mut [u8]);
}

impl<T: Element> Pixels for ArrayViewD<'_, T> {
    fn shape(&self) -> Vec<u64> {
        ArrayViewD::shape(self).iter().map(|&extent| extent as u64).collect()
    }

    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn given_bytes(&self) -> Option<usize> {
        None
    }

    fn contiguous(&self) -> Option<&[u8]> {
        self.as_slice().map(bytemuck::cast_slice)
    }

    fn write_to(&self, target: &mut [u8]) {
        if let Some(bytes) = self.contiguous() {
            copy_common_length(bytes, target);
            return;
        }
        // A crop has contiguous rows, a transposed array has none; both are walked in C order and written once.
        let row_bytes = ArrayViewD::shape(self).last().copied().unwrap_or(0) * size_of::<T>();
        if row_bytes == 0 {
            return;
        }
        for (row, row_target) in self.rows().into_iter().zip(target.chunks_exact_mut(row_bytes)) {
            match row.as_slice() {
                Some(elements) => copy_common_length(bytemuck::cast_slice(elements), row_target),
                None => {
                    for (element, bytes) in row.iter().zip(row_target.chunks_exact_mut(size_of::<T>())) {
                        bytes.copy_from_slice(bytemuck::bytes_of(element));
                    }
                }
            }
        }
    }
}

/// Bytes that already have the wire's layout.
pub(crate) struct RawPixels<'a> {
    pub shape: Vec<u64>,
    pub dtype: DType,
    pub bytes: &'a [u8],
}

impl Pixels for RawPixels<'_> {
    fn shape(&self) -> Vec<u64> {
        self.shape.clone()
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn given_bytes(&self) -> Option<usize> {
        Some(self.bytes.len())
    }

    fn contiguous(&self) -> Option<&[u8]> {
        Some(self.bytes)
    }

    fn write_to(&self, target: &mut [u8]) {
        copy_common_length(self.bytes, target);
    }
}

fn copy_common_length(from: &[u8], to: &mut [u8]) {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    fn bytes_of(pixels: &dyn Pixels) -> Vec<u8> {
        let count: u64 = pixels.shape().iter().product();
        let mut bytes = vec![0xEE; count as usize * pixels.dtype().element.size_bytes()];
        pixels.write_to(&mut bytes);
        bytes
    }

    #[test]
    fn crops_transposed_and_reversed_views_are_written_in_c_order() {
        let image = Array2::from_shape_fn((5, 7), |(y, x)| (10 * y + x) as u16);
        for view in [
            image.view(),
            image.slice(s![1..4, 2..5]),
            image.t(),
            image.slice(s![..;-1, ..;-2]),
            image.slice(s![2..3, ..]),
            image.slice(s![.., 3..4]),
        ] {
            let expected: Vec<u8> = view.iter().flat_map(|value| value.to_ne_bytes()).collect();
            assert_eq!(bytes_of(&view.into_dyn()), expected);
        }
    }

    #[test]
    fn booleans_are_one_byte_each() {
        let mask = ndarray::arr2(&[[true, false], [false, true]]);
        assert_eq!(bytes_of(&mask.view().into_dyn()), [1, 0, 0, 1]);
    }
}

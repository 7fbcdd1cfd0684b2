//! Arrays whose element type is known only when a file is opened.

use half::f16;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use wellscope_protocol::dtype::ElementType;

/// Why arrays could not be put together.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ArrayError {
    /// Values and extents do not go together.
    #[error("{found} values cannot be an array of shape {shape:?}, which has {needed}")]
    Shape {
        /// Extents, slowest axis first.
        shape: Vec<usize>,
        /// Number of values that the shape has.
        needed: usize,
        /// Number of values found.
        found: usize,
    },
    /// Planes of one stack differ.
    #[error("image {index} is {found}, the first is {first}; one stack takes images of one type and size")]
    Differ {
        /// Which image.
        index: usize,
        /// Its type and extents.
        found: String,
        /// Those of the first.
        first: String,
    },
    /// A stack of nothing.
    #[error("a stack needs at least one image")]
    Empty,
}

/// An element that [`AnyArray`] can hold.
pub trait ArrayElement: Copy + Send + Sync + 'static {
    /// What numpy calls it.
    const ELEMENT_TYPE: ElementType;

    /// The value as a number. 64-bit integers above 2^53 lose their last bits.
    fn to_f64(self) -> f64;

    /// The nearest value of this type: rounded, and limited to its range.
    fn from_f64(value: f64) -> Self;

    /// Wraps an array of this type.
    fn wrap(array: ArrayD<Self>) -> AnyArray;
}

macro_rules! any_array {
    ($($variant:ident($rust:ty) = $doc:literal, $to:expr, $from:expr;)*) => {
        /// An array of any element type that images have. Axes slowest first: `[y, x]`, `[z, y, x]`, `[y, x, rgb]`, ...
        #[derive(Clone, PartialEq, Debug)]
        pub enum AnyArray {
            $(#[doc = $doc] $variant(ArrayD<$rust>),)*
        }

        $(
            impl ArrayElement for $rust {
                const ELEMENT_TYPE: ElementType = ElementType::$variant;

                fn to_f64(self) -> f64 {
                    ($to)(self)
                }

                fn from_f64(value: f64) -> Self {
                    ($from)(value)
                }

                fn wrap(array: ArrayD<Self>) -> AnyArray {
                    AnyArray::$variant(array)
                }
            }

            impl From<ArrayD<$rust>> for AnyArray {
                fn from(array: ArrayD<$rust>) -> Self {
                    Self::$variant(array)
                }
            }
        )*

        /// Runs the same expression on the array inside an [`AnyArray`], whatever its element type:
        /// `with_array!(any, array => array.len())`.
        #[macro_export]
        macro_rules! with_array {
            ($any:expr, $array:ident => $body:expr) => {
                match $any {
                    $($crate::AnyArray::$variant($array) => $body,)*
                }
            };
        }
    };
}

any_array! {
    Bool(bool) = "numpy `bool`.", |value| f64::from(u8::from(value)), |value: f64| value != 0.0;
    I8(i8) = "numpy `int8`.", f64::from, |value: f64| value.round() as i8;
    U8(u8) = "numpy `uint8`.", f64::from, |value: f64| value.round() as u8;
    I16(i16) = "numpy `int16`.", f64::from, |value: f64| value.round() as i16;
    U16(u16) = "numpy `uint16`.", f64::from, |value: f64| value.round() as u16;
    I32(i32) = "numpy `int32`.", f64::from, |value: f64| value.round() as i32;
    U32(u32) = "numpy `uint32`.", f64::from, |value: f64| value.round() as u32;
    I64(i64) = "numpy `int64`.", |value| value as f64, |value: f64| value.round() as i64;
    U64(u64) = "numpy `uint64`.", |value| value as f64, |value: f64| value.round() as u64;
    F16(f16) = "numpy `float16`.", f64::from, f16::from_f64;
    F32(f32) = "numpy `float32`.", f64::from, |value: f64| value as f32;
    F64(f64) = "numpy `float64`.", |value| value, |value| value;
}

impl AnyArray {
    /// What one element is.
    pub fn element_type(&self) -> ElementType {
        fn of<T: ArrayElement>(_: &ArrayD<T>) -> ElementType {
            T::ELEMENT_TYPE
        }
        with_array!(self, array => of(array))
    }

    /// Extents, slowest axis first.
    pub fn shape(&self) -> &[usize] {
        with_array!(self, array => array.shape())
    }

    /// Number of axes.
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_array!(self, array => array.len())
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its elements.
    pub fn size_bytes(&self) -> usize {
        self.len() * self.element_type().size_bytes()
    }

    /// One entry of the first axis: a plane of a stack.
    ///
    /// # Errors
    /// [`ArrayError::Empty`] when there is no such entry.
    pub fn plane(&self, index: usize) -> Result<Self, ArrayError> {
        fn of<T: ArrayElement>(array: &ArrayD<T>, index: usize) -> AnyArray {
            T::wrap(array.index_axis(Axis(0), index).to_owned())
        }
        if self.shape().first().is_none_or(|&extent| index >= extent) {
            return Err(ArrayError::Empty);
        }
        Ok(with_array!(self, array => of(array, index)))
    }

    /// Images of one type and size behind each other, along a new first axis.
    ///
    /// # Errors
    /// When there are none, or they differ in type or extents.
    pub fn stack(planes: &[Self]) -> Result<Self, ArrayError> {
        fn of<T: ArrayElement>(planes: &[AnyArray], views: &[ArrayViewD<'_, T>]) -> Result<AnyArray, ArrayError> {
            let stacked = ndarray::stack(Axis(0), views).map_err(|_| differing(planes))?;
            Ok(T::wrap(stacked))
        }
        macro_rules! stack_all {
            ($($variant:ident),*) => {
                match planes.first() {
                    None => Err(ArrayError::Empty),
                    $(Some(Self::$variant(_)) => {
                        let views: Option<Vec<_>> = planes
                            .iter()
                            .map(|plane| if let Self::$variant(array) = plane { Some(array.view()) } else { None })
                            .collect();
                        of(planes, &views.ok_or_else(|| differing(planes))?)
                    })*
                }
            };
        }
        stack_all!(Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64)
    }

    /// All values as 32-bit floats, as most computations want them.
    pub fn to_f32(&self) -> ArrayD<f32> {
        with_array!(self, array => array.mapv(|value| value.to_f64() as f32))
    }

    /// Values converted to another element type: rounded, and limited to its range.
    #[must_use]
    pub fn cast(&self, element: ElementType) -> Self {
        fn into<T: ArrayElement>(any: &AnyArray) -> AnyArray {
            T::wrap(with_array!(any, array => array.mapv(|value| T::from_f64(value.to_f64()))))
        }
        if element == self.element_type() {
            return self.clone();
        }
        match element {
            ElementType::Bool => into::<bool>(self),
            ElementType::I8 => into::<i8>(self),
            ElementType::U8 => into::<u8>(self),
            ElementType::I16 => into::<i16>(self),
            ElementType::U16 => into::<u16>(self),
            ElementType::I32 => into::<i32>(self),
            ElementType::U32 => into::<u32>(self),
            ElementType::I64 => into::<i64>(self),
            ElementType::U64 => into::<u64>(self),
            ElementType::F16 => into::<f16>(self),
            ElementType::F32 => into::<f32>(self),
            ElementType::F64 => into::<f64>(self),
        }
    }

    /// An array of values in C order.
    ///
    /// # Errors
    /// [`ArrayError::Shape`] when their number is not that of the shape.
    pub fn from_values<T: ArrayElement>(shape: &[usize], values: Vec<T>) -> Result<Self, ArrayError> {
        let found = values.len();
        ArrayD::from_shape_vec(IxDyn(shape), values).map(T::wrap).map_err(|_| ArrayError::Shape {
            shape: shape.to_vec(),
            needed: shape.iter().product(),
            found,
        })
    }
}

fn described(array: &AnyArray) -> String {
    format!("{} {:?}", array.element_type(), array.shape())
}

fn differing(planes: &[AnyArray]) -> ArrayError {
    let first = planes.first().map(described).unwrap_or_default();
    let other = planes.iter().map(described).enumerate().find(|(_, found)| *found != first);
    let (index, found) = other.unwrap_or_default();
    ArrayError::Differ { index, found, first }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    #[test]
    fn stacking_planes_and_taking_one_out_is_identity() {
        let planes: Vec<AnyArray> =
            (0u16..3).map(|n| AnyArray::from_values(&[2, 2], vec![n, n + 1, n + 2, 9]).unwrap()).collect();
        let stack = AnyArray::stack(&planes).unwrap();
        assert_eq!(stack.shape(), [3, 2, 2]);
        assert_eq!(stack.plane(1).unwrap(), planes[1]);
        assert_eq!(stack.plane(3), Err(ArrayError::Empty));
        assert_eq!(stack.size_bytes(), 24);
    }

    #[test]
    fn planes_that_differ_are_named() {
        let a = AnyArray::from_values(&[2, 2], vec![0u16; 4]).unwrap();
        let b = AnyArray::from_values(&[2, 2], vec![0u8; 4]).unwrap();
        let c = AnyArray::from_values(&[1, 2], vec![0u16; 2]).unwrap();
        let other_type = AnyArray::stack(&[a.clone(), b]).unwrap_err().to_string();
        assert!(other_type.contains("image 1 is uint8 [2, 2], the first is uint16 [2, 2]"), "{other_type}");
        let other_size = AnyArray::stack(&[a.clone(), a, c]).unwrap_err().to_string();
        assert!(other_size.contains("image 2 is uint16 [1, 2]"), "{other_size}");
        assert_eq!(AnyArray::stack(&[]), Err(ArrayError::Empty));
    }

    #[test]
    fn casting_rounds_and_stays_in_range() {
        let floats = AnyArray::from_values(&[4], vec![-3.0f32, 1.5, 70_000.0, f32::NAN]).unwrap();
        assert_eq!(floats.cast(ElementType::U16), AnyArray::from_values(&[4], vec![0u16, 2, 65_535, 0]).unwrap());
        assert_eq!(floats.cast(ElementType::U16).to_f32().as_slice().unwrap(), [0.0, 2.0, 65_535.0, 0.0]);
        assert!(AnyArray::from_values(&[3], vec![1u8]).is_err());
    }
}

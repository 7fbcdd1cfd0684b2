//! numpy arrays and scalars inside pickles, as dtype, shape and bytes.

use super::limits::PickleError;
use super::value::PickleValue;

/// Most axes of an array; numpy itself stops at 32 (numpy 1) or 64.
const MAX_AXES: usize = 32;

/// Element type of a numpy array: bool, integers, floats and complex numbers. Objects, text, records and dates are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NumpyDtype {
    /// numpy's kind letter: one of `b i u f c`.
    kind: u8,
    pub(super) size_bytes: usize,
    big_endian: bool,
}

impl NumpyDtype {
    /// From numpy's code without byte order, as in the arguments of a pickled dtype: `u2`, `f4`, `b1`.
    pub fn from_code(code: &str) -> Result<Self, PickleError> {
        let refused = || PickleError::BadObject {
            what: "numpy dtype".to_owned(),
            reason: format!(
                "{} is not a boolean, integer, float or complex type",
                code.chars().take(40).collect::<String>().escape_debug()
            ),
        };
        let (kind, size) = code.split_at_checked(1).ok_or_else(refused)?;
        let (kind, size_bytes) = match (kind, size) {
            ("b", "1") => (b'b', 1),
            ("i" | "u", "1") => (kind.as_bytes()[0], 1),
            ("i" | "u" | "f", "2") => (kind.as_bytes()[0], 2),
            ("i" | "u" | "f", "4") => (kind.as_bytes()[0], 4),
            ("i" | "u" | "f" | "c", "8") => (kind.as_bytes()[0], 8),
            ("c", "16") => (b'c', 16),
            _ => return Err(refused()),
        };
        Ok(Self { kind, size_bytes, big_endian: false })
    }

    /// From `str(np.dtype)`: `uint16`, `bool`, `>u2`; also `<u2` and `|u1`.
    fn from_name(name: &str) -> Result<Self, PickleError> {
        let code = match name {
            "bool" => "b1",
            "int8" => "i1",
            "uint8" => "u1",
            "int16" => "i2",
            "uint16" => "u2",
            "int32" => "i4",
            "uint32" => "u4",
            "int64" => "i8",
            "uint64" => "u8",
            "float16" => "f2",
            "float32" => "f4",
            "float64" => "f8",
            "complex64" => "c8",
            "complex128" => "c16",
            _ => name.trim_start_matches(['<', '>', '|', '=']),
        };
        let mut dtype = Self::from_code(code)?;
        dtype.set_byte_order(if name.starts_with('>') { ">" } else { "<" });
        Ok(dtype)
    }

    /// Byte order from the state of a pickled dtype: `<`, `>`, `|` or `=`. Single bytes have none.
    pub fn set_byte_order(&mut self, order: &str) {
        self.big_endian = order == ">" && self.size_bytes > 1;
    }

    pub fn code(self) -> String {
        format!("{}{}", char::from(self.kind), self.size_bytes)
    }

    pub fn byte_order(self) -> &'static str {
        match (self.size_bytes, self.big_endian) {
            (1, _) => "|",
            (_, true) => ">",
            (_, false) => "<",
        }
    }

    /// `str(np.dtype)`: the name in native order, else order and code.
    fn name(self) -> String {
        if self.big_endian {
            return format!(">{}", self.code());
        }
        let word = match self.kind {
            b'b' => return "bool".to_owned(),
            b'i' => "int",
            b'u' => "uint",
            b'f' => "float",
            _ => "complex",
        };
        format!("{word}{}", self.size_bytes * 8)
    }
}

/// A numpy array or scalar: exactly `shape` elements of `dtype` in C order (slowest axis first).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NumpyArray {
    dtype: NumpyDtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl NumpyArray {
    /// An array from `str(np.dtype)`, shape and bytes in C order; a scalar has shape `[]`.
    ///
    /// # Errors
    /// When the dtype is not numeric, or the bytes are not exactly those of the shape.
    pub fn new(dtype: &str, shape: Vec<usize>, data: Vec<u8>) -> Result<Self, PickleError> {
        Self::from_parts(NumpyDtype::from_name(dtype)?, shape, data)
    }

    pub(super) fn from_parts(dtype: NumpyDtype, shape: Vec<usize>, data: Vec<u8>) -> Result<Self, PickleError> {
        check_size(dtype, &shape, data.len())?;
        Ok(Self { dtype, shape, data })
    }

    /// As [`Self::from_parts`], for bytes in Fortran order (fastest axis first).
    pub(super) fn from_fortran_order(dtype: NumpyDtype, shape: Vec<usize>, data: &[u8]) -> Result<Self, PickleError> {
        check_size(dtype, &shape, data.len())?;
        let size = dtype.size_bytes;
        let mut c_order = Vec::with_capacity(data.len());
        // Axes of extent 1 are left out of the walk: with many of them each element would take as many turns.
        let extents: Vec<usize> = shape.iter().copied().filter(|extent| *extent != 1).collect();
        let strides: Vec<usize> = extents
            .iter()
            .scan(size, |stride, extent| {
                let this = *stride;
                // Wraps only for empty arrays, which have no element to find.
                *stride = stride.wrapping_mul(*extent);
                Some(this)
            })
            .collect();
        let mut index = vec![0; extents.len()];
        let mut offset = 0;
        while c_order.len() < data.len() {
            c_order.extend_from_slice(&data[offset..offset + size]);
            for axis in (0..extents.len()).rev() {
                index[axis] += 1;
                offset += strides[axis];
                if index[axis] < extents[axis] {
                    break;
                }
                offset -= strides[axis] * extents[axis];
                index[axis] = 0;
            }
        }
        Ok(Self { dtype, shape, data: c_order })
    }

    /// `str(np.dtype)`: `uint16`, `float32`, `>u2`.
    pub fn dtype(&self) -> String {
        self.dtype.name()
    }

    /// Extent per axis, slowest first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements in C order, in the byte order of the dtype.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels, given away.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    pub(super) fn numpy_dtype(&self) -> NumpyDtype {
        self.dtype
    }

    /// The value of a scalar (shape `[]`) as a Python builtin. Nothing for arrays and complex numbers.
    pub fn scalar(&self) -> Option<PickleValue> {
        if !self.shape.is_empty() {
            return None;
        }
        let mut bytes = [0_u8; 8];
        let size = self.dtype.size_bytes;
        let target = bytes.get_mut(..size)?;
        target.copy_from_slice(self.data.get(..size)?);
        if self.dtype.big_endian {
            target.reverse();
        }
        let raw = u64::from_le_bytes(bytes);
        // Low bytes of the little-endian word; the casts cut exactly the element's width.
        Some(match (self.dtype.kind, size) {
            (b'b', _) => PickleValue::Bool(raw != 0),
            (b'u', _) => PickleValue::from(raw),
            (b'i', 1) => PickleValue::from(raw as u8 as i8),
            (b'i', 2) => PickleValue::from(raw as u16 as i16),
            (b'i', 4) => PickleValue::from(raw as u32 as i32),
            (b'i', 8) => PickleValue::from(raw as i64),
            (b'f', 2) => PickleValue::from(half::f16::from_bits(raw as u16).to_f64()),
            (b'f', 4) => PickleValue::from(f64::from(f32::from_bits(raw as u32))),
            (b'f', 8) => PickleValue::from(f64::from_bits(raw)),
            _ => return None,
        })
    }
}

fn check_size(dtype: NumpyDtype, shape: &[usize], found: usize) -> Result<(), PickleError> {
    let needed = shape.iter().try_fold(dtype.size_bytes, |bytes, extent| bytes.checked_mul(*extent));
    if shape.len() <= MAX_AXES && needed == Some(found) {
        return Ok(());
    }
    let reason = match needed {
        _ if shape.len() > MAX_AXES => format!("{} axes, at most {MAX_AXES} are read", shape.len()),
        Some(needed) => format!("shape {shape:?} of {} needs {needed} bytes, the pickle has {found}", dtype.name()),
        None => format!("shape {shape:?} is larger than memory"),
    };
    Err(PickleError::BadObject { what: "numpy array".to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_must_be_exact() {
        assert!(NumpyArray::new("uint16", vec![2, 3], vec![0; 12]).is_ok());
        assert!(NumpyArray::new("uint16", vec![2, 3], vec![0; 11]).is_err());
        assert!(NumpyArray::new("uint16", vec![2, 3], vec![0; 13]).is_err());
        assert!(NumpyArray::new("uint16", vec![usize::MAX, 3], vec![]).is_err());
        assert!(NumpyArray::new("object", vec![1], vec![0; 8]).is_err());
        assert!(NumpyArray::new("datetime64[ns]", vec![1], vec![0; 8]).is_err());
    }

    #[test]
    fn dtype_is_named_as_numpy_names_it() {
        for name in ["bool", "int8", "uint16", ">u2", "float16", ">f8", "complex64", "complex128"] {
            let size = NumpyDtype::from_name(name).unwrap().size_bytes;
            assert_eq!(NumpyArray::new(name, vec![], vec![0; size]).unwrap().dtype(), name);
        }
        assert_eq!(NumpyArray::new("<u2", vec![], vec![0; 2]).unwrap().dtype(), "uint16");
        assert_eq!(NumpyArray::new("|u1", vec![], vec![0; 1]).unwrap().dtype(), "uint8");
    }

    #[test]
    fn fortran_order_becomes_c_order() {
        let dtype = NumpyDtype::from_name("uint8").unwrap();
        // [[1, 2, 3], [4, 5, 6]] column by column.
        let array = NumpyArray::from_fortran_order(dtype, vec![2, 3], &[1, 4, 2, 5, 3, 6]).unwrap();
        assert_eq!(array.data(), [1, 2, 3, 4, 5, 6]);
        let thin = NumpyArray::from_fortran_order(dtype, vec![1, 2, 1, 3, 1], &[1, 4, 2, 5, 3, 6]).unwrap();
        assert_eq!((thin.data(), thin.shape()), (&[1, 2, 3, 4, 5, 6][..], &[1, 2, 1, 3, 1][..]));
        let empty = NumpyArray::from_fortran_order(dtype, vec![0, 3], &[]).unwrap();
        assert_eq!(empty.shape(), [0, 3]);
    }

    #[test]
    fn scalars_read_as_numbers() {
        let scalar = |dtype: &str, data: &[u8]| NumpyArray::new(dtype, vec![], data.to_vec()).unwrap().scalar();
        assert_eq!(scalar("int16", &[0xfe, 0xff]), Some(PickleValue::Int(-2)));
        assert_eq!(scalar(">u2", &[1, 2]), Some(PickleValue::Int(258)));
        assert_eq!(scalar("uint64", &[0xff; 8]), Some(PickleValue::UInt(u64::MAX)));
        assert_eq!(scalar("float32", &1.5_f32.to_le_bytes()), Some(PickleValue::Float(1.5)));
        assert_eq!(scalar("bool", &[1]), Some(PickleValue::Bool(true)));
    }
}

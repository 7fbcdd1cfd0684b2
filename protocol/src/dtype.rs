//! Element types of numpy arrays as the wire names them (`uint16`, `>u2`, `float32`, ...), and checked sizes.

use std::fmt;

/// What one array element is, without its byte order. Everything numpy's numeric kinds can send, complex excepted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ElementType {
    /// numpy `bool`: one byte, 0 or 1.
    Bool,
    /// numpy `int8`.
    I8,
    /// numpy `uint8`.
    U8,
    /// numpy `int16`.
    I16,
    /// numpy `uint16`.
    U16,
    /// numpy `int32`.
    I32,
    /// numpy `uint32`.
    U32,
    /// numpy `int64`.
    I64,
    /// numpy `uint64`.
    U64,
    /// numpy `float16`.
    F16,
    /// numpy `float32`.
    F32,
    /// numpy `float64`.
    F64,
}

/// Order of the bytes of one element on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ByteOrder {
    /// `<`, `=`, `|` or no prefix: producers run on little-endian machines.
    Little,
    /// `>`: numpy keeps the prefix for non-native arrays (seen from polystore 0.2.19: `>u2`).
    Big,
}

/// An element type with its byte order: `str(np.dtype)` on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DType {
    /// What one element is.
    pub element: ElementType,
    /// How its bytes are ordered in the producer's memory.
    pub order: ByteOrder,
}

impl ElementType {
    /// Every element type.
    pub const ALL: [Self; 12] = [
        Self::Bool,
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::F16,
        Self::F32,
        Self::F64,
    ];

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// numpy's name: `uint16`, `float32`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::U8 => "uint8",
            Self::I16 => "int16",
            Self::U16 => "uint16",
            Self::I32 => "int32",
            Self::U32 => "uint32",
            Self::I64 => "int64",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a dtype string cannot be shown. The whole batch is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DTypeError {
    /// Complex pixels have no brightness of their own.
    #[error(
        "complex images cannot be shown; needed a real dtype, so the producer should send the magnitude or the real \
         part. Found dtype: {found:?}"
    )]
    Complex {
        /// The dtype as sent.
        found: String,
    },
    /// Not a numeric numpy dtype.
    #[error(
        "unknown dtype; the producer should send bool, int8 to int64, uint8 to uint64, float16, float32 or float64. \
         Found dtype: {found:?}"
    )]
    Unknown {
        /// The dtype as sent.
        found: String,
    },
}

/// Why an array has no usable size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    /// An axis of extent 0.
    #[error("the array has size 0: shape {shape:?}; every extent must be at least 1, the producer should leave it out")]
    Empty {
        /// Extent per axis.
        shape: Vec<u64>,
    },
    /// The number of bytes does not fit 64 bits.
    #[error("shape {shape:?} of {dtype} needs more bytes than can be counted; the producer sent a wrong shape")]
    Overflow {
        /// Extent per axis.
        shape: Vec<u64>,
        /// Its element type.
        dtype: DType,
    },
}

impl DType {
    /// An element type in little-endian order.
    pub const fn little(element: ElementType) -> Self {
        Self { element, order: ByteOrder::Little }
    }

    /// Reads `str(np.dtype)` (`uint16`, `>u2`) or a numpy type code (`<u2`, `|b1`, `?`).
    ///
    /// `=` means the producer's native order, which is little-endian on every machine that numpy still ships for.
    pub fn parse(text: &str) -> Result<Self, DTypeError> {
        let (order, name) = match text.as_bytes().first() {
            Some(b'>') => (ByteOrder::Big, &text[1..]),
            Some(b'<' | b'=' | b'|') => (ByteOrder::Little, &text[1..]),
            _ => (ByteOrder::Little, text),
        };
        let element = match name {
            "bool" | "?" | "b1" => ElementType::Bool,
            "int8" | "i1" => ElementType::I8,
            "uint8" | "u1" => ElementType::U8,
            "int16" | "i2" => ElementType::I16,
            "uint16" | "u2" => ElementType::U16,
            "int32" | "i4" => ElementType::I32,
            "uint32" | "u4" => ElementType::U32,
            "int64" | "i8" => ElementType::I64,
            "uint64" | "u8" => ElementType::U64,
            "float16" | "f2" => ElementType::F16,
            "float32" | "f4" => ElementType::F32,
            "float64" | "f8" => ElementType::F64,
            "c8" | "c16" | "c32" => return Err(DTypeError::Complex { found: excerpt(text) }),
            _ if name.starts_with("complex") => return Err(DTypeError::Complex { found: excerpt(text) }),
            _ => return Err(DTypeError::Unknown { found: excerpt(text) }),
        };
        // numpy knows no byte order of single bytes: `>u1` is `uint8`.
        let order = if element.size_bytes() == 1 { ByteOrder::Little } else { order };
        Ok(Self { element, order })
    }

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        self.element.size_bytes()
    }
}

/// At most 64 characters of what a peer sent, for an error text.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Bytes of an array of `shape`; an error when an extent is 0 or the product overflows.
///
/// Of the empty shape (0-d) it is the size of one element.
pub fn checked_size_bytes(shape: &[u64], dtype: DType) -> Result<u64, SizeError> {
    if shape.contains(&0) {
        return Err(SizeError::Empty { shape: shape.to_vec() });
    }
    shape
        .iter()
        .try_fold(dtype.size_bytes() as u64, |size, &extent| size.checked_mul(extent))
        .ok_or_else(|| SizeError::Overflow { shape: shape.to_vec(), dtype })
}

/// numpy's `str(dtype)`: the name in native order, the code with its prefix (`>u2`) when big-endian.
impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.order == ByteOrder::Little || self.size_bytes() == 1 {
            return f.write_str(self.element.name());
        }
        let kind = match self.element {
            ElementType::Bool => 'b',
            ElementType::I8 | ElementType::I16 | ElementType::I32 | ElementType::I64 => 'i',
            ElementType::U8 | ElementType::U16 | ElementType::U32 | ElementType::U64 => 'u',
            ElementType::F16 | ElementType::F32 | ElementType::F64 => 'f',
        };
        write!(f, ">{kind}{}", self.size_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_display_is_identity() {
        for element in ElementType::ALL {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                let order = if element.size_bytes() == 1 { ByteOrder::Little } else { order };
                let dtype = DType { element, order };
                assert_eq!(DType::parse(&dtype.to_string()), Ok(dtype), "{dtype}");
            }
        }
    }

    #[test]
    fn numpy_codes_and_prefixes_are_read() {
        assert_eq!(DType::parse(">u2"), Ok(DType { element: ElementType::U16, order: ByteOrder::Big }));
        assert_eq!(DType::parse("<u2"), Ok(DType::little(ElementType::U16)));
        assert_eq!(DType::parse("=f4"), Ok(DType::little(ElementType::F32)));
        assert_eq!(DType::parse("|b1"), Ok(DType::little(ElementType::Bool)));
        assert_eq!(DType::parse("?"), Ok(DType::little(ElementType::Bool)));
        assert_eq!(DType::parse("i8"), Ok(DType::little(ElementType::I64)));
        assert_eq!(DType::parse(">u1"), Ok(DType::little(ElementType::U8)));
        assert_eq!(DType { element: ElementType::U16, order: ByteOrder::Big }.to_string(), ">u2");
    }

    #[test]
    fn complex_is_refused_with_advice_and_nonsense_by_name() {
        for text in ["complex64", "<c8", "complex128", ">c16"] {
            let message = DType::parse(text).unwrap_err().to_string();
            assert!(message.contains("complex images cannot be shown") && message.contains("magnitude"), "{message}");
        }
        for text in ["", "object", "uint17", "é2", ">", "float128", "U5"] {
            assert!(matches!(DType::parse(text), Err(DTypeError::Unknown { .. })), "{text}");
        }
    }

    #[test]
    fn sizes_are_checked() {
        let u16 = DType::little(ElementType::U16);
        assert_eq!(checked_size_bytes(&[16, 24], u16), Ok(768));
        assert_eq!(checked_size_bytes(&[], u16), Ok(2));
        assert!(checked_size_bytes(&[16, 0], u16).unwrap_err().to_string().contains("size 0"));
        assert!(matches!(checked_size_bytes(&[1 << 63, 2], u16), Err(SizeError::Overflow { .. })));
        // An extent of 0 is named as such even when the others overflow.
        assert!(matches!(checked_size_bytes(&[u64::MAX, u64::MAX, 0], u16), Err(SizeError::Empty { .. })));
    }
}

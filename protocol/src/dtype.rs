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

//! A Python value as data.

use std::borrow::Cow;

use super::numpy::NumpyArray;

/// A Python value as data, owned. What [`decode`](super::decode) gives and [`encode`](super::encode) takes.
#[derive(Clone, PartialEq, Debug)]
pub enum PickleValue {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// An `int` that fits into 64 signed bits.
    Int(i64),
    /// An `int` above `i64::MAX` (labels and pixel maxima of `uint64` arrays). Smaller ones are [`PickleValue::Int`].
    UInt(u64),
    /// `float`.
    Float(f64),
    /// `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `bytearray`.
    ByteArray(Vec<u8>),
    /// `list`.
    List(Vec<PickleValue>),
    /// `tuple`. Clients check for tuples and lists by type, so they stay apart.
    Tuple(Vec<PickleValue>),
    /// `dict`, in order of insertion. A key that was set twice is here twice; the last one counts, as in Python.
    Dict(Vec<(PickleValue, PickleValue)>),
    /// `set`, in the order sent.
    Set(Vec<PickleValue>),
    /// `frozenset`, in the order sent.
    FrozenSet(Vec<PickleValue>),
    /// numpy array, or numpy scalar (shape `[]`).
    Array(Box<NumpyArray>),
    /// Member of an allowed enum.
    Enum(Box<PickleEnum>),
    /// Instance of an allowed class.
    Object(Box<PickleObject>),
}

/// Member of an enum of [`classes`](super::classes), known by its value.
#[derive(Clone, PartialEq, Debug)]
pub struct PickleEnum {
    /// Python module.
    pub module: Cow<'static, str>,
    /// Class name.
    pub name: Cow<'static, str>,
    /// The member's value (`Enum(value)`), nearly always a string.
    pub value: PickleValue,
}

/// Instance of a class of [`classes`](super::classes), as its fields.
#[derive(Clone, PartialEq, Debug)]
pub struct PickleObject {
    /// Python module.
    pub module: Cow<'static, str>,
    /// Class name.
    pub name: Cow<'static, str>,
    /// Fields by name in the order of declaration; the items of a `dict` subclass.
    pub fields: Vec<(Cow<'static, str>, PickleValue)>,
}

impl PickleValue {
    /// A `dict` with text keys.
    pub fn dict<K: Into<String>>(items: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(items.into_iter().map(|(key, value)| (Self::Str(key.into()), value)).collect())
    }

    /// A `tuple`.
    pub fn tuple<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Tuple(items.into_iter().map(Into::into).collect())
    }

    /// A `list`.
    pub fn list<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// A member of an enum.
    pub fn enum_member(
        module: impl Into<Cow<'static, str>>,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Self>,
    ) -> Self {
        Self::Enum(Box::new(PickleEnum { module: module.into(), name: name.into(), value: value.into() }))
    }

    /// An instance of a class.
    pub fn object<K: Into<Cow<'static, str>>>(
        module: impl Into<Cow<'static, str>>,
        name: impl Into<Cow<'static, str>>,
        fields: impl IntoIterator<Item = (K, Self)>,
    ) -> Self {
        let fields = fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self::Object(Box::new(PickleObject { module: module.into(), name: name.into(), fields }))
    }

    /// The value under a text key of a `dict` or the field of an object. Enum keys count as their value.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(items) => items.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value),
            Self::Object(object) => object.fields.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Whether this is a `dict` or an instance of a `dict` subclass.
    pub fn is_mapping(&self) -> bool {
        use super::classes::{ClassLayout, allowed_class};
        match self {
            Self::Dict(_) => true,
            Self::Object(object) => {
                allowed_class(&object.module, &object.name).is_some_and(|class| class.layout == ClassLayout::Mapping)
            }
            _ => false,
        }
    }

    /// The text keys of a `dict` with their values, or the fields of an object.
    pub fn fields(&self) -> Vec<(&str, &Self)> {
        match self {
            Self::Dict(items) => items.iter().filter_map(|(key, value)| Some((key.as_str()?, value))).collect(),
            Self::Object(object) => object.fields.iter().map(|(key, value)| (key.as_ref(), value)).collect(),
            _ => Vec::new(),
        }
    }

    /// The items of a list, tuple or set.
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Text, also that of an enum member.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Enum(member) => member.value.as_str(),
            _ => None,
        }
    }

    /// A `bool`, also numpy's. Never an integer.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Array(array) => array.scalar()?.as_bool(),
            _ => None,
        }
    }

    /// An integer, also numpy's. Never a `bool`, never a float.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Array(array) => array.scalar()?.as_i64(),
            Self::Enum(member) => member.value.as_i64(),
            _ => None,
        }
    }

    /// An integer that is not negative, also numpy's. Never a `bool`.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::UInt(value) => Some(*value),
            Self::Array(array) => array.scalar()?.as_u64(),
            Self::Enum(member) => member.value.as_u64(),
            _ => None,
        }
    }

    /// A real number: a float, or an integer rounded to the nearest double. Never a `bool`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            Self::UInt(value) => Some(*value as f64),
            Self::Array(array) => array.scalar()?.as_f64(),
            _ => None,
        }
    }

    /// Bytes of a `bytes` or `bytearray`.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) | Self::ByteArray(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A numpy array.
    pub fn as_array(&self) -> Option<&NumpyArray> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Python's name of the type: `dict`, `ndarray`, the class of an object.
    pub fn type_name(&self) -> &str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::UInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Array(_) => "ndarray",
            Self::Enum(member) => &member.name,
            Self::Object(object) => &object.name,
        }
    }
}

impl From<bool> for PickleValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => { $(impl From<$integer> for PickleValue {
        fn from(value: $integer) -> Self {
            Self::Int(i64::from(value))
        }
    })* };
}
from_integer!(i8, i16, i32, i64, u8, u16, u32);

impl From<u64> for PickleValue {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }
}

impl From<usize> for PickleValue {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<f64> for PickleValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for PickleValue {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for PickleValue {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for PickleValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

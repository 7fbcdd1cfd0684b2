//! Components (well, site, channel, z_index, timepoint, or whatever a producer declares), their values and order.

use std::fmt;

/// One value of a component: where along its slider an image lies.
///
/// Numbers stay numbers and text stays text; `site`, `channel`, `z_index` and `timepoint` values that arrive as numeric text
/// become numbers ([`ComponentValue::normalized_for`]), wells stay text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ComponentValue {
    /// An integer, e.g. channel 1.
    Int(i64),
    /// A number with a fraction, by its bits, so that values compare and hash exactly. Never NaN.
    Float(FloatBits),
    /// Text, e.g. well "B02".
    Text(String),
    /// A list (a Python tuple on the sender's side).
    List(Vec<ComponentValue>),
}

/// An `f64` that compares and hashes by its bits. Never NaN; -0.0 is stored as 0.0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FloatBits(u64);

/// What a component does in the viewer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ComponentMode {
    /// A slider. Wire: "stack", or absent.
    #[default]
    Stack,
    /// A layer per value. Wire: "layer", "slice" (openhcs up to 0.6.17) and Fiji's "window".
    Layer,
}

impl fmt::Debug for FloatBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from_bits(self.0))
    }
}

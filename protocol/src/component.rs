//! Components (well, site, channel, z_index, timepoint, or whatever a producer declares), their values and order.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

impl FloatBits {
    /// The number. Always finite when made by [`ComponentValue::from`].
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl ComponentMode {
    /// Reads a wire mode; `None` for a word we do not know, which a viewer shows as a stack.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "stack" => Some(Self::Stack),
            "layer" | "slice" | "window" => Some(Self::Layer),
            _ => None,
        }
    }

    /// The spelling of openhcs 0.7.26 and later: "stack" or "layer".
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Layer => "layer",
        }
    }
}

impl From<i64> for ComponentValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for ComponentValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

/// NaN and infinities have no place on a slider; they become the text that Python prints (`nan`, `inf`, `-inf`).
impl From<f64> for ComponentValue {
    fn from(value: f64) -> Self {
        if value.is_finite() {
            // Adding 0.0 turns -0.0 into 0.0.
            Self::Float(FloatBits((value + 0.0).to_bits()))
        } else {
            Self::Text(python_float(value))
        }
    }
}

impl From<&str> for ComponentValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ComponentValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<ComponentValue>> for ComponentValue {
    fn from(values: Vec<ComponentValue>) -> Self {
        Self::List(values)
    }
}

/// Components whose numeric text means a number. Wells stay text: "01" and "1" name different wells.
const NUMERIC_COMPONENTS: [&str; 4] = ["site", "channel", "z_index", "timepoint"];

impl ComponentValue {
    /// The value as it is kept for `component`: of `site`, `channel`, `z_index` and `timepoint`, numeric text ("003") and
    /// whole floats (3.0) become integers, so that one image set streamed in two spellings has one axis.
    #[must_use]
    pub fn normalized_for(self, component: &str) -> Self {
        if !NUMERIC_COMPONENTS.contains(&component) {
            return self;
        }
        match self {
            Self::Text(text) => match integer_of_text(&text) {
                Some(number) => Self::Int(number),
                None => Self::Text(text),
            },
            Self::Float(float) => {
                let number = float.get();
                // Beyond 2^53 a float no longer names one integer.
                if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
                    Self::Int(number as i64)
                } else {
                    Self::Float(float)
                }
            }
            other => other,
        }
    }

    /// The key of this value in `component_names_metadata`: Python's `str(value)`.
    pub fn as_key(&self) -> String {
        self.to_string()
    }

    /// The number that decides the order: of numbers, and of text that is a plain decimal number.
    fn sort_number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(float) => Some(float.get()),
            Self::Text(text) => number_of_text(text),
            Self::List(_) => None,
        }
    }

    /// Rank of the variant, the tie-break between 1, 1.0 and "1".
    const fn rank(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Float(_) => 1,
            Self::Text(_) => 2,
            Self::List(_) => 3,
        }
    }
}

fn integer_of_text(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The number of plain decimal text. "1e5", "nan" and "inf" stay text: a well or a dye may be called so.
fn number_of_text(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = body.starts_with(|c: char| c.is_ascii_digit())
        && body.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

/// The order of values along a slider (openhcs 0.8.6 `ViewerComponentValueOrdering`): numbers, numeric text included,
/// by number; then text in natural order (digit runs by number, the rest without case).
///
/// A total order: two values compare equal only when they are the same value.
pub fn compare_values(a: &ComponentValue, b: &ComponentValue) -> Ordering {
    let by_kind = match (a.sort_number(), b.sort_number()) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => natural_order(&a.to_string(), &b.to_string()),
    };
    by_kind.then_with(|| a.rank().cmp(&b.rank())).then_with(|| match (a, b) {
        (ComponentValue::Int(x), ComponentValue::Int(y)) => x.cmp(y),
        (ComponentValue::Text(x), ComponentValue::Text(y)) => x.cmp(y),
        (ComponentValue::List(x), ComponentValue::List(y)) => compare_lists(x, y),
        _ => Ordering::Equal,
    })
}

fn compare_lists(a: &[ComponentValue], b: &[ComponentValue]) -> Ordering {
    let first_difference = a.iter().zip(b).map(|(x, y)| compare_values(x, y)).find(|order| order.is_ne());
    first_difference.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// "w2" before "w10", "A" beside "a".
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, rest_a) = split_run(a, false);
        let (text_b, rest_b) = split_run(b, false);
        let (digits_a, rest_a) = split_run(rest_a, true);
        let (digits_b, rest_b) = split_run(rest_b, true);
        let by_text = text_a.to_lowercase().cmp(&text_b.to_lowercase());
        let order = by_text.then_with(|| compare_digits(digits_a, digits_b));
        if order.is_ne() || (rest_a.is_empty() && rest_b.is_empty()) {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The longest start of `text` that is all digits, or all something else, and what follows.
fn split_run(text: &str, digits: bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

/// Digit runs of any length by their number; no digits at all come first.
fn compare_digits(a: &str, b: &str) -> Ordering {
    let (x, y) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.is_empty().cmp(&b.is_empty()).reverse().then_with(|| x.len().cmp(&y.len())).then_with(|| x.cmp(y))
}

/// Python's `str(float)`: shortest digits that read back the same, exponent form below 1e-4 and from 1e16 on.
fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}

/// Python's `repr(str)`, which is how text inside a tuple prints.
fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut repr = String::with_capacity(text.len() + 2);
    repr.push(quote);
    for character in text.chars() {
        match character {
            '\n' => repr.push_str("\\n"),
            '\r' => repr.push_str("\\r"),
            '\t' => repr.push_str("\\t"),
            c if c == '\\' || c == quote => repr.extend(['\\', c]),
            c => repr.push(c),
        }
    }
    repr.push(quote);
    repr
}

/// As Python's `str(value)` on the producer's side: `1`, `1.5`, `A01`, `(1, 'B02')`.
impl fmt::Display for ComponentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(float) => f.write_str(&python_float(float.get())),
            Self::Text(text) => f.write_str(text),
            Self::List(values) => {
                f.write_str("(")?;
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    match value {
                        Self::Text(text) => f.write_str(&python_repr(text))?,
                        other => write!(f, "{other}")?,
                    }
                }
                f.write_str(if values.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

impl Serialize for ComponentValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Float(float) => serializer.serialize_f64(float.get()),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(values) => serializer.collect_seq(values),
        }
    }
}

/// Scalars and lists. Booleans, null and integers beyond 64 bits signed are kept as the text that Python prints of them.
impl<'de> Deserialize<'de> for ComponentValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ComponentValueVisitor)
    }
}

struct ComponentValueVisitor;

impl<'de> Visitor<'de> for ComponentValueVisitor {
    type Value = ComponentValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, text, or a list of them")
    }

    fn visit_i64<E>(self, value: i64) -> Result<ComponentValue, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<ComponentValue, E> {
        Ok(i64::try_from(value).map_or_else(|_| ComponentValue::Text(value.to_string()), ComponentValue::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<ComponentValue, E> {
        Ok(value.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<ComponentValue, E> {
        Ok(if value { "True" } else { "False" }.into())
    }

    fn visit_unit<E>(self) -> Result<ComponentValue, E> {
        Ok("None".into())
    }

    fn visit_str<E>(self, value: &str) -> Result<ComponentValue, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<ComponentValue, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<ComponentValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element()? {
            values.push(value);
        }
        Ok(ComponentValue::List(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_print_as_python_prints_them() {
        let cases: [(ComponentValue, &str); 14] = [
            (1.into(), "1"),
            ("A01".into(), "A01"),
            (1.0.into(), "1.0"),
            (0.5.into(), "0.5"),
            (1e16.into(), "1e+16"),
            (1e15.into(), "1000000000000000.0"),
            (0.0001.into(), "0.0001"),
            (1.5e-5.into(), "1.5e-05"),
            ((-0.0).into(), "0.0"),
            (f64::NAN.into(), "nan"),
            (f64::NEG_INFINITY.into(), "-inf"),
            (vec![1.into(), 2.into()].into(), "(1, 2)"),
            (vec!["A01".into()].into(), "('A01',)"),
            (vec![ComponentValue::from("it's"), vec![].into()].into(), "(\"it's\", ())"),
        ];
        for (value, text) in cases {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn values_sort_numbers_first_then_naturally() {
        let mut values: Vec<ComponentValue> =
            vec!["w10".into(), "b1".into(), "B02".into(), "10".into(), 2.into(), "w2".into(), "A1".into(), 1.5.into()];
        values.sort_by(compare_values);
        let printed: Vec<_> = values.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["1.5", "2", "10", "A1", "b1", "B02", "w2", "w10"]);
    }

    #[test]
    fn wells_stay_text_and_numeric_components_become_numbers() {
        assert_eq!(ComponentValue::from("003").normalized_for("site"), ComponentValue::Int(3));
        assert_eq!(ComponentValue::from(2.0).normalized_for("z_index"), ComponentValue::Int(2));
        assert_eq!(ComponentValue::from(2.5).normalized_for("z_index"), ComponentValue::from(2.5));
        assert_eq!(ComponentValue::from("DAPI").normalized_for("channel"), ComponentValue::from("DAPI"));
        assert_eq!(ComponentValue::from("").normalized_for("channel"), ComponentValue::from(""));
        assert_eq!(ComponentValue::from("01").normalized_for("well"), ComponentValue::from("01"));
    }

    #[test]
    fn slice_and_window_mean_a_layer_per_value() {
        for word in ["layer", "slice", "window"] {
            assert_eq!(ComponentMode::parse(word), Some(ComponentMode::Layer));
        }
        assert_eq!(ComponentMode::parse("stack"), Some(ComponentMode::Stack));
        assert_eq!(ComponentMode::parse("mosaic"), None);
    }

    fn any_value() -> impl Strategy<Value = ComponentValue> {
        let scalar = prop_oneof![
            any::<i64>().prop_map(ComponentValue::Int),
            (-3i64..12).prop_map(ComponentValue::Int),
            any::<f64>().prop_map(ComponentValue::from),
            (-3i32..12).prop_map(|n| ComponentValue::from(f64::from(n))),
            "[a-bA-B0-2é.+-]{0,5}".prop_map(ComponentValue::Text),
        ];
        scalar.prop_recursive(2, 8, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(ComponentValue::List))
    }

    proptest! {
        #[test]
        fn order_is_total(a in any_value(), b in any_value(), c in any_value()) {
            prop_assert_eq!(compare_values(&a, &b), compare_values(&b, &a).reverse());
            prop_assert_eq!(compare_values(&a, &b).is_eq(), a == b);
            if compare_values(&a, &b).is_le() && compare_values(&b, &c).is_le() {
                prop_assert!(compare_values(&a, &c).is_le());
            }
        }

        #[test]
        fn json_round_trip_is_identity(value in any_value()) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<ComponentValue>(&text).unwrap(), value);
        }
    }
}

//! An answer as text for people and as JSON for programs.

use serde_json::{Map, Number, Value, json};
use wellscope_protocol::pickle::PickleValue;

use super::CtlError;

/// What is printed on standard output.
pub(crate) struct Answer {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Answer {
    pub(super) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json }
    }

    pub(super) fn print(&self, as_json: bool) {
        use std::io::Write;
        let text = if as_json { self.json.to_string() } else { self.text.clone() };
        // A reader that has seen enough (`| head`) is no failure of ours.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// A sentence on standard error; with --json also an object on standard output, so that a script reads one thing.
pub(super) fn print_error(error: &CtlError, as_json: bool) {
    if as_json {
        Answer::new("", json!({"status": "error", "message": error.to_string()})).print(true);
    }
    eprintln!("wellscope ctl: {error}");
}

/// A reply as JSON. Tuples become lists, objects and enums what they hold; numbers that JSON lacks become null; arrays and
/// bytes, which only the incumbent sends, a word about them.
pub(crate) fn json_of(value: &PickleValue) -> Value {
    match value {
        PickleValue::None => Value::Null,
        PickleValue::Bool(value) => (*value).into(),
        PickleValue::Int(number) => (*number).into(),
        PickleValue::UInt(number) => (*number).into(),
        PickleValue::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        PickleValue::Str(text) => text.clone().into(),
        PickleValue::List(items)
        | PickleValue::Tuple(items)
        | PickleValue::Set(items)
        | PickleValue::FrozenSet(items) => items.iter().map(json_of).collect(),
        PickleValue::Dict(items) => {
            let fields = items.iter().map(|(key, value)| (key_of(key), json_of(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        PickleValue::Enum(member) => json_of(&member.value),
        PickleValue::Object(object) => {
            let fields = object.fields.iter().map(|(key, value)| (key.to_string(), json_of(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => match (other.as_bool(), other.as_i64(), other.as_f64()) {
            (Some(value), ..) => value.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => Number::from_f64(number).map_or(Value::Null, Value::Number),
            _ => format!("<{}>", other.type_name()).into(),
        },
    }
}

fn key_of(key: &PickleValue) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_become_json_that_every_reader_takes() {
        let reply = PickleValue::dict([
            ("counts", PickleValue::tuple([1u32, 2])),
            ("limit", f64::INFINITY.into()),
            ("big", u64::MAX.into()),
            ("kind", PickleValue::enum_member("m", "E", "widget")),
            ("shot", PickleValue::object("m", "C", [("zoom", 0.5.into())])),
            ("raw", PickleValue::Bytes(vec![1])),
            ("none", PickleValue::None),
        ]);
        let expected = json!({"counts": [1, 2], "limit": null, "big": u64::MAX, "kind": "widget",
            "shot": {"zoom": 0.5}, "raw": "<bytes>", "none": null});
        assert_eq!(json_of(&reply), expected);
    }
}

//! Deliveries and replies as JSON, to be compared with what is committed.

use serde_json::{Map, Value, json};
use wellscope_protocol::pickle::PickleValue;
use wellscope_receiver::{Delivery, ReceivedItem, ReceivedPayload};

/// What of a delivery of the data socket is compared.
pub fn delivery(delivery: &Delivery) -> Value {
    match delivery {
        Delivery::Batch(batch) => {
            let names = |names: &std::collections::BTreeMap<String, String>| json!(names);
            json!({
                "sequence": batch.sequence,
                "colormap": batch.display_config.colormap,
                "component_order": batch.display_config.component_order,
                "component_names": object(batch.component_names.iter().map(|(component, of)| (component, names(of)))),
                "component_domain": object(batch.component_domain.iter().map(|(component, values)| {
                    (component, texts(values))
                })),
                "items": batch.items.iter().map(item).collect::<Vec<_>>(),
            })
        }
        Delivery::Problem(problem) => json!({"problem": problem.text, "severity": format!("{:?}", problem.severity)}),
        other => panic!("the data socket delivers batches and problems, not {other:?}"),
    }
}

fn item(item: &ReceivedItem) -> Value {
    let head = &item.item;
    let mut described = json!({
        "path": head.path,
        "route": head.route.key.0,
        "title": head.route.title,
        "sliders": head.route.stack_components,
        "coordinates": object(head.address.iter().map(|(component, value)| (component, value.to_string().into()))),
    });
    match &item.payload {
        ReceivedPayload::Image(image) => {
            described["dtype"] = image.element.name().into();
            described["shape"] = json!(image.shape);
            described["samples"] = image.layout.samples.into();
            if image.labels {
                described["labels"] = true.into();
            }
            described["planes"] =
                object(image.layout.plane_axes.iter().map(|axis| (&axis.component, texts(&axis.values))));
            described["origin_yx"] = json!(image.spatial_origin_yx);
            described["pixels_fnv1a"] = format!("{:016x}", fnv1a(&image.pixels.to_vec().unwrap())).into();
        }
        ReceivedPayload::Shapes(shapes) => {
            described["shapes"] = shapes.iter().map(|shape| format!("{:?}", shape.geometry)).collect();
        }
        ReceivedPayload::Points(shapes) => {
            described["points"] = shapes.iter().map(|shape| format!("{:?}", shape.geometry)).collect();
        }
    }
    described
}

fn object<'a>(entries: impl Iterator<Item = (&'a String, Value)>) -> Value {
    Value::Object(entries.map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>())
}

fn texts(values: &[impl ToString]) -> Value {
    values.iter().map(ToString::to_string).collect()
}

/// FNV-1a, 64 bits: short, and any changed or swapped byte changes it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A reply as JSON that still tells a list (`{"list": [..]}`) from a tuple (`[..]`) and an instance from a dict, as clients do.
pub fn reply(value: &PickleValue) -> Value {
    let all = |items: &[PickleValue]| items.iter().map(reply).collect::<Value>();
    let of_class = |name: &str, value: Value| json!({"class": name, "value": value});
    match value {
        PickleValue::None => Value::Null,
        PickleValue::Bool(value) => json!(value),
        PickleValue::Int(value) => json!(value),
        PickleValue::UInt(value) => json!(value),
        PickleValue::Float(value) if value.is_finite() => json!(value),
        PickleValue::Float(value) => json!({"float": value.to_string()}),
        PickleValue::Str(text) => json!(text),
        PickleValue::Tuple(items) => all(items),
        PickleValue::List(items) => json!({"list": all(items)}),
        PickleValue::Dict(_) => fields(value),
        PickleValue::Enum(member) => of_class(&member.name, reply(&member.value)),
        PickleValue::Object(object) => of_class(&object.name, fields(value)),
        other => panic!("no reply holds a {}", other.type_name()),
    }
}

fn fields(value: &PickleValue) -> Value {
    Value::Object(value.fields().iter().map(|(key, value)| ((*key).to_owned(), reply(value))).collect())
}

/// Where two values first differ, as a path with both sides.
pub fn first_difference(at: &str, expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            let side = |map: &Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or("(absent)".into());
            keys.filter_map(|key| first_difference(&format!("{at}.{key}"), &side(left, key), &side(right, key))).next()
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.filter_map(|(index, (l, r))| first_difference(&format!("{at}[{index}]"), l, r)).next()
        }
        _ if expected == found => None,
        _ => Some(format!("{at}: expected {expected}, found {found}")),
    }
}

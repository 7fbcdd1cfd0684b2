//! Values written as a pickle of protocol 4, which Python 3.4 and later reads.

use super::classes::{ClassLayout, allowed_class};
use super::numpy::NumpyArray;
use super::opcode as op;
use super::value::{PickleObject, PickleValue};

/// Writes a value as Python's `pickle.dumps(value, protocol=4)` would, without memo.
///
/// Builtins need nothing on the reading side; numpy arrays need numpy there, enums and objects their package.
pub fn encode(value: &PickleValue) -> Vec<u8> {
    let mut out = vec![op::PROTO, 4];
    write(value, &mut out);
    out.push(op::STOP);
    out
}

fn write(value: &PickleValue, out: &mut Vec<u8>) {
    match value {
        PickleValue::None => out.push(op::NONE),
        PickleValue::Bool(true) => out.push(op::NEWTRUE),
        PickleValue::Bool(false) => out.push(op::NEWFALSE),
        PickleValue::Int(value) => write_integer((*value).into(), out),
        PickleValue::UInt(value) => write_integer((*value).into(), out),
        PickleValue::Float(value) => {
            out.push(op::BINFLOAT);
            out.extend_from_slice(&value.to_be_bytes());
        }
        PickleValue::Str(text) => write_text(text, out),
        PickleValue::Bytes(bytes) => write_bytes(bytes, out),
        PickleValue::ByteArray(bytes) => {
            write_global("builtins", "bytearray", out);
            write_bytes(bytes, out);
            out.extend_from_slice(&[op::TUPLE1, op::REDUCE]);
        }
        PickleValue::List(items) => write_list(items, out),
        PickleValue::Tuple(items) => write_tuple(items, out),
        PickleValue::Dict(items) => {
            out.push(op::EMPTY_DICT);
            if !items.is_empty() {
                out.push(op::MARK);
                for (key, value) in items {
                    write(key, out);
                    write(value, out);
                }
                out.push(op::SETITEMS);
            }
        }
        PickleValue::Set(items) => {
            out.push(op::EMPTY_SET);
            if !items.is_empty() {
                out.push(op::MARK);
                items.iter().for_each(|item| write(item, out));
                out.push(op::ADDITEMS);
            }
        }
        PickleValue::FrozenSet(items) => {
            out.push(op::MARK);
            items.iter().for_each(|item| write(item, out));
            out.push(op::FROZENSET);
        }
        PickleValue::Array(array) => write_array(array, out),
        PickleValue::Enum(member) => {
            write_global(&member.module, &member.name, out);
            write(&member.value, out);
            out.extend_from_slice(&[op::TUPLE1, op::REDUCE]);
        }
        PickleValue::Object(object) => write_object(object, out),
    }
}

fn write_integer(value: i128, out: &mut Vec<u8>) {
    if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[op::BININT1, value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(op::BININT2);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(op::BININT);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        // Nine bytes hold every i64 and u64 with its sign.
        out.extend_from_slice(&[op::LONG1, 9]);
        out.extend_from_slice(&value.to_le_bytes()[..9]);
    }
}

/// A length after the narrowest of three instructions: one byte, four, eight.
fn write_length(length: usize, opcodes: [u8; 3], out: &mut Vec<u8>) {
    if let Ok(length) = u8::try_from(length) {
        out.extend_from_slice(&[opcodes[0], length]);
    } else if let Ok(length) = u32::try_from(length) {
        out.push(opcodes[1]);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        out.push(opcodes[2]);
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_length(text.len(), [op::SHORT_BINUNICODE, op::BINUNICODE, op::BINUNICODE8], out);
    out.extend_from_slice(text.as_bytes());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), [op::SHORT_BINBYTES, op::BINBYTES, op::BINBYTES8], out);
    out.extend_from_slice(bytes);
}

fn write_global(module: &str, name: &str, out: &mut Vec<u8>) {
    write_text(module, out);
    write_text(name, out);
    out.push(op::STACK_GLOBAL);
}

fn write_list(items: &[PickleValue], out: &mut Vec<u8>) {
    out.push(op::EMPTY_LIST);
    if !items.is_empty() {
        out.push(op::MARK);
        items.iter().for_each(|item| write(item, out));
        out.push(op::APPENDS);
    }
}

fn write_tuple(items: &[PickleValue], out: &mut Vec<u8>) {
    match items {
        [] => out.push(op::EMPTY_TUPLE),
        [_] | [_, _] | [_, _, _] => {
            items.iter().for_each(|item| write(item, out));
            out.push([op::TUPLE1, op::TUPLE2, op::TUPLE3][items.len() - 1]);
        }
        _ => {
            out.push(op::MARK);
            items.iter().for_each(|item| write(item, out));
            out.push(op::TUPLE);
        }
    }
}

/// The spellings of numpy 1 (`numpy.core`), which numpy 2 keeps readable.
fn write_array(array: &NumpyArray, out: &mut Vec<u8>) {
    let dtype = array.numpy_dtype();
    let write_dtype = |out: &mut Vec<u8>| {
        write_global("numpy", "dtype", out);
        write_tuple(&[PickleValue::from(dtype.code()), false.into(), true.into()], out);
        out.push(op::REDUCE);
        write_tuple(
            &[
                3_i64.into(),
                dtype.byte_order().into(),
                PickleValue::None,
                PickleValue::None,
                PickleValue::None,
                (-1_i64).into(),
                (-1_i64).into(),
                0_i64.into(),
            ],
            out,
        );
        out.push(op::BUILD);
    };
    if array.shape().is_empty() {
        write_global("numpy.core.multiarray", "scalar", out);
        write_dtype(out);
        write_bytes(array.data(), out);
        out.extend_from_slice(&[op::TUPLE2, op::REDUCE]);
        return;
    }
    write_global("numpy.core.multiarray", "_reconstruct", out);
    write_global("numpy", "ndarray", out);
    write_tuple(&[0_i64.into()], out);
    write_bytes(b"b", out);
    out.extend_from_slice(&[op::TUPLE3, op::REDUCE, op::MARK]);
    write_integer(1, out);
    write(&PickleValue::tuple(array.shape().iter().copied()), out);
    write_dtype(out);
    out.push(op::NEWFALSE);
    write_bytes(array.data(), out);
    out.extend_from_slice(&[op::TUPLE, op::BUILD]);
}

fn write_object(object: &PickleObject, out: &mut Vec<u8>) {
    write_global(&object.module, &object.name, out);
    out.extend_from_slice(&[op::EMPTY_TUPLE, op::NEWOBJ]);
    let layout = allowed_class(&object.module, &object.name).map_or(ClassLayout::Dict, |class| class.layout);
    match layout {
        // Only values, in the order of declaration.
        ClassLayout::Slots(_) => {
            out.push(op::EMPTY_LIST);
            out.push(op::MARK);
            object.fields.iter().for_each(|(_, value)| write(value, out));
            out.extend_from_slice(&[op::APPENDS, op::BUILD]);
        }
        ClassLayout::Mapping => {
            out.push(op::MARK);
            write_named(object, out);
            out.push(op::SETITEMS);
        }
        ClassLayout::Dict | ClassLayout::Enum => {
            out.extend_from_slice(&[op::EMPTY_DICT, op::MARK]);
            write_named(object, out);
            out.extend_from_slice(&[op::SETITEMS, op::BUILD]);
        }
    }
}

fn write_named(object: &PickleObject, out: &mut Vec<u8>) {
    for (name, value) in &object.fields {
        write_text(name, out);
        write(value, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::classes::{ALLOWED_CLASSES, AllowedClass};
    use super::super::{PickleLimits, decode};
    use super::*;

    fn leaf() -> impl Strategy<Value = PickleValue> {
        prop_oneof![
            Just(PickleValue::None),
            any::<bool>().prop_map(PickleValue::Bool),
            any::<i64>().prop_map(PickleValue::Int),
            (-70_000_i64..70_000).prop_map(PickleValue::Int),
            any::<u64>().prop_map(PickleValue::from),
            // NaN is unequal to itself, not to its copy.
            any::<f64>().prop_filter("NaN", |value| !value.is_nan()).prop_map(PickleValue::Float),
            ".{0,40}".prop_map(PickleValue::Str),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(PickleValue::Bytes),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(PickleValue::ByteArray),
            array(),
        ]
    }

    fn array() -> impl Strategy<Value = PickleValue> {
        let dtypes = ["bool", "uint8", "int16", ">u2", "float32", ">f8", "complex128"];
        (prop::sample::select(dtypes.to_vec()), prop::collection::vec(0_usize..4, 0..4)).prop_map(|(dtype, shape)| {
            let size = NumpyArray::new(dtype, vec![0], vec![]).map(|array| match array.numpy_dtype().code().as_str() {
                "b1" | "u1" => 1,
                "i2" | "u2" => 2,
                "f4" => 4,
                "f8" => 8,
                _ => 16,
            });
            let data = vec![7; shape.iter().product::<usize>() * size.unwrap()];
            PickleValue::Array(Box::new(NumpyArray::new(dtype, shape, data).unwrap()))
        })
    }

    fn instance(class: AllowedClass, values: Vec<PickleValue>) -> PickleValue {
        let names = match class.layout {
            ClassLayout::Slots(names) => names,
            ClassLayout::Dict | ClassLayout::Mapping => &["origin", "step_name"],
            ClassLayout::Enum => return PickleValue::enum_member(class.module, class.name, values[0].clone()),
        };
        let values = values.iter().cycle().cloned();
        PickleValue::object(class.module, class.name, names.iter().copied().zip(values))
    }

    fn value() -> impl Strategy<Value = PickleValue> {
        leaf().prop_recursive(4, 64, 8, |inner| {
            let many = prop::collection::vec(inner.clone(), 0..8);
            prop_oneof![
                many.clone().prop_map(PickleValue::List),
                many.clone().prop_map(PickleValue::Tuple),
                many.clone().prop_map(PickleValue::Set),
                many.prop_map(PickleValue::FrozenSet),
                prop::collection::vec((leaf(), inner.clone()), 0..8).prop_map(PickleValue::Dict),
                (prop::sample::select(ALLOWED_CLASSES), prop::collection::vec(inner, 1..8))
                    .prop_map(|(class, values)| instance(class, values)),
            ]
        })
    }

    proptest! {
        #[test]
        fn decode_of_encode_is_identity(value in value()) {
            prop_assert_eq!(decode(&encode(&value), &PickleLimits::default()).unwrap(), value);
        }
    }

    #[test]
    fn nan_survives() {
        let value = decode(&encode(&PickleValue::Float(f64::NAN)), &PickleLimits::default()).unwrap();
        assert!(value.as_f64().unwrap().is_nan());
    }
}

//! Pickles written by real Python (`tests/pickles/make.py`), and every captured control frame, are read as they were meant.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use wellscope_protocol::pickle::{PickleError, PickleLimits, PickleValue, decode, encode};

fn pickles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickles")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(pickles().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn ints(values: &[i64]) -> Vec<PickleValue> {
    values.iter().map(|value| PickleValue::Int(*value)).collect()
}

fn expected_builtins() -> PickleValue {
    use PickleValue::{Bool, ByteArray, Bytes, Dict, Float, FrozenSet, Int, List, None, Set, Tuple, UInt};
    let all_bytes: Vec<u8> = (0..=255).chain(0..=255).collect();
    let mut numbers = ints(&[0, 255, 256, 65535, 65536, -1, -(1 << 31), 1 << 31, i64::MAX, i64::MIN]);
    numbers.extend([UInt(1 << 63), UInt(u64::MAX)]);
    let empty = List(vec![]);
    let one = List(vec![empty.clone(), empty]);
    let two = List(vec![one.clone(), one]);
    PickleValue::dict([
        ("none", None),
        ("bools", List(vec![Bool(true), Bool(false)])),
        ("ints", Tuple(numbers)),
        ("floats", List(vec![Float(0.0), Float(1.5), Float(-2.5e300), Float(f64::INFINITY)])),
        ("text", PickleValue::list(["", "plain", "Zelle µm \n\\ \u{20ac} \u{1f52c}", &"x".repeat(300)])),
        ("bytes", List(vec![Bytes(vec![]), Bytes(vec![0, 255]), Bytes(all_bytes)])),
        ("bytearray", List(vec![ByteArray(vec![]), ByteArray(vec![0, 255])])),
        ("tuples", List((0..5).map(|count| PickleValue::tuple((1..=count).collect::<Vec<i64>>())).collect())),
        ("dict", Dict(vec![("a".into(), Dict(vec![])), (Int(2), "two".into()), (Tuple(ints(&[1, 2])), None)])),
        ("set", Set(ints(&[7]))),
        ("empty_sets", List(vec![Set(vec![]), FrozenSet(vec![])])),
        ("frozenset", FrozenSet(ints(&[8]))),
        ("shared", PickleValue::list([PickleValue::list(["shared"]), PickleValue::list(["shared"])])),
        ("deep", List(vec![two.clone(), two])),
    ])
}

#[test]
fn builtins_of_every_protocol_are_read() {
    for protocol in 0..6 {
        let value = decode(&read(&format!("builtins.p{protocol}.pickle")), &PickleLimits::default()).unwrap();
        let expected = expected_builtins();
        for (key, value) in value.fields() {
            assert_eq!(Some(value), expected.get(key), "{key}, protocol {protocol}");
        }
        assert_eq!(value, expected, "protocol {protocol}");
    }
}

#[test]
fn arrays_of_numpy_1_and_2_are_read_at_every_protocol() {
    for numpy in [1, 2] {
        for protocol in 0..6 {
            let name = format!("arrays_numpy{numpy}.p{protocol}.pickle");
            let value =
                decode(&read(&name), &PickleLimits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let u16_bytes = |values: [u16; 6]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
            let expect = |key: &str, dtype: &str, shape: &[usize], data: &[u8]| {
                let array = value.get(key).and_then(PickleValue::as_array).unwrap_or_else(|| panic!("{name} {key}"));
                assert_eq!((array.dtype().as_str(), array.shape(), array.data()), (dtype, shape, data), "{name} {key}");
            };
            let base = u16_bytes([0, 1, 2, 3, 4, 5]);
            expect("u2", "uint16", &[2, 3], &base);
            expect("fortran", "uint16", &[2, 3], &base);
            expect("transposed", "uint16", &[3, 2], &u16_bytes([0, 3, 1, 4, 2, 5]));
            expect("big_endian", ">u2", &[2, 3], &[0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5]);
            expect("f4", "float32", &[2], &[0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
            expect("f2", "float16", &[1], &[0, 0x38]);
            expect("bool", "bool", &[2], &[1, 0]);
            expect("i8", "int64", &[1, 1], &[0xff; 8]);
            expect("c8", "complex64", &[1], &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]);
            expect("empty", "uint8", &[0, 4], &[]);
            expect("zero_axes", "int32", &[], &[7, 0, 0, 0]);
            let number = |key: &str| value.get(key).and_then(PickleValue::as_f64);
            assert_eq!(number("scalar_u2"), Some(65535.0), "{name}");
            assert_eq!(number("scalar_f8"), Some(0.25), "{name}");
            assert_eq!(value.get("scalar_bool").and_then(PickleValue::as_bool), Some(true), "{name}");
        }
    }
}

#[test]
fn what_is_no_number_is_refused_with_a_sentence() {
    let mut seen = 0;
    for entry in fs::read_dir(pickles()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("refused_") {
            continue;
        }
        seen += 1;
        let error = decode(&read(&name), &PickleLimits::default()).unwrap_err();
        assert!(error.to_string().len() > 20, "{name}: {error}");
        match name.as_str() {
            "refused_int_65_bits.pickle" => assert!(matches!(error, PickleError::IntegerTooLarge { .. }), "{error}"),
            "refused_complex.pickle" => {
                assert_eq!(error.to_string().split(',').next(), Some("the pickle names builtins.complex"));
            }
            "refused_out_of_band.pickle" => assert!(error.to_string().contains("out-of-band"), "{error}"),
            _ => assert!(matches!(error, PickleError::BadObject { .. }), "{name}: {error}"),
        }
    }
    assert_eq!(seen, 7);
}

fn captured(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            captured(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "pickle") {
            found.push(path);
        }
    }
}

#[test]
fn every_captured_control_frame_is_read_and_survives_a_round_trip() {
    let mut found = Vec::new();
    captured(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures"), &mut found);
    assert!(found.len() >= 68, "only {} captured frames", found.len());
    for path in found {
        let value = decode(&fs::read(&path).unwrap(), &PickleLimits::default())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let again = decode(&encode(&value), &PickleLimits::default()).unwrap();
        assert_eq!(value, again, "{}", path.display());
    }
}

#[test]
fn classes_are_named_fields_and_enums_are_their_values() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures/G3_openhcs-0.8.6/control_agent_requests");
    let frame = |name: &str| decode(&fs::read(folder.join(name)).unwrap(), &PickleLimits::default()).unwrap();

    let payloads = frame("payloads.request.pickle");
    let options = payloads.get("payload").unwrap();
    assert_eq!(options.type_name(), "ViewerPayloadProjectionOptions");
    assert_eq!(options.get("controls").unwrap().get("max_array_elements").unwrap().as_i64(), Some(4096));
    assert_eq!(options.get("shape_payload_projection").unwrap().as_str(), Some("full"));

    let window = frame("apply_intensity_window.request.pickle");
    assert_eq!(window.get("type").unwrap().as_str(), Some("apply_intensity_window"));

    let screenshot = frame("screenshot.request.pickle");
    let connection = screenshot.get("payload").unwrap().get("connection").unwrap();
    assert_eq!(connection.get("port").unwrap().as_i64(), Some(5555));
    assert_eq!(connection.get("transport_mode").unwrap().as_str(), Some("ipc"));
}

//! Any text is a dtype or an error, any shape has a size or an error, and the size is right.
//!
//! Input: the dtype on the first line, the extents on the others, separated by anything that is no digit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wellscope_protocol::dtype::{DType, SizeError, checked_size_bytes};

fuzz_target!(|input: &str| {
    let (dtype, extents) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(dtype) = DType::parse(dtype) else { return };
    assert_eq!(DType::parse(&dtype.to_string()), Ok(dtype));

    let shape: Vec<u64> =
        extents.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    // 128 bits, which the product of all extents but a 0 can only overflow after 64 bits did.
    let size = shape.iter().try_fold(dtype.size_bytes() as u128, |size, &extent| size.checked_mul(u128::from(extent)));
    let size = size.and_then(|size| u64::try_from(size).ok());
    match checked_size_bytes(&shape, dtype) {
        Ok(found) => assert_eq!(Some(found), size),
        Err(SizeError::Empty { .. }) => assert!(shape.contains(&0)),
        Err(SizeError::Overflow { .. }) => assert!(size.is_none() && !shape.contains(&0)),
    }
});

//! Amounts of memory as users give them: bytes, or a part of what the machine has.

use std::str::FromStr;

/// Bytes or a percentage.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of what there is.
    Percent(f64),
}

impl Amount {
    /// The bytes, when `total_bytes` is all there is. `None`: a percentage of something whose size is not known.
    pub fn bytes_of(self, total_bytes: Option<u64>) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => total_bytes.map(|total| (total as f64 * percent / 100.0) as u64),
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else { return bytes(text).map(Self::Bytes) };
        match number.trim().parse::<f64>() {
            Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
            _ => Err("expected a percentage above 0 and up to 100, e.g. 25%".to_owned()),
        }
    }
}

/// A number of bytes, with or without one of the units KiB, MiB, GiB, TiB.
///
/// # Errors
/// A sentence that says what was expected.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => 0,
    };
    let bytes = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "expected a number of bytes above 0, e.g. 512MiB or 8GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_bytes_or_parts_of_a_whole() {
        assert_eq!("4GiB".parse(), Ok(Amount::Bytes(4 << 30)));
        assert_eq!("25 %".parse::<Amount>().unwrap().bytes_of(Some(1000)), Some(250));
        assert_eq!("100".parse::<Amount>().unwrap().bytes_of(None), Some(100));
        assert_eq!(Amount::Percent(50.0).bytes_of(None), None);
        for nonsense in ["0", "0%", "101%", "-1%", "%", "", "4GB", "NaN%", "inf%"] {
            assert!(nonsense.parse::<Amount>().is_err(), "{nonsense}");
        }
    }
}

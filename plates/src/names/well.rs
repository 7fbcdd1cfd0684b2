//! Wells as row letters and column: "A01", "AF48".

use std::fmt;

/// Why a text names no well.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{found:?} is no well; needed row letters A to AF and a column from 1 to 99, as in A01")]
pub struct WellError {
    /// The text.
    pub found: String,
}

/// Row and column of a well, counted from 0. Plates have up to 32 rows (A to AF) and 48 columns; 99 columns are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WellPosition {
    /// From the top, A is 0.
    pub row: u8,
    /// From the left, 01 is 0.
    pub column: u8,
}

/// Rows of a plate of 1536 wells.
const ROWS: u8 = 32;
/// Two digits.
const COLUMNS: u8 = 99;

impl WellPosition {
    /// The position by row and column counted from 1, as Opera Phenix counts; `None` outside any plate.
    pub fn from_counted(row: i64, column: i64) -> Option<Self> {
        let position =
            Self { row: u8::try_from(row.checked_sub(1)?).ok()?, column: u8::try_from(column.checked_sub(1)?).ok()? };
        (position.row < ROWS && position.column < COLUMNS).then_some(position)
    }

    /// Row letters: "A", "AF".
    pub fn row_name(self) -> String {
        let letter = |index: u8| char::from(b'A' + index % 26);
        if self.row < 26 { letter(self.row).to_string() } else { format!("A{}", letter(self.row - 26)) }
    }

    /// Column with two digits: "01".
    pub fn column_name(self) -> String {
        format!("{:02}", u16::from(self.column) + 1)
    }

    /// Reads "A01", "a1", "AF48".
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, WellError> {
        parse_well(&text.to_ascii_uppercase()).ok_or_else(|| WellError { found: text.chars().take(64).collect() })
    }
}

impl fmt::Display for WellPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.row_name(), self.column_name())
    }
}

/// "A01", "A1", "AF48" in capitals: what stands in a file name.
pub(crate) fn parse_well(text: &str) -> Option<WellPosition> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let (row, column) = text.split_at(letters);
    let row = match *row.as_bytes() {
        [letter] => i64::from(letter - b'A'),
        [b'A', letter] => 26 + i64::from(letter - b'A'),
        _ => return None,
    };
    let column = if column.len() <= 2 { super::digits(column)? } else { return None };
    WellPosition::from_counted(row + 1, column)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wells_of_a_plate_with_1536_wells_have_two_letters() {
        assert_eq!(WellPosition::parse("AF48").unwrap(), WellPosition { row: 31, column: 47 });
        assert_eq!(WellPosition::parse("b2").unwrap().to_string(), "B02");
        assert_eq!(WellPosition { row: 25, column: 0 }.to_string(), "Z01");
        for text in ["", "A", "01", "AG01", "BA01", "A00", "A100", "A1x", "é1", "A-1", "A+1"] {
            assert!(WellPosition::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_what_was_printed_gives_the_well_back(row in 0u8..32, column in 0u8..99) {
            let well = WellPosition { row, column };
            prop_assert_eq!(WellPosition::parse(&well.to_string()), Ok(well));
        }

        #[test]
        fn any_text_is_a_well_or_an_error(text in "\\PC*") {
            let _ = WellPosition::parse(&text);
        }
    }
}

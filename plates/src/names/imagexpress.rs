//! Names as ImageXpress (MetaXpress) and OpenHCS write them.
//!
//! `[prefix_]WELL[_sSITE][_wCHANNEL][_zPLANE][_tTIME][_thumb][GUID].tif`, the parts after the well in any order:
//! `A01_s1_w1.tif`, `plate1_A01_s1_w1.TIF`, `A01_s1_w1_thumb5C6E1D6A-....tif`, `A01_s001_w1_z001_t001.tif`.

use super::{ParsedName, digits, parse_well, tiff_stem};

/// Letters of a GUID as MetaXpress appends it.
const GUID_LEN: usize = 36;

/// Reads a file name; `None` when it is not of this kind.
pub fn parse(name: &str) -> Option<ParsedName> {
    parse_from_right(without_guid(tiff_stem(name)?), &ParsedName::default())
}

/// What stands before the well is the user's, and may hold underscores and words that look like wells: so from the right.
/// "S2" may be a site and, on large plates, a well: it is the well when no other follows to the left.
fn parse_from_right(stem: &str, so_far: &ParsedName) -> Option<ParsedName> {
    let (before, part) = stem.rsplit_once('_').unwrap_or(("", stem));
    let mut with_part = so_far.clone();
    // Each part can come once, so this calls itself at most five times.
    if read_part(part, &mut with_part).is_some()
        && let Some(parsed) = parse_from_right(before, &with_part)
    {
        return Some(parsed);
    }
    parse_well(part).map(|well| ParsedName { well, ..so_far.clone() })
}

/// Reads `s1`, `w2`, `z003`, `t4` or `thumb`; `None` for anything else, or for a part that came before.
fn read_part(part: &str, parsed: &mut ParsedName) -> Option<()> {
    if part.eq_ignore_ascii_case("thumb") {
        return (!std::mem::replace(&mut parsed.is_thumbnail, true)).then_some(());
    }
    let mut letters = part.chars();
    let letter = letters.next()?;
    let slot = match letter.to_ascii_lowercase() {
        's' => &mut parsed.site,
        'w' => &mut parsed.channel,
        'z' => &mut parsed.z_index,
        't' => &mut parsed.timepoint,
        _ => return None,
    };
    slot.replace(digits(letters.as_str())?).is_none().then_some(())
}

/// The stem without the GUID that MetaXpress appends to the last part.
fn without_guid(stem: &str) -> &str {
    let Some(start) = stem.len().checked_sub(GUID_LEN).filter(|&start| stem.is_char_boundary(start)) else {
        return stem;
    };
    let (before, guid) = stem.split_at(start);
    let is_guid = guid.bytes().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    if is_guid { before.trim_end_matches('_') } else { stem }
}

/// The name that OpenHCS gives the file of a plane: `A01_s001_w1_z001_t001.tif`.
pub fn file_name(well: &str, site: i64, channel: i64, z_index: i64, timepoint: i64) -> String {
    format!("{well}_s{site:03}_w{channel}_z{z_index:03}_t{timepoint:03}.tif")
}

/// The number of a folder called `TimePoint_3` or `ZStep_2`.
pub fn folder_number(name: &str, kind: &str) -> Option<i64> {
    let start = name.get(..kind.len())?;
    let number = name.get(kind.len()..)?.strip_prefix('_')?;
    start.eq_ignore_ascii_case(kind).then(|| digits(number)).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;
    use proptest::prelude::*;

    fn summary(name: &str) -> Option<(String, [Option<i64>; 4], bool)> {
        let parsed = parse(name)?;
        let numbers = [parsed.site, parsed.channel, parsed.z_index, parsed.timepoint];
        Some((parsed.well.to_string(), numbers, parsed.is_thumbnail))
    }

    #[test]
    fn names_of_metaxpress_and_openhcs_are_read() {
        let full = |numbers: [i64; 4]| numbers.map(|number| (number >= 0).then_some(number));
        let guid = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427";
        let cases = [
            ("A01_s1_w1.tif".to_owned(), "A01", full([1, 1, -1, -1]), false),
            ("A01_s001_w1_z001_t001.tif".to_owned(), "A01", full([1, 1, 1, 1]), false),
            (format!("Week1_22123_B02_s4_w2{guid}.tif"), "B02", full([4, 2, -1, -1]), false),
            (format!("Week1_B02_s4_w2_thumb{guid}.tif"), "B02", full([4, 2, -1, -1]), true),
            ("my_A12_plate_AF48_w3.TIF".to_owned(), "AF48", full([-1, 3, -1, -1]), false),
            (format!("plate_C3{guid}.tif"), "C03", full([-1; 4]), false),
            ("H12_w2_z10.tiff".to_owned(), "H12", full([-1, 2, 10, -1]), false),
            ("A01_S2_W3.TIFF".to_owned(), "A01", full([2, 3, -1, -1]), false),
            ("S02_s1_w3.tif".to_owned(), "S02", full([1, 3, -1, -1]), false),
            ("W03.tif".to_owned(), "W03", full([-1; 4]), false),
        ];
        for (name, well, numbers, thumbnail) in cases {
            assert_eq!(summary(&name), Some((well.to_owned(), numbers, thumbnail)), "{name}");
        }
    }

    #[test]
    fn other_names_are_not_taken() {
        let names = [
            "cells.tif",
            "A01_s1_w1.png",
            "A01_s1_w1_mask.tif",
            "s1_w1.tif",
            "A01__w1.tif",
            "A01_s1_s2.tif",
            "r01c01f01p01-ch1sk1fk1fl1.tiff",
            "A01_w.tif",
            "A01_s99999999999_w1.tif",
            ".tif",
            "A00_w1.tif",
        ];
        for name in names {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn folders_of_time_points_and_z_steps_have_numbers() {
        assert_eq!(folder_number("TimePoint_12", "TimePoint"), Some(12));
        assert_eq!(folder_number("zstep_3", "ZStep"), Some(3));
        for name in ["TimePoint", "TimePoint_", "TimePoint_x", "é", "ZStep_1"] {
            assert_eq!(folder_number(name, "TimePoint"), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn parsing_a_written_name_gives_the_address_back(
            row in 0u8..32, column in 0u8..99, site in 0i64..9999, channel in 0i64..99, z in 0i64..9999, t in 0i64..9999,
        ) {
            let well = crate::WellPosition { row, column };
            let parsed = parse(&file_name(&well.to_string(), site, channel, z, t)).unwrap();
            prop_assert_eq!(parsed.well, well);
            prop_assert_eq!([parsed.site, parsed.channel, parsed.z_index, parsed.timepoint], [site, channel, z, t].map(Some));
        }

        #[test]
        fn any_name_is_read_or_refused(name in "\\PC*", tail in "(_[swzt][0-9]{0,12}){0,4}\\.tiff?") {
            let _ = parse(&name);
            let _ = parse(&format!("{name}{tail}"));
        }
    }
}

//! Names as Opera Phenix and Operetta (Harmony) write them: `r01c01f01p01-ch1sk1fk1fl1.tiff`.
//!
//! r row, c column, f field, p plane, ch channel, sk time point (slow kinetics). fk (fast kinetics) and fl (lifetime) are no
//! components of ours; they are 1 in the exports we know.

use super::{ParsedName, WellPosition, digits, tiff_stem};

/// Reads a file name; `None` when it is not of this kind.
pub fn parse(name: &str) -> Option<ParsedName> {
    let mut rest = tiff_stem(name)?;
    let row = take(&mut rest, "r")?;
    let column = take(&mut rest, "c")?;
    let site = take(&mut rest, "f")?;
    let z_index = take(&mut rest, "p")?;
    let channel = take(&mut rest, "-ch")?;
    let timepoint = take(&mut rest, "sk");
    take(&mut rest, "fk");
    take(&mut rest, "fl");
    rest.is_empty().then_some(())?;
    Some(ParsedName {
        well: WellPosition::from_counted(row, column)?,
        site: Some(site),
        channel: Some(channel),
        z_index: Some(z_index),
        timepoint,
        is_thumbnail: false,
    })
}

/// Takes a tag and the digits behind it off the start of `rest`.
fn take(rest: &mut &str, tag: &str) -> Option<i64> {
    let start = rest.get(..tag.len()).filter(|start| start.eq_ignore_ascii_case(tag))?;
    let after = &rest[start.len()..];
    let end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
    let number = digits(&after[..end])?;
    *rest = &after[end..];
    Some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_names_are_not_taken() {
        for name in [
            "r01c01f01p01.tiff",
            "r01c01f01p01-ch1sk1fk1fl1.txt",
            "r00c01f01p01-ch1.tiff",
            "x.tiff",
            "r1c1f1p1-ch1é.tif",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!(parse("R02C03F4P5-CH6.TIF").unwrap().well.to_string(), "B03");
    }

    proptest! {
        #[test]
        fn parsing_a_written_name_gives_the_address_back(
            row in 1i64..=32, column in 1i64..=99, f in 1i64..999, p in 1i64..999, ch in 1i64..30, sk in 1i64..999,
        ) {
            let parsed = parse(&format!("r{row:02}c{column:02}f{f:02}p{p:02}-ch{ch}sk{sk}fk1fl1.tiff")).unwrap();
            prop_assert_eq!(Some(parsed.well), WellPosition::from_counted(row, column));
            prop_assert_eq!(
                [parsed.site, parsed.z_index, parsed.channel, parsed.timepoint], [f, p, ch, sk].map(Some)
            );
        }

        #[test]
        fn any_name_is_read_or_refused(name in "\\PC*", start in "r[0-9]{0,12}c[0-9]{0,3}f[0-9]{0,3}p?") {
            let _ = parse(&name);
            let _ = parse(&format!("{start}{name}.tiff"));
        }
    }
}

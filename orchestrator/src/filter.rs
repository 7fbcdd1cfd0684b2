//! Which wells: the first few, a list, or a pattern.

use std::collections::BTreeSet;

use globset::GlobBuilder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wellscope_plates::WellPosition;

/// A choice of wells. In files: `2` (the first two), `["A01", "B03"]`, `"A01"`, `"A*"`, or `"A01:B06"` (a rectangle).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WellFilter {
    /// The first wells in natural order.
    Count(usize),
    /// These, each a well or a pattern.
    List(Vec<String>),
    /// One well, a glob over names, or a rectangle `FIRST:LAST`.
    Pattern(String),
}

/// Why a filter chooses no wells.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FilterError {
    /// The plate has no such well.
    #[error("{found:?} matches no well; the plate has {wells}")]
    NoSuchWell {
        /// The entry of the filter.
        found: String,
        /// The plate's wells, shortened.
        wells: String,
    },
    /// The pattern cannot be read.
    #[error("{found:?} is no pattern: {reason}; needed a well (A01), a glob (A*), or two corners (A01:B06)")]
    Pattern {
        /// The entry of the filter.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A filter that chooses nothing.
    #[error("a filter of no wells was found; needed a count of at least 1, or at least one well")]
    Nothing,
}

impl WellFilter {
    /// The chosen ones of `wells` (in natural order), in that order.
    ///
    /// # Errors
    /// When an entry matches none of them: a misspelt well must not pass for an empty choice.
    pub fn select(&self, wells: &[String]) -> Result<Vec<String>, FilterError> {
        let entries = match self {
            Self::Count(0) => return Err(FilterError::Nothing),
            Self::Count(count) => return Ok(wells.iter().take(*count).cloned().collect()),
            Self::List(entries) if entries.is_empty() => return Err(FilterError::Nothing),
            Self::List(entries) => entries.as_slice(),
            Self::Pattern(pattern) => std::slice::from_ref(pattern),
        };
        let mut chosen = BTreeSet::new();
        for entry in entries {
            let matches = matcher(entry)?;
            let found: Vec<usize> =
                wells.iter().enumerate().filter(|(_, well)| matches(well)).map(|(index, _)| index).collect();
            if found.is_empty() {
                return Err(FilterError::NoSuchWell { found: entry.clone(), wells: shortened(wells) });
            }
            chosen.extend(found);
        }
        Ok(chosen.into_iter().filter_map(|index| wells.get(index).cloned()).collect())
    }
}

/// Tells whether a well is meant.
type Matcher = Box<dyn Fn(&str) -> bool>;

/// Whether a well is meant by one entry.
fn matcher(entry: &str) -> Result<Matcher, FilterError> {
    let wrong = |reason: String| FilterError::Pattern { found: entry.to_owned(), reason };
    if let Some((first, last)) = entry.split_once(':') {
        let corner = |text: &str| WellPosition::parse(text.trim()).map_err(|error| wrong(error.to_string()));
        let (first, last) = (corner(first)?, corner(last)?);
        let (rows, columns) = (ordered(first.row, last.row), ordered(first.column, last.column));
        return Ok(Box::new(move |well| {
            WellPosition::parse(well)
                .is_ok_and(|at| (rows.0..=rows.1).contains(&at.row) && (columns.0..=columns.1).contains(&at.column))
        }));
    }
    let glob = GlobBuilder::new(entry).case_insensitive(true).build();
    let glob = glob.map_err(|error| wrong(error.kind().to_string()))?.compile_matcher();
    // "A1" and "A01" are the same well.
    let position = WellPosition::parse(entry).ok();
    Ok(Box::new(move |well| glob.is_match(well) || position.is_some_and(|at| WellPosition::parse(well) == Ok(at))))
}

fn ordered(a: u8, b: u8) -> (u8, u8) {
    (a.min(b), a.max(b))
}

/// The first few names, and how many more there are.
pub(crate) fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Serialize for WellFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count as u64),
            Self::List(entries) => entries.serialize(serializer),
            Self::Pattern(pattern) => serializer.serialize_str(pattern),
        }
    }
}

impl<'de> Deserialize<'de> for WellFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(i64),
            List(Vec<String>),
            Pattern(String),
        }
        const NEEDED: &str =
            "needed a count (2), a list ([\"A01\", \"B03\"]), a well (\"A01\") or a pattern (\"A*\", \"A01:B06\")";
        match Written::deserialize(deserializer).map_err(|_| D::Error::custom(NEEDED))? {
            Written::Count(count) => match usize::try_from(count) {
                Ok(count) if count > 0 => Ok(Self::Count(count)),
                _ => Err(D::Error::custom(format_args!("found {count}; {NEEDED}"))),
            },
            Written::List(entries) => Ok(Self::List(entries)),
            Written::Pattern(pattern) => Ok(Self::Pattern(pattern)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    fn plate() -> Vec<String> {
        ["A01", "A02", "A10", "B01", "B02", "C03"].map(str::to_owned).to_vec()
    }

    fn chosen(filter: WellFilter) -> String {
        filter.select(&plate()).unwrap().join(" ")
    }

    #[test]
    fn each_form_chooses_in_the_order_of_the_plate() {
        assert_eq!(chosen(WellFilter::Count(2)), "A01 A02");
        assert_eq!(chosen(WellFilter::Count(99)), "A01 A02 A10 B01 B02 C03");
        assert_eq!(chosen(WellFilter::List(vec!["B02".into(), "A01".into(), "a1".into()])), "A01 B02");
        assert_eq!(chosen(WellFilter::List(vec!["C*".into(), "A02".into()])), "A02 C03");
        assert_eq!(chosen(WellFilter::Pattern("B*".into())), "B01 B02");
        assert_eq!(chosen(WellFilter::Pattern("?01".into())), "A01 B01");
        assert_eq!(chosen(WellFilter::Pattern("A02".into())), "A02");
        assert_eq!(chosen(WellFilter::Pattern("B02:A01".into())), "A01 A02 B01 B02", "corners in any order");
    }

    #[test]
    fn a_misspelt_well_is_an_error_that_lists_what_there_is() {
        let error = WellFilter::List(vec!["A01".into(), "D99".into()]).select(&plate()).unwrap_err().to_string();
        assert!(error.contains("\"D99\" matches no well") && error.contains("A01, A02"), "{error}");
        assert_eq!(WellFilter::List(vec![]).select(&plate()), Err(FilterError::Nothing));
        assert_eq!(WellFilter::Count(0).select(&plate()), Err(FilterError::Nothing));
        for pattern in ["[", "A01:", "A01:zz"] {
            let error = WellFilter::Pattern(pattern.into()).select(&plate()).unwrap_err().to_string();
            assert!(error.contains("is no pattern"), "{error}");
        }
    }

    #[test]
    fn files_say_it_in_each_form() {
        #[derive(Deserialize)]
        struct File {
            wells: WellFilter,
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.wells).map_err(|error| error.to_string());
        assert_eq!(read("wells = 2"), Ok(WellFilter::Count(2)));
        assert_eq!(read("wells = ['A01']"), Ok(WellFilter::List(vec!["A01".into()])));
        assert_eq!(read("wells = 'A*'"), Ok(WellFilter::Pattern("A*".into())));
        for wrong in ["wells = 0", "wells = -1", "wells = 1.5", "wells = [1]"] {
            assert!(read(wrong).unwrap_err().contains("needed a count"), "{wrong}");
        }
    }
}

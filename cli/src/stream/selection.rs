//! Which images of a plate are wanted, and in which order they are sent.

use std::collections::HashMap;

use wellscope_plates::{Plate, PlateImage, WellPosition};

/// A choice that fits nothing, or cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectionError {
    /// Not in the form that the help describes.
    #[error("--{option} cannot read {found:?}; {needed}")]
    Unreadable {
        /// The option.
        option: &'static str,
        /// What it was given.
        found: String,
        /// What it takes.
        needed: &'static str,
    },
    /// The plate has no such thing.
    #[error("--{option} {found:?} fits nothing on this plate, which has {there}")]
    Nothing {
        /// The option.
        option: &'static str,
        /// What it was given.
        found: String,
        /// What the plate has.
        there: String,
    },
}

/// What is wanted of a plate; an empty list of a component means all of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Names ("A01"), patterns ("B*"), rectangles ("A01:C06"), or a number: the first so many.
    pub wells: Vec<String>,
    /// Numbers or names ("DAPI").
    pub channels: Vec<String>,
    /// Numbers and ranges ("1-4").
    pub sites: Vec<String>,
    /// Numbers and ranges.
    pub z: Vec<String>,
    /// Numbers and ranges.
    pub timepoints: Vec<String>,
}

impl Wanted {
    /// Images that fit, in the order in which they are sent: first one picture of every well and channel (first site and time
    /// point, middle plane), so that an overview of the plate fills at once; then the rest, well by well.
    ///
    /// # Errors
    /// When a choice cannot be read, or fits nothing.
    pub fn images<'a>(&self, plate: &'a Plate) -> Result<Vec<&'a PlateImage>, SelectionError> {
        let wells = self.wells(plate)?;
        let channels = chosen("channels", &self.channels, plate, "channel")?;
        let sites = chosen("sites", &self.sites, plate, "site")?;
        let z = chosen("z", &self.z, plate, "z_index")?;
        let timepoints = chosen("timepoints", &self.timepoints, plate, "timepoint")?;
        let fits = |numbers: &Option<Vec<i64>>, value| numbers.as_ref().is_none_or(|numbers| numbers.contains(&value));
        let mut images: Vec<&PlateImage> = plate
            .images
            .iter()
            .filter(|image| wells.as_ref().is_none_or(|wells| wells.iter().any(|well| **well == *image.well)))
            .filter(|image| fits(&channels, image.channel) && fits(&sites, image.site))
            .filter(|image| fits(&z, image.z_index) && fits(&timepoints, image.timepoint))
            .collect();
        overview_first(&mut images);
        Ok(images)
    }

    fn wells(&self, plate: &Plate) -> Result<Option<Vec<String>>, SelectionError> {
        if self.wells.is_empty() {
            return Ok(None);
        }
        let there: Vec<String> = plate.wells().iter().map(|well| well.to_string()).collect();
        let mut wanted = Vec::new();
        for item in &self.wells {
            let found = wells_of(item, &there)?;
            if found.is_empty() {
                return Err(nothing("wells", item, &there));
            }
            wanted.extend(found);
        }
        Ok(Some(wanted))
    }
}

/// The wells that one item of `--wells` names.
fn wells_of(item: &str, there: &[String]) -> Result<Vec<String>, SelectionError> {
    if let Ok(count) = item.parse::<usize>() {
        return Ok(there.iter().take(count).cloned().collect());
    }
    let unreadable = || SelectionError::Unreadable {
        option: "wells",
        found: item.to_owned(),
        needed: "it takes wells (A01), patterns (B*), rectangles (A01:C06), or how many of the first",
    };
    if let Some((first, last)) = item.split_once(':') {
        let parse = |text: &str| WellPosition::parse(text).map_err(|_| unreadable());
        let (a, b) = (parse(first)?, parse(last)?);
        let rows = a.row.min(b.row)..=a.row.max(b.row);
        let columns = a.column.min(b.column)..=a.column.max(b.column);
        let inside = |well: &&String| {
            WellPosition::parse(well).is_ok_and(|at| rows.contains(&at.row) && columns.contains(&at.column))
        };
        return Ok(there.iter().filter(inside).cloned().collect());
    }
    let same = |well: &str| match (WellPosition::parse(item), WellPosition::parse(well)) {
        // A1 is A01.
        (Ok(wanted), Ok(found)) => wanted == found,
        _ => matches(&item.to_ascii_uppercase(), &well.to_ascii_uppercase()),
    };
    Ok(there.iter().filter(|well| same(well)).cloned().collect())
}

/// Whether a text fits a pattern in which `*` stands for any text and `?` for one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Which beginnings of the text fit the pattern so far.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for wanted in pattern {
        if wanted == '*' {
            let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
            fits[first..].fill(true);
            continue;
        }
        for end in (1..fits.len()).rev() {
            fits[end] = fits[end - 1] && (wanted == '?' || wanted == text[end - 1]);
        }
        fits[0] = false;
    }
    fits[text.len()]
}

/// Values of a component that are wanted; `None` for all.
fn chosen(
    option: &'static str,
    items: &[String],
    plate: &Plate,
    component: &str,
) -> Result<Option<Vec<i64>>, SelectionError> {
    if items.is_empty() {
        return Ok(None);
    }
    let there: Vec<i64> = plate.values(component).iter().filter_map(|value| value.as_key().parse().ok()).collect();
    let names = plate.names.get(component);
    let name_of = |value: i64| names.and_then(|names| names.get(&value.to_string()));
    let mut wanted = Vec::new();
    for item in items {
        let named = there.iter().copied().filter(|&v| name_of(v).is_some_and(|name| name.eq_ignore_ascii_case(item)));
        let mut found: Vec<i64> = named.collect();
        if found.is_empty() {
            let range = number_range(item);
            found = there.iter().copied().filter(|value| range.as_ref().is_some_and(|r| r.contains(value))).collect();
        }
        if found.is_empty() {
            let there: Vec<String> = there
                .iter()
                .map(|&value| name_of(value).map_or_else(|| value.to_string(), |name| format!("{value} ({name})")))
                .collect();
            return Err(nothing(option, item, &there));
        }
        wanted.extend(found);
    }
    Ok(Some(wanted))
}

/// "3" or "1-4".
fn number_range(text: &str) -> Option<std::ops::RangeInclusive<i64>> {
    match text.split_once('-') {
        Some((first, last)) => Some(first.trim().parse().ok()?..=last.trim().parse().ok()?),
        None => text.trim().parse().ok().map(|value| value..=value),
    }
}

fn nothing(option: &'static str, found: &str, there: &[String]) -> SelectionError {
    const SHOWN: usize = 12;
    let mut list = there.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if there.len() > SHOWN {
        list = format!("{list} and {} more", there.len() - SHOWN);
    }
    SelectionError::Nothing { option, found: found.to_owned(), there: list }
}

/// Sorts images, whose order is by well, site, channel, z, timepoint, so that the overview comes first.
fn overview_first(images: &mut [&PlateImage]) {
    let mut z_indices: HashMap<(String, i64), Vec<i64>> = HashMap::new();
    let mut firsts: HashMap<String, (i64, i64)> = HashMap::new();
    for image in images.iter() {
        let planes = z_indices.entry((image.well.to_string(), image.channel)).or_default();
        if !planes.contains(&image.z_index) {
            planes.push(image.z_index);
        }
        let first = firsts.entry(image.well.to_string()).or_insert((image.site, image.timepoint));
        *first = (first.0.min(image.site), first.1.min(image.timepoint));
    }
    z_indices.values_mut().for_each(|planes| planes.sort_unstable());
    images.sort_by_cached_key(|image| {
        let well = image.well.to_string();
        let middle = z_indices.get(&(well.clone(), image.channel)).map(|planes| planes[planes.len() / 2]);
        let overview = firsts.get(&well) == Some(&(image.site, image.timepoint)) && middle == Some(image.z_index);
        // The sort is stable: what is equal keeps its order.
        !overview
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;

    fn wells(item: &str) -> Vec<String> {
        let there: Vec<String> = ["A01", "A02", "A10", "B01", "B02", "C01"].map(str::to_owned).to_vec();
        wells_of(item, &there).unwrap()
    }

    #[test]
    fn wells_are_named_in_the_ways_people_name_them() {
        assert_eq!(wells("A1"), ["A01"]);
        assert_eq!(wells("b02"), ["B02"]);
        assert_eq!(wells("2"), ["A01", "A02"]);
        assert_eq!(wells("A*"), ["A01", "A02", "A10"]);
        assert_eq!(wells("?01"), ["A01", "B01", "C01"]);
        assert_eq!(wells("A01:B02"), ["A01", "A02", "B01", "B02"]);
        assert_eq!(wells("B02:A01"), wells("A01:B02"));
        assert!(wells("D07").is_empty());
        assert!(wells_of("A01:x", &[]).unwrap_err().to_string().starts_with("--wells cannot read \"A01:x\"; it takes"));
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, text, fit) in [
            ("*", "", true),
            ("*", "A01", true),
            ("A*1", "A01", true),
            ("A*1", "A02", false),
            ("", "A", false),
            ("A?", "A01", false),
            ("A??", "A01", true),
            ("*0*", "A01", true),
            ("**", "x", true),
            ("A", "A01", false),
        ] {
            assert_eq!(matches(pattern, text), fit, "{pattern} {text}");
        }
    }

    #[test]
    fn numbers_come_alone_or_as_a_range() {
        assert_eq!(number_range("3"), Some(3..=3));
        assert_eq!(number_range("2-4"), Some(2..=4));
        assert_eq!(number_range("x"), None);
    }
}

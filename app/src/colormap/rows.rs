//! The colormaps in use as rows of one texture, 256 texels wide.

use std::collections::{HashMap, HashSet};

use super::{Colormap, ColormapTable, by_name, gray};

/// Most rows that are given out. Any GPU we accept can hold a texture of this height, and a user who drags through a colour
/// picker, or a producer that makes up names, cannot fill memory.
pub const MAX_COLORMAP_ROWS: usize = 2048;

/// Most unknown names that are remembered, so that each warns once.
const MAX_UNKNOWN_NAMES: usize = 256;

/// Gives each colormap in use a row that never changes. Row 0 is gray; rows are only ever added.
#[derive(bevy::prelude::Resource, Clone, Debug)]
pub struct ColormapRows {
    rows: Vec<ColormapTable>,
    /// By the name that was asked for and by [`Colormap::name`], so that aliases share a row.
    row_by_name: HashMap<String, u32>,
    unknown: HashSet<String>,
    warnings: Vec<String>,
}

impl Default for ColormapRows {
    fn default() -> Self {
        let Colormap { name, table } = gray();
        Self {
            rows: vec![table],
            row_by_name: HashMap::from([(name, 0)]),
            unknown: HashSet::new(),
            warnings: Vec::new(),
        }
    }
}

impl ColormapRows {
    /// Row of the texture that holds this colormap; added on first use. A name that [`by_name`] does not know gets row 0
    /// (gray) and, the first time, a warning.
    pub fn row_of(&mut self, name: &str) -> u32 {
        if let Some(&row) = self.row_by_name.get(name) {
            return row;
        }
        if self.unknown.contains(name) {
            return 0;
        }
        let Some(found) = by_name(name) else {
            self.give_up(name, "is not a colormap we know (names of napari, matplotlib and Fiji, or #RRGGBB)");
            return 0;
        };
        let row = match self.row_by_name.get(&found.name) {
            Some(&row) => row,
            None if self.rows.len() >= MAX_COLORMAP_ROWS => {
                self.give_up(name, "is one colormap too many for this session");
                return 0;
            }
            None => {
                let row = self.rows.len() as u32;
                self.rows.push(found.table);
                self.row_by_name.insert(found.name, row);
                row
            }
        };
        // Spellings of one map are few (case, `#F80`), but a sender chooses them: remember only as many as rows.
        if self.row_by_name.len() < 2 * MAX_COLORMAP_ROWS {
            self.row_by_name.insert(name.to_owned(), row);
        }
        row
    }

    /// All rows, for upload: `rows()[row_of(name)]`, RGBA, sRGB.
    pub fn rows(&self) -> &[ColormapTable] {
        &self.rows
    }

    /// Grows by one with each row added: a texture made at version `v` lacks the rows from `v` on.
    pub fn version(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Sentences for the user since the last call, one per unknown name.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn give_up(&mut self, name: &str, why: &str) {
        if self.unknown.len() < MAX_UNKNOWN_NAMES {
            self.unknown.insert(name.to_owned());
            let shown: String = name.chars().take(60).collect();
            self.warnings.push(format!("{shown:?} {why}; drawn in gray instead"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_and_aliases_share_them() {
        let mut rows = ColormapRows::default();
        assert_eq!((rows.row_of("gray"), rows.version()), (0, 1));
        let viridis = rows.row_of("viridis");
        let fire = rows.row_of("fire");
        assert_eq!((viridis, fire), (1, 2));
        assert_eq!(rows.row_of("Viridis"), viridis);
        assert_eq!(rows.row_of("viridis"), viridis);
        assert_eq!(rows.row_of("Grays"), 0);
        assert_eq!(rows.version(), 3);
        assert_eq!(rows.rows()[viridis as usize], by_name("viridis").unwrap().table);
        assert_eq!(rows.rows()[fire as usize], by_name("fire").unwrap().table);
        assert!(rows.take_warnings().is_empty());
    }

    #[test]
    fn unknown_name_is_gray_and_warns_once() {
        let mut rows = ColormapRows::default();
        assert_eq!(rows.row_of("no such map"), 0);
        assert_eq!(rows.row_of("no such map"), 0);
        let warnings = rows.take_warnings();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("no such map"), "{warnings:?}");
        rows.row_of("no such map");
        assert!(rows.take_warnings().is_empty());
        assert_eq!(rows.version(), 1);
    }

    #[test]
    fn endless_names_cannot_fill_memory() {
        let mut rows = ColormapRows::default();
        for colour in 0..5000 {
            rows.row_of(&format!("#{colour:06x}"));
            rows.row_of(&format!("unknown {colour}"));
        }
        assert_eq!(rows.rows().len(), MAX_COLORMAP_ROWS);
        assert!(rows.row_by_name.len() <= 2 * MAX_COLORMAP_ROWS);
        assert!(rows.take_warnings().len() <= MAX_UNKNOWN_NAMES);
        assert_eq!(rows.row_of("#000001"), rows.row_of("#000001"));
    }
}

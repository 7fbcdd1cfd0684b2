//! Colormaps (Fiji: LUTs) by name: 256 colours from the lower contrast limit to the upper one.
//!
//! Start with [`by_name`], which knows the names of napari, vispy, matplotlib and Fiji and `#RRGGBB`; [`names`] is the list
//! for a menu; [`ColormapRows`] gathers the tables in use into the rows of one texture.
//!
//! One name can mean different colours in different programs. A producer's name means what napari 0.6 draws for it, so
//! `fire` is napari's (white to red) and `coolwarm`, `RdBu`, `cubehelix` are vispy's; matplotlib's are at `mpl-coolwarm` and
//! so on, the prefix that Fiji uses. Fiji's own spelling (`Fire`, `Ice`, `Grays`) means Fiji's colours.

mod computed;
mod labels;
mod rows;

use std::sync::OnceLock;

pub use labels::{LABEL_COLOURS, LABELS, label_colour, label_id};
pub use rows::{ColormapRows, MAX_COLORMAP_ROWS};

/// Red, green, blue, alpha of each of 256 steps, sRGB, alpha always 255.
pub type ColormapTable = [[u8; 4]; 256];

/// A named table of colours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Colormap {
    /// The name that [`by_name`] finds it by: `viridis` for a request of `Viridis`, `#ff8000` for `#F80`.
    pub name: String,
    /// Entry 0 is drawn at the lower contrast limit and below, entry 255 at the upper limit and above.
    pub table: ColormapTable,
}

/// 256 x (red, green, blue) per line of [`STORED_NAMES`]; see `assets/colormaps/ORIGIN.md`.
static STORED_TABLES: &[u8] = include_bytes!("../../../assets/colormaps/tables.rgb");
static STORED_NAMES: &str = include_str!("../../../assets/colormaps/names.txt");
const STORED_TABLE_BYTES: usize = 256 * 3;

/// What a menu shows before the long alphabetical rest: one-colour ramps for channels, then the usual scientific maps.
const CURATED: &[&str] = &[
    "gray",
    "green",
    "magenta",
    "cyan",
    "yellow",
    "red",
    "blue",
    "viridis",
    "magma",
    "inferno",
    "plasma",
    "turbo",
    "fire",
    "ice",
    "Fire",
    "Ice",
    "hsv",
    "twilight",
    "HiLo",
    "bop blue",
    "bop orange",
    "bop purple",
    "I Blue",
    "I Bordeaux",
    "I Forest",
    "I Orange",
    "I Purple",
    "glasbey",
    LABELS,
];

/// Second names. The left one is accepted exactly as spelled (and, last of all, in any case); the right one has the table.
const ALIASES: &[(&str, &str)] = &[
    // Fiji's default LUT. matplotlib 3.8 and later also has a `Grays`, from white to black: `mpl-Grays`.
    ("Grays", "gray"),
    ("grays", "gray"),
    ("grey", "gray"),
    ("white", "gray"),
    ("nan", "gray"),
    ("black", "gray_r"),
    ("gist_grey", "gist_gray"),
    ("gist_yerg", "gist_yarg"),
    ("mpl-Grays", "Greys"),
    ("mpl-gray", "gray"),
    ("mpl-grey", "gray"),
    ("single_hue", "light_blues"),
];

/// Finds a colormap: `viridis`, `I Blue`, `gray_r` (any name may end in `_r`: reversed), `#RRGGBB` or `#RGB` (black to that
/// colour). An exact match wins; `Viridis` or `GRAYS` is found too when nothing is spelled so. `None` for any other name.
pub fn by_name(name: &str) -> Option<Colormap> {
    if name.starts_with('#') {
        return from_hex(name);
    }
    if let Some(found) = exact(name) {
        return Some(found);
    }
    let spelled = all_spellings().iter().find(|spelling| spelling.eq_ignore_ascii_case(name));
    if let Some(spelled) = spelled {
        return exact(spelled);
    }
    let base = name.strip_suffix("_r").or_else(|| name.strip_suffix("_R"))?;
    // One reversal only: a name that ends in `_r_r` is a mistake that its sender should see.
    if base.ends_with("_r") || base.ends_with("_R") {
        return None;
    }
    let mut found = by_name(base)?;
    found.table.reverse();
    found.name.push_str("_r");
    Some(found)
}

/// Names for a menu, without repeats: the usual ones first, then all others by alphabet. Reversed maps, second names and
/// one-colour ramps by `#RRGGBB` are not listed, though [`by_name`] finds them.
pub fn names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut rest: Vec<&str> =
            computed::names().chain(STORED_NAMES.lines()).filter(|name| !CURATED.contains(name)).collect();
        rest.sort_unstable_by_key(|name| (name.to_ascii_lowercase(), *name));
        rest.dedup();
        CURATED.iter().copied().chain(rest).collect()
    })
}

/// Black to white: what is drawn for a name that nobody knows.
pub fn gray() -> Colormap {
    Colormap { name: "gray".to_owned(), table: computed::ramp([0.0; 3], [255.0; 3]) }
}

/// The map of exactly this name, `_r` and hexadecimal colours aside.
fn exact(name: &str) -> Option<Colormap> {
    if let Some((_, target)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return by_name(target);
    }
    let table = match name.strip_prefix("mpl-") {
        None if name == LABELS => labels::table(),
        Some(matplotlib) => stored(matplotlib)?,
        None => computed::table(name).or_else(|| stored(name))?,
    };
    Some(Colormap { name: name.to_owned(), table })
}

/// Every spelling to compare with when case does not matter, most usual first.
fn all_spellings() -> &'static [String] {
    static SPELLINGS: OnceLock<Vec<String>> = OnceLock::new();
    SPELLINGS.get_or_init(|| {
        let aliases = ALIASES.iter().map(|(alias, _)| (*alias).to_owned());
        let matplotlib = STORED_NAMES.lines().map(|name| format!("mpl-{name}"));
        names().iter().map(|name| (*name).to_owned()).chain(aliases).chain(matplotlib).collect()
    })
}

fn stored(name: &str) -> Option<ColormapTable> {
    let row = STORED_NAMES.lines().position(|stored| stored == name)?;
    let bytes = STORED_TABLES.get(row * STORED_TABLE_BYTES..(row + 1) * STORED_TABLE_BYTES)?;
    let mut table = [[255; 4]; 256];
    for (entry, &[red, green, blue]) in table.iter_mut().zip(bytes.as_chunks::<3>().0) {
        *entry = [red, green, blue, 255];
    }
    Some(table)
}

/// Black to the colour `#RRGGBB` or `#RGB`.
fn from_hex(name: &str) -> Option<Colormap> {
    let digits: Vec<u8> = name
        .strip_prefix('#')?
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect::<Option<_>>()?;
    let [red, green, blue] = match digits[..] {
        [red, green, blue] => [red * 17, green * 17, blue * 17],
        [r1, r0, g1, g0, b1, b0] => [r1 * 16 + r0, g1 * 16 + g0, b1 * 16 + b0],
        _ => return None,
    };
    let full = [red, green, blue].map(f64::from);
    Some(Colormap { name: format!("#{red:02x}{green:02x}{blue:02x}"), table: computed::ramp([0.0; 3], full) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(name: &str, index: usize) -> [u8; 3] {
        let [red, green, blue, alpha] = by_name(name).unwrap_or_else(|| panic!("{name}")).table[index];
        assert_eq!(alpha, 255);
        [red, green, blue]
    }

    /// `AVAILABLE_COLORMAPS` of napari 0.6.6, with colours at 0, 128 and 255 as its `map` gives them.
    const NAPARI: &[(&str, [[u8; 3]; 3])] = &[
        ("HiLo", [[0, 0, 255], [128, 128, 128], [255, 0, 0]]),
        ("I Blue", [[255, 255, 255], [127, 153, 229], [0, 51, 204]]),
        ("I Bordeaux", [[255, 255, 255], [229, 127, 153], [204, 0, 51]]),
        ("I Forest", [[255, 255, 255], [127, 204, 127], [0, 153, 0]]),
        ("I Orange", [[255, 255, 255], [255, 186, 127], [255, 117, 0]]),
        ("I Purple", [[255, 255, 255], [186, 127, 255], [117, 0, 255]]),
        ("PiYG", [[142, 1, 82], [247, 247, 246], [39, 100, 25]]),
        ("blue", [[0, 0, 0], [0, 0, 128], [0, 0, 255]]),
        ("bop blue", [[0, 0, 0], [16, 86, 124], [32, 173, 248]]),
        ("bop orange", [[0, 0, 0], [124, 86, 16], [248, 173, 32]]),
        ("bop purple", [[0, 0, 0], [74, 16, 74], [148, 32, 148]]),
        ("cyan", [[0, 0, 0], [0, 128, 128], [0, 255, 255]]),
        ("fire", [[255, 255, 255], [255, 254, 0], [255, 0, 0]]),
        ("gist_earth", [[0, 0, 0], [94, 160, 75], [253, 251, 251]]),
        ("gray", [[0, 0, 0], [128, 128, 128], [255, 255, 255]]),
        ("gray_r", [[255, 255, 255], [127, 127, 127], [0, 0, 0]]),
        ("green", [[0, 0, 0], [0, 128, 0], [0, 255, 0]]),
        ("hsv", [[255, 0, 0], [0, 255, 246], [255, 0, 24]]),
        ("ice", [[0, 0, 255], [128, 128, 255], [255, 255, 255]]),
        ("inferno", [[0, 0, 4], [188, 55, 84], [252, 255, 164]]),
        ("magenta", [[0, 0, 0], [128, 0, 128], [255, 0, 255]]),
        ("magma", [[0, 0, 4], [183, 55, 121], [252, 253, 191]]),
        ("nan", [[0, 0, 0], [128, 128, 128], [255, 255, 255]]),
        ("plasma", [[13, 8, 135], [204, 71, 120], [240, 249, 33]]),
        ("red", [[0, 0, 0], [128, 0, 0], [255, 0, 0]]),
        ("turbo", [[48, 18, 59], [164, 252, 60], [122, 4, 3]]),
        ("twilight", [[226, 217, 226], [48, 20, 55], [226, 217, 226]]),
        ("twilight_shifted", [[48, 20, 55], [226, 217, 225], [47, 20, 54]]),
        ("viridis", [[68, 1, 84], [33, 145, 140], [253, 231, 37]]),
        ("yellow", [[0, 0, 0], [128, 128, 0], [255, 255, 0]]),
    ];

    #[test]
    fn every_napari_name_gives_the_colours_that_napari_draws() {
        for (name, colours) in NAPARI {
            for (index, expected) in [0, 128, 255].into_iter().zip(colours) {
                let found = rgb(name, index);
                let distance = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
                assert!(distance <= Some(1), "{name} at {index}: {found:?}, napari {expected:?}");
            }
        }
    }

    #[test]
    fn vispy_names_give_the_colours_that_napari_draws() {
        assert_eq!(rgb("coolwarm", 0), [96, 129, 235]);
        assert_eq!(rgb("coolwarm", 255), [219, 94, 75]);
        assert_eq!(rgb("RdBu", 255), [63, 126, 145]);
        assert_eq!(rgb("cubehelix", 0), [255, 255, 255]);
        assert_eq!(rgb("cubehelix", 128), [72, 162, 89]);
        assert_eq!(rgb("cubehelix", 255), [0, 0, 0]);
        assert_eq!(rgb("light_blues", 255), [51, 187, 255]);
        assert_eq!(rgb("RdYeBuCy", 0), [0, 255, 255]);
        assert_eq!(rgb("RdYeBuCy", 128), [0, 0, 0]);
        assert_eq!(rgb("blues", 0), [255, 255, 255]);
        assert_eq!(rgb("blues", 255), [0, 0, 255]);
        for name in "autumn cool greens reds spring summer hot winter orange PuGr GrBu GrBu_d single_hue hsl husl diverging grays"
            .split(' ')
        {
            assert!(by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn matplotlib_tables_stay_reachable_where_napari_names_differ() {
        assert_eq!(rgb("mpl-coolwarm", 0), [59, 76, 192]);
        assert_eq!(rgb("mpl-cubehelix", 255), [255, 255, 255]);
        assert_eq!(rgb("mpl-viridis", 0), [68, 1, 84]);
        assert_eq!(rgb("mpl-Grays", 0), [255, 255, 255]);
        assert_eq!(rgb("Blues", 255), [8, 48, 107]);
        assert_eq!(rgb("tab10", 0), [31, 119, 180]);
        assert_eq!(rgb("tab10", 12), [31, 119, 180]);
        assert_eq!(rgb("tab10", 255), [23, 190, 207]);
    }

    #[test]
    fn fiji_names_mean_the_luts_of_fiji() {
        assert_eq!(rgb("Grays", 255), [255, 255, 255]);
        assert_eq!(rgb("Green", 255), [0, 255, 0]);
        assert_eq!(rgb("Magenta", 255), [255, 0, 255]);
        assert_eq!(rgb("Cyan", 255), [0, 255, 255]);
        assert_eq!(rgb("Fire", 0), [0, 0, 0]);
        assert_eq!(rgb("Fire", 128), [240, 79, 0]);
        assert_eq!(rgb("Fire", 255), [255, 255, 255]);
        assert_eq!(rgb("Ice", 0), [0, 156, 140]);
        assert_eq!(rgb("Ice", 255), [230, 0, 27]);
        assert_eq!(rgb("glasbey", 0), [255, 255, 255]);
        for name in ["mpl-magma", "mpl-inferno", "mpl-plasma", "Spectrum", "Red/Green", "3-3-2 RGB"] {
            assert!(by_name(name).is_some(), "{name}");
        }
    }

    #[test]
    fn glasbey_colours_are_all_different() {
        let table = by_name("glasbey").unwrap().table;
        assert_eq!(table.iter().collect::<std::collections::HashSet<_>>().len(), 256);
    }

    #[test]
    fn reversed_name_reverses_the_table() {
        for name in names() {
            let forward = by_name(name).unwrap().table;
            let mut backward = by_name(&format!("{name}_r")).unwrap_or_else(|| panic!("{name}_r")).table;
            backward.reverse();
            assert_eq!(forward, backward, "{name}");
        }
        assert_eq!(by_name("viridis_r").unwrap().name, "viridis_r");
        assert!(by_name("viridis_r_r").is_none());
    }

    #[test]
    fn hexadecimal_colour_is_a_ramp_from_black() {
        assert_eq!(rgb("#ff8000", 0), [0, 0, 0]);
        assert_eq!(rgb("#ff8000", 128), [128, 64, 0]);
        assert_eq!(rgb("#FF8000", 255), [255, 128, 0]);
        assert_eq!(by_name("#F80").unwrap(), by_name("#ff8800").unwrap());
        for bad in ["#", "#12", "#1234567", "#gg0000", "ff8000", "#+12345", "#é12345"] {
            assert!(by_name(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn exact_spelling_wins_over_case() {
        assert_eq!(by_name("VIRIDIS").unwrap().name, "viridis");
        assert_ne!(by_name("Fire").unwrap().table, by_name("fire").unwrap().table);
        assert_ne!(by_name("Blues").unwrap().table, by_name("blues").unwrap().table);
        assert_eq!(by_name("GRAYS").unwrap().name, "gray");
        assert_eq!(by_name("MPL-Viridis").unwrap().name, "mpl-viridis");
    }

    #[test]
    fn unknown_names_are_not_found() {
        for unknown in ["", "_r", "no such map", "mpl-", "mpl-fire", "viridis ", "\u{0}"] {
            assert!(by_name(unknown).is_none(), "{unknown:?}");
        }
    }

    #[test]
    fn every_listed_name_is_found_under_itself_and_once() {
        let unique: std::collections::HashSet<_> = names().iter().collect();
        assert_eq!(unique.len(), names().len());
        assert!(names().len() > 110, "{}", names().len());
        for name in names() {
            assert_eq!(by_name(name).unwrap_or_else(|| panic!("{name}")).name, *name);
        }
        assert_eq!(names()[0], "gray");
    }

    #[test]
    fn stored_tables_and_names_have_one_length() {
        assert_eq!(STORED_TABLES.len(), STORED_NAMES.lines().count() * STORED_TABLE_BYTES);
    }
}

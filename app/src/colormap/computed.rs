//! Colormaps that are a formula or a few colours: computed, not stored.
//!
//! The colours are those of napari 0.6.6, vispy 0.15.2 and ImageJ 1.54, compared table by table.

use std::f64::consts::TAU;

use super::ColormapTable;

/// Colours 0..255 at equal distances from the first entry to the last one, joined by straight lines.
const RAMPS: &[(&str, &[[f64; 3]])] = &[
    ("gray", &[BLACK, WHITE]),
    ("red", &[BLACK, [255.0, 0.0, 0.0]]),
    ("green", &[BLACK, [0.0, 255.0, 0.0]]),
    ("blue", &[BLACK, [0.0, 0.0, 255.0]]),
    ("cyan", &[BLACK, [0.0, 255.0, 255.0]]),
    ("magenta", &[BLACK, [255.0, 0.0, 255.0]]),
    ("yellow", &[BLACK, [255.0, 255.0, 0.0]]),
    // napari 0.6.6 has tables that drop fractions; these lines stay within 2 levels of them.
    ("bop blue", &[BLACK, [32.0, 173.0, 248.0]]),
    ("bop orange", &[BLACK, [248.0, 173.0, 32.0]]),
    ("bop purple", &[BLACK, [148.0, 32.0, 148.0]]),
    // napari, inverted: white where there is nothing.
    ("I Blue", &[WHITE, [0.0, 51.0, 204.0]]),
    ("I Bordeaux", &[WHITE, [204.0, 0.0, 51.0]]),
    ("I Forest", &[WHITE, [0.0, 153.0, 0.0]]),
    ("I Orange", &[WHITE, [255.0, 117.0, 0.0]]),
    ("I Purple", &[WHITE, [117.0, 0.0, 255.0]]),
    // vispy, as napari shows them.
    // Brightest where there is nothing; kept, because napari's `fire` is so.
    ("fire", &[WHITE, [255.0, 255.0, 0.0], [255.0, 0.0, 0.0]]),
    ("ice", &[[0.0, 0.0, 255.0], WHITE]),
    ("blues", &[WHITE, [0.0, 0.0, 255.0]]),
    ("greens", &[WHITE, [0.0, 255.0, 0.0]]),
    ("reds", &[WHITE, [255.0, 0.0, 0.0]]),
    ("light_blues", &[[229.5, 246.5, 255.0], [51.0, 187.0, 255.0]]),
    ("orange", &[BLACK, [255.0, 165.0, 0.0]]),
    ("PuGr", &[[97.3, 34.5, 155.6], LIGHT, [23.7, 79.6, 52.4]]),
    ("GrBu", &[[71.1, 160.7, 90.0], LIGHT, [100.0, 141.7, 226.4]]),
    ("GrBu_d", &[[71.1, 160.7, 90.0], [33.9, 33.9, 33.9], [100.0, 141.7, 226.4]]),
    ("RdBu", &[[192.2, 84.8, 57.8], LIGHT, [63.2, 125.9, 145.2]]),
    ("diverging", &[[109.7, 171.5, 254.2], LIGHT, [254.4, 135.4, 111.8]]),
    (
        "coolwarm",
        &[
            [96.2, 128.5, 234.6],
            [141.4, 174.7, 252.4],
            [183.0, 206.6, 247.4],
            [221.8, 220.7, 219.6],
            [244.8, 195.8, 171.4],
            [242.2, 151.4, 121.1],
            [219.3, 93.9, 74.6],
        ],
    ),
    (
        "hsl",
        &[
            [255.0, 0.0, 0.0],
            [255.0, 255.0, 0.0],
            [0.0, 255.0, 0.0],
            [0.0, 255.0, 255.0],
            [0.0, 0.0, 255.0],
            [255.0, 0.0, 255.0],
        ],
    ),
    (
        "husl",
        &[
            [254.3, 130.6, 158.8],
            [210.6, 162.3, 11.2],
            [92.7, 191.4, 10.9],
            [12.9, 189.4, 175.6],
            [36.8, 178.9, 254.2],
            [235.3, 125.8, 254.2],
        ],
    ),
];

type Formula = fn() -> ColormapTable;

/// Maps that need a formula of their own.
const FORMULAS: &[(&str, Formula)] = &[
    ("HiLo", hi_lo),
    ("RdYeBuCy", red_yellow_blue_cyan),
    ("cubehelix", vispy_cubehelix),
    ("Fire", || imagej_steps(&IMAGEJ_FIRE)),
    ("Ice", || imagej_steps(&IMAGEJ_ICE)),
    ("Spectrum", spectrum),
    ("Red/Green", red_green),
    ("3-3-2 RGB", rgb_332),
];

const BLACK: [f64; 3] = [0.0; 3];
const WHITE: [f64; 3] = [255.0; 3];
/// Middle of vispy's diverging maps.
const LIGHT: [f64; 3] = [234.6; 3];

/// Names of all computed maps.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    RAMPS.iter().map(|(name, _)| *name).chain(FORMULAS.iter().map(|(name, _)| *name))
}

/// The computed map of exactly this name.
pub(super) fn table(name: &str) -> Option<ColormapTable> {
    if let Some((_, colours)) = RAMPS.iter().find(|(ramp, _)| *ramp == name) {
        return Some(table_from(|position| along(colours, position)));
    }
    FORMULAS.iter().find(|(formula, _)| *formula == name).map(|(_, compute)| compute())
}

/// A straight line between two colours 0..255.
pub(super) fn ramp(first: [f64; 3], last: [f64; 3]) -> ColormapTable {
    table_from(|position| mix(first, last, position))
}

/// Evaluates `colour_at` (0..255 per part) at 256 positions 0..=1.
fn table_from(colour_at: impl Fn(f64) -> [f64; 3]) -> ColormapTable {
    std::array::from_fn(|index| {
        // `as u8` saturates, so a formula that overshoots stays in range.
        let [red, green, blue] = colour_at(index as f64 / 255.0).map(|part| part.round() as u8);
        [red, green, blue, 255]
    })
}

fn mix(first: [f64; 3], last: [f64; 3], position: f64) -> [f64; 3] {
    std::array::from_fn(|part| first[part] + (last[part] - first[part]) * position)
}

/// The colour at `position` 0..=1 of a line through at least two equally spaced colours.
fn along(colours: &[[f64; 3]], position: f64) -> [f64; 3] {
    let segments = colours.len() - 1;
    let scaled = position * segments as f64;
    let segment = (scaled as usize).min(segments - 1);
    mix(colours[segment], colours[segment + 1], scaled - segment as f64)
}

/// Gray with the first entry blue and the last one red, so that what contrast limits cut off can be seen.
fn hi_lo() -> ColormapTable {
    let mut table = ramp(BLACK, WHITE);
    table[0] = [0, 0, 255, 255];
    table[255] = [255, 0, 0, 255];
    table
}

/// Cyan, blue, nothing, red, yellow. vispy makes the middle transparent; here it is black, which looks the same on our
/// canvas and adds nothing when blended additively.
fn red_yellow_blue_cyan() -> ColormapTable {
    let half = |distance: f64, near: [f64; 3], far: [f64; 3]| {
        if distance < 0.33 {
            BLACK
        } else if distance < 0.66 {
            mix(BLACK, near, (distance - 0.33) / 0.33)
        } else {
            mix(near, far, (distance - 0.66) / 0.34)
        }
    };
    table_from(|t| {
        let signed = 2.0 * t - 1.0;
        if signed < 0.0 {
            half(-signed, [0.0, 0.0, 255.0], [0.0, 255.0, 255.0])
        } else {
            half(signed, [255.0, 0.0, 0.0], [255.0, 255.0, 0.0])
        }
    })
}

/// The cube helix (arXiv 1108.5083) with the parameters of vispy: 32 levels joined by lines, white to black, start 0.5,
/// one rotation, saturation 1.2.
fn vispy_cubehelix() -> ColormapTable {
    let mut levels: [[f64; 3]; 32] = std::array::from_fn(|level| {
        let lightness = level as f64 / 31.0;
        let angle = TAU * (0.5 / 3.0 + 1.0 + lightness);
        let amplitude = 1.2 * lightness * (1.0 - lightness) / 2.0;
        let (sin, cos) = angle.sin_cos();
        [(-0.14861, 1.78277), (-0.29227, -0.90649), (1.97294, 0.0)]
            .map(|(by_cos, by_sin)| (255.0 * (lightness + amplitude * (by_cos * cos + by_sin * sin))).clamp(0.0, 255.0))
    });
    levels.reverse();
    table_from(|t| along(&levels, t))
}

/// ImageJ stretches its 32 colours by 8 and drops fractions; the last 8 entries are equal.
fn imagej_steps(colours: &[[u8; 3]; 32]) -> ColormapTable {
    std::array::from_fn(|index| {
        let (lower, eighths) = (index / 8, (index % 8) as u32);
        let upper = (lower + 1).min(31);
        let [red, green, blue] = std::array::from_fn(|part| {
            let (from, to) = (u32::from(colours[lower][part]), u32::from(colours[upper][part]));
            ((from * (8 - eighths) + to * eighths) / 8) as u8
        });
        [red, green, blue, 255]
    })
}

/// All hues at full saturation, red to red.
fn spectrum() -> ColormapTable {
    table_from(|hue| {
        [5.0, 3.0, 1.0].map(|offset: f64| {
            let distance = (offset + hue * 6.0) % 6.0;
            255.0 * (1.0 - distance.min(4.0 - distance).clamp(0.0, 1.0))
        })
    })
}

/// Black to red in the lower half, black to green in the upper half.
fn red_green() -> ColormapTable {
    std::array::from_fn(|index| {
        let level = (index % 128 * 2) as u8;
        if index < 128 { [level, 0, 0, 255] } else { [0, level, 0, 255] }
    })
}

/// The index read as a colour: 3 bits of red, 3 of green, 2 of blue.
fn rgb_332() -> ColormapTable {
    std::array::from_fn(|index| {
        let index = index as u8;
        [index & 0xe0, index << 3 & 0xe0, index << 6, 255]
    })
}

/// The 32 colours of ImageJ's "Fire" (public domain).
const IMAGEJ_FIRE: [[u8; 3]; 32] = [
    [0, 0, 0],
    [0, 0, 61],
    [1, 0, 96],
    [25, 0, 130],
    [49, 0, 165],
    [73, 0, 192],
    [98, 0, 220],
    [122, 0, 227],
    [146, 0, 210],
    [162, 0, 181],
    [173, 0, 151],
    [184, 0, 122],
    [195, 0, 93],
    [207, 14, 64],
    [217, 35, 35],
    [229, 57, 5],
    [240, 79, 0],
    [252, 101, 0],
    [255, 117, 0],
    [255, 133, 0],
    [255, 147, 0],
    [255, 161, 0],
    [255, 175, 0],
    [255, 190, 0],
    [255, 205, 0],
    [255, 219, 0],
    [255, 234, 0],
    [255, 248, 35],
    [255, 255, 98],
    [255, 255, 160],
    [255, 255, 223],
    [255, 255, 255],
];

/// The 32 colours of ImageJ's "Ice" (public domain).
const IMAGEJ_ICE: [[u8; 3]; 32] = [
    [0, 156, 140],
    [0, 165, 147],
    [0, 176, 158],
    [0, 184, 166],
    [0, 190, 170],
    [0, 196, 176],
    [19, 193, 209],
    [29, 184, 220],
    [50, 171, 234],
    [48, 162, 225],
    [79, 146, 236],
    [112, 125, 246],
    [134, 107, 250],
    [158, 93, 251],
    [186, 81, 250],
    [201, 87, 250],
    [217, 92, 245],
    [229, 97, 230],
    [242, 95, 230],
    [250, 93, 222],
    [250, 93, 202],
    [250, 90, 180],
    [250, 85, 163],
    [251, 69, 142],
    [250, 64, 123],
    [250, 54, 114],
    [250, 47, 106],
    [250, 35, 94],
    [251, 19, 84],
    [251, 0, 64],
    [243, 4, 26],
    [230, 0, 27],
];

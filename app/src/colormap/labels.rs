//! Colours of label ids: hues by the golden ratio, so that ids that follow each other differ as much as they can. The same colours
//! as outlines of objects have (openhcs 0.8.6), so that an object and its outline match.

use super::ColormapTable;

/// Name of the colormap that colours integers by their id instead of their size.
pub const LABELS: &str = "labels";

/// In place of a row of the colormap texture: the renderer computes the colours of [`label_colour`].
pub const LABEL_COLOURS: u32 = u32::MAX;

/// The golden ratio's fraction of 2^32: multiples of it, wrapped, are its multiples without their whole part. The shader computes
/// the same in whole numbers, so that large ids keep their colours.
const GOLDEN_FRACTION: u32 = 2_654_435_769;

/// Red, green and blue of an id, sRGB. 0 is no object where planes are drawn; shapes without a label have its colour.
pub fn label_colour(id: u32) -> [u8; 3] {
    let hue = f64::from(id.wrapping_mul(GOLDEN_FRACTION)) / 2_f64.powi(32);
    srgb_from_hsv(hue, 0.78, 1.0)
}

/// The id in a little-endian integer, as the renderer has it: the lowest 32 bits, or the highest where those say nothing.
pub fn label_id(bytes: &[u8]) -> u32 {
    let part = |from: usize| {
        let bytes = bytes.get(from..).unwrap_or_default();
        bytes.iter().take(4).rev().fold(0, |id, byte| id << 8 | u32::from(*byte))
    };
    match part(0) {
        0 => part(4),
        id => id,
    }
}

/// For menus and swatches: black, then the colours of the first ids.
pub(super) fn table() -> ColormapTable {
    let mut table = [[0, 0, 0, 255]; 256];
    for (id, entry) in table.iter_mut().enumerate().skip(1) {
        let [red, green, blue] = label_colour(id as u32);
        *entry = [red, green, blue, 255];
    }
    table
}

fn srgb_from_hsv(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|offset: f64| {
        let place = (offset + hue * 6.0) % 6.0;
        let part = place.min(4.0 - place).clamp(0.0, 1.0);
        ((value - value * saturation * part) * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_incumbents_colours() {
        // Python: colorsys.hsv_to_rgb((n * 0.618033988749895) % 1, 0.78, 1.0), times 255.
        for (id, colour) in [(0, [255, 56, 56]), (1, [56, 114, 255]), (2, [172, 255, 56]), (100_000, [56, 255, 134])] {
            assert_eq!(label_colour(id), colour, "{id}");
        }
    }

    #[test]
    fn ids_of_every_width_are_found() {
        assert_eq!(label_id(&[7]), 7);
        assert_eq!(label_id(&300_u16.to_le_bytes()), 300);
        assert_eq!(label_id(&(-1_i32).to_le_bytes()), u32::MAX);
        assert_eq!(label_id(&70_000_u64.to_le_bytes()), 70_000);
        assert_eq!(label_id(&(1_u64 << 40).to_le_bytes()), 256, "no object is taken for background");
        assert_eq!(label_id(&[0; 8]), 0);
    }
}

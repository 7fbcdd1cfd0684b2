//! Which part of a plane is drawn from which tile of which level. Geometry only, so that every rule is tested without a GPU.
//!
//! A level that fits is one tile. Larger ones are cut into squares with a border of one texel, which smooth interpolation
//! reads. Squares of a level lie whole in one square of each coarser level, so a missing tile has exactly one stand-in there.

use crate::render::pyramid::{MAX_LEVEL, Window, level_size};
use crate::render::scene::PlaneId;

/// Identity of a tile's texels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TileKey {
    /// The plane.
    pub plane: PlaneId,
    /// 0 is full resolution; each further level halves both sides.
    pub level: u8,
    /// Place in the level's grid along x.
    pub column: u32,
    /// Place in the level's grid along y.
    pub row: u32,
}

/// A tile and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tile {
    /// Identity.
    pub key: TileKey,
    /// Texels of the level that it shows.
    pub core: Window,
    /// Texels of the level that it holds: the core and its border, as far as the level reaches.
    pub texels: Window,
}

impl Tile {
    /// Left, top, right and bottom edge of the core in pixels of the plane, from the first pixel's outer edge.
    pub fn edges(&self, [width, height]: [u32; 2]) -> [f64; 4] {
        let scale = f64::from(1_u32 << self.key.level);
        let Window { x, y, width: columns, height: rows } = self.core;
        [
            f64::from(x) * scale,
            f64::from(y) * scale,
            (f64::from(x + columns) * scale).min(f64::from(width)),
            (f64::from(y + rows) * scale).min(f64::from(height)),
        ]
    }
}

/// How planes are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tiling {
    /// Levels of at most this many texels along each side are one tile.
    pub whole_side: u32,
    /// Side of the squares of larger levels, without border.
    pub tile_side: u32,
}

impl Default for Tiling {
    /// Cameras' frames are one tile, stitched wells are cut. A tile is 2 MiB of 16-bit texels, so a frame's upload share
    /// holds many.
    fn default() -> Self {
        Self { whole_side: 4096, tile_side: 1024 }
    }
}

impl Tiling {
    /// No texture larger than the device can have.
    pub fn within(self, max_texture_side: u32) -> Self {
        let whole_side = self.whole_side.min(max_texture_side).max(1);
        Self { whole_side, tile_side: self.tile_side.min(max_texture_side.saturating_sub(2)).clamp(1, whole_side) }
    }

    /// Whether a level is one tile.
    pub fn is_whole(self, size: [u32; 2], level: u8) -> bool {
        level_size(size, level).iter().all(|side| *side <= self.whole_side)
    }

    /// Columns and rows of the texture layer that holds a tile of a level; all tiles of a cut level share one size.
    pub fn slot_size(self, size: [u32; 2], level: u8) -> [u32; 2] {
        if self.is_whole(size, level) { level_size(size, level) } else { [self.tile_side + 2; 2] }
    }

    /// The level of which between one and two texels meet a screen pixel; full resolution when enlarged. `zoom` is in screen
    /// pixels per pixel of the plane.
    pub fn wanted_level(self, size: [u32; 2], zoom: f64) -> u8 {
        // A quarter of a level before its time: at just under a half, screen pixels show the mean of theirs.
        let level = (1.0 / zoom).log2() + 0.25;
        let level = if level.is_finite() { level.floor().clamp(0.0, f64::from(MAX_LEVEL)) as u8 } else { 0 };
        level.min(coarsest_level(size))
    }

    /// The level that stands in for a cut level's tiles while they are made; one small tile.
    pub fn base_level(self, size: [u32; 2]) -> u8 {
        let is_base =
            |level: &u8| self.is_whole(size, *level) && level_size(size, *level).iter().all(|side| *side <= 1024);
        (0..MAX_LEVEL).find(is_base).unwrap_or(MAX_LEVEL)
    }

    /// The tile at a place of a level's grid.
    pub fn tile(self, plane: PlaneId, size: [u32; 2], level: u8, column: u32, row: u32) -> Tile {
        let [columns, rows] = level_size(size, level);
        let key = TileKey { plane, level, column, row };
        if self.is_whole(size, level) {
            let all = Window { x: 0, y: 0, width: columns, height: rows };
            return Tile { key: TileKey { column: 0, row: 0, ..key }, core: all, texels: all };
        }
        let cut = |place: u32, side: u32| {
            let start = place * self.tile_side;
            let end = (start + self.tile_side).min(side);
            let (first, last) = (start.saturating_sub(1), (end + 1).min(side));
            ((start, end - start), (first, last - first))
        };
        let ((x, width), (outer_x, outer_width)) = cut(column, columns);
        let ((y, height), (outer_y, outer_height)) = cut(row, rows);
        Tile {
            key,
            core: Window { x, y, width, height },
            texels: Window { x: outer_x, y: outer_y, width: outer_width, height: outer_height },
        }
    }

    /// Tiles of a level that meet a rectangle of the plane (left, top, right, bottom, in pixels from the first pixel's outer
    /// edge), nearest to its middle first.
    pub fn visible(self, plane: PlaneId, size: [u32; 2], level: u8, view: [f64; 4]) -> Vec<Tile> {
        let [left, top, right, bottom] = view;
        let [width, height] = size.map(f64::from);
        if right <= 0.0 || bottom <= 0.0 || left >= width || top >= height || left >= right || top >= bottom {
            return Vec::new();
        }
        if self.is_whole(size, level) {
            return vec![self.tile(plane, size, level, 0, 0)];
        }
        let tile_pixels = f64::from(self.tile_side) * f64::from(1_u32 << level);
        let places = |start: f64, end: f64, texels: u32| {
            let last = (texels - 1) / self.tile_side;
            // Casts saturate at 0.
            let first = (start / tile_pixels).floor() as u32;
            first..=((end / tile_pixels).ceil() as u32).saturating_sub(1).min(last)
        };
        let [columns, rows] = level_size(size, level);
        let middle = [(left + right) / 2.0 / tile_pixels - 0.5, (top + bottom) / 2.0 / tile_pixels - 0.5];
        let mut tiles: Vec<Tile> = places(top, bottom, rows)
            .flat_map(|row| places(left, right, columns).map(move |column| (column, row)))
            .map(|(column, row)| self.tile(plane, size, level, column, row))
            .collect();
        let distance = |tile: &Tile| {
            let (x, y) = (f64::from(tile.key.column) - middle[0], f64::from(tile.key.row) - middle[1]);
            x * x + y * y
        };
        tiles.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        tiles
    }

    /// The best tile that can be drawn where `wanted` lies: itself, else the next coarser one, else a finer level that is one
    /// tile. `None`: nothing of this plane is there yet.
    pub fn stand_in(self, size: [u32; 2], wanted: &Tile, is_resident: impl Fn(TileKey) -> bool) -> Option<Tile> {
        if is_resident(wanted.key) {
            return Some(*wanted);
        }
        let TileKey { plane, level, column, row } = wanted.key;
        for coarser in level + 1..=coarsest_level(size).max(self.base_level(size)) {
            let tile = self.tile(plane, size, coarser, column >> (coarser - level), row >> (coarser - level));
            if is_resident(tile.key) {
                return Some(tile);
            }
        }
        (0..level)
            .rev()
            .filter(|finer| self.is_whole(size, *finer))
            .map(|finer| self.tile(plane, size, finer, 0, 0))
            .find(|tile| is_resident(tile.key))
    }
}

/// The level beyond which a plane is a few texels anyway.
fn coarsest_level([width, height]: [u32; 2]) -> u8 {
    let side = width.max(height).max(1);
    (side.ilog2() as u8).saturating_sub(3).min(MAX_LEVEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TILING: Tiling = Tiling { whole_side: 40, tile_side: 16 };

    #[test]
    fn a_stitched_well_is_cut_and_a_cameras_frame_is_not() {
        let tiling = Tiling::default();
        assert!(tiling.is_whole([2560, 2160], 0));
        assert!(!tiling.is_whole([30_000, 30_000], 0) && tiling.is_whole([30_000, 30_000], 3));
        assert_eq!(tiling.base_level([30_000, 30_000]), 5);
        assert_eq!(tiling.base_level([2048, 2048]), 1);
        assert_eq!(tiling.slot_size([30_000, 20_000], 2), [1026, 1026]);
        assert_eq!(tiling.slot_size([2048, 2001], 1), [1024, 1001]);
        let small = tiling.within(512);
        assert_eq!((small.whole_side, small.tile_side), (512, 510));
    }

    #[test]
    fn a_screen_pixel_meets_about_one_texel() {
        let tiling = Tiling::default();
        let level = |zoom| tiling.wanted_level([4000, 4000], zoom);
        assert_eq!([level(20.0), level(1.0), level(0.6), level(0.5), level(0.3), level(0.25)], [0, 0, 0, 1, 1, 2]);
        assert_eq!(level(0.0), 0, "a camera without a zoom shows what is there");
        assert_eq!(tiling.wanted_level([12, 12], 1e-9), 0, "a plane of a few texels has no smaller levels");
    }

    #[test]
    fn only_tiles_in_view_are_wanted_and_the_middle_comes_first() {
        let tiles = TILING.visible(PlaneId(1), [100, 60], 0, [20.0, -5.0, 50.0, 16.0]);
        let places: Vec<_> = tiles.iter().map(|tile| (tile.key.column, tile.key.row)).collect();
        assert_eq!(places, [(2, 0), (1, 0), (3, 0)]);
        assert_eq!(tiles[0].core, Window { x: 32, y: 0, width: 16, height: 16 });
        assert_eq!(tiles[0].texels, Window { x: 31, y: 0, width: 18, height: 17 });
        assert!(TILING.visible(PlaneId(1), [100, 60], 0, [100.0, 0.0, 120.0, 16.0]).is_empty());
        let last = TILING.tile(PlaneId(1), [100, 60], 0, 6, 3);
        assert_eq!(last.core, Window { x: 96, y: 48, width: 4, height: 12 });
        assert_eq!(last.texels, Window { x: 95, y: 47, width: 5, height: 13 });
    }

    #[test]
    fn a_missing_tile_is_drawn_from_a_coarser_level_and_a_missing_level_from_a_finer_one() {
        let size = [100, 60];
        let wanted = TILING.tile(PlaneId(1), size, 0, 5, 2);
        let base = TILING.tile(PlaneId(1), size, 2, 0, 0);
        let stand_in = |resident: &[TileKey]| TILING.stand_in(size, &wanted, |key| resident.contains(&key));
        assert_eq!(stand_in(&[]), None);
        assert_eq!(stand_in(&[base.key]), Some(base));
        let half = TILING.tile(PlaneId(1), size, 1, 2, 1);
        assert_eq!(stand_in(&[base.key, half.key]), Some(half));
        assert_eq!(stand_in(&[base.key, wanted.key]), Some(wanted));

        let small = [40, 30];
        let reduced = TILING.tile(PlaneId(1), small, 1, 0, 0);
        let full = TILING.tile(PlaneId(1), small, 0, 0, 0);
        assert_eq!(TILING.stand_in(small, &reduced, |key| key == full.key), Some(full));
    }

    proptest! {
        #[test]
        fn visible_tiles_cover_the_view_once_and_their_stand_ins_lie_over_them(
            width in 1_u32..300, height in 1_u32..300, level in 0_u8..4,
            x in -50.0..320.0_f64, y in -50.0..320.0_f64, side in 0.5..200.0_f64,
        ) {
            let size = [width, height];
            let view = [x, y, x + side, y + side];
            let tiles = TILING.visible(PlaneId(1), size, level, view);
            let part = |edges: [f64; 4]| {
                let along = |low: usize| (edges[low + 2].min(view[low + 2]) - edges[low].max(view[low])).max(0.0);
                along(0) * along(1)
            };
            let seen = part([0.0, 0.0, f64::from(width), f64::from(height)]);
            let covered: f64 = tiles.iter().map(|tile| part(tile.edges(size))).sum();
            prop_assert!((seen - covered).abs() < 1e-6, "{seen} pixels in view, {covered} covered");
            for tile in &tiles {
                let texels = tile.texels;
                let [slot_width, slot_height] = TILING.slot_size(size, level);
                prop_assert!(texels.width <= slot_width && texels.height <= slot_height);
                for coarser in level + 1..6 {
                    let stand_in = TILING.stand_in(size, tile, |key| key.level == coarser);
                    if let Some(stand_in) = stand_in {
                        let (inner, outer) = (tile.edges(size), stand_in.edges(size));
                        prop_assert!(outer[0] <= inner[0] && outer[1] <= inner[1]);
                        prop_assert!(outer[2] >= inner[2] && outer[3] >= inner[3]);
                    }
                }
            }
        }
    }
}

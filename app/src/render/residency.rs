//! Which tiles are on the GPU: slots of pages within a byte budget, the least recently used go first.
//!
//! Bookkeeping only, so that every rule is tested without a GPU; `pages.rs` carries it out.

use std::collections::{BTreeSet, HashMap};

use crate::render::scene::PlaneId;
use crate::render::texels::TexelFormat;
use crate::render::tiles::TileKey;

/// Size up to which a page grows. wgpu fills a page with zeros when it is first used, so pages start small and double.
const PAGE_BYTES: u64 = 64 << 20;

/// Number of a page; numbers are not used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PageId(pub u64);

/// A layer of a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot {
    /// The texture array.
    pub page: PageId,
    /// Its layer.
    pub layer: u32,
}

/// How a tile gets its slot, to be carried out in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Pages to free.
    pub dropped_pages: Vec<PageId>,
    /// A page to make, with its number of layers.
    pub new_page: Option<(PageId, u32)>,
    /// Where to write the tile.
    pub slot: Slot,
}

/// Slots and what is in them.
pub struct Residency {
    budget_bytes: u64,
    max_layers: u32,
    pages: HashMap<PageId, Page>,
    tiles: HashMap<TileKey, Slot>,
    /// Resident tiles of each plane; few, as views go.
    of_plane: HashMap<PlaneId, Vec<TileKey>>,
    /// Empty slots per format.
    free: HashMap<TexelFormat, Vec<Slot>>,
    /// Resident tiles per format, by the frame that last used them.
    by_age: HashMap<TexelFormat, BTreeSet<(u64, TileKey)>>,
    resident_bytes: u64,
    next_page: u64,
    clock: u64,
    evictions: u64,
}

struct Page {
    format: TexelFormat,
    layers: Vec<Option<Held>>,
}

#[derive(Clone, Copy)]
struct Held {
    tile: TileKey,
    used_at: u64,
}

impl Page {
    fn bytes(&self) -> u64 {
        self.format.layer_bytes() * self.layers.len() as u64
    }

    fn used_at(&self) -> u64 {
        self.layers.iter().flatten().map(|held| held.used_at).max().unwrap_or(0)
    }
}

impl Residency {
    /// Nothing resident. `max_layers` is the device's limit of layers per texture array.
    pub fn new(budget_bytes: u64, max_layers: u32) -> Self {
        Self {
            budget_bytes,
            max_layers: max_layers.max(1),
            pages: HashMap::new(),
            tiles: HashMap::new(),
            of_plane: HashMap::new(),
            free: HashMap::new(),
            by_age: HashMap::new(),
            resident_bytes: 0,
            next_page: 0,
            clock: 0,
            evictions: 0,
        }
    }

    /// Begins a frame: what is used from here on is safe from eviction until the next begins.
    pub fn begin_frame(&mut self) {
        self.clock += 1;
    }

    /// Where a tile is, noting that this frame uses it.
    pub fn use_tile(&mut self, tile: TileKey) -> Option<Slot> {
        let slot = *self.tiles.get(&tile)?;
        let page = self.pages.get_mut(&slot.page)?;
        let held = page.layers.get_mut(slot.layer as usize)?.as_mut()?;
        if held.used_at != self.clock {
            let ages = self.by_age.entry(page.format).or_default();
            ages.remove(&(held.used_at, tile));
            ages.insert((self.clock, tile));
            held.used_at = self.clock;
        }
        Some(slot)
    }

    /// Whether a tile is on the GPU.
    pub fn contains(&self, tile: TileKey) -> bool {
        self.tiles.contains_key(&tile)
    }

    /// Finds a slot for a tile that is not resident. `None`: only tiles that this frame uses could make room, and
    /// `must_fit` is false. With `must_fit` the budget is exceeded rather than a visible tile left out.
    pub fn place(&mut self, tile: TileKey, format: TexelFormat, must_fit: bool) -> Option<Placement> {
        let mut dropped_pages = Vec::new();
        let (slot, new_page) = loop {
            if let Some(slot) = self.free.get_mut(&format).and_then(Vec::pop) {
                break (slot, None);
            }
            let layers = self.next_page_layers(format);
            let page_bytes = format.layer_bytes() * u64::from(layers);
            if self.resident_bytes + page_bytes <= self.budget_bytes {
                let (slot, page) = self.add_page(format, layers);
                break (slot, Some((page, layers)));
            }
            if let Some(slot) = self.evict_slot(format) {
                break (slot, None);
            }
            if let Some(page) = self.drop_oldest_page() {
                dropped_pages.push(page);
                continue;
            }
            if self.resident_bytes + format.layer_bytes() <= self.budget_bytes || must_fit {
                let (slot, page) = self.add_page(format, 1);
                break (slot, Some((page, 1)));
            }
            return None;
        };
        if let Some(page) = self.pages.get_mut(&slot.page) {
            page.layers[slot.layer as usize] = Some(Held { tile, used_at: self.clock });
        }
        self.tiles.insert(tile, slot);
        self.of_plane.entry(tile.plane).or_default().push(tile);
        self.by_age.entry(format).or_default().insert((self.clock, tile));
        Some(Placement { dropped_pages, new_page, slot })
    }

    /// Empties the slots of a plane that nobody can ask for again.
    pub fn release(&mut self, plane: PlaneId) {
        for tile in self.of_plane.remove(&plane).unwrap_or_default() {
            let Some(slot) = self.tiles.remove(&tile) else { continue };
            let Some(page) = self.pages.get_mut(&slot.page) else { continue };
            let Some(held) = page.layers.get_mut(slot.layer as usize).and_then(Option::take) else { continue };
            if let Some(ages) = self.by_age.get_mut(&page.format) {
                ages.remove(&(held.used_at, tile));
            }
            self.free.entry(page.format).or_default().push(slot);
        }
    }

    /// Sets another budget and returns the pages to free for it; what this frame uses stays.
    pub fn set_budget(&mut self, budget_bytes: u64) -> Vec<PageId> {
        self.budget_bytes = budget_bytes;
        let mut dropped = Vec::new();
        while self.resident_bytes > self.budget_bytes
            && let Some(page) = self.drop_oldest_page()
        {
            dropped.push(page);
        }
        dropped
    }

    /// Bytes that pages may have.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// Bytes of all pages.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Tiles that had to leave so far.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Number of pages.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Tiles on the GPU.
    pub fn tile_count(&self) -> usize {
        self.tiles.len()
    }

    /// The first page of a format holds one tile, each next one twice as many, up to [`PAGE_BYTES`].
    fn next_page_layers(&self, format: TexelFormat) -> u32 {
        let held = self.by_age.get(&format).map_or(0, BTreeSet::len);
        let largest = (PAGE_BYTES / format.layer_bytes().max(1)).clamp(1, u64::from(self.max_layers));
        (held as u64 + 1).min(largest) as u32
    }

    /// Makes a page and returns its first slot; the others become free.
    fn add_page(&mut self, format: TexelFormat, layers: u32) -> (Slot, PageId) {
        self.next_page += 1;
        let id = PageId(self.next_page);
        let page = Page { format, layers: vec![None; layers as usize] };
        self.resident_bytes += page.bytes();
        self.pages.insert(id, page);
        self.free.entry(format).or_default().extend((1..layers).rev().map(|layer| Slot { page: id, layer }));
        (Slot { page: id, layer: 0 }, id)
    }

    /// Empties the slot of the tile of a format that was used longest ago, unless this frame uses it.
    fn evict_slot(&mut self, format: TexelFormat) -> Option<Slot> {
        let ages = self.by_age.get_mut(&format)?;
        let (_, tile) = *ages.first().filter(|(used_at, _)| *used_at < self.clock)?;
        ages.pop_first();
        let slot = self.tiles.remove(&tile)?;
        self.forget(tile);
        self.pages.get_mut(&slot.page)?.layers[slot.layer as usize] = None;
        self.evictions += 1;
        Some(slot)
    }

    fn drop_oldest_page(&mut self) -> Option<PageId> {
        let clock = self.clock;
        let unused = self.pages.iter().filter(|(_, page)| page.used_at() < clock);
        let id = *unused.min_by_key(|(id, page)| (page.used_at(), **id))?.0;
        let page = self.pages.remove(&id)?;
        self.resident_bytes -= page.bytes();
        if let Some(free) = self.free.get_mut(&page.format) {
            free.retain(|slot| slot.page != id);
        }
        for held in page.layers.into_iter().flatten() {
            self.tiles.remove(&held.tile);
            self.forget(held.tile);
            if let Some(ages) = self.by_age.get_mut(&page.format) {
                ages.remove(&(held.used_at, held.tile));
            }
            self.evictions += 1;
        }
        Some(id)
    }

    fn forget(&mut self, tile: TileKey) {
        if let Some(tiles) = self.of_plane.get_mut(&tile.plane) {
            tiles.retain(|other| *other != tile);
            if tiles.is_empty() {
                self.of_plane.remove(&tile.plane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: TexelFormat = TexelFormat { width: 10, height: 10, bytes_per_texel: 1 };
    const OTHER: TexelFormat = TexelFormat { width: 20, height: 10, bytes_per_texel: 1 };

    fn tile(plane: u64) -> TileKey {
        TileKey { plane: PlaneId(plane), level: 0, column: 0, row: 0 }
    }

    fn placed(residency: &mut Residency, plane: u64, format: TexelFormat) -> Placement {
        residency.place(tile(plane), format, true).unwrap()
    }

    #[test]
    fn pages_start_small_and_double() {
        let mut residency = Residency::new(10_000, 256);
        residency.begin_frame();
        let layers: Vec<_> = (0..8)
            .filter_map(|plane| placed(&mut residency, plane, SMALL).new_page.map(|(_, layers)| layers))
            .collect();
        assert_eq!(layers, [1, 2, 4, 8]);
        assert_eq!(residency.tile_count(), 8);
    }

    #[test]
    fn the_least_recently_used_plane_makes_room() {
        let mut residency = Residency::new(300, 1);
        for plane in 0..3 {
            residency.begin_frame();
            placed(&mut residency, plane, SMALL);
        }
        residency.begin_frame();
        assert!(residency.use_tile(tile(0)).is_some());
        let placement = placed(&mut residency, 3, SMALL);
        assert_eq!(placement.new_page, None);
        assert!(!residency.contains(tile(1)), "plane 1 was used longest ago");
        assert!(residency.contains(tile(0)) && residency.contains(tile(2)));
        assert_eq!((residency.evictions(), residency.resident_bytes()), (1, 300));
    }

    #[test]
    fn pages_of_another_format_are_freed_when_the_budget_is_spent() {
        let mut residency = Residency::new(300, 1);
        for plane in 0..3 {
            residency.begin_frame();
            placed(&mut residency, plane, SMALL);
        }
        residency.begin_frame();
        let placement = placed(&mut residency, 9, OTHER);
        assert_eq!(placement.dropped_pages.len(), 2, "200 bytes are needed");
        assert!(residency.resident_bytes() <= 300);
    }

    #[test]
    fn a_released_slot_is_used_again_without_an_eviction() {
        let mut residency = Residency::new(10_000, 256);
        for plane in 0..100 {
            residency.begin_frame();
            placed(&mut residency, plane, SMALL);
            if plane > 0 {
                residency.release(PlaneId(plane - 1));
            }
        }
        assert_eq!((residency.tile_count(), residency.evictions()), (1, 0));
        assert!(residency.resident_bytes() <= 300, "{}", residency.resident_bytes());
        residency.release(PlaneId(7));
        assert!(residency.contains(tile(99)), "releasing what is not there changes nothing");
    }

    #[test]
    fn what_this_frame_draws_is_never_evicted_and_a_prefetch_then_waits() {
        let mut residency = Residency::new(200, 1);
        residency.begin_frame();
        placed(&mut residency, 0, SMALL);
        placed(&mut residency, 1, SMALL);
        assert_eq!(residency.place(tile(2), SMALL, false), None);
        assert!(residency.place(tile(2), SMALL, true).is_some(), "a visible plane exceeds the budget instead");
        assert!(residency.contains(tile(0)) && residency.contains(tile(1)));
    }

    #[test]
    fn ten_thousand_planes_stay_within_the_budget() {
        let mut residency = Residency::new(5_000, 16);
        for plane in 0..10_000 {
            residency.begin_frame();
            placed(&mut residency, plane, if plane % 3 == 0 { OTHER } else { SMALL });
            assert!(residency.resident_bytes() <= 5_000);
        }
        assert!(residency.evictions() > 9_900);
    }

    #[test]
    fn a_released_plane_gives_back_all_of_its_tiles() {
        let mut residency = Residency::new(10_000, 256);
        residency.begin_frame();
        for column in 0..5 {
            residency.place(TileKey { column, ..tile(1) }, SMALL, true).unwrap();
        }
        placed(&mut residency, 2, SMALL);
        residency.release(PlaneId(1));
        assert_eq!((residency.tile_count(), residency.of_plane.len()), (1, 1));
        let pages = residency.page_count();
        for column in 0..5 {
            residency.place(TileKey { column, ..tile(3) }, SMALL, true).unwrap();
        }
        assert_eq!(residency.page_count(), pages, "their slots are used again");
    }

    #[test]
    fn a_smaller_budget_frees_pages_but_none_that_this_frame_draws() {
        let mut residency = Residency::new(1_000, 1);
        for plane in 0..8 {
            residency.begin_frame();
            placed(&mut residency, plane, SMALL);
        }
        residency.begin_frame();
        residency.use_tile(tile(0));
        assert_eq!(residency.set_budget(300).len(), 5);
        assert!(residency.resident_bytes() <= 300 && residency.contains(tile(0)));
        assert_eq!(residency.set_budget(0).len(), 2);
        assert!(residency.contains(tile(0)));
    }
}

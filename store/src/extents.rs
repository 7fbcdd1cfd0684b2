//! Free ranges of the spill file, in units of 4 KiB. A block may lie in several, so fragmentation refuses nothing.

use std::collections::{BTreeMap, BTreeSet};

/// What ranges are counted in.
pub(crate) const UNIT_BYTES: u64 = 4096;

/// Units that hold `bytes`.
pub(crate) fn units_of(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT_BYTES)
}

/// Consecutive units of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Extent {
    pub first: u64,
    pub units: u64,
}

/// Which units are free. Neighbours are one range.
pub(crate) struct FreeList {
    by_offset: BTreeMap<u64, u64>,
    by_size: BTreeSet<(u64, u64)>,
    free: u64,
    capacity: u64,
}

impl FreeList {
    pub(crate) fn new(capacity: u64) -> Self {
        let mut list = Self { by_offset: BTreeMap::new(), by_size: BTreeSet::new(), free: 0, capacity };
        list.insert(0, capacity);
        list
    }

    pub(crate) fn used_units(&self) -> u64 {
        self.capacity - self.free
    }

    /// Takes `units`: the smallest range that has room for all (holes before the end of the file), else the largest ranges
    /// together. `None` when fewer are free.
    pub(crate) fn allocate(&mut self, units: u64) -> Option<Box<[Extent]>> {
        if units > self.free {
            return None;
        }
        let mut taken = Vec::new();
        let mut needed = units;
        while needed > 0 {
            let fitting = self.by_size.range((needed, 0)..).next().or_else(|| self.by_size.last()).copied();
            let (size, first) = fitting?;
            self.remove(first, size);
            let used = size.min(needed);
            self.insert(first + used, size - used);
            taken.push(Extent { first, units: used });
            needed -= used;
        }
        Some(taken.into_boxed_slice())
    }

    /// Gives ranges back that [`allocate`](Self::allocate) gave.
    pub(crate) fn release(&mut self, extents: &[Extent]) {
        for &Extent { first, units } in extents {
            let (mut start, mut size) = (first, units);
            if let Some((&before, &before_size)) = self.by_offset.range(..first).next_back()
                && before + before_size == first
            {
                self.remove(before, before_size);
                (start, size) = (before, before_size + size);
            }
            if let Some(&after_size) = self.by_offset.get(&(first + units)) {
                self.remove(first + units, after_size);
                size += after_size;
            }
            self.insert(start, size);
        }
    }

    fn insert(&mut self, first: u64, units: u64) {
        if units > 0 {
            self.by_offset.insert(first, units);
            self.by_size.insert((units, first));
            self.free += units;
        }
    }

    fn remove(&mut self, first: u64, units: u64) {
        self.by_offset.remove(&first);
        self.by_size.remove(&(units, first));
        self.free -= units;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: u64 = 64;

    proptest! {
        /// Takes (a size) or gives back (an index), in any order.
        #[test]
        fn ranges_never_overlap_and_none_is_lost(steps in prop::collection::vec((any::<bool>(), 0_u64..20), 1..200)) {
            let mut list = FreeList::new(CAPACITY);
            let mut held: Vec<Box<[Extent]>> = Vec::new();
            for (take, number) in steps {
                if take {
                    let free = list.free;
                    match list.allocate(number) {
                        Some(extents) => {
                            prop_assert_eq!(extents.iter().map(|extent| extent.units).sum::<u64>(), number);
                            held.push(extents);
                        }
                        None => prop_assert!(number > free, "refused {} with {} free", number, free),
                    }
                } else if !held.is_empty() {
                    let extents = held.swap_remove(number as usize % held.len());
                    list.release(&extents);
                }
                let mut owner = [0_u8; CAPACITY as usize];
                let free = list.by_offset.iter().map(|(&first, &units)| Extent { first, units });
                for extent in held.iter().flat_map(|extents| extents.iter().copied()).chain(free) {
                    (extent.first..extent.first + extent.units).for_each(|unit| owner[unit as usize] += 1);
                }
                prop_assert!(owner.iter().all(|&owners| owners == 1), "{:?}", owner);
                let neighbours = list.by_offset.iter().zip(list.by_offset.keys().skip(1));
                prop_assert!(neighbours.clone().all(|((first, units), next)| first + units < *next), "not merged");
                prop_assert_eq!(list.by_size.len(), list.by_offset.len());
            }
            held.drain(..).for_each(|extents| list.release(&extents));
            prop_assert_eq!(list.by_offset.into_iter().collect::<Vec<_>>(), [(0, CAPACITY)]);
        }
    }

    #[test]
    fn a_block_takes_several_ranges_when_no_single_one_fits() {
        let mut list = FreeList::new(6);
        let parts: Vec<_> = (0..6).map(|_| list.allocate(1).unwrap()).collect();
        [0, 2, 4].into_iter().for_each(|index| list.release(&parts[index]));
        assert_eq!(list.allocate(3).unwrap().len(), 3);
        assert!(list.allocate(1).is_none());
    }
}

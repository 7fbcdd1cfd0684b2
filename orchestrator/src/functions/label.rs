//! Numbers the objects of a mask.

use ndarray::{Array2, Array3, ArrayView2};
use ndarray_ndimage::Kernel3d;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use wellscope_plates::AnyArray;

use super::planes::{float_planes, stacked};
use super::{FunctionError, ParameterError};

/// Which neighbours belong to the same object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Connectivity {
    /// Those that share an edge.
    #[default]
    Four,
    /// Those that share a corner too.
    Eight,
}

impl TryFrom<u8> for Connectivity {
    type Error = String;

    fn try_from(neighbours: u8) -> Result<Self, String> {
        match neighbours {
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            other => Err(format!("connectivity must be 4 or 8 neighbours, found {other}")),
        }
    }
}

impl From<Connectivity> for u8 {
    fn from(connectivity: Connectivity) -> Self {
        match connectivity {
            Connectivity::Four => 4,
            Connectivity::Eight => 8,
        }
    }
}

/// Numbers the connected objects of each mask (what is not 0) from 1, in the order in which their first pixels are read
/// row by row. Gives `int32` label images, 0 where there is no object, and an outline per object.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Label {
    /// Objects with fewer pixels are left out.
    pub min_size: usize,
    /// Objects with more pixels are left out, if given.
    pub max_size: Option<usize>,
    /// Which neighbours belong to the same object: 4 or 8.
    pub connectivity: Connectivity,
    /// Whether objects that touch the border are left out: they are not seen whole.
    pub clear_border: bool,
}

impl Default for Label {
    fn default() -> Self {
        Self { min_size: 1, max_size: None, connectivity: Connectivity::Four, clear_border: false }
    }
}

impl Label {
    /// Whether the parameters can be used.
    ///
    /// # Errors
    /// When no size is allowed.
    pub fn validate(&self) -> Result<(), ParameterError> {
        match self.max_size {
            Some(max) if max < self.min_size => {
                Err(ParameterError::new("max_size", format!("at least min_size, {}", self.min_size), max))
            }
            _ => Ok(()),
        }
    }

    /// Label images `[n, y, x]` of masks `[n, y, x]`; ids start at 1 on each plane.
    ///
    /// # Errors
    /// When it is not a stack of grey planes.
    pub fn apply(&self, stack: &AnyArray) -> Result<AnyArray, FunctionError> {
        let planes = float_planes(stack)?;
        let labels: Vec<Array2<i32>> =
            planes.par_iter().map(|plane| self.label(&plane.mapv(|value| value != 0.0 && !value.is_nan()))).collect();
        Ok(AnyArray::I32(stacked(&labels)?))
    }

    /// The label image of one mask.
    pub fn label(&self, mask: &Array2<bool>) -> Array2<i32> {
        let components = connected_components(mask, self.connectivity);
        let count = components.iter().copied().max().unwrap_or(0) as usize;
        let mut sizes = vec![0usize; count + 1];
        components.iter().for_each(|&id| sizes[id as usize] += 1);
        let mut kept: Vec<bool> = sizes
            .iter()
            .map(|&size| size >= self.min_size.max(1) && self.max_size.is_none_or(|max| size <= max))
            .collect();
        kept[0] = false;
        if self.clear_border {
            border(components.view()).for_each(|id| kept[id as usize] = false);
        }
        renumbered(components, &kept)
    }
}

/// Ids in no order that anyone promises.
fn connected_components(mask: &Array2<bool>, connectivity: Connectivity) -> Array2<u32> {
    let kernel = match connectivity {
        Connectivity::Four => Kernel3d::Star,
        Connectivity::Eight => Kernel3d::Full,
    };
    let (height, width) = mask.dim();
    // A volume of one slice: the part of the kernel beyond it touches nothing.
    let volume = Array3::from_shape_fn((1, height, width), |(_, y, x)| mask[[y, x]]);
    let (labels, _) = ndarray_ndimage::label::<u32>(&volume, &kernel.generate());
    Array2::from_shape_fn((height, width), |(y, x)| labels[[0, y, x]])
}

/// The values along the four edges; corners come twice.
fn border(labels: ArrayView2<'_, u32>) -> impl Iterator<Item = u32> {
    let (last_y, last_x) = (labels.nrows().saturating_sub(1), labels.ncols().saturating_sub(1));
    let mut values = Vec::new();
    if !labels.is_empty() {
        for line in [labels.row(0), labels.row(last_y), labels.column(0), labels.column(last_x)] {
            values.extend(line.iter().copied());
        }
    }
    values.into_iter()
}

/// Ids 1, 2, ... in the order of first pixels, 0 for what is not kept.
fn renumbered(components: Array2<u32>, kept: &[bool]) -> Array2<i32> {
    let mut numbers = vec![0i32; kept.len()];
    let mut next = 0;
    components.mapv(|id| {
        let id = id as usize;
        if kept[id] && numbers[id] == 0 {
            next += 1;
            numbers[id] = next;
        }
        numbers[id]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn labelled(label: &Label, rows: &[&str]) -> Vec<String> {
        let mask = Array2::from_shape_fn((rows.len(), rows[0].len()), |(y, x)| rows[y].as_bytes()[x] == b'#');
        let labels = label.label(&mask);
        labels.outer_iter().map(|row| row.iter().map(|id| id.to_string()).collect()).collect()
    }

    #[test]
    fn objects_are_numbered_in_reading_order() {
        let rows = ["..##.", "#....", "##..#", "....#"];
        assert_eq!(labelled(&Label::default(), &rows), ["00110", "20000", "22003", "00003"]);
    }

    #[test]
    fn corners_join_objects_when_wanted() {
        let rows = ["#..", ".#.", "..#"];
        assert_eq!(labelled(&Label::default(), &rows), ["100", "020", "003"]);
        let eight = Label { connectivity: Connectivity::Eight, ..Default::default() };
        assert_eq!(labelled(&eight, &rows), ["100", "010", "001"]);
    }

    #[test]
    fn objects_of_the_wrong_size_and_at_the_border_are_left_out() {
        let rows = ["......", ".#.##.", "...##.", "......", "##....", "###..."];
        let sized = Label { min_size: 2, max_size: Some(4), ..Default::default() };
        assert_eq!(labelled(&sized, &rows), ["000000", "000110", "000110", "000000", "000000", "000000"]);
        let inner = Label { clear_border: true, ..Default::default() };
        assert_eq!(labelled(&inner, &rows), ["000000", "010220", "000220", "000000", "000000", "000000"]);
    }

    #[test]
    fn a_stack_of_masks_becomes_int32_with_ids_per_plane() {
        let stack = AnyArray::from_values(&[2, 1, 3], vec![255u8, 0, 255, 0, 255, 255]).unwrap();
        let known = AnyArray::from_values(&[2, 1, 3], vec![1i32, 0, 2, 0, 1, 1]).unwrap();
        assert_eq!(Label::default().apply(&stack).unwrap(), known);
    }

    #[test]
    fn sizes_and_neighbours_are_checked() {
        let wrong = Label { min_size: 10, max_size: Some(5), ..Default::default() };
        assert_eq!(wrong.validate().unwrap_err().to_string(), "max_size must be at least min_size, 10, found 5");
        let error = serde_json::from_str::<Label>(r#"{"connectivity": 6}"#).unwrap_err().to_string();
        assert!(error.contains("connectivity must be 4 or 8 neighbours, found 6"), "{error}");
    }

    /// The slow, obvious way.
    fn flooded(mask: &Array2<bool>, connectivity: Connectivity) -> Array2<i32> {
        let mut labels = Array2::zeros(mask.raw_dim());
        let mut next = 0;
        for start in ndarray::indices(mask.dim()) {
            if !mask[start] || labels[start] != 0 {
                continue;
            }
            next += 1;
            let mut queue = VecDeque::from([start]);
            while let Some((y, x)) = queue.pop_front() {
                if !mask.get((y, x)).copied().unwrap_or(false) || labels[[y, x]] != 0 {
                    continue;
                }
                labels[[y, x]] = next;
                for (dy, dx) in [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)] {
                    if connectivity == Connectivity::Eight || dy == 0 || dx == 0 {
                        queue.push_back((y.wrapping_add_signed(dy), x.wrapping_add_signed(dx)));
                    }
                }
            }
        }
        labels
    }

    proptest! {
        #[test]
        fn labels_are_those_of_flooding(bits in prop::collection::vec(any::<bool>(), 12 * 9), eight: bool) {
            let mask = Array2::from_shape_vec((12, 9), bits).unwrap();
            let connectivity = if eight { Connectivity::Eight } else { Connectivity::Four };
            let label = Label { connectivity, ..Default::default() };
            prop_assert_eq!(label.label(&mask), flooded(&mask, connectivity));
        }
    }
}

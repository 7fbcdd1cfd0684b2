//! Outlines of labelled objects, as shapes that a viewer draws.

use ndarray::ArrayView2;
use wellscope_protocol::batch::{Shape, ShapeGeometry};

/// The four ways along pixel edges, each a right turn from the one before it: `[y, x]`.
const STEPS: [[i64; 2]; 4] = [[0, 1], [1, 0], [0, -1], [-1, 0]];

/// The outer outline of every object of a label image, in the order of ids. It runs along the edges of pixels (pixel
/// centres are integers, so corners lie at halves) and encloses the object's pixels exactly; holes are not cut out. An
/// object whose parts touch at corners only gets the outline of its first part.
pub fn outlines(labels: ArrayView2<'_, i32>) -> Vec<Shape> {
    first_pixels(labels)
        .into_iter()
        .map(|(id, start)| Shape {
            geometry: ShapeGeometry::Polygon(outline(labels, id, start)),
            label: u32::try_from(id).ok(),
            plane_indices: Vec::new(),
            metadata: serde_json::Map::new(),
        })
        .collect()
}

/// Every id with its first pixel in reading order, `[y, x]`; sorted by id.
fn first_pixels(labels: ArrayView2<'_, i32>) -> Vec<(i32, [i64; 2])> {
    let mut first = std::collections::BTreeMap::new();
    for ((y, x), &id) in labels.indexed_iter() {
        if id > 0 {
            first.entry(id).or_insert([y as i64, x as i64]);
        }
    }
    first.into_iter().collect()
}

/// Walks along the edges of pixels with the object on the right-hand side, until the walk is back at its start. Corners
/// are numbered so that pixel `[y, x]` lies between corners `[y, x]` and `[y + 1, x + 1]`.
fn outline(labels: ArrayView2<'_, i32>, id: i32, start: [i64; 2]) -> Vec<[f64; 2]> {
    let inside = |y: i64, x: i64| {
        let index = (usize::try_from(y).ok(), usize::try_from(x).ok());
        matches!(index, (Some(y), Some(x)) if labels.get((y, x)) == Some(&id))
    };
    let (mut corner, mut way) = (start, 0);
    let mut vertices = Vec::new();
    loop {
        // The pixels ahead of this corner, right and left of the way.
        let [dy, dx] = STEPS[way];
        let ahead_right = inside(corner[0] + (dy + dx - 1) / 2, corner[1] + (dx - dy - 1) / 2);
        let ahead_left = inside(corner[0] + (dy - dx - 1) / 2, corner[1] + (dx + dy - 1) / 2);
        let turned = match (ahead_left, ahead_right) {
            // Left only with both in front: parts that touch at a corner stay apart.
            (true, true) => (way + 3) % 4,
            (_, true) => way,
            (_, false) => (way + 1) % 4,
        };
        if corner == start && turned == 0 && !vertices.is_empty() {
            return vertices;
        }
        if turned != way || vertices.is_empty() {
            vertices.push([corner[0] as f64 - 0.5, corner[1] as f64 - 0.5]);
        }
        way = turned;
        corner = [corner[0] + STEPS[way][0], corner[1] + STEPS[way][1]];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::super::label::Label;
    use super::*;

    fn vertices(shape: &Shape) -> &[[f64; 2]] {
        let ShapeGeometry::Polygon(vertices) = &shape.geometry else { panic!("another geometry") };
        vertices
    }

    /// By the shoelace formula; positive with the inside on the right in image coordinates.
    fn area(vertices: &[[f64; 2]]) -> f64 {
        let next = vertices.iter().cycle().skip(1);
        vertices.iter().zip(next).map(|(a, b)| (a[1] * b[0] - b[1] * a[0]) / 2.0).sum()
    }

    #[test]
    fn a_square_has_four_corners_at_the_edges_of_its_pixels() {
        let labels = array![[0, 0, 0, 0], [0, 7, 7, 0], [0, 7, 7, 0]];
        let shapes = outlines(labels.view());
        assert_eq!(shapes.len(), 1);
        assert_eq!(shapes[0].label, Some(7));
        assert_eq!(vertices(&shapes[0]), [[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]]);
    }

    #[test]
    fn concave_objects_keep_their_bays_and_holes_are_filled() {
        let labels = array![[1, 0, 1], [1, 1, 1], [0, 0, 0], [2, 2, 2], [2, 0, 2], [2, 2, 2]];
        let shapes = outlines(labels.view());
        assert_eq!(vertices(&shapes[0]).len(), 8);
        assert_eq!(area(vertices(&shapes[0])), 5.0);
        assert_eq!(vertices(&shapes[1]), [[2.5, -0.5], [2.5, 2.5], [5.5, 2.5], [5.5, -0.5]]);
    }

    #[test]
    fn one_pixel_is_one_square() {
        let shapes = outlines(array![[3]].view());
        assert_eq!(vertices(&shapes[0]), [[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]]);
    }

    /// Pixels of `id` and whatever it encloses: all that a flood from outside does not reach through corners.
    fn filled_size(labels: &Array2<i32>, id: i32) -> usize {
        let (height, width) = labels.dim();
        let mut padded = Array2::from_elem((height + 2, width + 2), false);
        for ((y, x), &value) in labels.indexed_iter() {
            padded[[y + 1, x + 1]] = value == id;
        }
        let mut outside = Array2::from_elem(padded.raw_dim(), false);
        let mut queue = vec![(0usize, 0usize)];
        while let Some((y, x)) = queue.pop() {
            if padded.get((y, x)).copied().unwrap_or(true) || outside[[y, x]] {
                continue;
            }
            outside[[y, x]] = true;
            for (dy, dx) in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)] {
                queue.push((y.wrapping_add_signed(dy), x.wrapping_add_signed(dx)));
            }
        }
        outside.iter().filter(|reached| !**reached).count()
    }

    proptest! {
        #[test]
        fn an_outline_encloses_its_object_exactly(bits in prop::collection::vec(any::<bool>(), 10 * 8)) {
            let mask = Array2::from_shape_vec((10, 8), bits).unwrap();
            let labels = Label::default().label(&mask);
            for shape in outlines(labels.view()) {
                let id = shape.label.unwrap() as i32;
                prop_assert_eq!(area(vertices(&shape)), filled_size(&labels, id) as f64, "object {} of {}", id, labels);
            }
        }
    }
}

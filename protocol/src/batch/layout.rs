//! Which axis of an image array is what: planes, y, x, colour.

use std::collections::BTreeMap;

use super::error::ItemError;
use super::{ImageLayout, PlaneAxis};
use crate::component::ComponentValue;

/// What a producer declares about the axes of one array.
#[derive(Default)]
pub(super) struct DeclaredAxes {
    /// `source_channel_axis`: index of the RGB(A) axis; negative counts from the end, as in numpy.
    pub(super) channel_axis: Option<i64>,
    /// `plane_axis`, e.g. "runtime_slice".
    pub(super) plane_axis: Option<String>,
    /// `plane_component_values`.
    pub(super) plane_component_values: BTreeMap<String, Vec<ComponentValue>>,
}

/// Reads `shape` by what is declared.
///
/// - A declared colour axis must be last and hold 3 or 4 samples (openhcs 0.8.6 raises otherwise).
/// - A declared plane axis is the first; `plane_component_values` names exactly one component with a value per plane.
/// - With nothing declared (G0 to G2), a 3-D array is RGB(A) when its last extent is 3 or 4 and the others exceed 4.
/// - Leading axes without a component become `plane`, or `plane_1`, `plane_2`, ... by position when there are several.
pub(super) fn image_layout(shape: &[u64], declared: DeclaredAxes, max_planes: u64) -> Result<ImageLayout, ItemError> {
    let wrong = |reason: String| ItemError::Layout { reason, shape: shape.to_vec() };
    let samples = match declared.channel_axis {
        Some(axis) => {
            let rank = shape.len() as i64;
            let last = if shape.len() >= 3 { shape.last() } else { None };
            match last {
                Some(&extent @ (3 | 4)) if axis == rank - 1 || axis == -1 => extent as u8,
                _ => {
                    return Err(wrong(format!(
                        "source_channel_axis {axis} declares colour, which needs a last axis of 3 or 4 samples after y and x"
                    )));
                }
            }
        }
        None if declared.plane_axis.is_none() && declared.plane_component_values.is_empty() => {
            undeclared_samples(shape)
        }
        None => 1,
    };
    let without_colour = if samples > 1 { &shape[..shape.len() - 1] } else { shape };
    let Some((leading, &[height, width])) = without_colour.split_last_chunk::<2>() else {
        return Err(ItemError::TooFewAxes { shape: shape.to_vec() });
    };

    // Counted before the values are made: an undeclared axis may claim any extent.
    let planes = leading.iter().fold(1u64, |product, &extent| product.saturating_mul(extent));
    if planes > max_planes {
        return Err(ItemError::TooManyPlanes { shape: shape.to_vec(), planes, limit: max_planes });
    }

    let mut plane_axes: Vec<PlaneAxis> = Vec::with_capacity(leading.len());
    for (index, &extent) in leading.iter().enumerate() {
        let component = if leading.len() == 1 { "plane".to_owned() } else { format!("plane_{}", index + 1) };
        let values = (0..extent as i64).map(ComponentValue::Int).collect();
        plane_axes.push(PlaneAxis { component, values });
    }
    let component_count = declared.plane_component_values.len();
    let mut components = declared.plane_component_values.into_iter();
    match (components.next(), plane_axes.first_mut()) {
        (Some((component, values)), Some(axis)) if component_count == 1 => {
            if values.len() != axis.values.len() {
                return Err(wrong(format!("plane_component_values has {} values of {component}", values.len())));
            }
            let values = values.into_iter().map(|value| value.normalized_for(&component)).collect();
            *axis = PlaneAxis { component, values };
        }
        (Some(_), Some(_)) => {
            return Err(wrong(format!("plane_component_values names {component_count} components, one is needed")));
        }
        (_, None) if declared.plane_axis.is_some() || component_count > 0 => {
            return Err(wrong("a plane axis is declared, which needs an axis before y and x".to_owned()));
        }
        _ => {}
    }
    Ok(ImageLayout { plane_axes, height, width, samples })
}

fn undeclared_samples(shape: &[u64]) -> u8 {
    match *shape {
        [height, width, samples @ (3 | 4)] if height > 4 && width > 4 => samples as u8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(channel_axis: Option<i64>, plane: Option<(&str, i64)>) -> DeclaredAxes {
        DeclaredAxes {
            channel_axis,
            plane_axis: plane.map(|_| "runtime_slice".to_owned()),
            plane_component_values: plane
                .map(|(component, count)| (component.to_owned(), (1..=count).map(ComponentValue::Int).collect()))
                .into_iter()
                .collect(),
        }
    }

    fn summary(shape: &[u64], axes: DeclaredAxes) -> Result<(Vec<String>, u64, u64, u8), String> {
        let layout = image_layout(shape, axes, 1 << 16).map_err(|error| error.to_string())?;
        let planes = layout.plane_axes.iter().map(|axis| format!("{}:{}", axis.component, axis.values.len())).collect();
        Ok((planes, layout.height, layout.width, layout.samples))
    }

    #[test]
    fn undeclared_axes_are_read_as_old_producers_mean_them() {
        let none = DeclaredAxes::default;
        assert_eq!(summary(&[8, 10], none()), Ok((vec![], 8, 10, 1)));
        assert_eq!(summary(&[8, 10, 3], none()), Ok((vec![], 8, 10, 3)));
        assert_eq!(summary(&[8, 10, 4], none()), Ok((vec![], 8, 10, 4)));
        assert_eq!(summary(&[4, 10, 3], none()), Ok((vec!["plane:4".into()], 10, 3, 1)));
        assert_eq!(summary(&[3, 8, 10], none()), Ok((vec!["plane:3".into()], 8, 10, 1)));
        assert_eq!(summary(&[2, 3, 8, 10], none()), Ok((vec!["plane_1:2".into(), "plane_2:3".into()], 8, 10, 1)));
    }

    #[test]
    fn declared_axes_win() {
        assert_eq!(summary(&[2, 2, 3], declared(Some(2), None)), Ok((vec![], 2, 2, 3)));
        assert_eq!(summary(&[2, 2, 4], declared(Some(-1), None)), Ok((vec![], 2, 2, 4)));
        assert_eq!(summary(&[9, 9, 3], declared(None, Some(("z_index", 9)))), Ok((vec!["z_index:9".into()], 9, 3, 1)));
        assert_eq!(
            summary(&[5, 9, 8, 3], declared(Some(3), Some(("z_index", 5)))),
            Ok((vec!["z_index:5".into()], 9, 8, 3))
        );
    }

    #[test]
    fn axes_that_do_not_fit_are_refused() {
        let fails = |shape: &[u64], axes| summary(shape, axes).unwrap_err();
        assert!(fails(&[8, 10, 5], declared(Some(2), None)).contains("3 or 4 samples"));
        assert!(fails(&[3, 8, 10], declared(Some(0), None)).contains("source_channel_axis 0"));
        assert!(fails(&[8, 3], declared(Some(1), None)).contains("after y and x"));
        assert!(fails(&[4, 8, 10], declared(None, Some(("z_index", 3)))).contains("has 3 values of z_index"));
        assert!(fails(&[8, 10], declared(None, Some(("z_index", 3)))).contains("before y and x"));
        assert!(fails(&[8], DeclaredAxes::default()).contains("at least two axes"));
        assert!(fails(&[], DeclaredAxes::default()).contains("at least two axes"));
        assert!(fails(&[1 << 40, 1, 1], DeclaredAxes::default()).contains("planes"));
    }
}

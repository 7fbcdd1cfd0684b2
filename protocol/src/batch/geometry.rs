//! Shapes measured: what they cover and how they are outlined.

use std::borrow::Cow;
use std::f64::consts::TAU;

use super::{Shape, ShapeGeometry};

/// Vertices of an outlined ellipse. At 64 an ellipse of 200 screen pixels is off by a quarter of a pixel.
const ELLIPSE_VERTICES: usize = 64;

impl ShapeGeometry {
    /// Points, `[y, x]` in pixels, whose bounding box is the shape's.
    pub fn bounding_points(&self) -> Vec<[f64; 2]> {
        match self {
            Self::Polygon(points) | Self::Path(points) | Self::Rectangle(points) | Self::Points(points) => {
                points.clone()
            }
            Self::Ellipse { center: [y, x], radii: [ry, rx] } => vec![[y - ry, x - rx], [y + ry, x + rx]],
        }
    }

    /// How many coordinates the wire has for it: an ellipse travels as the four corners of its box (polystore 0.2.19).
    pub fn wire_coordinate_count(&self) -> usize {
        match self {
            Self::Polygon(points) | Self::Path(points) | Self::Rectangle(points) | Self::Points(points) => points.len(),
            Self::Ellipse { .. } => 4,
        }
    }

    /// Its type and coordinates as polystore 0.2.19 sends them, `[y, x]` in pixels.
    pub fn wire_form(&self) -> (&'static str, Cow<'_, [[f64; 2]]>) {
        match self {
            Self::Polygon(points) => ("polygon", points.into()),
            Self::Path(points) => ("path", points.into()),
            Self::Rectangle(points) => ("rectangle", points.into()),
            Self::Points(points) => ("points", points.into()),
            Self::Ellipse { center: [y, x], radii: [ry, rx] } => {
                ("ellipse", vec![[y - ry, x - rx], [y - ry, x + rx], [y + ry, x + rx], [y + ry, x - rx]].into())
            }
        }
    }

    /// The line to draw, `[y, x]` in pixels, and whether it closes. Points have none.
    pub fn outline(&self) -> Option<(Vec<[f64; 2]>, bool)> {
        match self {
            Self::Polygon(points) | Self::Rectangle(points) => Some((points.clone(), true)),
            Self::Path(points) => Some((points.clone(), false)),
            Self::Ellipse { center: [y, x], radii: [ry, rx] } => {
                let angle = |vertex: usize| TAU * vertex as f64 / ELLIPSE_VERTICES as f64;
                let vertex = |number| [y + ry * angle(number).sin(), x + rx * angle(number).cos()];
                Some(((0..ELLIPSE_VERTICES).map(vertex).collect(), true))
            }
            Self::Points(_) => None,
        }
    }
}

impl Shape {
    /// Extent `[y, x]` of the frame that the shape lies in, in pixels, where its metadata says a usable one
    /// (`source_spatial_shape_yx`).
    ///
    /// Its coordinates count from that frame's first pixel already: a producer that finds shapes in a crop adds the crop's
    /// `spatial_origin_yx` before it sends them (polystore 0.2.19, `roi.py`), and openhcs 0.8.6 draws them as sent. So the origin in
    /// the metadata tells only where the crop was, and must not be added again.
    pub fn source_spatial_shape_yx(&self) -> Option<[u64; 2]> {
        let sides = self.metadata.get("source_spatial_shape_yx")?.as_array()?;
        let side = |index: usize| sides.get(index)?.as_u64().filter(|side| (1..=u64::from(u32::MAX)).contains(side));
        Some([side(0)?, side(1)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipse_is_bounded_by_its_radii_and_outlined_on_them() {
        let ellipse = ShapeGeometry::Ellipse { center: [4.0, 5.0], radii: [2.0, 3.0] };
        assert_eq!(ellipse.bounding_points(), [[2.0, 2.0], [6.0, 8.0]]);
        let (outline, closes) = ellipse.outline().unwrap();
        assert!(closes);
        assert!(
            outline.iter().all(|[y, x]| (((y - 4.0) / 2.0).powi(2) + ((x - 5.0) / 3.0).powi(2) - 1.0).abs() < 1e-9)
        );
    }

    #[test]
    fn a_path_stays_open_and_points_have_no_outline() {
        assert_eq!(ShapeGeometry::Path(vec![[0.0, 0.0], [1.0, 1.0]]).outline().map(|(_, closes)| closes), Some(false));
        assert_eq!(ShapeGeometry::Points(vec![[0.0, 0.0]]).outline(), None);
    }
}

//! Regions of interest of a shapes or points item.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::ItemError;
use super::json_text::{for_each_entry, kind_of_json};
use super::{LenientF64, Shape, ShapeGeometry};

/// Reads the list `shapes`.
///
/// In a points item, entries that are no points are left out, as openhcs 0.8.6 does. Vertices that are not finite (the
/// centroid of an empty region) are left out of the geometry; the entry with its metadata stays.
pub(super) fn read_shapes(raw: &RawValue, only_points: bool) -> Result<Vec<Shape>, ItemError> {
    let mut shapes = Vec::new();
    for_each_entry(raw, |index, entry| {
        let shape = read_shape(entry).map_err(|reason| ItemError::Shape { index, reason })?;
        if !only_points || matches!(shape.geometry, ShapeGeometry::Points(_)) {
            shapes.push(shape);
        }
        Ok::<(), ItemError>(())
    })
    .map_err(|error| ItemError::WrongField { field: "shapes", reason: super::reason(&error) })??;
    Ok(shapes)
}

#[derive(Deserialize)]
struct WireShape {
    #[serde(rename = "type")]
    kind: String,
    coordinates: Option<Coordinates>,
    /// G1 and G2 spell an ellipse as `center` and `radii`.
    center: Option<[LenientF64; 2]>,
    radii: Option<[LenientF64; 2]>,
    metadata: Option<Map<String, Value>>,
}

fn read_shape(entry: &RawValue) -> Result<Shape, String> {
    if !entry.get().starts_with('{') {
        return Err(format!("needed an object, found {}", kind_of_json(entry.get())));
    }
    let wire: WireShape = serde_json::from_str(entry.get()).map_err(|error| super::reason(&error))?;
    let metadata = wire.metadata.unwrap_or_default();
    let coordinates = wire.coordinates.map(|Coordinates(vertices)| vertices);
    let vertices = || coordinates.ok_or_else(|| format!("'{}' has no 'coordinates'", wire.kind));
    let geometry = match wire.kind.as_str() {
        "polygon" => ShapeGeometry::Polygon(vertices()?),
        "path" | "line" | "polyline" => ShapeGeometry::Path(vertices()?),
        "point" | "points" => ShapeGeometry::Points(vertices()?),
        "rectangle" => ShapeGeometry::Rectangle(rectangle(vertices()?)?),
        "ellipse" => match (wire.center, wire.radii) {
            (Some(center), Some(radii)) => {
                let [center, radii] = [center, radii].map(|pair| pair.map(|LenientF64(number)| number));
                if !center.iter().chain(&radii).all(|number| number.is_finite()) {
                    return Err("'center' and 'radii' of an ellipse must be finite".to_owned());
                }
                ShapeGeometry::Ellipse { center, radii: radii.map(f64::abs) }
            }
            _ => ellipse_in_box(&vertices()?)?,
        },
        "mask" => return Err("a mask cannot be drawn; send its outline as a polygon".to_owned()),
        other => {
            let found: String = other.chars().take(64).collect();
            return Err(format!("type {found:?} is unknown; needed polygon, path, line, rectangle, ellipse or points"));
        }
    };
    Ok(Shape { geometry, label: label_of(&metadata), plane_indices: plane_indices_of(&metadata), metadata })
}

/// Two opposite corners, or all four.
fn rectangle(corners: Vec<[f64; 2]>) -> Result<Vec<[f64; 2]>, String> {
    match corners[..] {
        [[y0, x0], [y1, x1]] => Ok(vec![[y0, x0], [y0, x1], [y1, x1], [y1, x0]]),
        [_, _, _, _] => Ok(corners),
        _ => Err(format!("a rectangle has {} corners, 2 or 4 are needed", corners.len())),
    }
}

/// From the corners of its box, as polystore 0.1.10 and later send it.
fn ellipse_in_box(corners: &[[f64; 2]]) -> Result<ShapeGeometry, String> {
    if corners.len() < 2 {
        return Err(format!("an ellipse has {} box corners, 4 are needed", corners.len()));
    }
    let extreme =
        |axis: usize, pick: fn(f64, f64) -> f64| corners.iter().map(|corner| corner[axis]).fold(corners[0][axis], pick);
    let [low, high] = [f64::min as fn(f64, f64) -> f64, f64::max].map(|pick| [extreme(0, pick), extreme(1, pick)]);
    // Halves are added, not sums halved: the sum of two finite corners may overflow.
    let half = |axis: usize, sign: f64| high[axis] / 2.0 + sign * low[axis] / 2.0;
    Ok(ShapeGeometry::Ellipse { center: [half(0, 1.0), half(1, 1.0)], radii: [half(0, -1.0), half(1, -1.0)] })
}

/// `label`: positive and at most 32 bits; anything else counts as absent.
fn label_of(metadata: &Map<String, Value>) -> Option<u32> {
    let label = metadata.get("label")?;
    let number =
        label.as_u64().or_else(|| label.as_f64().filter(|n| n.fract() == 0.0 && *n >= 1.0).map(|n| n as u64))?;
    u32::try_from(number).ok().filter(|&number| number > 0)
}

fn plane_indices_of(metadata: &Map<String, Value>) -> Vec<i64> {
    let indices = metadata.get("plane_indices").and_then(Value::as_array);
    indices.and_then(|list| list.iter().map(Value::as_i64).collect()).unwrap_or_default()
}

/// `[[y, x], ...]`, or a single `[y, x]`. Rows that are not finite are left out.
struct Coordinates(Vec<[f64; 2]>);

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CoordinatesVisitor)
    }
}

struct CoordinatesVisitor;

impl<'de> Visitor<'de> for CoordinatesVisitor {
    type Value = Coordinates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("coordinates [[y, x], ...]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Coordinates, A::Error> {
        let mut rows = Vec::new();
        let mut bare = Vec::new();
        while let Some(entry) = sequence.next_element::<RowOrNumber>()? {
            match entry {
                RowOrNumber::Row(row) if bare.is_empty() => rows.push(row),
                RowOrNumber::Number(number) if rows.is_empty() && bare.len() < 2 => bare.push(number),
                _ => return Err(A::Error::custom("coordinates must be rows [y, x], or one row")),
            }
        }
        match bare[..] {
            [] => {}
            [y, x] => rows.push([y, x]),
            _ => return Err(A::Error::custom("coordinates must be rows of two numbers, [y, x]")),
        }
        rows.retain(|row| row.iter().all(|number| number.is_finite()));
        Ok(Coordinates(rows))
    }
}

enum RowOrNumber {
    Row([f64; 2]),
    Number(f64),
}

impl<'de> Deserialize<'de> for RowOrNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowOrNumberVisitor)
    }
}

struct RowOrNumberVisitor;

impl<'de> Visitor<'de> for RowOrNumberVisitor {
    type Value = RowOrNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of two numbers, [y, x]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RowOrNumber, A::Error> {
        let mut row = [0.0; 2];
        for (index, cell) in row.iter_mut().enumerate() {
            let LenientF64(number) = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            *cell = number;
        }
        match sequence.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(RowOrNumber::Row(row)),
            Some(_) => Err(A::Error::custom("a row of coordinates has more than two numbers; needed [y, x]")),
        }
    }

    fn visit_i64<E>(self, value: i64) -> Result<RowOrNumber, E> {
        Ok(RowOrNumber::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RowOrNumber, E> {
        Ok(RowOrNumber::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RowOrNumber, E> {
        Ok(RowOrNumber::Number(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RowOrNumber, E> {
        let number = super::non_finite(text).ok_or_else(|| E::invalid_type(serde::de::Unexpected::Str(text), &self))?;
        Ok(RowOrNumber::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, only_points: bool) -> Result<Vec<Shape>, String> {
        let raw = serde_json::from_str::<Box<RawValue>>(json).unwrap();
        read_shapes(&raw, only_points).map_err(|error| error.to_string())
    }

    fn one(json: &str) -> Result<ShapeGeometry, String> {
        read(&format!("[{json}]"), false).map(|mut shapes| shapes.remove(0).geometry)
    }

    #[test]
    fn both_spellings_of_an_ellipse_are_the_same() {
        let old = one(r#"{"type":"ellipse","center":[4,5],"radii":[2,3]}"#).unwrap();
        let new = one(r#"{"type":"ellipse","coordinates":[[2,2],[2,8],[6,8],[6,2]]}"#).unwrap();
        assert_eq!(old, ShapeGeometry::Ellipse { center: [4.0, 5.0], radii: [2.0, 3.0] });
        assert_eq!(new, old);
    }

    #[test]
    fn points_come_single_or_as_rows() {
        let expected = Ok(ShapeGeometry::Points(vec![[1.5, 2.0]]));
        assert_eq!(one(r#"{"type":"point","coordinates":[1.5,2]}"#), expected);
        assert_eq!(one(r#"{"type":"points","coordinates":[[1.5,2]]}"#), expected);
        assert_eq!(one(r#"{"type":"points","coordinates":[[1.5,2],["NaN",1]]}"#), expected);
    }

    #[test]
    fn lines_and_rectangles_are_read() {
        assert_eq!(
            one(r#"{"type":"line","coordinates":[[0,0],[3,4]]}"#),
            Ok(ShapeGeometry::Path(vec![[0.0, 0.0], [3.0, 4.0]]))
        );
        let corners = ShapeGeometry::Rectangle(vec![[0.0, 0.0], [0.0, 4.0], [3.0, 4.0], [3.0, 0.0]]);
        assert_eq!(one(r#"{"type":"rectangle","coordinates":[[0,0],[3,4]]}"#), Ok(corners.clone()));
        assert_eq!(one(r#"{"type":"rectangle","coordinates":[[0,0],[0,4],[3,4],[3,0]]}"#), Ok(corners));
    }

    #[test]
    fn label_and_plane_come_from_the_metadata_which_is_kept() {
        let json = r#"[{"type":"polygon","coordinates":[[0,0]],"metadata":{"label":7,"plane_indices":[2],"area":"NaN"}},
                       {"type":"polygon","coordinates":[],"metadata":{"label":0}}]"#;
        let shapes = read(json, false).unwrap();
        assert_eq!((shapes[0].label, &shapes[0].plane_indices[..]), (Some(7), &[2i64][..]));
        assert_eq!(shapes[0].metadata["area"], "NaN");
        assert_eq!((shapes[1].label, shapes[1].plane_indices.len()), (None, 0));
    }

    #[test]
    fn points_items_keep_only_points() {
        let json = r#"[{"type":"polygon","coordinates":[[0,0]]},{"type":"points","coordinates":[[1,1]]}]"#;
        assert_eq!(read(json, true).unwrap().len(), 1);
        assert_eq!(read(json, false).unwrap().len(), 2);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_with_its_index() {
        let fails = |json: &str| read(json, false).unwrap_err();
        assert!(
            fails(r#"[{"type":"polygon","coordinates":[[0,0]]},{"type":"mask"}]"#).starts_with("shapes[1]: a mask")
        );
        assert!(fails(r#"[{"type":"blob","coordinates":[]}]"#).contains("\"blob\" is unknown"));
        assert!(fails(r#"[{"type":"polygon"}]"#).contains("no 'coordinates'"));
        assert!(fails(r#"[{"type":"polygon","coordinates":[[0,1,2]]}]"#).contains("more than two"));
        assert!(fails(r#"[{"type":"polygon","coordinates":[1,2,3]}]"#).contains("[y, x]"));
        assert!(fails(r#"[{"coordinates":[]}]"#).contains("type"));
        assert!(fails("[5]").contains("found a number"));
        assert!(fails("{}").contains("'shapes'"));
    }
}

//! What several targets check.

use wellscope_protocol::batch::{Batch, BatchLimits, Payload, Shape, ShapeGeometry};

/// Panics when `batch`, which was decoded beside binary frames of these lengths, is not read back from what [`Batch::encode`]
/// writes of it.
pub fn assert_survives_encode(batch: &Batch, frame_bytes: &[u64], limits: &BatchLimits) {
    let encoded = batch.encode().expect("a decoded batch can be encoded");
    let mut again = match Batch::decode_items(&encoded, frame_bytes, limits) {
        Ok(again) if again.refused.is_empty() => again.batch,
        Ok(again) => panic!("{}\nin {}\nof {batch:?}", again.refused[0].error, String::from_utf8_lossy(&encoded)),
        Err(error) => panic!("{error}\nin {}\nof {batch:?}", String::from_utf8_lossy(&encoded)),
    };
    if again.items.len() == batch.items.len() {
        for (again, item) in again.items.iter_mut().zip(&batch.items) {
            forgive_rounding(&mut again.payload, &item.payload);
        }
    }
    assert_eq!(&again, batch);
}

/// An ellipse is written as the corners of its box: center plus and minus radius round, and a small one beside a big one
/// vanishes.
fn forgive_rounding(found: &mut Payload, wanted: &Payload) {
    let (Payload::Shapes(found), Payload::Shapes(wanted)) = (found, wanted) else { return };
    for (found, wanted) in found.iter_mut().zip(wanted) {
        if is_nearly(found, wanted) {
            found.geometry = wanted.geometry.clone();
        }
    }
}

fn is_nearly(found: &Shape, wanted: &Shape) -> bool {
    let (
        ShapeGeometry::Ellipse { center: [y, x], radii: [ry, rx] },
        ShapeGeometry::Ellipse { center: [wanted_y, wanted_x], radii: [wanted_ry, wanted_rx] },
    ) = (&found.geometry, &wanted.geometry)
    else {
        return false;
    };
    [[y, wanted_y, ry, wanted_ry], [x, wanted_x, rx, wanted_rx]].iter().all(
        |[center, wanted_center, radius, wanted_radius]| {
            let tolerance = 4.0 * f64::EPSILON * wanted_center.abs().max(wanted_radius.abs()) + f64::MIN_POSITIVE;
            (*center - *wanted_center).abs() <= tolerance && (*radius - *wanted_radius).abs() <= tolerance
        },
    )
}

//! Any regions of interest in a message that is otherwise well-formed give geometry or an error; geometry is finite and
//! survives `encode`.
//!
//! Input: the text of the entries of `shapes`, without the brackets of the list. A first byte `p` makes it a points
//! item.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wellscope_fuzz::assert_survives_encode;
use wellscope_protocol::batch::{Batch, BatchLimits, Payload, Shape, ShapeGeometry};

fuzz_target!(|input: &str| {
    let (data_type, entries) = match input.strip_prefix('p') {
        Some(entries) => ("points", entries),
        None => ("shapes", input),
    };
    let frame = format!(
        r#"{{"type": "batch", "display_config": {{"component_modes": {{"well": "stack"}}, "component_order": ["well"]}},
            "images": [{{"path": "/r.zip", "data_type": "{data_type}", "metadata": {{"well": "A01"}}, "shapes": [{entries}]}}]}}"#
    );
    let limits = BatchLimits::default();
    let Ok(batch) = Batch::decode(frame.as_bytes(), &limits) else { return };
    for item in &batch.items {
        match &item.payload {
            Payload::Image(_) => {}
            Payload::Shapes(shapes) => assert!(shapes.iter().all(is_finite), "{shapes:?}"),
            Payload::Points(points) => {
                assert!(
                    points.iter().all(|shape| matches!(shape.geometry, ShapeGeometry::Points(_)) && is_finite(shape))
                );
            }
        }
    }
    assert_survives_encode(&batch, &[], &limits);
});

fn is_finite(shape: &Shape) -> bool {
    match &shape.geometry {
        ShapeGeometry::Polygon(vertices)
        | ShapeGeometry::Path(vertices)
        | ShapeGeometry::Rectangle(vertices)
        | ShapeGeometry::Points(vertices) => vertices.iter().flatten().all(|number| number.is_finite()),
        ShapeGeometry::Ellipse { center, radii } => center.iter().chain(radii).all(|number| number.is_finite()),
    }
}

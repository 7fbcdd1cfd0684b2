//! Every data frame that a released producer sent to a stand-in viewer is read. The folder is the test list.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing test should stop where it fails")]

use std::path::{Path, PathBuf};

use wellscope_protocol::batch::{Batch, BatchLimits, Payload, PixelSource, ShapeGeometry};
use wellscope_protocol::component::ComponentValue;

fn captures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("captures are part of the checkout") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 71, "only {} captures found", found.len());
    found
}

fn capture(name: &str) -> Batch {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(name);
    Batch::decode(&std::fs::read(path).unwrap(), &BatchLimits::default()).unwrap()
}

#[test]
fn every_capture_decodes_and_only_complex_is_refused() {
    for path in captures() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let frame = std::fs::read(&path).unwrap();
        match Batch::decode(&frame, &BatchLimits::default()) {
            Ok(batch) => {
                assert!(!name.contains("complex"), "{}", path.display());
                assert!(!batch.items.is_empty() && batch.timestamp.is_some(), "{}", path.display());
                assert!(batch.items.iter().all(|item| !item.address.is_empty()), "{}", path.display());
            }
            Err(error) => {
                assert!(name.contains("complex"), "{}: {error}", path.display());
                let text = error.to_string();
                assert!(text.contains("complex images cannot be shown") && text.contains("images[0]"), "{text}");
                assert_eq!(error.reply_type(), Some("batch"));
            }
        }
    }
}

#[test]
fn declared_sizes_are_those_of_the_recorded_segments() {
    let mut checked = 0;
    for path in captures().into_iter().filter(|path| !path.to_string_lossy().contains("complex")) {
        let batch = Batch::decode(&std::fs::read(&path).unwrap(), &BatchLimits::default()).unwrap();
        for item in &batch.items {
            let Payload::Image(image) = &item.payload else { continue };
            let PixelSource::SharedMemory { name, .. } = &image.source else { panic!("{}", path.display()) };
            let segment = path.with_extension("shm").join(format!("{name}.bin"));
            if let Ok(metadata) = std::fs::metadata(&segment) {
                assert_eq!(metadata.len(), image.size_bytes, "{}", segment.display());
                checked += 1;
            }
        }
    }
    assert!(checked >= 60, "only {checked} segments were checked");
}

#[test]
fn every_prefix_of_a_capture_is_an_error() {
    for path in captures() {
        let frame = std::fs::read(&path).unwrap();
        for length in 0..frame.len() {
            let result = Batch::decode(&frame[..length], &BatchLimits::default());
            assert!(result.is_err(), "{} cut to {length} bytes", path.display());
        }
    }
}

#[test]
fn openhcs_086_sends_addresses_identity_and_names() {
    let batch = capture("G3_openhcs-0.8.6/data/openhcs086_batch4_uint16.json");
    assert_eq!(batch.items.len(), 4);
    let item = &batch.items[1];
    assert_eq!(item.address["channel"], ComponentValue::Int(2));
    assert_eq!(item.address["well"], ComponentValue::from("A01"));
    let identity = item.producer_identity.as_ref().unwrap();
    assert_eq!((identity.step_name.as_deref(), identity.pipeline_position), (None, None));
    assert_eq!(batch.display_config.component_order, ["site", "channel", "z_index", "timepoint", "well"]);
    assert!(batch.component_domain["well"].contains(&ComponentValue::from("B02")));
}

#[test]
fn colour_planes_and_spatial_origin_are_read() {
    let rgb = capture("G3_openhcs-0.8.6/data/openhcs086_rgb.json");
    let Payload::Image(image) = &rgb.items[0].payload else { panic!() };
    assert_eq!((image.layout.height, image.layout.width, image.layout.samples), (8, 10, 3));
    assert!(image.voxel_spacing.is_none());

    let stack = capture("G4_polystore-0.6.3/zstack_3d_plane_axis.json");
    let Payload::Image(image) = &stack.items[0].payload else { panic!() };
    assert_eq!(image.layout.plane_axes.len(), 1);
    assert_eq!(image.layout.plane_axes[0].component, "z_index");
    assert_eq!(image.layout.plane_axes[0].values, [1, 2, 3].map(ComponentValue::Int));
    assert_eq!((image.spatial_origin_yx, image.source_spatial_shape_yx), (Some([4, 6]), Some([32, 32])));
    let route = stack.items[0].ack_route.as_ref().unwrap();
    assert!(route.url.starts_with("ipc://") && route.return_route["incarnation"].is_string());
    assert!(route.producer["pid"].is_u64());
}

#[test]
fn old_spellings_are_read() {
    let batch = capture("G0_openhcs-0.1.0/batch3_uint16_2d.json");
    let address = &batch.items[0].address;
    assert_eq!(address["step_index"], ComponentValue::Int(2));
    assert_eq!(address["step_name"], ComponentValue::from("Gaussian Blur"));
    assert!(!address.contains_key("extension") && batch.items[0].image_id.is_none());

    let batch = capture("G1_openhcs-0.5.0/shapes_rois.json");
    let address = &batch.items[0].address;
    // The display config of 0.5.0 names `source` as a component, and not `extension`.
    assert_eq!(address["source"], ComponentValue::from("Gaussian_Blur"));
    assert!(!address.contains_key("extension"));
    let Payload::Shapes(shapes) = &batch.items[0].payload else { panic!() };
    assert_eq!(shapes[1].geometry, ShapeGeometry::Ellipse { center: [4.0, 5.0], radii: [2.0, 3.0] });

    let batch = capture("G2_polystore-0.1.9/points.json");
    let Payload::Points(shapes) = &batch.items[0].payload else { panic!() };
    assert_eq!(shapes[0].geometry, ShapeGeometry::Points(vec![[1.5, 2.5], [3.0, 4.0]]));
    assert_eq!(batch.component_names["channel"].len(), 1, "null is no name");
}

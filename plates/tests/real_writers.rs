//! Plates that tifffile and ome-zarr wrote are read plane by plane, and they read what we write.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say where they failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wellscope_plates::{
    AnyArray, FieldPlane, OmeZarrPlateWriter, Plate, TiffMetadata, VoxelSizeUm, ZarrPlateOptions, write_tiff,
};
use wellscope_protocol::dtype::ElementType;

/// Runs a script of `tests/producers` in the environment of tifffile and ome-zarr; what it prints.
fn python(script: &str, arguments: &[&std::ffi::OsStr]) -> String {
    let variable = "WELLSCOPE_TEST_PYTHON_PLATES";
    let python = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; run ./scripts/test, which makes the Python environments"));
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/producers").join(script);
    let output = Command::new(python).arg(&script).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script:?} ended with {}:\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// SHA-256 of the elements in C order, little-endian.
fn sum_of(array: &AnyArray) -> String {
    fn bytes_of<T: Copy, const N: usize>(array: &ndarray::ArrayD<T>, bytes: fn(T) -> [u8; N]) -> Vec<u8> {
        array.iter().flat_map(|&value| bytes(value)).collect()
    }
    let bytes = match array {
        AnyArray::Bool(array) => bytes_of(array, |value| [u8::from(value)]),
        AnyArray::I8(array) => bytes_of(array, i8::to_le_bytes),
        AnyArray::U8(array) => bytes_of(array, u8::to_le_bytes),
        AnyArray::I16(array) => bytes_of(array, i16::to_le_bytes),
        AnyArray::U16(array) => bytes_of(array, u16::to_le_bytes),
        AnyArray::I32(array) => bytes_of(array, i32::to_le_bytes),
        AnyArray::U32(array) => bytes_of(array, u32::to_le_bytes),
        AnyArray::I64(array) => bytes_of(array, i64::to_le_bytes),
        AnyArray::U64(array) => bytes_of(array, u64::to_le_bytes),
        AnyArray::F16(array) => bytes_of(array, half::f16::to_le_bytes),
        AnyArray::F32(array) => bytes_of(array, f32::to_le_bytes),
        AnyArray::F64(array) => bytes_of(array, f64::to_le_bytes),
    };
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the test compares of one plane.
fn plane_summary(address: &Value, dtype: &str, shape: &Value, sum: &str) -> String {
    let address: BTreeMap<String, Value> = serde_json::from_value(address.clone()).unwrap();
    format!("{address:?} {dtype} {shape} {sum}")
}

fn check_plate(case: &str, expected: &Value) {
    let plate = Plate::open(expected["path"].as_str().unwrap()).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(plate.format.name(), expected["format"], "{case}");
    assert_eq!(plate.warnings.len() as u64, expected["warnings"], "{case}: {:?}", plate.warnings);
    if let Some(name) = expected["name"].as_str() {
        assert_eq!(plate.name, name, "{case}");
    }
    let channels = plate.names.get("channel").cloned().unwrap_or_default();
    assert_eq!(json!(channels), expected["channels"], "{case}");
    let VoxelSizeUm { z, y, x } = plate.voxel_size_um;
    for (found, needed) in [z, y, x].into_iter().zip(expected["voxel"].as_array().unwrap()) {
        let (found, needed) = (found.unwrap_or_default(), needed.as_f64().unwrap_or_default());
        assert!((found - needed).abs() <= needed * 1e-9, "{case}: voxel size {found}, needed {needed}");
    }
    let mut found: Vec<String> = plate
        .images
        .iter()
        .map(|image| {
            let pixels = plate.read(image).unwrap_or_else(|error| panic!("{case}: {error}"));
            let shape = plate.shape_of(image).unwrap();
            assert_eq!((shape.shape.as_slice(), shape.element), (pixels.shape(), pixels.element_type()), "{case}");
            plane_summary(
                &json!(image.address()),
                pixels.element_type().name(),
                &json!(pixels.shape()),
                &sum_of(&pixels),
            )
        })
        .collect();
    let mut needed: Vec<String> = expected["planes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plane| {
            let text = |key: &str| plane[key].as_str().unwrap().to_owned();
            plane_summary(&plane["address"], &text("dtype"), &plane["shape"], &text("sha256"))
        })
        .collect();
    found.sort();
    needed.sort();
    for (found, needed) in found.iter().zip(&needed) {
        assert_eq!(found, needed, "{case}");
    }
    assert_eq!(found.len(), needed.len(), "{case}");
}

#[test]
fn plates_of_every_kind_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    python("write_plates.py", &[folder.path().as_os_str()]);
    let expected: Value = serde_json::from_slice(&std::fs::read(folder.path().join("expected.json")).unwrap()).unwrap();
    let cases = expected.as_object().unwrap();
    assert_eq!(cases.len(), 26);
    for (case, expected) in cases {
        check_plate(case, expected);
    }
}

fn test_plane(element: ElementType, seed: usize, shape: &[usize]) -> AnyArray {
    let values = (0..shape.iter().product()).map(|n: usize| ((n * 7919 + seed * 104_729) % 251) as f64).collect();
    let plane = AnyArray::from_values::<f64>(shape, values).unwrap();
    if element == ElementType::Bool {
        return AnyArray::from(plane.to_f32().mapv(|value| value % 3.0 == 0.0));
    }
    plane.cast(element)
}

fn described(path: &Path, read: &Value) -> Value {
    read[path.file_name().unwrap().to_str().unwrap()].clone()
}

#[test]
fn tifffile_reads_every_element_type_that_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for element in ElementType::ALL {
        for compress in [false, true] {
            let path = folder.path().join(format!("{element}-{compress}.tif"));
            let stack = test_plane(element, 1, &[3, 33, 41]);
            write_tiff(&path, &stack, &TiffMetadata { compress, ..TiffMetadata::default() }).unwrap();
            written.push((path, stack, compress));
        }
    }
    let arguments: Vec<_> =
        std::iter::once("tiff".as_ref()).chain(written.iter().map(|(path, ..)| path.as_os_str())).collect();
    let read: Value = serde_json::from_str(&python("read_plates.py", &arguments)).unwrap();
    for (path, stack, compress) in &written {
        let read = described(path, &read);
        let element = stack.element_type();
        assert_eq!(read["dtype"], element.name(), "{path:?}");
        assert_eq!(read["shape"], json!([3, 33, 41]), "{path:?}");
        assert_eq!(read["sha256"], sum_of(stack), "{path:?}");
        assert_eq!((&read["series"], &read["pages"], &read["axes"]), (&json!(1), &json!(3), &json!("ZYX")), "{path:?}");
        assert_eq!(read["compression"], if *compress { 8 } else { 1 });
        // OME-XML has no name for these; tifffile's own description says their shape.
        let known = !matches!(element, ElementType::I64 | ElementType::U64 | ElementType::F16);
        assert_eq!((&read["is_ome"], &read["is_shaped"]), (&json!(known), &json!(!known)), "{path:?}");
        // And by us: every page is a plane.
        let plate = Plate::open(path).unwrap();
        assert_eq!(plate.images.len(), 3);
        for (index, image) in plate.images.iter().enumerate() {
            assert_eq!(image.z_index, index as i64 + 1);
            assert_eq!(plate.read(image).unwrap(), stack.plane(index).unwrap(), "{path:?}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), written.len(), "temporary files were left");
}

#[test]
fn tifffile_reads_axes_names_and_sizes_that_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("A01_s001_w1_z001_t001.tif");
    let stack = test_plane(ElementType::U16, 2, &[2, 4, 3, 20, 30]);
    let metadata = TiffMetadata {
        axes: "TCZYX".to_owned(),
        name: "field <1> & \"µ\"".to_owned(),
        channel_names: ["DAPI", "α-tubulin", "", "<&>"].map(str::to_owned).to_vec(),
        voxel_size_um: VoxelSizeUm { z: Some(2.0), y: Some(0.325), x: Some(0.325) },
        compress: false,
    };
    write_tiff(&path, &stack, &metadata).unwrap();
    let colour_path = folder.path().join("colour.ome.tif");
    let colour = test_plane(ElementType::U8, 3, &[2, 20, 30, 3]);
    write_tiff(&colour_path, &colour, &TiffMetadata { axes: "ZYXS".to_owned(), ..TiffMetadata::default() }).unwrap();
    let read = python("read_plates.py", &["tiff".as_ref(), path.as_os_str(), colour_path.as_os_str()]);
    let read: Value = serde_json::from_str(&read).unwrap();
    let (stack_read, colour_read) = (described(&path, &read), described(&colour_path, &read));
    assert_eq!(stack_read["axes"], "TCZYX");
    assert_eq!(stack_read["shape"], json!([2, 4, 3, 20, 30]));
    assert_eq!(stack_read["sha256"], sum_of(&stack));
    assert_eq!(
        stack_read["voxel"].as_array().unwrap().iter().filter_map(Value::as_f64).collect::<Vec<_>>(),
        [2.0, 0.325, 0.325]
    );
    assert_eq!(stack_read["units"], json!(["µm", "µm", "µm"]));
    assert_eq!(stack_read["channels"], json!(["DAPI", "α-tubulin", "", "<&>"]));
    assert_eq!(stack_read["name"], "field <1> & \"µ\"");
    assert_eq!((&colour_read["axes"], &colour_read["photometric"]), (&json!("ZYXS"), &json!(2)));
    assert_eq!(colour_read["sha256"], sum_of(&colour));

    let plate = Plate::open(&path).unwrap();
    assert_eq!(plate.images.len(), 24);
    assert_eq!(plate.voxel_size_um, metadata.voxel_size_um);
    assert_eq!(plate.names["channel"]["2"], "α-tubulin");
    let colour_plate = Plate::open(&colour_path).unwrap();
    assert_eq!(colour_plate.read(&colour_plate.images[1]).unwrap(), colour.plane(1).unwrap());
}

fn options() -> ZarrPlateOptions {
    let channels = [("1", "DAPI"), ("4", "Cy5")].map(|(value, name)| (value.to_owned(), name.to_owned()));
    ZarrPlateOptions {
        name: "assay".to_owned(),
        names: [("channel".to_owned(), channels.into_iter().collect())].into_iter().collect(),
        voxel_size_um: VoxelSizeUm { z: Some(2.0), y: Some(0.5), x: Some(0.5) },
        replace: false,
    }
}

/// The array of a field: `[t, c, z, y, x]`, and its planes with channels 1 and 4.
fn field(element: ElementType, seed: usize) -> (AnyArray, Vec<(i64, i64, AnyArray)>) {
    let whole = test_plane(element, seed, &[1, 2, 3, 40, 50]);
    let channels = whole.plane(0).unwrap();
    let mut planes = Vec::new();
    for (c, channel) in [1, 4].into_iter().enumerate() {
        for z in 0..3 {
            planes.push((channel, z as i64 + 1, channels.plane(c).unwrap().plane(z).unwrap()));
        }
    }
    (whole, planes)
}

fn field_planes(planes: &[(i64, i64, AnyArray)]) -> Vec<FieldPlane<'_>> {
    planes
        .iter()
        .map(|(channel, z_index, pixels)| FieldPlane { channel: *channel, z_index: *z_index, timepoint: 1, pixels })
        .collect()
}

#[test]
fn ome_zarr_reads_plates_that_threads_wrote_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ome.zarr");
    let writer = OmeZarrPlateWriter::create(&path, options()).unwrap();
    let wells = ["A01", "A02", "B01", "C12"];
    std::thread::scope(|scope| {
        for (index, well) in wells.into_iter().enumerate() {
            let writer = &writer;
            scope.spawn(move || {
                for site in [1, 3] {
                    let (_, planes) = field(ElementType::U16, index * 10 + site as usize);
                    writer.write_field(well, site, &field_planes(&planes)).unwrap();
                    let (_, labels) = field(ElementType::I32, index * 10 + site as usize);
                    for name in ["nuclei", "cells.2"] {
                        writer.write_labels(well, site, name, &field_planes(&labels)[..3]).unwrap();
                    }
                }
            });
        }
    });
    assert!(!path.exists(), "the plate has its name before it is finished");
    assert_eq!(writer.finish().unwrap(), path);

    let read: Value = serde_json::from_str(&python("read_plates.py", &["zarr".as_ref(), path.as_os_str()])).unwrap();
    let read = described(&path, &read);
    assert_eq!((&read["zarr_format"], &read["plate"]["version"]), (&json!(2), &json!("0.4")));
    assert_eq!(read["plate"]["name"], "assay");
    assert_eq!(read["plate"]["field_count"], 2);
    let paths: Vec<&str> =
        read["plate"]["wells"].as_array().unwrap().iter().map(|well| well["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["A/01", "A/02", "B/01", "C/12"]);
    assert_eq!(read["plate"]["wells"][3]["rowIndex"], 2);
    assert_eq!(read["plate"]["wells"][3]["columnIndex"], 2);
    assert_eq!(read["fields"].as_object().unwrap().len(), 8);
    for (index, well) in wells.into_iter().enumerate() {
        for site in [1, 3] {
            let read = &read["fields"][format!("{}/{}/{site}", &well[..1], &well[1..])];
            let (whole, _) = field(ElementType::U16, index * 10 + site);
            assert_eq!((&read["dtype"], &read["shape"]), (&json!("uint16"), &json!([1, 2, 3, 40, 50])));
            assert_eq!(read["sha256"], sum_of(&whole), "{well} {site}");
            assert_eq!(read["axes"], json!(["t", "c", "z", "y", "x"]));
            assert_eq!(read["transformations"], json!([{"type": "scale", "scale": [1.0, 1.0, 2.0, 0.5, 0.5]}]));
            assert_eq!(read["omero"][1]["label"], "Cy5");
            let (labels, _) = field(ElementType::I32, index * 10 + site);
            let first_channel = labels.plane(0).unwrap().plane(0).unwrap();
            for name in ["nuclei", "cells.2"] {
                assert_eq!(read["labels"][name]["dtype"], "int32");
                assert_eq!(read["labels"][name]["sha256"], sum_of(&first_channel));
                assert!(read["labels"][name]["attributes"].as_array().unwrap().contains(&json!("image-label")));
            }
        }
    }

    // And by us, with the values that the planes had.
    let plate = Plate::open(&path).unwrap();
    assert_eq!(plate.warnings, Vec::<String>::new());
    assert_eq!(plate.wells().iter().map(|well| well.to_string()).collect::<Vec<_>>(), wells);
    assert_eq!(plate.values("site"), [1.into(), 3.into()]);
    assert_eq!(plate.values("channel"), [1.into(), 4.into()]);
    assert_eq!((plate.name.as_str(), plate.names["channel"]["4"].as_str()), ("assay", "Cy5"));
    assert_eq!(plate.voxel_size_um, options().voxel_size_um);
    assert_eq!(plate.images.len(), 4 * 2 * 6);
    // Labels of every field: two names of three planes.
    assert_eq!(plate.labels.len(), 4 * 2 * 2 * 3);
    let cells = plate.labels.iter().filter(|label| label.name == "cells.2" && &*label.image.well == "C12");
    for label in cells.filter(|label| label.image.site == 3) {
        let (_, planes) = field(ElementType::I32, 33);
        let written = planes.iter().find(|(c, z, _)| (*c, *z) == (1, label.image.z_index)).unwrap();
        assert_eq!(plate.read(&label.image).unwrap(), written.2);
    }
    for image in plate.images_of("C12").filter(|image| image.site == 3) {
        let (_, planes) = field(ElementType::U16, 33);
        let written = planes.iter().find(|(c, z, _)| (*c, *z) == (image.channel, image.z_index)).unwrap();
        assert_eq!(plate.read(image).unwrap(), written.2);
    }
}

//! Damaged, lying and missing files give a sentence that names them; everything else is still read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say where they failed")]

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use wellscope_plates::{
    AnyArray, FieldPlane, OmeZarrPlateWriter, OpenPlateError, Plate, PlateFormat, ReadError, TiffMetadata, WriteError,
    ZarrPlateOptions, write_tiff,
};

fn plane(seed: u16) -> AnyArray {
    AnyArray::from_values(&[20, 30], (0..600).map(|n| n * 31 + seed).collect::<Vec<u16>>()).unwrap()
}

fn plain() -> TiffMetadata {
    TiffMetadata::default()
}

fn compressed() -> TiffMetadata {
    TiffMetadata { compress: true, ..TiffMetadata::default() }
}

/// The bytes of a file that `write_tiff` wrote.
fn tiff_bytes(array: &AnyArray, metadata: &TiffMetadata) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    write_tiff(&path, array, metadata).unwrap();
    std::fs::read(path).unwrap()
}

/// Replaces the value of a tag (of type LONG) in the first directory of a little-endian file.
fn with_tag(mut bytes: Vec<u8>, tag: u16, value: u32) -> Vec<u8> {
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0usize, |n, b| n << 8 | *b as usize)
    };
    let directory = number(&bytes, 4, 4);
    for entry in 0..number(&bytes, directory, 2) {
        let at = directory + 2 + entry * 12;
        if number(&bytes, at, 2) == tag as usize {
            bytes[at + 8..at + 12].copy_from_slice(&value.to_le_bytes());
            return bytes;
        }
    }
    panic!("tag {tag} is not there");
}

#[test]
fn a_damaged_image_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = |site: u8| folder.path().join(format!("A01_s{site}_w1.tif"));
    for site in 1..=6 {
        write_tiff(file(site), &plane(u16::from(site)), &plain()).unwrap();
    }
    let whole = std::fs::read(file(2)).unwrap();
    std::fs::write(file(2), &whole[..700]).unwrap();
    std::fs::write(file(3), b"").unwrap();
    std::fs::write(file(4), b"this is no TIFF at all").unwrap();
    let plate = Plate::open(folder.path()).unwrap();
    std::fs::remove_file(file(5)).unwrap();
    assert_eq!(plate.images.len(), 6);
    for image in &plate.images {
        let read = plate.read(image);
        if matches!(image.site, 1 | 6) {
            assert_eq!(read.unwrap(), plane(image.site as u16));
            continue;
        }
        let message = read.unwrap_err().to_string();
        assert!(message.contains(&format!("A01_s{}_w1.tif", image.site)), "{message}");
        assert!(plate.shape_of(image).is_err());
        let words = match image.site {
            2 => "cut off",
            3 => "it is empty",
            4 => "no TIFF",
            _ => "No such file",
        };
        assert!(message.contains(words), "site {}: {message}", image.site);
    }
}

#[test]
fn claimed_sizes_are_checked_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("A01_s1_w1.tif");
    let bytes = tiff_bytes(&plane(1), &plain());
    let small = tiff_bytes(&plane(1), &compressed());
    // 256: width, 257: height, 278: rows per strip.
    let cases = [
        (with_tag(with_tag(with_tag(bytes.clone(), 256, 60_000), 257, 60_000), 278, 60_000), "one plane may have"),
        (
            with_tag(with_tag(with_tag(bytes.clone(), 256, 20_000), 257, 20_000), 278, 20_000),
            "it was cut off or its header is wrong",
        ),
        (with_tag(with_tag(with_tag(small.clone(), 256, 20_000), 257, 20_000), 278, 20_000), "its header is wrong"),
        (with_tag(bytes.clone(), 256, u32::MAX), "one plane may have"),
        (with_tag(bytes.clone(), 257, 0), "nvalid dimensions"),
        (with_tag(bytes.clone(), 273, u32::MAX - 9), "cut off"),
    ];
    for (bytes, words) in cases {
        std::fs::write(&path, bytes).unwrap();
        let plate = Plate::open(folder.path()).unwrap();
        let message = plate.read(&plate.images[0]).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("A01_s1_w1.tif"), "{words}: {message}");
    }
    std::fs::write(&path, small).unwrap();
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.read(&plate.images[0]).unwrap(), plane(1));
}

#[test]
fn opening_a_plate_needs_no_pixels() {
    let folder = tempfile::tempdir().unwrap();
    for well in 1..=20 {
        for site in 1..=100 {
            std::fs::write(folder.path().join(format!("H{well:02}_s{site}_w1.tif")), b"").unwrap();
        }
    }
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!((plate.images.len(), plate.wells().len(), plate.values("site").len()), (2000, 20, 100));
    assert_eq!(plate.images[1999].file_name(), "H20_s100_w1_z001_t001.tif");
}

#[test]
fn pages_that_form_a_circle_are_refused() {
    let stack = AnyArray::stack(&[plane(1), plane(2), plane(3)]).unwrap();
    let mut bytes = tiff_bytes(&stack, &plain());
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0usize, |n, b| n << 8 | *b as usize)
    };
    let first = number(&bytes, 4, 4);
    let mut last = first;
    loop {
        let next_at = last + 2 + number(&bytes, last, 2) * 12;
        let next = number(&bytes, next_at, 4);
        if next == 0 {
            bytes[next_at..next_at + 4].copy_from_slice(&(first as u32).to_le_bytes());
            break;
        }
        last = next;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stack.ome.tif"), bytes).unwrap();
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.read(&plate.images[0]).unwrap(), plane(1));
    let message = plate.read(&plate.images[1]).unwrap_err().to_string();
    assert!(message.contains("circle") && message.contains("stack.ome.tif"), "{message}");
}

/// An OME-TIFF of one page whose description is this text.
fn ome_file(path: &Path, description: &str) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
    let mut image = encoder.new_image::<tiff::encoder::colortype::Gray8>(4, 3).unwrap();
    image.encoder().write_tag(tiff::tags::Tag::ImageDescription, description).unwrap();
    image.write_data(&[7; 12]).unwrap();
}

#[test]
fn ome_xml_that_lies_is_refused_or_costs_only_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ome.tif");
    let pixels = |attributes: &str, inside: &str| {
        format!(
            "<OME><Image ID=\"Image:0\"><Pixels DimensionOrder=\"XYZCT\" {attributes}>{inside}</Pixels></Image></OME>"
        )
    };
    let refused = [
        (pixels("SizeZ=\"4000000000\" SizeC=\"4000000000\"", ""), "at most"),
        (pixels("SizeZ=\"10000000\"", ""), "the file has"),
        (pixels("SizeZ=\"2\"", "<TiffData FirstZ=\"5\" IFD=\"0\"/>"), "TiffData begins at z 5"),
        (pixels("SizeZ=\"2\"", "<TiffData IFD=\"18446744073709551615\" PlaneCount=\"2\"/>"), "pages"),
        ("<OME><Image ID=\"Image:0\">".to_owned(), "cut off"),
    ];
    for (xml, words) in refused {
        ome_file(&path, &xml);
        let message = Plate::open(&path).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("a.ome.tif"), "{words}: {message}");
    }
    ome_file(&path, &pixels("SizeZ=\"3\"", "<TiffData/>"));
    let plate = Plate::open(&path).unwrap();
    assert_eq!(plate.images.len(), 3);
    assert_eq!(plate.read(&plate.images[0]).unwrap().shape(), [3, 4]);
    assert!(matches!(plate.read(&plate.images[2]), Err(ReadError::NoPage { page: 2, found: 1, .. })));
    // Other files are looked for beside this one only, and may be missing.
    let inside = "<TiffData IFD=\"0\" FirstZ=\"0\"/><TiffData IFD=\"0\" FirstZ=\"1\"><UUID FileName=\"../../etc/b.ome.tif\"/></TiffData>";
    ome_file(&path, &pixels("SizeZ=\"2\"", inside));
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.path_of(&plate.images[1]), folder.path().join("b.ome.tif"));
    assert!(plate.warnings.iter().any(|warning| warning.contains("b.ome.tif")), "{:?}", plate.warnings);
    assert!(matches!(plate.read(&plate.images[1]), Err(ReadError::Io { .. })));
    assert_eq!(plate.read(&plate.images[0]).unwrap().len(), 12);
}

/// A small plate: wells A01 and B02, one field of two channels each.
fn write_zarr(path: &Path) {
    let writer = OmeZarrPlateWriter::create(path, ZarrPlateOptions::default()).unwrap();
    for (index, well) in ["A01", "B02"].into_iter().enumerate() {
        let pixels = [plane(index as u16), plane(10 + index as u16)];
        let planes = [0, 1].map(|c| FieldPlane { channel: c as i64 + 1, z_index: 1, timepoint: 1, pixels: &pixels[c] });
        writer.write_field(well, 1, &planes).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn a_damaged_field_of_ome_zarr_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.zarr");
    write_zarr(&path);
    // A chunk of noise, and one that is cut off.
    let chunk = path.join("A/01/1/0/0/0/0/0/0");
    let whole = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, [0xA5; 40]).unwrap();
    let plate = Plate::open(&path).unwrap();
    let message = plate.read(&plate.images[0]).unwrap_err().to_string();
    assert!(message.contains("p.zarr"), "{message}");
    assert_eq!(plate.read(&plate.images[1]).unwrap(), plane(10));
    std::fs::write(&chunk, &whole[..whole.len() / 2]).unwrap();
    assert!(plate.read(&plate.images[0]).is_err());
    // No chunk means the fill value.
    std::fs::remove_file(&chunk).unwrap();
    assert_eq!(plate.read(&plate.images[0]).unwrap().to_f32().sum(), 0.0);

    let array = path.join("B/02/1/0/.zarray");
    let metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(&array).unwrap()).unwrap();
    for (key, value, words) in [
        ("shape", json!([1, 2, 1, 20, 1u64 << 62]), "more bytes than can be counted"),
        ("shape", json!([1, 2, 20, 30]), "one extent per axis"),
        ("shape", json!([1u64 << 40, 1u64 << 10, 1, 1, 1]), "planes"),
        ("chunks", json!([1, 1, 1, 1u64 << 20, 1u64 << 20]), "too large"),
        ("dtype", json!("<c8"), "complex"),
        ("dtype", json!([["r", "<u2"]]), "data type"),
    ] {
        let mut broken = metadata.clone();
        broken[key] = value;
        std::fs::write(&array, broken.to_string()).unwrap();
        let plate = Plate::open(&path).unwrap();
        assert_eq!(plate.images.len(), 2, "{words}");
        assert!(
            plate.warnings.iter().any(|warning| warning.contains(words) && warning.contains("B")),
            "{words}: {:?}",
            plate.warnings
        );
        // Changed behind the back of a plate that is open.
        std::fs::write(&array, metadata.to_string()).unwrap();
        let plate = Plate::open(&path).unwrap();
        std::fs::write(&array, broken.to_string()).unwrap();
        assert!(plate.read(&plate.images[2]).is_err(), "{words}");
    }
    std::fs::write(&array, metadata.to_string()).unwrap();

    // Metadata that leads out of the plate.
    let lists = path.join(".zattrs");
    let text = std::fs::read_to_string(&lists).unwrap().replace("B/02", "../../B/02");
    std::fs::write(&lists, text).unwrap();
    let plate = Plate::open(&path).unwrap();
    assert_eq!(plate.wells().len(), 1);
    assert!(plate.warnings[0].contains("leads out of the plate"), "{:?}", plate.warnings);
}

#[test]
fn what_is_no_plate_is_refused_with_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Plate::open(folder.path().join("nothing")).unwrap_err();
    assert!(matches!(missing, OpenPlateError::Unreadable { .. }));
    let empty = Plate::open(folder.path()).unwrap_err().to_string();
    assert!(
        empty.contains("an empty folder") && empty.contains("Index.idx.xml") && empty.contains("*.ome.tif"),
        "{empty}"
    );
    std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
    std::fs::create_dir(folder.path().join("plate1")).unwrap();
    let other = Plate::open(folder.path()).unwrap_err().to_string();
    assert!(other.contains("notes.txt") && other.contains("plate1"), "{other}");
    std::fs::write(folder.path().join(".zgroup"), "{\"zarr_format\": 2}").unwrap();
    let zarr = Plate::open(folder.path()).unwrap_err().to_string();
    assert!(zarr.contains(".zattrs"), "{zarr}");
    std::fs::write(folder.path().join(".zattrs"), "{}").unwrap();
    let zarr = Plate::open(folder.path()).unwrap_err().to_string();
    assert!(zarr.contains("neither plate nor well nor multiscales"), "{zarr}");
}

#[test]
fn files_without_a_pattern_are_sites_named_by_their_files() {
    let folder = tempfile::tempdir().unwrap();
    for (index, name) in ["cell 10.tif", "cell 9.tif", "cell 1.TIFF"].into_iter().enumerate() {
        write_tiff(
            folder.path().join(name),
            &plane(index as u16).cast(wellscope_protocol::dtype::ElementType::U64),
            &plain(),
        )
        .unwrap();
    }
    std::fs::write(folder.path().join("cell 11.tif"), "broken").unwrap();
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.format, PlateFormat::TiffFolder);
    let names: Vec<&str> =
        plate.images.iter().map(|image| plate.names["site"][&image.site.to_string()].as_str()).collect();
    assert_eq!(names, ["cell 1.TIFF", "cell 9.tif", "cell 10.tif"]);
    assert!(plate.warnings.iter().any(|warning| warning.contains("cell 11.tif")), "{:?}", plate.warnings);
}

#[test]
fn threads_read_one_plate_together() {
    let folder = tempfile::tempdir().unwrap();
    for site in 1..=8 {
        let stack = AnyArray::stack(&[plane(site), plane(site + 100), plane(site + 200)]).unwrap();
        write_tiff(folder.path().join(format!("f{site}.ome.tif")), &stack, &compressed()).unwrap();
    }
    write_zarr(&folder.path().join("p.zarr"));
    let (tiff, zarr) = (Plate::open(folder.path()).unwrap(), Plate::open(folder.path().join("p.zarr")).unwrap());
    assert_eq!((tiff.images.len(), zarr.images.len()), (24, 4));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for image in &tiff.images {
                    let seed = image.site as u16 + (image.z_index as u16 - 1) * 100;
                    assert_eq!(tiff.read(image).unwrap(), plane(seed));
                }
                for image in &zarr.images {
                    let seed = if &*image.well == "A01" { 0 } else { 1 } + (image.channel as u16 - 1) * 10;
                    assert_eq!(zarr.read(image).unwrap(), plane(seed));
                }
            });
        }
    });
}

#[test]
fn two_images_with_one_address_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["one", "two"] {
        write_tiff(folder.path().join(format!("{prefix}_A01_s1_w1.tif")), &plane(1), &plain()).unwrap();
    }
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.images.len(), 1);
    assert!(plate.warnings[0].contains("well A01 site 1"), "{:?}", plate.warnings);
}

#[test]
fn a_plate_that_was_not_finished_leaves_nothing_that_looks_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.zarr");
    let pixels = plane(1);
    let planes = [FieldPlane { channel: 1, z_index: 1, timepoint: 1, pixels: &pixels }];
    let writer = OmeZarrPlateWriter::create(&path, ZarrPlateOptions::default()).unwrap();
    writer.write_field("A01", 1, &planes).unwrap();
    assert!(!path.exists());
    // What is done so far is a valid plate, for who looks into the hidden folder.
    let so_far = Plate::open(writer.folder()).unwrap();
    assert_eq!((so_far.images.len(), so_far.read(&so_far.images[0]).unwrap()), (1, plane(1)));
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    write_zarr(&path);
    let exists = OmeZarrPlateWriter::create(&path, ZarrPlateOptions::default()).unwrap_err();
    assert!(matches!(exists, WriteError::Exists { .. }));
    let replace = ZarrPlateOptions { replace: true, ..ZarrPlateOptions::default() };
    let writer = OmeZarrPlateWriter::create(&path, replace.clone()).unwrap();
    writer.write_field("C03", 1, &planes).unwrap();
    drop(writer);
    assert_eq!(Plate::open(&path).unwrap().wells().len(), 2, "a cancelled run replaced the plate");
    let writer = OmeZarrPlateWriter::create(&path, replace).unwrap();
    writer.write_field("C03", 1, &planes).unwrap();
    writer.finish().unwrap();
    assert_eq!(Plate::open(&path).unwrap().wells().iter().map(|well| well.to_string()).collect::<Vec<_>>(), ["C03"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn fields_that_cannot_be_written_leave_the_plate_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.zarr");
    let (pixels, other) = (plane(1), AnyArray::from_values(&[2, 2], vec![0u16; 4]).unwrap());
    let floats = AnyArray::from_values(&[2, 2], vec![0f32; 4]).unwrap();
    let at = |channel, pixels| FieldPlane { channel, z_index: 1, timepoint: 1, pixels };
    let writer = OmeZarrPlateWriter::create(&path, ZarrPlateOptions::default()).unwrap();
    writer.write_field("A01", 1, &[at(1, &pixels)]).unwrap();
    assert!(matches!(writer.write_field("A01", 1, &[at(1, &pixels)]), Err(WriteError::Exists { .. })));
    assert!(matches!(writer.write_field("A01", 2, &[]), Err(WriteError::Empty { .. })));
    assert!(matches!(
        writer.write_field("A01", 2, &[at(1, &pixels), at(2, &other)]),
        Err(WriteError::PlanesDiffer { .. })
    ));
    assert!(matches!(writer.write_field("../A01", 2, &[at(1, &pixels)]), Err(WriteError::Name { .. })));
    assert!(matches!(writer.write_field("A01", -2, &[at(1, &pixels)]), Err(WriteError::Name { .. })));
    assert!(matches!(writer.write_labels("A01", 1, "../x", &[at(1, &pixels)]), Err(WriteError::Name { .. })));
    assert!(matches!(writer.write_labels("A01", 1, "x", &[at(1, &floats)]), Err(WriteError::LabelType { .. })));
    assert!(matches!(writer.write_labels("A01", 5, "x", &[at(1, &pixels)]), Err(WriteError::Io { .. })));
    let plate = Plate::open(writer.finish().unwrap()).unwrap();
    assert_eq!((plate.images.len(), plate.warnings.len()), (1, 0));
}

#[test]
fn a_tiff_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("A01_s1_w1.tif");
    write_tiff(&path, &plane(1), &plain()).unwrap();
    for axes in ["XY", "Y", "ZYX", "TYXS", "YYX"] {
        let metadata = TiffMetadata { axes: axes.to_owned(), ..plain() };
        assert!(matches!(write_tiff(&path, &plane(2), &metadata), Err(WriteError::Axes { .. })), "{axes}");
    }
    assert!(matches!(write_tiff(folder.path().join("no/a.tif"), &plane(2), &plain()), Err(WriteError::Io { .. })));
    let plate = Plate::open(folder.path()).unwrap();
    assert_eq!(plate.read(&plate.images[0]).unwrap(), plane(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn files_and_plates_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::write(folder.path().join("file"), "x").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    write_tiff(folder.path().join("a.tif"), &plane(1), &plain()).unwrap();
    write_zarr(&folder.path().join("p.zarr"));
    assert_eq!(mode(&folder.path().join("a.tif")), mode(&folder.path().join("file")));
    assert_eq!(mode(&folder.path().join("p.zarr")), mode(&folder.path().join("folder")));
    assert_eq!(mode(&folder.path().join("p.zarr/.zattrs")), mode(&folder.path().join("file")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Flipped bytes anywhere in a file give an image or an error; never a panic, never endless memory.
    #[test]
    fn damaged_tiffs_are_read_or_refused(
        compress: bool, flips in prop::collection::vec((0usize..1 << 16, any::<u8>()), 1..8), keep in 0usize..1 << 16,
    ) {
        let stack = AnyArray::stack(&[plane(1), plane(2)]).unwrap();
        let mut bytes = tiff_bytes(&stack, &TiffMetadata { compress, ..plain() });
        for (at, byte) in flips {
            let len = bytes.len();
            // Directories and the header, where it matters, as often as pixels.
            let at = if at % 2 == 0 { at % 16 } else { len - 1 - at % len.min(900) };
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().min(keep.max(8)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(plate) = Plate::open(&path) {
            for image in plate.images.iter().take(5) {
                let _ = plate.shape_of(image);
                let _ = plate.read(image);
            }
        }
    }
}

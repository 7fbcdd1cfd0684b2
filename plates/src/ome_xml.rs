//! OME-XML: what the description of an OME-TIFF says (schema 2016-06 and older ones that name the same things).

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::plate::VoxelSizeUm;

/// The parts of a document that we use.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct OmeXml {
    pub(crate) images: Vec<OmeImage>,
    pub(crate) plates: Vec<OmePlate>,
    /// The companion file that has the metadata instead (`BinaryOnly`).
    pub(crate) metadata_file: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct OmeImage {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `DimensionOrder`, fastest first: "XYZCT".
    pub(crate) order: String,
    pub(crate) size_z: u64,
    pub(crate) size_c: u64,
    pub(crate) size_t: u64,
    pub(crate) voxel_size_um: VoxelSizeUm,
    pub(crate) channels: Vec<OmeChannel>,
    pub(crate) tiff_data: Vec<TiffData>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct OmeChannel {
    pub(crate) name: String,
    /// Samples per pixel: 3 for RGB.
    pub(crate) samples: u64,
}

/// Which pages of which file hold which planes.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct TiffData {
    pub(crate) ifd: Option<u64>,
    pub(crate) plane_count: Option<u64>,
    pub(crate) first_z: u64,
    pub(crate) first_c: u64,
    pub(crate) first_t: u64,
    pub(crate) file_name: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct OmePlate {
    pub(crate) name: String,
    pub(crate) wells: Vec<OmeWell>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct OmeWell {
    /// Counted from 0.
    pub(crate) row: i64,
    pub(crate) column: i64,
    /// IDs of images, in the order of `WellSample`.
    pub(crate) images: Vec<String>,
}

impl OmeImage {
    /// Channels that have planes of their own: three samples of one RGB channel are one.
    pub(crate) fn plane_channels(&self) -> u64 {
        let samples: u64 = self.channels.iter().map(|channel| channel.samples.max(1)).fold(0, u64::saturating_add);
        if samples == self.size_c && !self.channels.is_empty() { self.channels.len() as u64 } else { self.size_c }
    }

    /// All planes, `None` when they cannot be counted.
    pub(crate) fn plane_count(&self) -> Option<u64> {
        self.size_z.checked_mul(self.plane_channels())?.checked_mul(self.size_t)
    }
}

/// Elements nested deeper are not OME's.
const MAX_DEPTH: usize = 64;

/// Reads a document.
///
/// # Errors
/// A reason, when it is no XML or is cut off.
pub(crate) fn parse(text: &str) -> Result<OmeXml, String> {
    let mut reader = Reader::from_str(text);
    let mut document = OmeXml::default();
    let mut tags: Vec<String> = Vec::new();
    let mut seen_root = false;
    loop {
        let event = reader.read_event().map_err(|error| format!("at byte {}: {error}", reader.error_position()))?;
        match event {
            Event::Start(start) => {
                seen_root = true;
                document.begin(&start, &tags);
                tags.push(local_name(&start));
                if tags.len() > MAX_DEPTH {
                    return Err(format!("elements are nested more than {MAX_DEPTH} deep"));
                }
            }
            Event::Empty(start) => {
                seen_root = true;
                document.begin(&start, &tags);
            }
            Event::End(_) => {
                tags.pop();
            }
            Event::Eof if tags.is_empty() && seen_root => return Ok(document),
            Event::Eof if tags.is_empty() => return Err("there is no element".to_owned()),
            Event::Eof => return Err(format!("it ends inside <{}>, so it was cut off", tags.join("><"))),
            _ => {}
        }
    }
}

impl OmeXml {
    fn begin(&mut self, start: &BytesStart<'_>, parents: &[String]) {
        let parent = parents.last().map(String::as_str).unwrap_or_default();
        match local_name(start).as_str() {
            "Image" if parent == "OME" => self.images.push(OmeImage {
                id: attribute(start, "ID").unwrap_or_default(),
                name: attribute(start, "Name").unwrap_or_default(),
                size_z: 1,
                size_c: 1,
                size_t: 1,
                ..OmeImage::default()
            }),
            "Plate" if parent == "OME" || parent == "SPW" => {
                self.plates.push(OmePlate { name: attribute(start, "Name").unwrap_or_default(), wells: Vec::new() });
            }
            "BinaryOnly" => self.metadata_file = attribute(start, "MetadataFile"),
            "Well" | "WellSample" | "ImageRef" => self.begin_plate_part(start, parent),
            _ => self.begin_image_part(start, parent),
        }
    }

    fn begin_plate_part(&mut self, start: &BytesStart<'_>, parent: &str) {
        let Some(plate) = self.plates.last_mut() else { return };
        match (local_name(start).as_str(), parent) {
            ("Well", "Plate") => plate.wells.push(OmeWell {
                row: number(start, "Row").unwrap_or(-1),
                column: number(start, "Column").unwrap_or(-1),
                images: Vec::new(),
            }),
            ("ImageRef", "WellSample") => {
                if let (Some(well), Some(id)) = (plate.wells.last_mut(), attribute(start, "ID")) {
                    well.images.push(id);
                }
            }
            _ => {}
        }
    }

    fn begin_image_part(&mut self, start: &BytesStart<'_>, parent: &str) {
        let Some(image) = self.images.last_mut() else { return };
        match (local_name(start).as_str(), parent) {
            ("Pixels", "Image") => {
                image.order = attribute(start, "DimensionOrder").unwrap_or_else(|| "XYZCT".to_owned());
                image.size_z = number(start, "SizeZ").unwrap_or(1);
                image.size_c = number(start, "SizeC").unwrap_or(1);
                image.size_t = number(start, "SizeT").unwrap_or(1);
                image.voxel_size_um = VoxelSizeUm {
                    z: physical_size(start, "PhysicalSizeZ"),
                    y: physical_size(start, "PhysicalSizeY"),
                    x: physical_size(start, "PhysicalSizeX"),
                };
            }
            ("Channel", "Pixels") => image.channels.push(OmeChannel {
                name: attribute(start, "Name").unwrap_or_default(),
                samples: number(start, "SamplesPerPixel").unwrap_or(1),
            }),
            ("TiffData", "Pixels") => image.tiff_data.push(TiffData {
                ifd: number(start, "IFD"),
                plane_count: number(start, "PlaneCount"),
                first_z: number(start, "FirstZ").unwrap_or(0),
                first_c: number(start, "FirstC").unwrap_or(0),
                first_t: number(start, "FirstT").unwrap_or(0),
                file_name: None,
            }),
            ("UUID", "TiffData") => {
                if let Some(data) = image.tiff_data.last_mut() {
                    data.file_name = attribute(start, "FileName");
                }
            }
            _ => {}
        }
    }
}

fn local_name(start: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(start.local_name().as_ref()).into_owned()
}

/// The text of an attribute; `None` when it is absent or damaged.
pub(crate) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = start.try_get_attribute(name).ok()??;
    Some(attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok()?.into_owned())
}

fn number<T: std::str::FromStr>(start: &BytesStart<'_>, name: &str) -> Option<T> {
    attribute(start, name)?.trim().parse().ok()
}

/// The text that `&name;` or `&#number;` stands for.
pub(crate) fn entity_text(entity: &BytesRef<'_>) -> Option<String> {
    if let Some(character) = entity.resolve_char_ref().ok()? {
        return Some(character.to_string());
    }
    Some(quick_xml::escape::resolve_predefined_entity(&entity.decode().ok()?)?.to_owned())
}

/// A distance in micrometres. Without a unit it is one, as the schema says.
fn physical_size(start: &BytesStart<'_>, name: &str) -> Option<f64> {
    let unit = attribute(start, &format!("{name}Unit")).unwrap_or_else(|| "µm".to_owned());
    let size = number::<f64>(start, name)? * micrometres_of_unit(&unit)?;
    (size.is_finite() && size > 0.0).then_some(size)
}

/// Micrometres of one unit of length; `None` for pixels, reference frames and units that no microscope uses.
///
/// Symbols are those of OME-XML, words those of OME-Zarr (UDUNITS-2).
pub(crate) fn micrometres_of_unit(unit: &str) -> Option<f64> {
    Some(match unit {
        "pm" | "picometer" => 1e-6,
        "Å" | "angstrom" => 1e-4,
        "nm" | "nanometer" => 1e-3,
        // Two characters look alike: micro sign and Greek mu.
        "µm" | "μm" | "um" | "micrometer" | "micron" => 1.0,
        "mm" | "millimeter" => 1e3,
        "cm" | "centimeter" => 1e4,
        "m" | "meter" => 1e6,
        "in" | "inch" => 25_400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests say where they failed")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_in_any_unit_become_micrometres() {
        let text = r#"<OME><Image ID="Image:0"><Pixels SizeZ="2" PhysicalSizeX="650" PhysicalSizeXUnit="nm"
            PhysicalSizeY="0.65" PhysicalSizeZ="2" PhysicalSizeZUnit="pixel"/></Image></OME>"#;
        let document = parse(text).unwrap();
        let size = document.images[0].voxel_size_um;
        assert_eq!((size.z, size.y, size.x.map(|x| (x * 1e9).round())), (None, Some(0.65), Some(650_000_000.0)));
        assert_eq!(document.images[0].plane_count(), Some(2));
    }

    #[test]
    fn names_are_unescaped_and_prefixes_do_not_matter() {
        let text = r#"<ome:OME xmlns:ome="x"><ome:Plate Name="A &amp; B"><ome:Well Row="1" Column="2"><ome:WellSample>
            <ome:ImageRef ID="Image:7"/></ome:WellSample></ome:Well></ome:Plate></ome:OME>"#;
        let plate = &parse(text).unwrap().plates[0];
        assert_eq!(plate.name, "A & B");
        assert_eq!(plate.wells, [OmeWell { row: 1, column: 2, images: vec!["Image:7".to_owned()] }]);
    }

    #[test]
    fn three_samples_of_one_channel_are_one_plane() {
        let text = r#"<OME><Image><Pixels SizeC="3"><Channel SamplesPerPixel="3"/></Pixels></Image></OME>"#;
        assert_eq!(parse(text).unwrap().images[0].plane_count(), Some(1));
        let text = r#"<OME><Image><Pixels SizeC="3" SizeZ="18446744073709551615"/></Image></OME>"#;
        assert_eq!(parse(text).unwrap().images[0].plane_count(), None);
    }

    #[test]
    fn documents_that_were_cut_off_are_refused() {
        for text in ["", "OME", "<OME>", "<OME><Image>", "<OME></Image>"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_document_or_an_error(text in "\\PC*", tags in "(<[/]?(OME|Image|Pixels|Plate|Well)( [A-Z]+=\"[0-9]*\")?/?>){0,8}") {
            let _ = parse(&text);
            let _ = parse(&tags);
        }
    }
}

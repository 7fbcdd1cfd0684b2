//! File names of microscopes, read into components and written from them.

pub(crate) mod imagexpress;
pub(crate) mod phenix;
mod well;

pub(crate) use well::parse_well;
pub use well::{WellError, WellPosition};

/// What a file name says about its image. Components that it does not name are `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParsedName {
    /// Row and column.
    pub well: WellPosition,
    /// Field of view.
    pub site: Option<i64>,
    /// Channel (wavelength).
    pub channel: Option<i64>,
    /// Plane of a stack.
    pub z_index: Option<i64>,
    /// Time point.
    pub timepoint: Option<i64>,
    /// Whether it is a small copy of another image.
    pub is_thumbnail: bool,
}

/// Reads a name of an image file, of any microscope that we know; `None` when it has no known pattern.
pub fn parse_image_name(name: &str) -> Option<ParsedName> {
    imagexpress::parse(name).or_else(|| phenix::parse(name))
}

/// A run of 1 to 9 digits as a number. More digits name nothing that a microscope counts.
pub(crate) fn digits(text: &str) -> Option<i64> {
    let plain = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The name without `.tif` or `.tiff`, in any case; `None` for another kind of file.
pub(crate) fn tiff_stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (extension.eq_ignore_ascii_case("tif") || extension.eq_ignore_ascii_case("tiff")).then_some(stem)
}

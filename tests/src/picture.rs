//! Pictures: reading PNGs, and the one tolerance with which golden images are compared.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Difference per 8-bit sample that rasterisers may have.
const SAMPLE_TOLERANCE: u8 = 2;

/// Share of pixels that may differ by more: text edges move with font rasterisation.
const PIXEL_SHARE: f64 = 0.002;

/// An RGBA picture, 8 bit per sample.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
    /// Rows from the top, 4 bytes per pixel.
    pub rgba: Vec<u8>,
}

impl Picture {
    /// Reads a PNG of 8-bit RGB or RGBA.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {path:?}"))?;
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
        let mut bytes = vec![0; reader.output_buffer_size().context("the picture is too large")?];
        let info = reader.next_frame(&mut bytes)?;
        bytes.truncate(info.buffer_size());
        let rgba = match info.color_type {
            png::ColorType::Rgba => bytes,
            png::ColorType::Rgb => bytes.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
            other => bail!("{path:?} is {other:?}, expected RGB or RGBA"),
        };
        Ok(Self { width: info.width, height: info.height, rgba })
    }

    /// Writes a PNG.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut encoder = png::Encoder::new(File::create(path)?, self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&self.rgba)?;
        Ok(())
    }

    /// Colour of a pixel.
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 4] {
        let start = 4 * (y as usize * self.width as usize + x as usize);
        [self.rgba[start], self.rgba[start + 1], self.rgba[start + 2], self.rgba[start + 3]]
    }

    /// Compares with the golden picture `tests/golden/<name>.png`. `UPDATE_SNAPSHOTS=1` writes it instead.
    /// On a difference the picture and a map of the differing pixels are left in the temporary folder.
    pub fn assert_golden(&self, name: &str) -> anyhow::Result<()> {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.png"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            return self.write(&golden);
        }
        let expected = Self::read(&golden)?;
        if (expected.width, expected.height) != (self.width, self.height) {
            bail!("{name}: {}x{} expected, {}x{} found", expected.width, expected.height, self.width, self.height);
        }
        let mut difference = Self { rgba: vec![0; self.rgba.len()], ..self.clone() };
        let mut differing = 0_usize;
        for (place, (found, wanted)) in self.rgba.chunks_exact(4).zip(expected.rgba.chunks_exact(4)).enumerate() {
            if found.iter().zip(wanted).any(|(a, b)| a.abs_diff(*b) > SAMPLE_TOLERANCE) {
                differing += 1;
                difference.rgba[4 * place..4 * place + 4].copy_from_slice(&[255, 0, 255, 255]);
            }
        }
        let allowed = (PIXEL_SHARE * f64::from(self.width) * f64::from(self.height)) as usize;
        if differing > allowed {
            let folder = std::env::temp_dir();
            let (found, map) = (folder.join(format!("{name}.found.png")), folder.join(format!("{name}.diff.png")));
            self.write(&found)?;
            difference.write(&map)?;
            bail!("{name}: {differing} pixels differ, {allowed} may; see {found:?} and {map:?}");
        }
        Ok(())
    }
}

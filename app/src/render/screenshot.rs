//! Pictures of the window or of the canvas, as it is on screen, panels and overlay included.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured};

use crate::host::HeadlessTarget;
use crate::render::scene::{CanvasRect, Scene};

/// Takes pictures.
pub struct ScreenshotPlugin;

impl Plugin for ScreenshotPlugin {
    fn build(&self, _app: &mut App) {
        // bevy's own screenshot plugin does the reading back; requests are entities with an observer.
    }
}

/// What a picture shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScreenshotScope {
    /// The canvas with its overlay, without the panels.
    Canvas,
    /// Everything.
    Window,
}

/// A picture in 8-bit RGBA, sRGB, rows from the top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Pixels along x.
    pub width: u32,
    /// Pixels along y.
    pub height: u32,
    /// `4 x width x height` bytes.
    pub rgba: Vec<u8>,
}

/// A picture that comes with one of the next frames.
#[derive(Clone, Default)]
pub struct PendingScreenshot(Arc<Mutex<Option<Picture>>>);

impl PendingScreenshot {
    /// The picture, once it is there. While it is not, frames must go on: wake the loop.
    pub fn try_take(&self) -> Option<Picture> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, picture: Picture) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture);
    }
}

/// Asks for pictures.
#[derive(SystemParam)]
pub struct Screenshots<'w, 's> {
    commands: Commands<'w, 's>,
    scene: Res<'w, Scene>,
    headless: Option<Res<'w, HeadlessTarget>>,
}

impl Screenshots<'_, '_> {
    /// Asks for a picture of the frame that is being prepared.
    pub fn request(&mut self, scope: ScreenshotScope) -> PendingScreenshot {
        let pending = PendingScreenshot::default();
        let target = match &self.headless {
            Some(target) => Screenshot::image(target.0.clone()),
            None => Screenshot::primary_window(),
        };
        let cut = (scope == ScreenshotScope::Canvas).then_some(self.scene.canvas);
        let promise = pending.clone();
        self.commands.spawn(target).observe(move |captured: On<ScreenshotCaptured>| {
            match picture_of(&captured.image) {
                Ok(picture) => promise.put(match cut {
                    Some(rect) => picture.cut(rect),
                    None => picture,
                }),
                Err(error) => {
                    tracing::error!("the window's picture cannot be read: {error}");
                    promise.put(Picture { width: 0, height: 0, rgba: Vec::new() });
                }
            }
        });
        pending
    }
}

fn picture_of(image: &Image) -> anyhow::Result<Picture> {
    let rgba = image.clone().try_into_dynamic()?.into_rgba8();
    let (width, height) = rgba.dimensions();
    let mut bytes = rgba.into_raw();
    // What is behind the window is nobody's business.
    bytes.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    Ok(Picture { width, height, rgba: bytes })
}

impl Picture {
    /// The part inside of a rectangle, which is cut to the picture.
    pub fn cut(&self, rect: CanvasRect) -> Self {
        let (x, y) = (rect.x.min(self.width), rect.y.min(self.height));
        let width = rect.width.min(self.width - x);
        let height = rect.height.min(self.height - y);
        let row = |row: u32| {
            let start = 4 * ((y + row) as usize * self.width as usize + x as usize);
            &self.rgba[start..start + 4 * width as usize]
        };
        Self { width, height, rgba: (0..height).flat_map(row).copied().collect() }
    }

    /// The picture as a PNG.
    ///
    /// # Errors
    /// When the picture is empty.
    pub fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgba)?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Writes a PNG beside the file and moves it there, so that a reader never sees half of one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_png(&self, path: &Path) -> anyhow::Result<()> {
        let unfinished = path.with_extension("png.part");
        std::fs::write(&unfinished, self.to_png()?)?;
        std::fs::rename(&unfinished, path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_the_right_pixels_and_never_leaves_the_picture() {
        let picture = Picture { width: 3, height: 2, rgba: (0..24).collect() };
        let cut = picture.cut(CanvasRect { x: 1, y: 1, width: 9, height: 9 });
        assert_eq!((cut.width, cut.height), (2, 1));
        assert_eq!(cut.rgba, (16..24).collect::<Vec<u8>>());
    }

    #[test]
    fn a_png_reads_back_as_the_picture() {
        let picture = Picture { width: 2, height: 1, rgba: vec![1, 2, 3, 255, 4, 5, 6, 255] };
        let bytes = picture.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut read = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut read).unwrap();
        assert_eq!(read, picture.rgba);
    }
}

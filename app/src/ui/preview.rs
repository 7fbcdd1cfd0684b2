//! The small picture at the pointer that tells what a slider would show there.

use bevy_egui::egui::{
    self, Color32, ColorImage, Rect, RectAlign, Response, Sense, Stroke, StrokeKind, TextureHandle, TextureOptions,
    Tooltip, Ui, pos2, vec2,
};

use super::{text, theme};
use crate::colormap::{by_name, gray};
use crate::render::scene::PlaneId;
use crate::viewer::preview::PlanePreview;

/// Longer side of the picture, in points.
const SIDE: f32 = 152.0;
const LINE: f32 = 17.0;

/// The picture that was shown last, so that moving the pointer within one value makes no new one.
#[derive(Default)]
pub struct PreviewTexture(Option<(Look, TextureHandle)>);

/// Everything that the pixels of a picture depend on.
#[derive(PartialEq)]
struct Look {
    plane: PlaneId,
    size: [u32; 2],
    contrast_limits: [f64; 2],
    gamma: f32,
    colormap: String,
}

impl PreviewTexture {
    fn of(&mut self, ctx: &egui::Context, preview: &PlanePreview<'_>) -> Option<TextureHandle> {
        let raster = preview.picture.raster();
        let look = Look {
            plane: preview.plane.source.id,
            size: [raster.width, raster.height],
            contrast_limits: preview.contrast_limits,
            gamma: preview.gamma,
            colormap: preview.colormap.to_owned(),
        };
        if let Some((_, texture)) = self.0.as_ref().filter(|(shown, _)| *shown == look) {
            return Some(texture.clone());
        }
        let colormap = by_name(preview.colormap).unwrap_or_else(gray);
        let rgba = preview.rgba(&colormap.table)?;
        let image = ColorImage::from_rgba_unmultiplied([raster.width as usize, raster.height as usize], &rgba);
        // A plane that is its own thumbnail shows its pixels, as the canvas does.
        let options = match preview.plane.thumbnail {
            Some(_) => TextureOptions::LINEAR,
            None => TextureOptions { magnification: egui::TextureFilter::Nearest, ..TextureOptions::LINEAR },
        };
        let texture = ctx.load_texture("slider preview", image, options);
        self.0 = Some((look, texture.clone()));
        Some(texture)
    }
}

/// Shows the picture above a slider's track, at the pointer: the plane, its value, its layer. Without a plane only the text.
pub(super) fn show(
    response: &Response,
    x: f32,
    value: &str,
    preview: Option<&PlanePreview<'_>>,
    textures: &mut PreviewTexture,
) {
    let anchor = Rect::from_x_y_ranges(x..=x, response.rect.y_range());
    let mut tooltip =
        Tooltip::always_open(response.ctx.clone(), response.layer_id, response.id, anchor).gap(6.0).width(SIDE);
    tooltip.popup = tooltip.popup.align(RectAlign::TOP);
    tooltip.show(|ui| {
        let picture = preview.and_then(|preview| Some((preview, textures.of(&response.ctx, preview)?)));
        let Some((preview, texture)) = picture else {
            ui.label(value);
            return;
        };
        ui.set_width(SIDE);
        ui.spacing_mut().item_spacing.y = 2.0;
        show_picture(ui, preview, &texture);
        let (line, _) = ui.allocate_exact_size(vec2(SIDE, LINE), Sense::hover());
        text::paint_elided(ui, line, value, Color32::WHITE);
        let (line, _) = ui.allocate_exact_size(vec2(SIDE, LINE), Sense::hover());
        text::paint_elided(ui, line, &preview.layer.title, theme::WEAK_TEXT);
    });
}

fn show_picture(ui: &mut Ui, preview: &PlanePreview<'_>, texture: &TextureHandle) {
    let source = &preview.plane.source;
    let size = fitted(source.width, source.height);
    // The same height for all planes of a layer in one orientation, so that the texts below do not jump.
    let (place, _) = ui.allocate_exact_size(vec2(SIDE, size.y), Sense::hover());
    let rect = Rect::from_center_size(place.center(), size);
    ui.painter().rect_filled(rect, 2.0, Color32::BLACK);
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    ui.painter().image(texture.id(), rect, whole, Color32::WHITE);
    ui.painter().rect_stroke(rect, 2.0, Stroke::new(1.0, theme::LINE), StrokeKind::Outside);
}

/// The largest size of a plane's proportions that fits; very long planes keep a visible width.
fn fitted(width: u32, height: u32) -> egui::Vec2 {
    let [width, height] = [width, height].map(|side| side.max(1) as f32);
    let scale = SIDE / width.max(height);
    vec2((width * scale).max(4.0), (height * scale).max(4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_the_proportions_of_their_plane() {
        assert_eq!(fitted(2048, 2048), vec2(SIDE, SIDE));
        assert_eq!(fitted(2048, 1024), vec2(SIDE, SIDE / 2.0));
        assert_eq!(fitted(1, 10_000), vec2(4.0, SIDE));
    }
}

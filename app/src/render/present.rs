//! The canvas in the window: copied under the panels.
//!
//! A copy and no shader: the camera's texture holds sRGB-encoded values, which is what display values are, so the bytes are
//! the same. On a software rasteriser a full-window shader is a fifth of a frame.

use bevy::camera::CameraMainTextureUsages;
use bevy::core_pipeline::{Core2d, Core2dSystems};
use bevy::prelude::*;
use bevy::render::RenderApp;
use bevy::render::render_resource::RenderPassDescriptor;
use bevy::render::renderer::{RenderContext, ViewQuery};
use bevy::render::view::ViewTarget;

use crate::render::painter::CANVAS_FORMAT;
use crate::render::{DrawnScene, GpuCanvas};

/// Puts the canvas under the panels, of cameras that have [`main_texture_usages`].
pub struct PresentPlugin;

impl Plugin for PresentPlugin {
    fn build(&self, app: &mut App) {
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app.add_systems(Core2d, present.in_set(Core2dSystems::MainPass));
        }
    }
}

/// What the texture of a camera must allow, for the canvas to be copied into it.
pub fn main_texture_usages() -> CameraMainTextureUsages {
    CameraMainTextureUsages::default().with(wgpu::TextureUsages::COPY_DST)
}

fn present(view: ViewQuery<&ViewTarget>, canvas: Res<GpuCanvas>, drawn: Res<DrawnScene>, mut context: RenderContext) {
    let target = view.into_inner();
    let Some(texture) = canvas.0.texture() else { return };
    let encoded = target.main_texture_format();
    if encoded.remove_srgb_suffix() != CANVAS_FORMAT || !encoded.is_srgb() {
        // Only cameras with HDR or another space have one; ours has neither.
        error_once!("the camera's texture is {encoded:?}; {CANVAS_FORMAT:?} in sRGB is needed to show images");
        return;
    }
    let rect = drawn.scene.canvas;
    // While the window is being resized the panels may be ahead of the target by a frame.
    let size = target.main_texture().size();
    let width = rect.width.min(texture.width()).min(size.width.saturating_sub(rect.x));
    let height = rect.height.min(texture.height()).min(size.height.saturating_sub(rect.y));
    if width == 0 || height == 0 {
        return;
    }
    let encoder = context.command_encoder();
    // The first pass of a frame clears; after the copy it would clear the copy.
    drop(encoder.begin_render_pass(&RenderPassDescriptor {
        label: Some("clear"),
        color_attachments: &[Some(target.get_color_attachment())],
        ..RenderPassDescriptor::default()
    }));
    encoder.copy_texture_to_texture(
        texture.as_image_copy(),
        wgpu::TexelCopyTextureInfo {
            origin: wgpu::Origin3d { x: rect.x, y: rect.y, z: 0 },
            ..target.main_texture().as_image_copy()
        },
        wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
    );
}

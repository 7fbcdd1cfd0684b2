//! The canvas in the window: copied under the panels, from display values to the target's encoding.

use bevy::core_pipeline::{Core2d, Core2dSystems};
use bevy::prelude::*;
use bevy::render::render_resource::RenderPassDescriptor;
use bevy::render::renderer::{RenderContext, RenderDevice, RenderQueue, ViewQuery};
use bevy::render::view::ViewTarget;
use bevy::render::{RenderApp, RenderStartup};
use wellscope_shaders::{PresentUniform, present_shader};

use crate::render::{DrawnScene, GpuCanvas};

/// Puts the canvas under the panels.
pub struct PresentPlugin;

impl Plugin for PresentPlugin {
    fn build(&self, app: &mut App) {
        if let Some(render_app) = app.get_sub_app_mut(RenderApp) {
            render_app
                // Made anew for each device. Devices cannot be told apart by comparing: a new instance counts from one again.
                .add_systems(RenderStartup, |mut commands: Commands| commands.insert_resource(HeldPresenter(None)))
                .add_systems(Core2d, present.in_set(Core2dSystems::MainPass));
        }
    }
}

#[derive(Resource)]
struct HeldPresenter(Option<Presenter>);

struct Presenter {
    format: wgpu::TextureFormat,
    layout: wgpu::BindGroupLayout,
    pipeline: wgpu::RenderPipeline,
    uniform: wgpu::Buffer,
}

impl Presenter {
    fn new(device: &wgpu::Device, format: wgpu::TextureFormat) -> Self {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("present"),
            entries: &[
                wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::FRAGMENT,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                },
                wgpu::BindGroupLayoutEntry {
                    binding: 1,
                    visibility: wgpu::ShaderStages::FRAGMENT,
                    ty: wgpu::BindingType::Texture {
                        sample_type: wgpu::TextureSampleType::Float { filterable: false },
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    },
                    count: None,
                },
            ],
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("present"),
            source: wgpu::ShaderSource::Wgsl(present_shader(format.is_srgb()).into()),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("present"),
            bind_group_layouts: &[Some(&layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("present"),
            layout: Some(&pipeline_layout),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("vertex"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("fragment"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(format.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("present"),
            size: size_of::<PresentUniform>() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self { format, layout, pipeline, uniform }
    }
}

fn present(
    view: ViewQuery<&ViewTarget>,
    canvas: Res<GpuCanvas>,
    drawn: Res<DrawnScene>,
    device: Res<RenderDevice>,
    queue: Res<RenderQueue>,
    mut held: ResMut<HeldPresenter>,
    mut context: RenderContext,
) {
    let target = view.into_inner();
    let rect = drawn.scene.canvas;
    let Some(texture) = canvas.0.texture() else { return };
    let Some(canvas_view) = canvas.0.view() else { return };
    // While the window is being resized the panels may be ahead of the target by a frame.
    let size = target.main_texture().size();
    let width = rect.width.min(texture.width()).min(size.width.saturating_sub(rect.x));
    let height = rect.height.min(texture.height()).min(size.height.saturating_sub(rect.y));
    if width == 0 || height == 0 {
        return;
    }
    let format = target.main_texture_format();
    let device = device.wgpu_device();
    if held.0.as_ref().is_none_or(|presenter| presenter.format != format) {
        held.0 = Some(Presenter::new(device, format));
    }
    let Some(presenter) = held.0.as_ref() else { return };
    let uniform = PresentUniform { origin: [rect.x as f32, rect.y as f32], ..PresentUniform::default() };
    queue.write_buffer(&presenter.uniform, 0, bytemuck::bytes_of(&uniform));
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("present"),
        layout: &presenter.layout,
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: presenter.uniform.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::TextureView(canvas_view) },
        ],
    });
    let attachment = target.get_color_attachment();
    let mut pass = context.command_encoder().begin_render_pass(&RenderPassDescriptor {
        label: Some("present"),
        color_attachments: &[Some(attachment)],
        ..RenderPassDescriptor::default()
    });
    pass.set_pipeline(&presenter.pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.set_scissor_rect(rect.x, rect.y, width, height);
    pass.draw(0..3, 0..1);
}

//! Painting: quads of tiles onto the canvas texture, in display values.

use std::collections::HashMap;
use std::num::NonZeroU64;

use wellscope_shaders::{PlaneShaderKey, PlaneUniform, plane_shader};

use crate::colormap::ColormapTable;
use crate::render::pages::Pages;
use crate::render::residency::PageId;
use crate::render::scene::Blending;

/// Display values of the canvas: gamma space, 8 bit, as napari blends.
pub const CANVAS_FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// A tile, or the part of one, as it is drawn.
pub struct Quad {
    /// Texture array that holds the texels.
    pub page: PageId,
    /// How texels become colours.
    pub shader: PlaneShaderKey,
    /// How it joins what is below.
    pub blending: Blending,
    /// Everything else.
    pub uniform: PlaneUniform,
}

/// Pipelines, colormaps and target of one device.
pub struct Painter {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: HashMap<(PlaneShaderKey, Blending), wgpu::RenderPipeline>,
    frame_layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    colormaps: Option<Colormaps>,
    uniforms: Option<Uniforms>,
    uniform_stride: u64,
    target: Option<Target>,
}

struct Colormaps {
    view: wgpu::TextureView,
    rows: usize,
}

struct Uniforms {
    buffer: wgpu::Buffer,
    capacity: usize,
}

struct Target {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
    size: [u32; 2],
}

impl Painter {
    /// Nothing painted yet.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, page_layout: &wgpu::BindGroupLayout) -> Self {
        let frame_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("plane and colormaps"),
            entries: &[
                wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::VERTEX_FRAGMENT,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: NonZeroU64::new(size_of::<PlaneUniform>() as u64),
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
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("plane"),
            bind_group_layouts: &[Some(&frame_layout), Some(page_layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let alignment = u64::from(device.limits().min_uniform_buffer_offset_alignment);
        Self {
            device: device.clone(),
            queue: queue.clone(),
            pipelines: HashMap::new(),
            frame_layout,
            pipeline_layout,
            colormaps: None,
            uniforms: None,
            uniform_stride: (size_of::<PlaneUniform>() as u64).next_multiple_of(alignment),
            target: None,
        }
    }

    /// The picture, once there is one.
    pub fn texture(&self) -> Option<&wgpu::Texture> {
        self.target.as_ref().map(|target| &target.texture)
    }

    /// Whether the picture has this size and was painted with as many colormaps.
    pub fn fits(&self, size: [u32; 2], colormaps: &[ColormapTable]) -> bool {
        self.target.as_ref().is_some_and(|target| target.size == size)
            && self.colormaps.as_ref().is_some_and(|maps| maps.rows == colormaps.len())
    }

    /// Paints quads in their order onto a picture of `size`.
    pub fn paint(
        &mut self,
        size: [u32; 2],
        background: [u8; 3],
        colormaps: &[ColormapTable],
        quads: &[Quad],
        pages: &Pages,
    ) {
        self.resize(size);
        self.load_colormaps(colormaps);
        for quad in quads {
            self.prepare_pipeline(quad.shader, quad.blending);
        }
        self.write_uniforms(quads);

        let (Some(target), Some(colormaps), Some(buffer)) = (&self.target, &self.colormaps, &self.uniforms) else {
            return;
        };
        let frame = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("plane and colormaps"),
            layout: &self.frame_layout,
            entries: &[
                wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer.buffer,
                        offset: 0,
                        size: NonZeroU64::new(size_of::<PlaneUniform>() as u64),
                    }),
                },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::TextureView(&colormaps.view) },
            ],
        });
        let [red, green, blue] = background.map(|level| f64::from(level) / 255.0);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("canvas") });
        {
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: Some("canvas"),
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &target.view,
                    depth_slice: None,
                    resolve_target: None,
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color { r: red, g: green, b: blue, a: 1.0 }),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                ..wgpu::RenderPassDescriptor::default()
            });
            for (number, quad) in quads.iter().enumerate() {
                let Some(page) = pages.bind_group(quad.page) else { continue };
                let Some(pipeline) = self.pipelines.get(&(quad.shader, quad.blending)) else { continue };
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &frame, &[(number as u64 * self.uniform_stride) as u32]);
                pass.set_bind_group(1, page, &[]);
                pass.draw(0..4, 0..1);
            }
        }
        self.queue.submit([encoder.finish()]);
    }

    fn resize(&mut self, size: [u32; 2]) {
        if self.target.as_ref().is_some_and(|target| target.size == size) {
            return;
        }
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("canvas"),
            size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: CANVAS_FORMAT,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        self.target = Some(Target { texture, view, size });
    }

    fn load_colormaps(&mut self, tables: &[ColormapTable]) {
        if self.colormaps.as_ref().is_some_and(|maps| maps.rows == tables.len()) || tables.is_empty() {
            return;
        }
        let size = wgpu::Extent3d { width: 256, height: tables.len() as u32, depth_or_array_layers: 1 };
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("colormaps"),
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        self.queue.write_texture(
            texture.as_image_copy(),
            bytemuck::cast_slice(tables),
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(1024), rows_per_image: Some(size.height) },
            size,
        );
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        self.colormaps = Some(Colormaps { view, rows: tables.len() });
    }

    fn write_uniforms(&mut self, quads: &[Quad]) {
        let needed = quads.len().max(1);
        if self.uniforms.as_ref().is_none_or(|held| held.capacity < needed) {
            let capacity = needed.next_power_of_two();
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("planes"),
                size: capacity as u64 * self.uniform_stride,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            self.uniforms = Some(Uniforms { buffer, capacity });
        }
        let Some(held) = &self.uniforms else { return };
        let stride = self.uniform_stride as usize;
        let mut bytes = vec![0_u8; stride * needed];
        for (quad, place) in quads.iter().zip(bytes.chunks_exact_mut(stride)) {
            place[..size_of::<PlaneUniform>()].copy_from_slice(bytemuck::bytes_of(&quad.uniform));
        }
        self.queue.write_buffer(&held.buffer, 0, &bytes);
    }

    fn prepare_pipeline(&mut self, key: PlaneShaderKey, blending: Blending) {
        if self.pipelines.contains_key(&(key, blending)) {
            return;
        }
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("plane"),
            source: wgpu::ShaderSource::Wgsl(plane_shader(key).into()),
        });
        let pipeline = self.device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("plane"),
            layout: Some(&self.pipeline_layout),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("vertex"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            primitive: wgpu::PrimitiveState {
                topology: wgpu::PrimitiveTopology::TriangleStrip,
                ..wgpu::PrimitiveState::default()
            },
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("fragment"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(wgpu::ColorTargetState {
                    format: CANVAS_FORMAT,
                    blend: Some(blend_of(blending)),
                    // The canvas stays opaque, whatever is drawn on it.
                    write_mask: wgpu::ColorWrites::COLOR,
                })],
            }),
            multiview_mask: None,
            cache: None,
        });
        self.pipelines.insert((key, blending), pipeline);
    }
}

/// Colours arrive premultiplied.
fn blend_of(blending: Blending) -> wgpu::BlendState {
    let below = match blending {
        Blending::Additive => wgpu::BlendFactor::One,
        Blending::Translucent => wgpu::BlendFactor::OneMinusSrcAlpha,
        Blending::Opaque => wgpu::BlendFactor::Zero,
    };
    let component = wgpu::BlendComponent {
        src_factor: wgpu::BlendFactor::One,
        dst_factor: below,
        operation: wgpu::BlendOperation::Add,
    };
    wgpu::BlendState { color: component, alpha: component }
}

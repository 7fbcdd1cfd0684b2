//! The canvas: planes into texture arrays, layers into one picture in display values. The only place that touches textures.

use std::collections::HashMap;
use std::num::NonZeroU64;

use wellscope_shaders::{PlaneShaderKey, PlaneUniform, plane_shader};

use crate::colormap::ColormapTable;
use crate::render::report::RenderReport;
use crate::render::residency::{PageId, Placement, Residency, Slot};
use crate::render::scene::{Blending, Interpolation, PlaneDraw, PlaneSource, Scene};
use crate::render::texels::{TexelFormat, decode_of, format_of, is_broken, stride_of, texels_of};

/// Display values of the canvas: gamma space, 8 bit, as napari blends.
pub const CANVAS_FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;

/// Bytes written to the GPU per frame; the rest waits for the next, so that a burst cannot freeze the window.
const UPLOAD_BYTES_PER_FRAME: u64 = 32 << 20;

/// Everything of the canvas that lives on one device. Made anew when the device is lost: planes come back from host memory.
pub struct Canvas {
    device: wgpu::Device,
    queue: wgpu::Queue,
    max_texture_side: u32,
    residency: Residency,
    pages: HashMap<PageId, Page>,
    /// What each layer showed last: it stays until its next plane is resident.
    shown: HashMap<u64, PlaneDraw>,
    pipelines: HashMap<(PlaneShaderKey, Blending), wgpu::RenderPipeline>,
    frame_layout: wgpu::BindGroupLayout,
    page_layout: wgpu::BindGroupLayout,
    pipeline_layout: wgpu::PipelineLayout,
    colormaps: Option<Colormaps>,
    uniforms: Option<Uniforms>,
    uniform_stride: u64,
    target: Option<Target>,
    /// The scene that the target shows, and whether all of it was there.
    drawn: Option<(u64, bool)>,
}

struct Page {
    texture: wgpu::Texture,
    bind_group: wgpu::BindGroup,
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

impl Canvas {
    /// An empty canvas on a device. `budget_bytes` bounds the textures of planes.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, budget_bytes: u64) -> Self {
        let limits = device.limits();
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
                texture_entry(1, wgpu::TextureSampleType::Float { filterable: false }, wgpu::TextureViewDimension::D2),
            ],
        });
        let page_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("page"),
            entries: &[texture_entry(0, wgpu::TextureSampleType::Uint, wgpu::TextureViewDimension::D2Array)],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("plane"),
            bind_group_layouts: &[Some(&frame_layout), Some(&page_layout)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        let alignment = u64::from(limits.min_uniform_buffer_offset_alignment);
        Self {
            device: device.clone(),
            queue: queue.clone(),
            max_texture_side: limits.max_texture_dimension_2d,
            residency: Residency::new(budget_bytes, limits.max_texture_array_layers),
            pages: HashMap::new(),
            shown: HashMap::new(),
            pipelines: HashMap::new(),
            frame_layout,
            page_layout,
            pipeline_layout,
            colormaps: None,
            uniforms: None,
            uniform_stride: (size_of::<PlaneUniform>() as u64).next_multiple_of(alignment),
            target: None,
            drawn: None,
        }
    }

    /// The picture, once there is one.
    pub fn texture(&self) -> Option<&wgpu::Texture> {
        self.target.as_ref().map(|target| &target.texture)
    }

    /// The picture's view.
    pub fn view(&self) -> Option<&wgpu::TextureView> {
        self.target.as_ref().map(|target| &target.view)
    }

    /// Brings the scene's planes to the GPU and draws the canvas where something changed. Returns whether work is left for
    /// another frame.
    pub fn update(&mut self, scene: &Scene, colormaps: &[ColormapTable], report: &RenderReport) -> bool {
        let size = [scene.canvas.width, scene.canvas.height];
        if size.contains(&0) {
            // A minimised window shows nothing, so nothing of this scene is owed.
            report.update(|counts| {
                counts.drawn_generation = scene.generation;
                counts.frames += 1;
            });
            return false;
        }
        let side = self.max_texture_side;
        self.residency.begin_frame();
        let mut left = UPLOAD_BYTES_PER_FRAME;
        let mut uploaded = 0;
        for draw in &scene.draws {
            self.residency.use_plane(draw.plane.id);
        }
        for draw in &scene.draws {
            uploaded += u64::from(self.make_resident(&draw.plane, true, &mut left, report));
        }
        let missing = scene.draws.iter().filter(|draw| !self.residency.contains(draw.plane.id)).count();
        if missing == 0 {
            for plane in &scene.prefetch {
                self.make_resident(plane, false, &mut left, report);
            }
        }
        let waits = missing > 0 || (left == 0 && scene.prefetch.iter().any(|plane| !self.residency.contains(plane.id)));

        let is_current = self.target.as_ref().is_some_and(|target| target.size == size)
            && self.drawn == Some((scene.generation, true))
            && self.colormaps.as_ref().is_some_and(|maps| maps.rows == colormaps.len());
        if !is_current && (uploaded > 0 || self.drawn != Some((scene.generation, false)) || missing == 0) {
            self.resize(size);
            self.load_colormaps(colormaps);
            self.draw(scene);
            self.drawn = Some((scene.generation, missing == 0));
            report.update(|counts| counts.canvas_renders += 1);
        }
        report.update(|counts| {
            counts.frames += 1;
            counts.evictions = self.residency.evictions();
            counts.resident_bytes = self.residency.resident_bytes();
            counts.resident_planes = self.residency.plane_count() as u64;
            counts.missing_planes = missing as u64;
            counts.decimated_planes = scene.draws.iter().filter(|draw| stride_of(&draw.plane, side) > 1).count() as u64;
            if missing == 0 {
                counts.drawn_generation = scene.generation;
            }
        });
        waits
    }

    /// Uploads a plane unless it is there or this frame's share is spent. One plane is always let through, however large.
    fn make_resident(&mut self, plane: &PlaneSource, is_visible: bool, left: &mut u64, report: &RenderReport) -> bool {
        if self.residency.contains(plane.id) {
            return false;
        }
        let stride = stride_of(plane, self.max_texture_side);
        let format = format_of(plane, stride);
        let bytes = format.layer_bytes();
        if *left == 0 || (bytes > *left && *left < UPLOAD_BYTES_PER_FRAME) {
            *left = 0;
            return false;
        }
        let Some(placement) = self.residency.place(plane.id, format, is_visible) else { return false };
        let slot = self.carry_out(&placement, format);
        let Some(page) = self.pages.get(&slot.page) else { return false };
        *left = left.saturating_sub(bytes);
        self.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &page.texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: 0, z: slot.layer },
                aspect: wgpu::TextureAspect::All,
            },
            &texels_of(plane, stride),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(format.width * format.bytes_per_texel),
                rows_per_image: Some(format.height),
            },
            wgpu::Extent3d { width: format.width, height: format.height, depth_or_array_layers: 1 },
        );
        report.update(|counts| {
            counts.uploads += 1;
            counts.upload_bytes += bytes;
        });
        true
    }

    fn carry_out(&mut self, placement: &Placement, format: TexelFormat) -> Slot {
        for page in &placement.dropped_pages {
            self.pages.remove(page);
        }
        if let Some((id, layers)) = placement.new_page {
            let texture = self.device.create_texture(&wgpu::TextureDescriptor {
                label: Some("page"),
                size: wgpu::Extent3d { width: format.width, height: format.height, depth_or_array_layers: layers },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: match format.bytes_per_texel {
                    1 => wgpu::TextureFormat::R8Uint,
                    2 => wgpu::TextureFormat::R16Uint,
                    _ => wgpu::TextureFormat::R32Uint,
                },
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            });
            let view = texture.create_view(&wgpu::TextureViewDescriptor {
                dimension: Some(wgpu::TextureViewDimension::D2Array),
                ..wgpu::TextureViewDescriptor::default()
            });
            let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("page"),
                layout: &self.page_layout,
                entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) }],
            });
            self.pages.insert(id, Page { texture, bind_group });
        }
        placement.slot
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
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT
                | wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_SRC,
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

    fn draw(&mut self, scene: &Scene) {
        // A layer whose new plane is still on its way shows the last one that it had.
        let mut planned: Vec<(PlaneDraw, Slot)> = Vec::new();
        for draw in &scene.draws {
            if let Some(slot) = self.residency.use_plane(draw.plane.id) {
                if let Some(last) = self.shown.insert(draw.layer, draw.clone())
                    && last.plane.id != draw.plane.id
                    && last.plane.pixels.is_last_reference()
                {
                    // Replaced by its producer: nobody can ask for it again.
                    self.residency.release(last.plane.id);
                }
                planned.push((draw.clone(), slot));
            } else if let Some(last) = self.shown.get(&draw.layer)
                && let Some(slot) = self.residency.use_plane(last.plane.id)
            {
                planned.push((last.clone(), slot));
            }
        }
        self.shown.retain(|layer, _| scene.draws.iter().any(|draw| draw.layer == *layer));

        let side = self.max_texture_side;
        let uniforms: Vec<Option<PlaneUniform>> = planned
            .iter()
            .map(|(draw, slot)| uniform_of(scene, draw, slot.layer, stride_of(&draw.plane, side)))
            .collect();
        for (draw, _) in &planned {
            self.prepare_pipeline(key_of(draw), draw.blending);
        }
        self.write_uniforms(&uniforms);

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
        let [red, green, blue] = scene.background.map(|level| f64::from(level) / 255.0);
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
            for (number, ((draw, slot), uniform)) in planned.iter().zip(&uniforms).enumerate() {
                let (Some(_), Some(page)) = (uniform, self.pages.get(&slot.page)) else { continue };
                let Some(pipeline) = self.pipelines.get(&(key_of(draw), draw.blending)) else { continue };
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &frame, &[(number as u64 * self.uniform_stride) as u32]);
                pass.set_bind_group(1, &page.bind_group, &[]);
                pass.draw(0..4, 0..1);
            }
        }
        self.queue.submit([encoder.finish()]);
    }

    fn write_uniforms(&mut self, uniforms: &[Option<PlaneUniform>]) {
        let needed = uniforms.len().max(1);
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
        for (place, uniform) in uniforms.iter().enumerate().filter_map(|(place, uniform)| Some((place, (*uniform)?))) {
            bytes[place * stride..place * stride + size_of::<PlaneUniform>()]
                .copy_from_slice(bytemuck::bytes_of(&uniform));
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

fn texture_entry(
    binding: u32,
    sample_type: wgpu::TextureSampleType,
    view_dimension: wgpu::TextureViewDimension,
) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::FRAGMENT,
        ty: wgpu::BindingType::Texture { sample_type, view_dimension, multisampled: false },
        count: None,
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

fn key_of(draw: &PlaneDraw) -> PlaneShaderKey {
    let is_colour = draw.plane.samples > 1 || is_broken(&draw.plane);
    PlaneShaderKey {
        decode: if is_colour { wellscope_shaders::Decode::U32 } else { decode_of(&draw.plane) },
        is_colour,
        has_gamma: draw.gamma != 1.0 && !is_broken(&draw.plane),
        is_linear: draw.interpolation == Interpolation::Linear,
    }
}

/// Where a plane lies on the canvas. `None`: outside of it.
fn uniform_of(scene: &Scene, draw: &PlaneDraw, layer: u32, stride: u32) -> Option<PlaneUniform> {
    let canvas = [f64::from(scene.canvas.width), f64::from(scene.canvas.height)];
    let zoom = scene.camera.zoom;
    let center = [scene.camera.center_yx[1], scene.camera.center_yx[0]];
    let origin = [draw.origin_yx[1], draw.origin_yx[0]];
    let pixels = [f64::from(draw.plane.width), f64::from(draw.plane.height)];
    let mut rect = [0.0; 4];
    let mut first_texel = [0_i32; 2];
    let mut texel_at_origin = [0.0_f32; 2];
    for axis in 0..2 {
        // Pixel n covers n - 0.5 to n + 0.5 in data space. All of this in f64, and whole texels apart from the rest: far
        // zoomed in on a large image, f32 would shift pixels.
        let first_edge = origin[axis] - 0.5;
        let data_at_origin = center[axis] - canvas[axis] / 2.0 / zoom;
        let texel = (data_at_origin - first_edge) / f64::from(stride);
        first_texel[axis] = texel.floor() as i32;
        texel_at_origin[axis] = (texel - texel.floor()) as f32;
        rect[axis] = ((first_edge - data_at_origin) * zoom).clamp(0.0, canvas[axis]);
        rect[axis + 2] = ((first_edge + pixels[axis] - data_at_origin) * zoom).clamp(0.0, canvas[axis]);
    }
    if rect[2] <= rect[0] || rect[3] <= rect[1] {
        return None;
    }
    let format = format_of(&draw.plane, stride);
    let per_pixel = (1.0 / zoom / f64::from(stride)) as f32;
    Some(PlaneUniform {
        canvas_rect: rect.map(|edge| edge as f32),
        texel_at_origin,
        texels_per_pixel: [per_pixel; 2],
        canvas_size: canvas.map(|side| side as f32),
        contrast_limits: if is_broken(&draw.plane) { [0.0, 255.0] } else { draw.contrast_limits },
        plane_size: [format.width, format.height],
        gamma: draw.gamma,
        opacity: if draw.blending == Blending::Opaque { 1.0 } else { draw.opacity },
        slot: layer,
        colormap_row: draw.colormap,
        first_texel,
    })
}

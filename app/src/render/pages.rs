//! Texture arrays that hold tiles: one layer per tile, pages by size and format. The only place that writes textures of
//! planes; which slot a tile gets is decided in `residency`.

use std::collections::HashMap;

use crate::render::residency::{PageId, Placement, Residency, Slot};
use crate::render::scene::PlaneId;
use crate::render::texels::TexelFormat;
use crate::render::tiles::TileKey;

/// The pages of one device.
pub struct Pages {
    device: wgpu::Device,
    queue: wgpu::Queue,
    layout: wgpu::BindGroupLayout,
    residency: Residency,
    pages: HashMap<PageId, Page>,
}

struct Page {
    texture: wgpu::Texture,
    bind_group: wgpu::BindGroup,
}

/// Texels of a tile, as they lie in host memory.
pub struct TexelRows<'a> {
    /// From the first texel on.
    pub bytes: &'a [u8],
    /// Distance of rows in bytes.
    pub row_bytes: u32,
    /// Columns and rows.
    pub size: [u32; 2],
}

impl Pages {
    /// No pages. `budget_bytes` bounds those to come.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, budget_bytes: u64) -> Self {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("page"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::FRAGMENT,
                ty: wgpu::BindingType::Texture {
                    sample_type: wgpu::TextureSampleType::Uint,
                    view_dimension: wgpu::TextureViewDimension::D2Array,
                    multisampled: false,
                },
                count: None,
            }],
        });
        Self {
            device: device.clone(),
            queue: queue.clone(),
            layout,
            residency: Residency::new(budget_bytes, device.limits().max_texture_array_layers),
            pages: HashMap::new(),
        }
    }

    /// How shaders see a page.
    pub fn layout(&self) -> &wgpu::BindGroupLayout {
        &self.layout
    }

    /// What is where.
    pub fn residency(&self) -> &Residency {
        &self.residency
    }

    /// Begins a frame: what is used from here on stays until the next begins.
    pub fn begin_frame(&mut self) {
        self.residency.begin_frame();
    }

    /// Where a tile is, noting that this frame uses it.
    pub fn use_tile(&mut self, tile: TileKey) -> Option<Slot> {
        self.residency.use_tile(tile)
    }

    /// Frees the slots of a plane.
    pub fn release(&mut self, plane: PlaneId) {
        self.residency.release(plane);
    }

    /// Sets another budget; pages beyond it are freed unless this frame uses them.
    pub fn set_budget(&mut self, budget_bytes: u64) {
        for page in self.residency.set_budget(budget_bytes) {
            self.pages.remove(&page);
        }
    }

    /// The page of a slot, to be bound.
    pub fn bind_group(&self, page: PageId) -> Option<&wgpu::BindGroup> {
        self.pages.get(&page).map(|page| &page.bind_group)
    }

    /// Writes a tile that is not resident into a slot of `format`. `false`: only tiles that this frame uses could make room,
    /// and `must_fit` is false.
    pub fn upload(&mut self, tile: TileKey, format: TexelFormat, texels: &TexelRows<'_>, must_fit: bool) -> bool {
        let Some(placement) = self.residency.place(tile, format, must_fit) else { return false };
        let slot = self.carry_out(&placement, format);
        let Some(page) = self.pages.get(&slot.page) else { return false };
        let [width, height] = texels.size;
        self.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &page.texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: 0, z: slot.layer },
                aspect: wgpu::TextureAspect::All,
            },
            texels.bytes,
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(texels.row_bytes), rows_per_image: None },
            wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
        );
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
                layout: &self.layout,
                entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) }],
            });
            self.pages.insert(id, Page { texture, bind_group });
        }
        placement.slot
    }
}

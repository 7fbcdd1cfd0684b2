//! The canvas: which tiles the scene needs, how they get onto the GPU, and the one picture in display values.

use std::collections::{HashMap, HashSet};

use wellscope_shaders::{Decode, PlaneShaderKey, PlaneUniform};

use crate::colormap::{ColormapTable, LABEL_COLOURS};
use crate::host::wake::Wake;
use crate::render::pages::{Pages, TexelRows};
pub use crate::render::painter::CANVAS_FORMAT;
use crate::render::painter::{Painter, Quad};
use crate::render::prepare::{Prepared, Preparer, TileJob};
use crate::render::pyramid::Window;
use crate::render::report::RenderReport;
use crate::render::residency::Slot;
use crate::render::scene::{Blending, Interpolation, Neighbour, PlaneDraw, PlaneId, PlaneSource, Scene};
use crate::render::texels::{TexelFormat, decode_of, format_of, is_broken, is_native};
use crate::render::tiles::{Tile, TileKey, Tiling};

/// Bytes written to the GPU per frame; the rest waits for the next, so that a burst cannot freeze the window.
const UPLOAD_BYTES_PER_FRAME: u64 = 32 << 20;

/// What is drawn for a plane whose pixels cannot be had: a fault must be seen, not guessed.
const MAGENTA: [u8; 4] = [255, 0, 255, 255];

/// Everything of the canvas that lives on one device. Made anew when the device is lost: tiles come back from host memory.
pub struct Canvas {
    tiling: Tiling,
    pages: Pages,
    painter: Painter,
    preparer: Preparer,
    /// Tiles that were made and are not on the GPU yet.
    ready: HashMap<TileKey, (TileJob, Prepared)>,
    /// Planes that the disk did not give back.
    lost: HashSet<PlaneId>,
    /// What each layer showed last: it stays until its next plane can be drawn.
    shown: HashMap<u64, PlaneDraw>,
    /// The scene that the picture shows, and whether all of it was there.
    drawn: Option<(u64, bool)>,
    /// The scene for which no room is left to prefetch into.
    full: Option<u64>,
}

/// What is left to do after a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Nothing: the picture is complete.
    None,
    /// Tiles wait for the next frame's share of uploads.
    NextFrame,
    /// Tiles are being made; the loop is woken when one is ready.
    Background,
}

/// One frame's uploads.
struct Uploads {
    left_bytes: u64,
    count: u64,
    /// Something that is ready waits for the next frame.
    is_cut_short: bool,
    jobs: Vec<TileJob>,
}

impl Canvas {
    /// An empty canvas on a device. `budget_bytes` bounds the textures of planes.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, budget_bytes: u64) -> Self {
        Self::with_tiling(device, queue, budget_bytes, Tiling::default())
    }

    /// A canvas that cuts planes differently, for tests that have small ones.
    pub fn with_tiling(device: &wgpu::Device, queue: &wgpu::Queue, budget_bytes: u64, tiling: Tiling) -> Self {
        let pages = Pages::new(device, queue, budget_bytes);
        let painter = Painter::new(device, queue, pages.layout());
        let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4));
        Self {
            tiling: tiling.within(device.limits().max_texture_dimension_2d),
            pages,
            painter,
            preparer: Preparer::start(threads),
            ready: HashMap::new(),
            lost: HashSet::new(),
            shown: HashMap::new(),
            drawn: None,
            full: None,
        }
    }

    /// The picture, once there is one.
    pub fn texture(&self) -> Option<&wgpu::Texture> {
        self.painter.texture()
    }

    /// What wakes the loop when a tile has been made.
    pub fn wake_with(&self, wake: &Wake) {
        self.preparer.wake_with(wake);
    }

    /// Sets another bound for the textures of planes and frees what exceeds it.
    pub fn set_budget(&mut self, budget_bytes: u64) {
        self.pages.set_budget(budget_bytes);
    }

    /// Brings the scene's tiles to the GPU and draws the canvas where something changed.
    pub fn update(&mut self, scene: &Scene, colormaps: &[ColormapTable], report: &RenderReport) -> Work {
        let size = [scene.canvas.width, scene.canvas.height];
        if size.contains(&0) {
            // A minimised window shows nothing, so nothing of this scene is owed.
            self.preparer.want(Vec::new());
            report.update(|counts| {
                counts.drawn_generation = scene.generation;
                counts.frames += 1;
            });
            return Work::None;
        }
        self.take_prepared(report);
        self.pages.begin_frame();
        let wanted: Vec<Vec<Tile>> = scene.draws.iter().map(|draw| self.wanted_tiles(scene, draw)).collect();
        self.keep_what_is_shown(scene, &wanted);

        let mut uploads =
            Uploads { left_bytes: UPLOAD_BYTES_PER_FRAME, count: 0, is_cut_short: false, jobs: Vec::new() };
        // A coarse level of everything first: with it each layer can be drawn.
        for (draw, tiles) in scene.draws.iter().zip(&wanted) {
            if let Some(base) = self.needed_base(&draw.plane, tiles) {
                self.bring(&draw.plane, &base, true, &mut uploads, report);
            }
        }
        for (draw, tiles) in scene.draws.iter().zip(&wanted) {
            for tile in tiles {
                self.bring(&draw.plane, tile, true, &mut uploads, report);
            }
        }
        let missing = wanted.iter().flatten().filter(|tile| !self.pages.residency().contains(tile.key)).count();
        if missing == 0 {
            self.prefetch(scene, &mut uploads, report);
        }
        self.tidy_ready(scene, &mut uploads, report);
        let is_preparing = !uploads.jobs.is_empty();
        self.preparer.want(std::mem::take(&mut uploads.jobs));

        let is_current = self.painter.fits(size, colormaps) && self.drawn == Some((scene.generation, true));
        if !is_current && (uploads.count > 0 || self.drawn != Some((scene.generation, false)) || missing == 0) {
            let quads = self.quads(scene, &wanted);
            self.painter.paint(size, scene.background, colormaps, &quads, &self.pages);
            self.shown.values().for_each(|draw| draw.plane.note_drawn(report));
            self.drawn = Some((scene.generation, missing == 0));
            report.update(|counts| counts.canvas_renders += 1);
        }
        report.update(|counts| {
            let residency = self.pages.residency();
            counts.frames += 1;
            counts.evictions = residency.evictions();
            counts.resident_bytes = residency.resident_bytes();
            counts.budget_bytes = residency.budget_bytes();
            counts.resident_tiles = residency.tile_count() as u64;
            counts.missing_tiles = missing as u64;
            if missing == 0 {
                counts.drawn_generation = scene.generation;
            }
        });
        if uploads.is_cut_short {
            Work::NextFrame
        } else if is_preparing {
            Work::Background
        } else {
            Work::None
        }
    }

    fn take_prepared(&mut self, report: &RenderReport) {
        while let Some((job, prepared)) = self.preparer.take() {
            if let Prepared::Lost(reason) = &prepared {
                self.lost.insert(job.plane.id);
                self.pages.release(job.plane.id);
                report.add_problem(format!("An image cannot be shown, its pixels are lost: {reason}"));
            } else {
                self.ready.insert(job.tile.key, (job, prepared));
            }
        }
    }

    fn is_unreadable(&self, plane: &PlaneSource) -> bool {
        is_broken(plane) || self.lost.contains(&plane.id)
    }

    /// Tiles of the level that the camera asks for, as far as they are in view, nearest to the middle first.
    fn wanted_tiles(&self, scene: &Scene, draw: &PlaneDraw) -> Vec<Tile> {
        let plane = &draw.plane;
        let size = [plane.width, plane.height];
        let view = view_of(scene, draw);
        if self.is_unreadable(plane) {
            let whole = Window { x: 0, y: 0, width: plane.width.max(1), height: plane.height.max(1) };
            let texel = Window { width: 1, height: 1, ..whole };
            let key = TileKey { plane: plane.id, level: 0, column: 0, row: 0 };
            return vec![Tile { key, core: whole, texels: texel }];
        }
        let level = self.tiling.wanted_level(size, scene.camera.zoom);
        self.tiling.visible(plane.id, size, level, view)
    }

    /// The coarse tile that stands in for those that are missing, unless nothing is missing or something else does.
    fn needed_base(&self, plane: &PlaneSource, tiles: &[Tile]) -> Option<Tile> {
        let size = [plane.width, plane.height];
        let is_resident = |key| self.pages.residency().contains(key);
        let is_bare = |tile: &Tile| self.tiling.stand_in(size, tile, is_resident).is_none();
        let level = tiles.first()?.key.level;
        if self.is_unreadable(plane) || self.tiling.is_whole(size, level) || !tiles.iter().any(is_bare) {
            return None;
        }
        Some(self.tiling.tile(plane.id, size, self.tiling.base_level(size), 0, 0))
    }

    /// Notes that this frame uses what is on screen and what will be, so that uploads evict neither.
    fn keep_what_is_shown(&mut self, scene: &Scene, wanted: &[Vec<Tile>]) {
        let mut used: Vec<TileKey> = Vec::new();
        let last = self.shown.values().map(|draw| (draw, self.wanted_tiles(scene, draw)));
        let next = scene.draws.iter().zip(wanted.iter().cloned());
        for (draw, tiles) in next.chain(last) {
            let size = [draw.plane.width, draw.plane.height];
            let is_resident = |key| self.pages.residency().contains(key);
            used.extend(tiles.iter().filter_map(|tile| Some(self.tiling.stand_in(size, tile, is_resident)?.key)));
        }
        for key in used {
            self.pages.use_tile(key);
        }
    }

    /// Uploads a tile unless it is there or this frame's share is spent; has it made when it cannot be uploaded as it is. One
    /// tile is always let through, however large. `false`: there is no room for what is not visible.
    fn bring(
        &mut self,
        plane: &PlaneSource,
        tile: &Tile,
        is_visible: bool,
        uploads: &mut Uploads,
        report: &RenderReport,
    ) -> bool {
        if self.pages.use_tile(tile.key).is_some() {
            return true;
        }
        let is_unreadable = self.is_unreadable(plane);
        let format = self.slot_format(plane, tile);
        let bytes = u64::from(tile.texels.width) * u64::from(tile.texels.height) * u64::from(format.bytes_per_texel);
        let is_spent =
            uploads.left_bytes == 0 || (bytes > uploads.left_bytes && uploads.left_bytes < UPLOAD_BYTES_PER_FRAME);
        let is_direct = tile.key.level == 0 && is_native(plane);
        let prepared = self.ready.get(&tile.key);
        let in_memory = if is_direct && prepared.is_none() && !is_unreadable { plane.pixels.in_memory() } else { None };
        let size = [tile.texels.width, tile.texels.height];
        let packed_rows = size[0] * format.bytes_per_texel;
        let texels = match (prepared, &in_memory) {
            _ if is_unreadable => TexelRows { bytes: &MAGENTA, row_bytes: 4, size },
            (Some((_, Prepared::Texels(texels))), _) => TexelRows { bytes: texels, row_bytes: packed_rows, size },
            (Some((_, Prepared::Plane(bytes))), _) | (_, Some(bytes)) => {
                let row_bytes = plane.width * format.bytes_per_texel;
                let first = tile.texels.y as usize * row_bytes as usize
                    + tile.texels.x as usize * format.bytes_per_texel as usize;
                TexelRows { bytes: &bytes[first..], row_bytes, size }
            }
            _ => {
                uploads.jobs.push(TileJob { tile: *tile, plane: plane.clone() });
                return true;
            }
        };
        if is_spent {
            uploads.left_bytes = 0;
            uploads.is_cut_short = true;
            return true;
        }
        if !self.pages.upload(tile.key, format, &texels, is_visible) {
            return false;
        }
        self.ready.remove(&tile.key);
        uploads.left_bytes = uploads.left_bytes.saturating_sub(bytes);
        uploads.count += 1;
        plane.note_uploaded(report);
        report.update(|counts| {
            counts.uploads += 1;
            counts.upload_bytes += bytes;
        });
        true
    }

    fn slot_format(&self, plane: &PlaneSource, tile: &Tile) -> TexelFormat {
        if self.is_unreadable(plane) {
            return TexelFormat { width: 1, height: 1, bytes_per_texel: 4 };
        }
        format_of(plane, self.tiling.slot_size([plane.width, plane.height], tile.key.level))
    }

    /// What a slider move would show next, at the level and place that the camera looks at.
    fn prefetch(&mut self, scene: &Scene, uploads: &mut Uploads, report: &RenderReport) {
        let Some(like) = scene.draws.first() else { return };
        for Neighbour { plane, origin_yx } in &scene.prefetch {
            let draw = PlaneDraw { plane: plane.clone(), origin_yx: *origin_yx, ..like.clone() };
            for tile in self.wanted_tiles(scene, &draw) {
                if self.full == Some(scene.generation) {
                    return;
                }
                if !self.bring(plane, &tile, false, uploads, report) {
                    self.full = Some(scene.generation);
                }
            }
        }
    }

    /// Tiles that were made but are no longer wanted are put where room is, since making them took time; the rest is dropped.
    fn tidy_ready(&mut self, scene: &Scene, uploads: &mut Uploads, report: &RenderReport) {
        if uploads.is_cut_short {
            return;
        }
        let left: Vec<TileJob> = self.ready.values().map(|(job, _)| job.clone()).collect();
        for job in left {
            if self.full != Some(scene.generation) && !self.bring(&job.plane, &job.tile, false, uploads, report) {
                self.full = Some(scene.generation);
            }
        }
        if !uploads.is_cut_short {
            self.ready.clear();
        }
    }

    fn quads(&mut self, scene: &Scene, wanted: &[Vec<Tile>]) -> Vec<Quad> {
        let mut quads = Vec::new();
        for (draw, tiles) in scene.draws.iter().zip(wanted) {
            let (found, is_covered) = self.quads_of(scene, draw, tiles);
            let last = self.shown.get(&draw.layer).filter(|last| last.plane.id != draw.plane.id).cloned();
            // A layer whose new plane is still on its way shows the last one that it had.
            if let (false, Some(last)) = (is_covered, &last) {
                let tiles = self.wanted_tiles(scene, last);
                quads.extend(self.quads_of(scene, last, &tiles).0);
                continue;
            }
            quads.extend(found);
            self.shown.insert(draw.layer, draw.clone());
            if let Some(last) = last
                && last.plane.pixels.is_last_reference()
            {
                // Replaced by its producer: nobody can ask for it again.
                self.pages.release(last.plane.id);
                self.lost.remove(&last.plane.id);
            }
        }
        self.shown.retain(|layer, _| scene.draws.iter().any(|draw| draw.layer == *layer));
        quads
    }

    /// Quads of what is resident, and whether that covers all of `tiles`.
    fn quads_of(&mut self, scene: &Scene, draw: &PlaneDraw, tiles: &[Tile]) -> (Vec<Quad>, bool) {
        let size = [draw.plane.width, draw.plane.height];
        let shader = self.shader_of(draw);
        let mut quads = Vec::with_capacity(tiles.len());
        let mut is_covered = true;
        for tile in tiles {
            let residency = self.pages.residency();
            let source = self.tiling.stand_in(size, tile, |key| residency.contains(key));
            let Some((source, slot)) = source.and_then(|source| Some((source, self.pages.use_tile(source.key)?)))
            else {
                is_covered = false;
                continue;
            };
            if let Some(uniform) = self.uniform_of(scene, draw, tile, &source, slot) {
                quads.push(Quad { page: slot.page, shader, blending: draw.blending, uniform });
            }
        }
        (quads, is_covered)
    }

    fn shader_of(&self, draw: &PlaneDraw) -> PlaneShaderKey {
        let is_unreadable = self.is_unreadable(&draw.plane);
        let is_colour = draw.plane.samples > 1 || is_unreadable;
        let is_labels = draw.colormap == LABEL_COLOURS && !is_colour;
        PlaneShaderKey {
            decode: match () {
                () if is_colour => Decode::U32,
                () if is_labels => Decode::Label,
                () => decode_of(&draw.plane),
            },
            is_colour,
            has_gamma: draw.gamma != 1.0 && !is_unreadable && !is_labels,
            // Between two labels lies no third.
            is_linear: draw.interpolation == Interpolation::Linear && !is_labels,
        }
    }

    /// Where the area of `tile` lies on the canvas, drawn with the texels of `source`. `None`: outside of it.
    fn uniform_of(
        &self,
        scene: &Scene,
        draw: &PlaneDraw,
        tile: &Tile,
        source: &Tile,
        slot: Slot,
    ) -> Option<PlaneUniform> {
        let canvas = [f64::from(scene.canvas.width), f64::from(scene.canvas.height)];
        let zoom = scene.camera.zoom;
        let [left, top, ..] = view_of(scene, draw);
        let data_at_origin = [left, top];
        let edges = tile.edges([draw.plane.width, draw.plane.height]);
        let scale = f64::from(1_u32 << source.key.level);
        let first = [source.texels.x, source.texels.y];
        let mut rect = [0.0; 4];
        let mut first_texel = [0_i32; 2];
        let mut texel_at_origin = [0.0_f32; 2];
        for axis in 0..2 {
            // All of this in f64, and whole texels apart from the rest: far zoomed in on a large image, f32 would shift pixels.
            let texel = data_at_origin[axis] / scale - f64::from(first[axis]);
            first_texel[axis] = texel.floor() as i32;
            texel_at_origin[axis] = (texel - texel.floor()) as f32;
            rect[axis] = ((edges[axis] - data_at_origin[axis]) * zoom).clamp(0.0, canvas[axis]);
            rect[axis + 2] = ((edges[axis + 2] - data_at_origin[axis]) * zoom).clamp(0.0, canvas[axis]);
        }
        if rect[2] <= rect[0] || rect[3] <= rect[1] {
            return None;
        }
        let is_unreadable = self.is_unreadable(&draw.plane);
        Some(PlaneUniform {
            canvas_rect: rect.map(|edge| edge as f32),
            texel_at_origin,
            texels_per_pixel: [(1.0 / zoom / scale) as f32; 2],
            canvas_size: canvas.map(|side| side as f32),
            contrast_limits: if is_unreadable { [0.0, 255.0] } else { draw.contrast_limits },
            plane_size: [source.texels.width, source.texels.height],
            gamma: draw.gamma,
            opacity: if draw.blending == Blending::Opaque { 1.0 } else { draw.opacity },
            slot: slot.layer,
            colormap_row: draw.colormap,
            first_texel,
        })
    }
}

/// What the canvas shows of a plane: left, top, right and bottom in its pixels, from the first pixel's outer edge. Pixel n
/// covers n - 0.5 to n + 0.5 in data space.
fn view_of(scene: &Scene, draw: &PlaneDraw) -> [f64; 4] {
    let zoom = scene.camera.zoom;
    let sides = [f64::from(scene.canvas.width) / zoom, f64::from(scene.canvas.height) / zoom];
    let left = scene.camera.center_yx[1] - sides[0] / 2.0 - (draw.origin_yx[1] - 0.5);
    let top = scene.camera.center_yx[0] - sides[1] / 2.0 - (draw.origin_yx[0] - 0.5);
    [left, top, left + sides[0], top + sides[1]]
}

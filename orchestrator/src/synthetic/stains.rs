//! What each stain lights up in a cell, before any microscope has blurred it.

use std::f32::consts::TAU;

use ndarray::Array2;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::cells::Cell;

/// A stain and the channel that records it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stain {
    /// DNA: nuclei with grains.
    Dapi,
    /// A reporter protein: in the cytoplasm without a dose, in the nucleus with one.
    Gfp,
    /// Mitochondria: threads around the nucleus.
    MitoTracker,
    /// The cell's rim and fibres across it.
    Actin,
}

impl Stain {
    /// All, in the order of channels.
    pub const ALL: [Self; 4] = [Self::Dapi, Self::Gfp, Self::MitoTracker, Self::Actin];

    /// What the microscope calls the channel.
    pub const fn channel_name(self) -> &'static str {
        match self {
            Self::Dapi => "DAPI",
            Self::Gfp => "GFP",
            Self::MitoTracker => "MitoTracker",
            Self::Actin => "Actin",
        }
    }

    /// Photons per pixel where a typical cell is brightest, and of the medium between cells.
    pub(super) const fn photons(self) -> (f32, f32) {
        match self {
            Self::Dapi => (2200.0, 60.0),
            Self::Gfp => (1500.0, 110.0),
            Self::MitoTracker => (1300.0, 80.0),
            Self::Actin => (900.0, 130.0),
        }
    }

    /// Adds one cell's light to a plane. 1 is the brightness of a typical cell.
    pub(super) fn paint(self, cell: &Cell, plane: &mut Array2<f32>) {
        match self {
            Self::Dapi => paint_dna(cell, plane),
            Self::Gfp => paint_reporter(cell, plane),
            Self::MitoTracker => paint_mitochondria(cell, plane),
            Self::Actin => paint_actin(cell, plane),
        }
    }
}

/// 1 inside, 0 outside, soft over a small part of the radius at the rim.
fn inside(distance: f32, softness: f32) -> f32 {
    let t = ((1.0 + softness - distance) / (2.0 * softness)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Calls `value(dy, dx)` for each pixel within `reach` of the cell's centre and adds what it gives.
fn add_around(cell: &Cell, reach: f32, plane: &mut Array2<f32>, value: impl Fn(f32, f32) -> f32) {
    let (height, width) = plane.dim();
    let range = |centre: f32, extent: usize| {
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() + 1.0).clamp(0.0, extent as f32) as usize;
        first.min(end)..end
    };
    for y in range(cell.centre[0], height) {
        for x in range(cell.centre[1], width) {
            plane[[y, x]] += value(y as f32 - cell.centre[0], x as f32 - cell.centre[1]);
        }
    }
}

/// A smooth pattern of about unit height: a sum of waves in random directions.
struct Grain {
    waves: [[f32; 3]; 6],
}

impl Grain {
    fn new(rng: &mut Xoshiro256PlusPlus, period: f32) -> Self {
        let waves = std::array::from_fn(|_| {
            let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
            let frequency = TAU / (period * rng.random_range(0.7..1.5f32));
            [cos * frequency, sin * frequency, rng.random_range(0.0..TAU)]
        });
        Self { waves }
    }

    fn at(&self, dy: f32, dx: f32) -> f32 {
        self.waves.iter().map(|[fy, fx, phase]| (fy * dy + fx * dx + phase).cos()).sum::<f32>() / 2.5
    }
}

fn paint_dna(cell: &Cell, plane: &mut Array2<f32>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(cell.texture_seed);
    let grain = Grain::new(&mut rng, 7.0);
    add_around(cell, cell.nucleus.reach() * 1.2, plane, |dy, dx| {
        let distance = cell.nucleus.distance(dy, dx);
        let grains = if cell.dividing { 1.0 } else { 0.72 + 0.16 * grain.at(dy, dx) };
        cell.dna * inside(distance, 0.12) * grains.max(0.3)
    });
}

fn paint_reporter(cell: &Cell, plane: &mut Array2<f32>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(cell.texture_seed ^ 1);
    let grain = Grain::new(&mut rng, 11.0);
    add_around(cell, cell.body.reach() * 1.1, plane, |dy, dx| {
        let (body, nucleus) = (cell.body.distance(dy, dx), inside(cell.nucleus.distance(dy, dx), 0.12));
        // A cell is thickest around its nucleus.
        let thickness = inside(body, 0.15) * (1.0 - 0.55 * body.min(1.2).powi(2));
        let cytoplasm = (1.0 - cell.in_nucleus) * thickness * (0.8 + 0.15 * grain.at(dy, dx)) * (1.0 - 0.75 * nucleus);
        cell.expression * (cytoplasm.max(0.0) + cell.in_nucleus * nucleus * 1.3)
    });
}

fn paint_actin(cell: &Cell, plane: &mut Array2<f32>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(cell.texture_seed ^ 2);
    let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
    let (period, phase) = (rng.random_range(4.5..7.0f32), rng.random_range(0.0..TAU));
    let grain = Grain::new(&mut rng, 25.0);
    add_around(cell, cell.body.reach() * 1.15, plane, |dy, dx| {
        let body = cell.body.distance(dy, dx);
        let rim = (-((body - 0.95) / 0.07).powi(2)).exp();
        let fibre = ((dx * cos + dy * sin) * TAU / period + phase + 1.5 * grain.at(dy, dx)).cos().max(0.0).powi(3);
        inside(body, 0.1) * (0.18 + 0.45 * fibre) + 0.75 * rim
    });
}

/// Threads: short random walks in the body, outside the nucleus.
fn paint_mitochondria(cell: &Cell, plane: &mut Array2<f32>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(cell.texture_seed ^ 3);
    let reach = cell.body.reach();
    for _ in 0..(reach * 1.6) as usize {
        let (angle, radius) = (rng.random_range(0.0..TAU), reach * rng.random_range(0.25..0.8f32));
        let (mut dy, mut dx) = (angle.sin() * radius, angle.cos() * radius);
        let mut heading = rng.random_range(0.0..TAU);
        for _ in 0..rng.random_range(4..14) {
            heading += rng.random_range(-0.7..0.7f32);
            (dy, dx) = (dy + heading.sin(), dx + heading.cos());
            let body = cell.body.distance(dy, dx);
            if body < 0.85 && cell.nucleus.distance(dy, dx) > 1.05 {
                add_spot(cell.centre[0] + dy, cell.centre[1] + dx, 0.55 * (1.1 - body), plane);
            }
        }
    }
}

/// A spot between pixels, shared among the four around it.
fn add_spot(y: f32, x: f32, value: f32, plane: &mut Array2<f32>) {
    let (top, left) = (y.floor(), x.floor());
    for (py, wy) in [(top, 1.0 - (y - top)), (top + 1.0, y - top)] {
        for (px, wx) in [(left, 1.0 - (x - left)), (left + 1.0, x - left)] {
            if py >= 0.0
                && px >= 0.0
                && let Some(pixel) = plane.get_mut((py as usize, px as usize))
            {
                *pixel += value * wy * wx;
            }
        }
    }
}

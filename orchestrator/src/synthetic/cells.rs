//! The cells of one field of view: where they lie, how they are shaped, what a dose does to them.

use std::f32::consts::{PI, TAU};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Cells per million pixels without any dose: a monolayer that is not quite closed.
const CELLS_PER_MEGAPIXEL: f32 = 260.0;

/// One cell. Lengths in pixels.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Where its nucleus lies, `[y, x]`.
    pub centre: [f32; 2],
    /// Outline of the nucleus.
    pub nucleus: Blob,
    /// Outline of the whole cell, around the same centre.
    pub body: Blob,
    /// Brightness of its DNA: twice as much after it was copied, more when condensed for division.
    pub dna: f32,
    /// Whether it divides: its DNA is a bright bar.
    pub dividing: bool,
    /// How much of the reporter it makes.
    pub expression: f32,
    /// Part of the reporter that went into the nucleus, 0 to 1: what the dose drives.
    pub in_nucleus: f32,
    /// Focus lies this many micrometres above that of its neighbours: cells round up before they divide.
    pub height_um: f32,
    /// Where grains of the nucleus and mitochondria of the body lie comes from here.
    pub texture_seed: u64,
}

/// A round, uneven outline: an ellipse with a few waves along its rim.
#[derive(Clone, Debug)]
pub struct Blob {
    radii: [f32; 2],
    turned: f32,
    /// Height and phase of waves 2, 3, ... around the rim.
    waves: [(f32, f32); 4],
}

impl Blob {
    fn random(rng: &mut Xoshiro256PlusPlus, radius: f32, stretch: f32, unevenness: f32) -> Self {
        let stretch = rng.random_range(1.0..stretch).sqrt();
        let waves = std::array::from_fn(|index| {
            (unevenness / (index as f32 + 1.5) * rng.random_range(0.2..1.0f32), rng.random_range(0.0..TAU))
        });
        Self { radii: [radius / stretch, radius * stretch], turned: rng.random_range(0.0..PI), waves }
    }

    /// How far out an offset from the centre is: 0 in the middle, 1 on the rim, more outside.
    pub fn distance(&self, dy: f32, dx: f32) -> f32 {
        let (sin, cos) = self.turned.sin_cos();
        let along = (dx * cos + dy * sin) / self.radii[1];
        let across = (dy * cos - dx * sin) / self.radii[0];
        let angle = across.atan2(along);
        let mut rim = 1.0;
        for (order, (height, phase)) in (2..).zip(self.waves) {
            rim += height * (order as f32 * angle + phase).cos();
        }
        along.hypot(across) / rim.max(0.3)
    }

    /// No part of it is farther from its centre.
    pub fn reach(&self) -> f32 {
        let waves: f32 = self.waves.iter().map(|(height, _)| height.abs()).sum();
        self.radii[0].max(self.radii[1]) * (1.0 + waves)
    }
}

/// The cells of a square field of `size` pixels. `dose` goes from 0 (untreated) to 1: fewer cells, smaller nuclei, and the
/// reporter moves from the cytoplasm into the nucleus.
pub fn grow_cells(seed: u64, size: usize, dose: f32) -> Vec<Cell> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let margin = 20.0;
    let extent = size as f32 + 2.0 * margin;
    let wanted = extent * extent / 1e6 * CELLS_PER_MEGAPIXEL * (1.0 - 0.6 * dose * dose);
    let wanted = (wanted * rng.random_range(0.85..1.15f32)) as usize;
    let mut cells: Vec<Cell> = Vec::with_capacity(wanted);
    // A few tries per cell: in a full field some find no room, as in a dish.
    for _ in 0..wanted * 8 {
        if cells.len() == wanted {
            break;
        }
        let centre = [rng.random_range(-margin..size as f32 + margin), rng.random_range(-margin..size as f32 + margin)];
        let free = cells.iter().all(|other| (other.centre[0] - centre[0]).hypot(other.centre[1] - centre[1]) > 30.0);
        if free {
            cells.push(grow_cell(&mut rng, centre, dose));
        }
    }
    cells
}

fn grow_cell(rng: &mut Xoshiro256PlusPlus, centre: [f32; 2], dose: f32) -> Cell {
    let dividing = rng.random_range(0.0..1.0f32) < 0.05 * (1.0 - dose);
    let radius = rng.random_range(11.5..16.0f32) * (1.0 - 0.22 * dose);
    let copied = rng.random_range(0.0..1.0f32) < 0.3;
    let nucleus = if dividing {
        Blob::random(rng, 9.0, 6.0, 0.1)
    } else {
        Blob::random(rng, if copied { radius * 1.12 } else { radius }, 1.9, 0.07)
    };
    let body = if dividing {
        Blob::random(rng, 20.0, 1.1, 0.04)
    } else {
        let spread = rng.random_range(2.1..2.9f32) * (1.0 - 0.2 * dose);
        Blob::random(rng, radius * spread, 2.4, 0.28)
    };
    // Neighbours answer to a dose differently: a sigmoid with a spread.
    let answer = 1.0 / (1.0 + (-(dose - 0.45 + rng.random_range(-0.18..0.18f32)) * 14.0).exp());
    Cell {
        centre,
        nucleus,
        body,
        dna: rng.random_range(0.8..1.2f32)
            * if dividing {
                2.6
            } else if copied {
                1.35
            } else {
                1.0
            },
        dividing,
        expression: 0.45 + rng.random_range(0.0..1.0f32).powi(2) * 1.1,
        in_nucleus: 0.08 + 0.84 * answer,
        height_um: if dividing { rng.random_range(2.0..4.0f32) } else { rng.random_range(-0.8..0.8f32) },
        texture_seed: rng.random(),
    }
}

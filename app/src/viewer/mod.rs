//! The viewer without its window: layers, sliders, display settings and camera as plain data, and the decisions of what
//! is shown. Nothing here knows bevy's schedule, a GPU or a socket, so all of it is tested as functions.
//!
//! The data of one viewer is one resource ([`Viewer`]) rather than an entity per layer: control replies, the overlay and
//! slicing need all layers in order, and a test can hold it in its hand.

pub mod answer;
pub mod axes;
pub mod camera;
pub mod command;
pub mod display;
pub mod ingest;
pub mod intensity_window;
pub mod latency;
pub mod layer;
pub mod overlay;
mod payloads;
pub mod preview;
pub mod resolve;
pub mod state;

use bevy::prelude::Resource;
use indexmap::IndexMap;
use wellscope_protocol::batch::ComponentNames;

use crate::viewer::axes::{Axes, AxisId};
use crate::viewer::camera::{Camera, Extent};
use crate::viewer::latency::Awaited;
use crate::viewer::layer::{Layer, LayerId};

/// Everything that is shown and how.
#[derive(Resource, Default)]
pub struct Viewer {
    /// Window title; clients see it too.
    pub title: String,
    /// Sliders.
    pub axes: Axes,
    /// Layers by route key, bottom to top.
    pub layers: IndexMap<String, Layer>,
    /// Rich names of component values.
    pub names: ComponentNames,
    /// The layer whose settings the panel shows and whose labels the overlay reads.
    pub selected: Option<LayerId>,
    /// The slider that arrow keys move.
    pub focused_axis: Option<AxisId>,
    /// What the canvas looks at.
    pub camera: Camera,
    /// Each item first empties its route (`--replace-layers`).
    pub replace_layers: bool,
    /// Grows with every change that can be seen.
    pub revision: u64,
    /// Counts of what was taken in; see [`IngestCounters`].
    pub counters: IngestCounters,
    /// Routes changed since the last completed settlement, in order of change.
    pub unsettled_routes: Vec<String>,
    /// Frames drawn since start, as of the beginning of this update.
    pub frames_drawn: u64,
    /// Planes that are shown and not drawn yet; few, since each takes the place of another.
    awaited: Vec<Awaited>,
    next_layer_id: u64,
    next_plane_id: u64,
    has_fitted: bool,
}

/// How much was taken in since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestCounters {
    /// Batches.
    pub batches: u64,
    /// Items: images, shape sets, point sets.
    pub items: u64,
    /// Image planes put into a stack.
    pub planes: u64,
    /// Planes that took the place of an earlier one at the same coordinate.
    pub replaced: u64,
    /// Planes measured.
    pub statistics: u64,
    /// Items that could not be put into a stack; each was reported.
    pub refused: u64,
}

impl Viewer {
    /// An empty viewer.
    pub fn new(title: &str, replace_layers: bool) -> Self {
        Self { title: title.to_owned(), replace_layers, ..Self::default() }
    }

    /// Notes that something visible changed.
    pub fn touch(&mut self) {
        self.revision += 1;
    }

    /// A layer by id.
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.values().find(|layer| layer.id == id)
    }

    /// A layer by id, to change it.
    pub fn layer_mut(&mut self, id: LayerId) -> Option<&mut Layer> {
        self.layers.values_mut().find(|layer| layer.id == id)
    }

    /// The selected layer.
    pub fn selected_layer(&self) -> Option<&Layer> {
        self.layer(self.selected?)
    }

    /// What all visible layers cover together; all layers when none is visible.
    pub fn extent(&self) -> Option<Extent> {
        let union = |visible_only: bool| {
            self.layers
                .values()
                .filter(|layer| layer.visible || !visible_only)
                .filter_map(|layer| layer.extent)
                .reduce(Extent::union)
        };
        union(true).or_else(|| union(false))
    }
}

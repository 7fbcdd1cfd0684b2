//! The text on the canvas that names the current well, channel, ... as the sliders move.

use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::label::{overlay_text, value_label};

use crate::viewer::Viewer;
use crate::viewer::axes::AxisId;
use crate::viewer::layer::Layer;

impl Viewer {
    /// Text of the selected layer at the sliders' places; when they stand outside of what that layer covers, of the topmost
    /// visible layer that has something there, so that what is on screen is named.
    ///
    /// Wording as napari's OpenHCS server draws it (openhcs 0.8.6): scalar labels first, then one per slider.
    pub fn overlay(&self) -> String {
        let selected = self.selected_layer().map(|layer| self.overlay_of(layer)).filter(|text| !text.is_empty());
        selected.unwrap_or_else(|| {
            let has_something =
                |layer: &&Layer| layer.coordinate_at(&self.axes).is_some_and(|here| layer.get(&here).is_some());
            let on_top = self.layers.values().rev().filter(|layer| layer.visible).find(has_something);
            on_top.map(|layer| self.overlay_of(layer)).unwrap_or_default()
        })
    }

    /// The same for any layer; empty where it covers nothing.
    pub fn overlay_of(&self, layer: &Layer) -> String {
        if layer.is_empty() || !layer.covers_sliders(&self.axes) {
            return String::new();
        }
        let at_sliders: Vec<String> = self
            .slider_axes(layer)
            .filter_map(|axis| self.label(axis, self.axes.get(axis).value(self.axes.get(axis).current()?)))
            .collect();
        overlay_text(&self.scalar_labels(layer), &at_sliders)
    }

    /// Labels of the components that have one value in this layer and no slider.
    pub fn scalar_labels(&self, layer: &Layer) -> Vec<String> {
        layer
            .axes
            .iter()
            .filter(|axis| self.axes.get(**axis).len() <= 1)
            .filter_map(|axis| {
                let value = layer.seen(*axis).next()?;
                self.label(*axis, self.axes.get(*axis).value(value))
            })
            .collect()
    }

    /// The layer's components that have a slider, in slider order of the layer.
    pub fn slider_axes<'a>(&'a self, layer: &'a Layer) -> impl Iterator<Item = AxisId> + 'a {
        layer.axes.iter().copied().filter(|axis| self.axes.get(*axis).len() > 1)
    }

    /// A value's label, e.g. `Ch1: DAPI`.
    pub fn label(&self, axis: AxisId, value: &ComponentValue) -> Option<String> {
        value_label(&self.axes.get(axis).component, value, &self.names)
    }
}

//! The text on the canvas that names the current well, channel, ... as the sliders move.

use wellscope_protocol::component::ComponentValue;
use wellscope_protocol::label::{overlay_text, value_label};

use crate::viewer::Viewer;
use crate::viewer::axes::AxisId;
use crate::viewer::layer::Layer;

impl Viewer {
    /// Text of the selected layer at the sliders' places; empty when the layer has nothing on one of them.
    ///
    /// Wording as napari's OpenHCS server draws it (openhcs 0.8.6): scalar labels first, then one per slider.
    pub fn overlay(&self) -> String {
        self.selected_layer().map(|layer| self.overlay_of(layer)).unwrap_or_default()
    }

    /// The same for any layer.
    pub fn overlay_of(&self, layer: &Layer) -> String {
        let at_sliders: Option<Vec<String>> = self
            .slider_axes(layer)
            .map(|axis| {
                let current = self.axes.get(axis).current()?;
                let in_domain = layer.has_seen(axis, current) || self.is_within_seen_range(layer, axis);
                in_domain.then(|| self.label(axis, self.axes.get(axis).value(current)).unwrap_or_default())
            })
            .collect();
        at_sliders.map(|labels| overlay_text(&self.scalar_labels(layer), &labels)).unwrap_or_default()
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

    /// Whether the slider stands between values that the layer has: a hole, not a place outside of the layer.
    fn is_within_seen_range(&self, layer: &Layer, axis: AxisId) -> bool {
        let slider = self.axes.get(axis);
        let Some(current) = slider.current().map(|id| slider.index_of(id)) else { return false };
        let places: Vec<usize> = layer.seen(axis).map(|id| slider.index_of(id)).collect();
        places.iter().min().is_some_and(|first| *first <= current)
            && places.iter().max().is_some_and(|last| current <= *last)
    }
}

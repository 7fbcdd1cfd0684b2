//! What a user can do to the view. Buttons, keys and control messages all send these, so they share one path.

use bevy::prelude::Message;
use wellscope_protocol::component::ComponentValue;

use crate::render::scene::{Blending, Interpolation};
use crate::statistics::auto_limits;
use crate::viewer::Viewer;
use crate::viewer::axes::AxisId;
use crate::viewer::layer::LayerId;

/// One wish of the user.
#[derive(Message, Clone, Debug)]
pub enum ViewCommand {
    /// Move a slider to a value; a value that the slider lacks changes nothing.
    GoTo(AxisId, ComponentValue),
    /// Move a slider to a place in display order, clamped.
    GoToIndex(AxisId, usize),
    /// Move a slider by some places.
    Step(AxisId, i64),
    /// Move the focused slider by some places.
    StepFocused(i64),
    /// Move the focused slider to its first (`false`) or last (`true`) value.
    FocusedEnd(bool),
    /// Let the arrow keys move this slider.
    FocusAxis(AxisId),
    /// Let the arrow keys move the next (1) or previous (-1) slider.
    FocusNeighbour(i64),
    /// Show this layer's settings and labels.
    Select(LayerId),
    /// Select the layer above (1) or below (-1).
    SelectNeighbour(i64),
    /// Show or hide a layer.
    SetVisible(LayerId, bool),
    /// Show or hide every layer but this.
    ToggleOthers(LayerId),
    /// Move a layer up (1) or down (-1) in the drawing order.
    Raise(LayerId, i64),
    /// Remove a layer and its data; later items of its route bring it back.
    Remove(LayerId),
    /// Set the contrast limits of the channel that the layer shows.
    SetContrast(LayerId, [f64; 2]),
    /// Contrast limits by percentile of the plane that the layer shows.
    AutoContrast(LayerId),
    /// The same for every visible layer.
    AutoContrastAll,
    /// Contrast limits from the lowest to the highest value received for the channel that the layer shows.
    FullContrast(LayerId),
    /// Set the gamma of the channel that the layer shows.
    SetGamma(LayerId, f64),
    /// Set the colormap of the channel that the layer shows.
    SetColormap(LayerId, String),
    /// Set the opacity, 0 to 1.
    SetOpacity(LayerId, f32),
    /// Set how a layer joins those below it.
    SetBlending(LayerId, Blending),
    /// Set how enlarged pixels look.
    SetInterpolation(LayerId, Interpolation),
    /// Move the data by physical screen pixels.
    Pan([f64; 2]),
    /// Zoom by a factor around a canvas position, in physical pixels.
    ZoomAt(f64, [f64; 2]),
    /// Zoom by a factor around the middle of the canvas.
    Zoom(f64),
    /// One screen pixel per data pixel.
    OneToOne,
    /// Show everything.
    Fit,
    /// Set centre (`[y, x]`, data pixels) and zoom (screen pixels per data pixel).
    LookAt([f64; 2], f64),
}

impl Viewer {
    /// Carries out a command. Commands about layers or sliders that are gone change nothing.
    pub fn apply(&mut self, command: ViewCommand) {
        self.touch();
        match command {
            ViewCommand::GoTo(axis, value) => {
                self.axes.go_to(axis, &value);
                self.focused_axis = Some(axis);
            }
            ViewCommand::GoToIndex(axis, index) => {
                self.axes.go_to_index(axis, index);
                self.focused_axis = Some(axis);
            }
            ViewCommand::Step(axis, places) => {
                self.axes.step(axis, places);
                self.focused_axis = Some(axis);
            }
            ViewCommand::StepFocused(places) => {
                if let Some(axis) = self.focused_slider() {
                    self.axes.step(axis, places);
                }
            }
            ViewCommand::FocusedEnd(last) => {
                if let Some(axis) = self.focused_slider() {
                    self.axes.go_to_index(axis, if last { usize::MAX } else { 0 });
                }
            }
            ViewCommand::FocusAxis(axis) => self.focused_axis = Some(axis),
            ViewCommand::FocusNeighbour(by) => {
                let sliders: Vec<AxisId> = self.axes.sliders().map(|(id, _)| id).collect();
                let focused = self.focused_slider().and_then(|id| sliders.iter().position(|other| *other == id));
                if let Some(place) = focused.and_then(|place| neighbour(place, by, sliders.len())) {
                    self.focused_axis = Some(sliders[place]);
                }
            }
            ViewCommand::Select(layer) => {
                if self.layer(layer).is_some() {
                    self.selected = Some(layer);
                }
            }
            ViewCommand::SelectNeighbour(by) => {
                let place = self.layers.values().position(|layer| Some(layer.id) == self.selected);
                if let Some((_, layer)) =
                    place.and_then(|place| self.layers.get_index(neighbour(place, by, self.layers.len())?))
                {
                    self.selected = Some(layer.id);
                }
            }
            ViewCommand::SetVisible(layer, visible) => self.with_layer(layer, |layer| layer.visible = visible),
            ViewCommand::ToggleOthers(kept) => {
                let any_shown = self.layers.values().any(|layer| layer.id != kept && layer.visible);
                for layer in self.layers.values_mut().filter(|layer| layer.id != kept) {
                    layer.visible = !any_shown;
                }
            }
            ViewCommand::Raise(layer, by) => {
                if let Some(place) = self.layers.values().position(|other| other.id == layer)
                    && let Some(target) = neighbour(place, by, self.layers.len())
                {
                    self.layers.move_index(place, target);
                }
            }
            ViewCommand::Remove(layer) => self.remove_layer(layer),
            ViewCommand::SetContrast(layer, limits) => self.with_channel(layer, |display| display.set_limits(limits)),
            ViewCommand::AutoContrast(layer) => self.auto_contrast(layer),
            ViewCommand::AutoContrastAll => {
                let shown: Vec<LayerId> =
                    self.layers.values().filter(|layer| layer.visible).map(|layer| layer.id).collect();
                for layer in shown {
                    self.auto_contrast(layer);
                }
            }
            ViewCommand::FullContrast(layer) => self.with_channel(layer, |display| {
                if let Some(range) = display.statistics.range() {
                    display.set_limits(range.to_f64());
                }
            }),
            ViewCommand::SetGamma(layer, gamma) => {
                if gamma.is_finite() && gamma > 0.0 {
                    self.with_channel(layer, |display| display.gamma = gamma.clamp(0.05, 10.0));
                }
            }
            ViewCommand::SetColormap(layer, name) => {
                self.with_channel(layer, |display| display.colormap = Some(name));
            }
            ViewCommand::SetOpacity(layer, opacity) => {
                if opacity.is_finite() {
                    self.with_layer(layer, |layer| layer.display.opacity = opacity.clamp(0.0, 1.0));
                }
            }
            ViewCommand::SetBlending(layer, blending) => {
                self.with_layer(layer, |layer| layer.display.blending = blending);
            }
            ViewCommand::SetInterpolation(layer, interpolation) => {
                self.with_layer(layer, |layer| layer.display.interpolation = interpolation);
            }
            ViewCommand::Pan(by) => self.camera.pan(by),
            ViewCommand::ZoomAt(factor, at) => self.camera.zoom_at(factor, at),
            ViewCommand::Zoom(factor) => {
                let middle = self.camera.canvas_size_xy.map(|side| side / 2.0);
                self.camera.zoom_at(factor, middle);
            }
            ViewCommand::OneToOne => self.camera.look_at(self.camera.center_yx, 1.0),
            ViewCommand::Fit => {
                if let Some(extent) = self.extent() {
                    self.camera.fit(extent);
                }
            }
            ViewCommand::LookAt(center_yx, zoom) => self.camera.look_at(center_yx, zoom),
        }
    }

    /// The slider that arrow keys move: the focused one while it is a slider, else the innermost.
    pub fn focused_slider(&self) -> Option<AxisId> {
        let focused = self.axes.sliders().map(|(id, _)| id).find(|id| Some(*id) == self.focused_axis);
        focused.or_else(|| self.axes.sliders().map(|(id, _)| id).last())
    }

    fn with_layer(&mut self, layer: LayerId, change: impl FnOnce(&mut crate::viewer::layer::Layer)) {
        if let Some(layer) = self.layer_mut(layer) {
            change(layer);
        }
    }

    fn with_channel(&mut self, layer: LayerId, change: impl FnOnce(&mut crate::viewer::display::ChannelDisplay)) {
        if let Some(channel) = self.layer(layer).map(|layer| layer.channel_at(&self.axes))
            && let Some(layer) = self.layer_mut(layer)
        {
            change(layer.display.channel_mut(channel));
        }
    }

    fn auto_contrast(&mut self, layer: LayerId) {
        let limits =
            self.layer(layer).and_then(|layer| layer.plane_at(&self.axes)?.statistics.as_deref().map(auto_limits));
        if let Some(limits) = limits {
            self.with_channel(layer, |display| display.set_limits(limits));
        }
    }

    fn remove_layer(&mut self, layer: LayerId) {
        let Some(place) = self.layers.values().position(|other| other.id == layer) else { return };
        if let Some((_, mut removed)) = self.layers.shift_remove_index(place) {
            for (axis, value) in removed.drop_data() {
                self.axes.release(axis, value);
            }
        }
        if self.selected == Some(layer) {
            let next = place.min(self.layers.len().saturating_sub(1));
            self.selected = self.layers.get_index(next).map(|(_, layer)| layer.id);
        }
    }
}

fn neighbour(place: usize, by: i64, len: usize) -> Option<usize> {
    usize::try_from(place as i64 + by).ok().filter(|target| *target < len)
}

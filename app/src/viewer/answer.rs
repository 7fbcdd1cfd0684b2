//! Control messages that change or describe the view: navigate, isolate, intensity, viewport, state, payloads.

use wellscope_protocol::control::{
    ControlReply, ControlRequest, ImageIntensityOptions, IsolateLayersOptions, LayerIsolationAck, NavigateOptions,
    StateOptions,
};
use wellscope_protocol::route::RouteKind;

use crate::viewer::Viewer;
use crate::viewer::axes::{AxisId, ValueId};
use crate::viewer::command::ViewCommand;
use crate::viewer::layer::{Entry, Layer};

impl Viewer {
    /// Carries out a request and describes the outcome. Errors are worded as openhcs 0.8.6 words them, where it has words.
    pub fn answer(&mut self, request: &ControlRequest) -> ControlReply {
        match request {
            ControlRequest::State(options) => ControlReply::State(self.state(options)),
            ControlRequest::Navigate(options) => self.navigate(options),
            ControlRequest::IsolateLayers(options) => self.isolate(options),
            ControlRequest::ImageIntensity(options) => self.set_intensity(options),
            ControlRequest::Viewport(viewport) => {
                let [_, y, x] = viewport.center;
                if viewport.center.iter().any(|value| !value.is_finite())
                    || !viewport.zoom.is_finite()
                    || viewport.zoom <= 0.0
                {
                    let found = format!("centre {:?} and zoom {}", viewport.center, viewport.zoom);
                    let sentence = format!("A viewport needs finite numbers and a zoom above 0; {found} were sent.");
                    return ControlReply::error("viewport_ack", sentence);
                }
                self.apply(ViewCommand::LookAt([y, x], viewport.zoom));
                ControlReply::ViewportAck(self.viewport())
            }
            // Settle and screenshots wait for frames and never come here; the receiver answers the rest itself.
            other => {
                let name = other.type_name().unwrap_or("None");
                ControlReply::error("error", format!("Control message '{name}' is not served by this version."))
            }
        }
    }

    fn navigate(&mut self, options: &NavigateOptions) -> ControlReply {
        let refuse = |message: String| ControlReply::error("navigation_ack", message);
        let Some(layer) = self.layers.get(&options.route_key) else {
            return refuse(format!("No Napari layer is registered for route_key '{}'.", options.route_key));
        };
        if options.data_index.is_some() && layer.kind == RouteKind::Image {
            return refuse(format!("Layer '{}' holds images, which have no data_index.", layer.title));
        }
        let places = match self.places(layer, &options.axis_indices) {
            Ok(places) => places,
            Err(message) => return refuse(message),
        };
        let of_element = match options.data_index.map(|index| element_coordinate(layer, index)) {
            None => None,
            Some(Some(coordinate)) => Some(coordinate),
            Some(None) => {
                let index = options.data_index.unwrap_or_default();
                return refuse(format!("Layer '{}' has no element with data_index {index}.", layer.title));
            }
        };
        let id = layer.id;
        self.go_to_places(of_element.into_iter().flatten().chain(places));
        if let Some(visible) = options.visible {
            self.apply(ViewCommand::SetVisible(id, visible));
        }
        if options.selected == Some(true) {
            self.apply(ViewCommand::Select(id));
        }
        ControlReply::NavigationAck(self.state_of_route(&options.route_key))
    }

    fn isolate(&mut self, options: &IsolateLayersOptions) -> ControlReply {
        let asked = || options.visible_route_keys.iter().chain(&options.selected_route_key);
        let missing: Vec<String> = asked().filter(|key| !self.layers.contains_key(*key)).cloned().collect();
        let everything = StateOptions::default();
        if !missing.is_empty() {
            return ControlReply::LayerIsolationAck(LayerIsolationAck {
                state: self.state(&everything),
                changed_route_count: 0,
                missing_route_keys: missing,
            });
        }
        let selected = options.selected_route_key.as_ref().or_else(|| options.visible_route_keys.first());
        let target = selected.and_then(|key| self.layers.get(key)).map(|layer| layer.id);
        if let Some(layer) = target.and_then(|id| self.layer(id)) {
            match self.places(layer, &options.axis_indices) {
                Ok(places) => self.go_to_places(places),
                Err(message) => return ControlReply::error("layer_isolation_ack", message),
            }
        }
        let mut changed = 0;
        for layer in self.layers.values_mut() {
            let visible = options.visible_route_keys.contains(&layer.route_key);
            changed += u64::from(layer.visible != visible);
            layer.visible = visible;
        }
        if let (Some(_), Some(id)) = (&options.selected_route_key, target) {
            self.selected = Some(id);
        }
        self.touch();
        ControlReply::LayerIsolationAck(LayerIsolationAck {
            state: self.state(&everything),
            changed_route_count: changed,
            missing_route_keys: missing,
        })
    }

    fn set_intensity(&mut self, options: &ImageIntensityOptions) -> ControlReply {
        let refuse = |message: String| ControlReply::error("image_intensity_ack", message);
        let Some(layer) = self.layers.get(&options.route_key) else {
            return refuse(format!("No Napari layer is registered for route_key '{}'.", options.route_key));
        };
        if layer.kind != RouteKind::Image {
            return refuse(format!("Layer '{}' holds no images, so it has no intensity.", layer.title));
        }
        let [low, high] = options.presentation.contrast_limits;
        let gamma = options.presentation.gamma;
        if !(low.is_finite() && high.is_finite() && low < high && gamma.is_finite() && gamma > 0.0) {
            return refuse(format!(
                "Contrast limits need low < high and gamma must be above 0; {low}, {high} and {gamma} were sent."
            ));
        }
        let id = layer.id;
        self.apply(ViewCommand::SetContrast(id, [low, high]));
        self.apply(ViewCommand::SetGamma(id, gamma as f32));
        ControlReply::ImageIntensityAck(self.state_of_route(&options.route_key))
    }

    fn state_of_route(&self, route_key: &str) -> wellscope_protocol::control::StateReply {
        self.state(&StateOptions { route_key: Some(route_key.to_owned()), ..StateOptions::default() })
    }

    /// Slider values behind indices that count a layer's own values.
    fn places(&self, layer: &Layer, indices: &[(String, u64)]) -> Result<Vec<(AxisId, ValueId)>, String> {
        let place = |(component, index): &(String, u64)| {
            let found = self.axes.find(component).filter(|(axis, _)| layer.axes.contains(axis));
            let Some((axis, _)) = found else {
                let known: Vec<&str> = layer.axes.iter().map(|id| self.axes.get(*id).component.as_str()).collect();
                return Err(format!("Layer '{}' has no axis '{component}'; it has {known:?}.", layer.title));
            };
            let values = self.layer_values(layer, axis);
            let value = usize::try_from(*index).ok().and_then(|index| values.get(index));
            let Some(value) = value else {
                let last = values.len().saturating_sub(1);
                return Err(format!("Axis index {index} of '{component}' is outside of 0..{last}."));
            };
            Ok((axis, *value))
        };
        indices.iter().map(place).collect()
    }

    fn go_to_places(&mut self, places: impl IntoIterator<Item = (AxisId, ValueId)>) {
        for (axis, value) in places {
            let value = self.axes.get(axis).value(value).clone();
            self.apply(ViewCommand::GoTo(axis, value));
        }
    }
}

/// Where the `index`th shape or point of a layer lies, counted over all of its items in order of arrival.
fn element_coordinate(layer: &Layer, index: u64) -> Option<Vec<(AxisId, ValueId)>> {
    let mut before = 0_u64;
    for (coordinate, entry) in layer.entries() {
        if let Entry::Shapes(set) = entry {
            before += set.shapes.len() as u64;
            if index < before {
                return Some(layer.axes.iter().filter_map(|axis| Some((*axis, coordinate.get(*axis)?))).collect());
            }
        }
    }
    None
}

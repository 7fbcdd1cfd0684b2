//! Control messages that change or describe the view: navigate, isolate, intensity, viewport, state, payloads.

use indexmap::IndexSet;
use wellscope_protocol::control::{
    ControlReply, ControlRequest, ImageIntensityOptions, IsolateLayersOptions, LayerIsolationAck, NavigateOptions,
    StateOptions,
};
use wellscope_protocol::route::RouteKind;

use crate::viewer::Viewer;
use crate::viewer::axes::{AxisId, ValueId};
use crate::viewer::command::ViewCommand;
use crate::viewer::layer::{Entry, Layer, SelectedElement};

impl Viewer {
    /// Carries out a request and describes the outcome. Errors are worded as openhcs 0.8.6 words them, where it has words.
    pub fn answer(&mut self, request: &ControlRequest) -> ControlReply {
        match request {
            ControlRequest::State(options) => ControlReply::State(self.state(options)),
            ControlRequest::Payloads(options) => self.payloads(options),
            ControlRequest::Navigate(options) => self.navigate(options),
            ControlRequest::IsolateLayers(options) => self.isolate(options),
            ControlRequest::ApplyIntensityWindow(options) => self.apply_intensity_window(options),
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
            return refuse(no_layer(&options.route_key));
        };
        let places = match self.places(layer, &options.axis_indices) {
            Ok(places) => places,
            Err(message) => return refuse(message),
        };
        let element = match options.data_index.map(|index| self.element_of(layer, index, options, &places)) {
            None => None,
            Some(Ok(element)) => Some(element),
            Some(Err(message)) => return refuse(message),
        };
        let id = layer.id;
        let of_element = element.iter().flat_map(|element| element.places.iter().copied());
        self.go_to_places(of_element.chain(places));
        if let Some(visible) = options.visible {
            self.apply(ViewCommand::SetVisible(id, visible));
        }
        match options.selected {
            Some(true) => self.apply(ViewCommand::Select(id)),
            Some(false) if self.selected == Some(id) => {
                self.selected = None;
                self.touch();
            }
            Some(false) | None => {}
        }
        if let (Some(found), Some(layer)) = (element, self.layer_mut(id)) {
            layer.selected_element = Some(found.element);
            self.touch();
        }
        ControlReply::NavigationAck(self.state_of_route(&options.route_key))
    }

    /// A shape or point of a layer, counted over all of its items in order of arrival.
    fn element_of(
        &self,
        layer: &Layer,
        index: u64,
        options: &NavigateOptions,
        asked: &[(AxisId, ValueId)],
    ) -> Result<ElementPlace, String> {
        if layer.kind == RouteKind::Image {
            return Err("Target layer does not support native feature-bearing data selection.".to_owned());
        }
        let found = element_place(layer, index)
            .map_err(|count| format!("Viewer data_index {index} is outside {count} populated feature row(s)."))?;
        let is_selected = options.selected.unwrap_or(self.selected == Some(layer.id));
        if !options.visible.unwrap_or(layer.visible) || !is_selected {
            return Err("Viewer data_index requires the target result layer to be visible and selected.".to_owned());
        }
        let local = self.local_indices(layer);
        let conflicts: Vec<String> = asked
            .iter()
            .filter_map(|(axis, value)| {
                let (_, actual) = found.places.iter().find(|(other, actual)| other == axis && actual != value)?;
                let component = &self.axes.get(*axis).component;
                Some(format!("'{component}': ({}, {})", local.place(*axis, *actual), local.place(*axis, *value)))
            })
            .collect();
        if !conflicts.is_empty() {
            let conflicts = conflicts.join(", ");
            return Err(format!(
                "Viewer data_index axis coordinates conflict with explicit axis_indices: {{{conflicts}}}."
            ));
        }
        Ok(found)
    }

    fn isolate(&mut self, options: &IsolateLayersOptions) -> ControlReply {
        // Without a route to select, the first to show is selected; what is selected is shown too.
        let selected = options.selected_route_key.as_ref().or_else(|| options.visible_route_keys.first());
        let shown: IndexSet<&String> = options.visible_route_keys.iter().chain(selected).collect();
        let missing: Vec<String> =
            shown.iter().filter(|key| !self.layers.contains_key(**key)).map(|key| (*key).clone()).collect();
        let everything = without_items(None);
        if !missing.is_empty() {
            return ControlReply::LayerIsolationAck(LayerIsolationAck {
                state: self.state(&everything),
                changed_route_count: 0,
                missing_route_keys: missing,
            });
        }
        let target = selected.and_then(|key| self.layers.get(key)).map(|layer| layer.id);
        let places = match target.and_then(|id| self.layer(id)).map(|layer| self.places(layer, &options.axis_indices)) {
            None => Vec::new(),
            Some(Ok(places)) => places,
            Some(Err(message)) => return ControlReply::error("layer_isolation_ack", message),
        };
        let moves = places.iter().any(|(axis, value)| self.axes.get(*axis).current() != Some(*value));
        self.go_to_places(places);
        let was_selected = self.selected;
        let mut changed = 0;
        for layer in self.layers.values_mut() {
            let visible = shown.contains(&layer.route_key);
            let is_target = target == Some(layer.id);
            let changes_selection = is_target != (was_selected == Some(layer.id));
            changed += u64::from(layer.visible != visible || changes_selection || (is_target && moves));
            layer.visible = visible;
        }
        self.selected = target;
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
            return refuse(no_layer(&options.route_key));
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
        self.apply(ViewCommand::SetGamma(id, gamma));
        ControlReply::ImageIntensityAck(self.state_of_route(&options.route_key))
    }

    fn state_of_route(&self, route_key: &str) -> wellscope_protocol::control::StateReply {
        self.state(&without_items(Some(route_key)))
    }

    /// Slider values behind indices that count a layer's own values.
    fn places(&self, layer: &Layer, indices: &[(String, u64)]) -> Result<Vec<(AxisId, ValueId)>, String> {
        let place = |(component, index): &(String, u64)| {
            let found = self.axes.find(component).filter(|(axis, _)| layer.axes.contains(axis));
            let Some((axis, _)) = found else {
                let known: Vec<_> = layer.axes.iter().map(|id| format!("'{}'", self.axes.get(*id).component)).collect();
                let (route, known) = (&layer.route_key, known.join(", "));
                return Err(format!("Route '{route}' has no axis '{component}'; available axes are ({known})."));
            };
            let values = self.layer_values(layer, axis);
            let value = usize::try_from(*index).ok().and_then(|index| values.get(index));
            let Some(value) = value else {
                let extent = values.len();
                return Err(format!("Axis '{component}' index {index} is outside the route-local extent {extent}."));
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

pub(super) fn no_layer(route_key: &str) -> String {
    format!("No Napari layer is registered for route_key '{route_key}'.")
}

/// States that accompany a change list no items, as the incumbent's.
fn without_items(route_key: Option<&str>) -> StateOptions {
    StateOptions {
        route_key: route_key.map(str::to_owned),
        include_component_values: false,
        include_payload_summaries: false,
        ..StateOptions::default()
    }
}

/// Where a shape or point lies.
struct ElementPlace {
    /// On the sliders.
    places: Vec<(AxisId, ValueId)>,
    /// In its layer.
    element: SelectedElement,
}

/// The `index`th shape or point of a layer, or how many there are.
fn element_place(layer: &Layer, index: u64) -> Result<ElementPlace, u64> {
    let mut before = 0_u64;
    for (coordinate, entry) in layer.entries() {
        let Entry::Shapes(set) = entry else { continue };
        let count = set.shapes.len() as u64;
        if index < before + count {
            let places = layer.axes.iter().filter_map(|axis| Some((*axis, coordinate.get(*axis)?))).collect();
            let shape = (index - before) as usize;
            return Ok(ElementPlace { places, element: SelectedElement { index, set: set.revision, shape } });
        }
        before += count;
    }
    Err(before)
}

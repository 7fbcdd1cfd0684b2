//! Replies of a viewer as types: its layers, what they hold, what the overlay says, what went wrong.
//!
//! wellscope and the napari viewer of openhcs 0.8.6 are read alike; what only wellscope tells is empty for the latter.

use std::path::PathBuf;

use wellscope_protocol::control::{NativeIntensity, Viewport};
use wellscope_protocol::pickle::PickleValue;

use super::{ControlError, bad_reply};

/// Values of a component along a slider, in slider order, each with its label ("Ch1: DAPI").
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ComponentValues {
    /// "well", "channel", ...
    pub component: String,
    /// Numbers or text.
    pub values: Vec<PickleValue>,
    /// One per value.
    pub labels: Vec<String>,
}

/// One layer.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LayerSummary {
    /// Its identity, which calls name it by.
    pub route_key: String,
    /// Its name as shown.
    pub title: String,
    /// "image", "shapes", "points".
    pub data_types: Vec<String>,
    /// Items received.
    pub item_count: u64,
    /// Components with a slider, slowest first.
    pub sliders: Vec<ComponentValues>,
    /// Labels of the other components ("Site 1").
    pub scalar_labels: Vec<String>,
    /// All component values of its items, as far as they were asked for.
    pub component_values: Vec<Vec<(String, PickleValue)>>,
    /// Extent per axis; number of elements for shapes.
    pub data_shape: Vec<u64>,
    /// Whether it is shown.
    pub visible: bool,
    /// Whether it is the active layer.
    pub selected: bool,
    /// None for shapes and points.
    pub intensity: Option<NativeIntensity>,
}

/// A viewer and its layers.
#[derive(Clone, PartialEq, Debug)]
pub struct ViewerState {
    /// Title of the window.
    pub title: String,
    /// In drawing order.
    pub layers: Vec<LayerSummary>,
    /// Names of the axes of the view, ending in y and x.
    pub axis_labels: Vec<String>,
    /// Position along each of them.
    pub current_step: Vec<i64>,
    /// The camera.
    pub viewport: Option<Viewport>,
    /// Items of all layers.
    pub item_count: u64,
    /// Text on the canvas, as drawn (wellscope only).
    pub overlay: Option<String>,
    /// Titles of shown layers that have nothing at the sliders' position yet (wellscope only).
    pub holes: Vec<String>,
    /// What went wrong, newest first (wellscope only).
    pub problems: Vec<String>,
    /// All of it.
    pub reply: PickleValue,
}

/// A picture that the viewer wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// On the viewer's machine.
    pub path: PathBuf,
    /// Length of the file.
    pub size_bytes: u64,
    /// Width and height in pixels.
    pub size: (u64, u64),
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
}

impl ViewerState {
    /// From the reply to "state", "navigate", "isolate_layers" or "image_intensity".
    pub(super) fn read(request: &'static str, reply: PickleValue) -> Result<Self, ControlError> {
        let Some(layers) = reply.get("layers").and_then(PickleValue::items) else {
            return Err(bad_reply(request, "layers", &reply));
        };
        let layers = layers.iter().map(|layer| LayerSummary::read(request, layer)).collect::<Result<_, _>>()?;
        let own = reply.get("wellscope");
        Ok(Self {
            title: reply.get("viewer").map(|viewer| text(viewer, "title")).unwrap_or_default(),
            layers,
            axis_labels: texts(reply.get("axis_labels")),
            current_step: reply
                .get("current_step")
                .and_then(PickleValue::items)
                .map(|steps| steps.iter().filter_map(PickleValue::as_i64).collect())
                .unwrap_or_default(),
            viewport: reply.get("native_viewport").and_then(viewport),
            item_count: count(&reply, "component_item_count"),
            overlay: own.map(|own| text(own, "overlay")),
            holes: texts(own.and_then(|own| own.get("holes"))),
            problems: texts(own.and_then(|own| own.get("problems"))),
            reply,
        })
    }

    /// The layer of that route key or title; with neither, the only one there is.
    pub fn layer(&self, name: Option<&str>) -> Option<&LayerSummary> {
        match name {
            Some(name) => self
                .layers
                .iter()
                .find(|layer| layer.route_key == name)
                .or_else(|| self.layers.iter().find(|layer| layer.title == name)),
            None => self.layers.first().filter(|_| self.layers.len() == 1),
        }
    }
}

impl LayerSummary {
    fn read(request: &'static str, layer: &PickleValue) -> Result<Self, ControlError> {
        let Some(route_key) = layer.get("route_key").and_then(PickleValue::as_str) else {
            return Err(bad_reply(request, "route_key", layer));
        };
        Ok(Self {
            route_key: route_key.to_owned(),
            title: text(layer, "title"),
            data_types: texts(layer.get("data_types")),
            item_count: count(layer, "item_count"),
            sliders: sliders(layer),
            scalar_labels: texts(layer.get("scalar_labels")),
            component_values: layer
                .get("component_values")
                .and_then(PickleValue::items)
                .map(|items| items.iter().map(named_values).collect())
                .unwrap_or_default(),
            data_shape: layer
                .get("data_shape")
                .and_then(PickleValue::items)
                .map(|shape| shape.iter().filter_map(PickleValue::as_u64).collect())
                .unwrap_or_default(),
            visible: flag(layer, "visible"),
            selected: flag(layer, "selected"),
            intensity: layer.get("native_intensity").and_then(|intensity| {
                let limits = floats(intensity.get("contrast_limits")?)?;
                Some(NativeIntensity { contrast_limits: limits, gamma: intensity.get("gamma")?.as_f64()? })
            }),
        })
    }

    /// Whether all of its items are at this value, so that there is no slider for it. Known when at least one item's component
    /// values were asked for.
    pub fn is_always_at(&self, component: &str, value: &str) -> bool {
        let first = self.component_values.first().and_then(|item| item.iter().find(|(name, _)| name == component));
        let has_slider = self.sliders.iter().any(|slider| slider.component == component);
        !has_slider && first.is_some_and(|(_, found)| written(found) == value)
    }

    /// Local index of a value along a slider, as `navigate` counts. The value as it is written ("B02", "2"), or its label.
    pub fn index_of(&self, component: &str, value: &str) -> Option<u64> {
        let slider = self.sliders.iter().find(|slider| slider.component == component)?;
        let index = slider
            .values
            .iter()
            .position(|candidate| written(candidate) == value)
            .or_else(|| slider.labels.iter().position(|label| label == value))?;
        Some(index as u64)
    }
}

impl Saved {
    pub(super) fn read(reply: &PickleValue) -> Result<Self, ControlError> {
        let resource = reply.get("resource").ok_or_else(|| bad_reply("screenshot", "resource", reply))?;
        let path = resource.get("path").and_then(PickleValue::as_str);
        let path = path.ok_or_else(|| bad_reply("screenshot", "path", resource))?;
        Ok(Self {
            path: PathBuf::from(path),
            size_bytes: count(resource, "size_bytes"),
            size: (count(reply, "width"), count(reply, "height")),
            sha256: text(resource, "sha256"),
        })
    }
}

impl ComponentValues {
    /// The values as people write them: "B02", "2".
    pub fn written(&self) -> impl Iterator<Item = String> {
        self.values.iter().map(written)
    }
}

fn sliders(layer: &PickleValue) -> Vec<ComponentValues> {
    let listed = |field: &str, component: &str| {
        layer.get(field).and_then(|values| values.get(component)?.items().map(<[_]>::to_vec)).unwrap_or_default()
    };
    texts(layer.get("stack_axes"))
        .into_iter()
        .map(|component| ComponentValues {
            values: listed("axis_component_values", &component),
            labels: listed("labels", &component).iter().map(written).collect(),
            component,
        })
        .collect()
}

fn named_values(item: &PickleValue) -> Vec<(String, PickleValue)> {
    item.fields().into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

/// A value as people write it: text without quotes.
fn written(value: &PickleValue) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn viewport(value: &PickleValue) -> Option<Viewport> {
    Some(Viewport { center: floats(value.get("center")?)?, zoom: value.get("zoom")?.as_f64()? })
}

fn floats<const N: usize>(value: &PickleValue) -> Option<[f64; N]> {
    let numbers: Vec<f64> = value.items()?.iter().map(PickleValue::as_f64).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

fn text(value: &PickleValue, field: &str) -> String {
    value.get(field).and_then(PickleValue::as_str).unwrap_or_default().to_owned()
}

fn texts(value: Option<&PickleValue>) -> Vec<String> {
    value.and_then(PickleValue::items).map(|items| items.iter().map(written).collect()).unwrap_or_default()
}

fn count(value: &PickleValue, field: &str) -> u64 {
    value.get(field).and_then(PickleValue::as_u64).unwrap_or(0)
}

fn flag(value: &PickleValue, field: &str) -> bool {
    value.get(field).and_then(PickleValue::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wellscope_protocol::pickle::{PickleLimits, decode};

    /// What the napari viewer of openhcs 0.8.6 answered.
    #[test]
    fn a_state_of_the_incumbent_is_read() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/G3_openhcs-0.8.6/control/state_full.reply.pickle");
        let reply = decode(&std::fs::read(path).unwrap(), &PickleLimits::CONTROL_REPLY).unwrap();
        let state = ViewerState::read("state", reply).unwrap();
        assert_eq!(state.layers.len() as u64, count(&state.reply, "layer_count"));
        let layer = &state.layers[0];
        assert!(!layer.route_key.is_empty() && !layer.title.is_empty() && layer.item_count > 0, "{layer:?}");
        assert_eq!(state.layer(Some(&layer.route_key)), Some(layer));
        assert_eq!(state.layer(Some(&layer.title)), Some(layer));
        assert_eq!(state.layer(Some("nothing")), None);
        assert_eq!((state.overlay, state.problems.len()), (None, 0));
        let slider = layer.sliders.iter().find(|slider| slider.component == "well").unwrap();
        assert_eq!(slider.labels.len(), slider.values.len());
        let last = slider.values.len() as u64 - 1;
        assert_eq!(layer.index_of("well", slider.values[last as usize].as_str().unwrap()), Some(last));
        assert_eq!(layer.index_of("well", &slider.labels[last as usize]), Some(last));
        assert_eq!(layer.index_of("well", "Z99"), None);
        assert_eq!(layer.index_of("colour", "1"), None);
        assert_eq!(layer.component_values.len() as u64, layer.item_count);
        assert!(
            layer.is_always_at("site", "1") && !layer.is_always_at("site", "2") && !layer.is_always_at("well", "A01")
        );
    }

    #[test]
    fn a_reply_without_layers_is_an_error() {
        let error = ViewerState::read("state", PickleValue::dict([("status", "success".into())])).unwrap_err();
        assert!(error.to_string().contains("layers"), "{error}");
    }
}

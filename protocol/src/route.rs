//! Which layer an item belongs to, and what that layer is called.
//!
//! A route is the identity of a layer: producer plus the values of its layer-mode components. Keys and titles are those of
//! the incumbent (openhcs 0.8.6 for items with a `producer_identity`, polystore 0.1.9's and openhcs 0.1.0's viewers for
//! older items), because clients ask for layers by them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use crate::batch::{DisplayConfig, ImageLayout, Item, Payload, ProducerIdentity, VariableSize};
use crate::component::{ComponentMode, ComponentValue};

/// Hidden identity of a layer, e.g. `origin_pipeline_kind_main_projection_main_step_0_name_Gaussian_Blur`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey(pub String);

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a layer holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RouteKind {
    /// Pixels.
    Image,
    /// Outlines.
    Shapes,
    /// Points.
    Points,
}

/// Where one item is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Identity of the layer.
    pub key: RouteKey,
    /// Its visible name, before [`disambiguate`].
    pub title: String,
    /// Components that have a layer per value, and this item's values, in the order of the key.
    pub layer_values: Vec<(String, ComponentValue)>,
    /// Components that have a slider: those that this item lies on (its address and its plane axes), in
    /// `component_order`, then the rest by name.
    pub stack_components: Vec<String>,
    /// What the layer holds.
    pub kind: RouteKind,
}

/// Why an item has no route. The item is refused with this text in its ack.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    /// A layer-mode component without a value (openhcs 0.8.6 raises, too).
    #[error(
        "component '{component}' has a layer per value, but the item's metadata lacks it; the producer must send it"
    )]
    MissingLayerValue {
        /// The component.
        component: String,
    },
}

/// Openhcs 0.1.0 sends no `component_order`; its viewer goes through the components in this one.
const G0_ORDER: [&str; 5] = ["site", "channel", "z_index", "timepoint", "well"];

/// The route of `item` under the display config of its batch.
///
/// With `separate_layers`, the well is a layer component of image routes. A layer-mode component that `component_order`
/// leaves out still gets its layers, after the ordered ones: else its values would replace one another. A component that
/// the planes of the array run over is a slider whatever its mode.
pub fn route_of(item: &Item, config: &DisplayConfig) -> Result<Route, RouteError> {
    let kind = match item.payload {
        Payload::Image(_) => RouteKind::Image,
        Payload::Shapes(_) => RouteKind::Shapes,
        Payload::Points(_) => RouteKind::Points,
    };
    let layout = match &item.payload {
        Payload::Image(image) => Some(&image.layout),
        _ => None,
    };
    let generation = Generation::of(item, config);
    let components = ordered_components(item, config, generation);
    let is_plane_axis = |name: &str| item.plane_axes().iter().any(|axis| axis.component == name);
    let is_layer = |name: &str| {
        let by_mode = config.component_modes.get(name) == Some(&ComponentMode::Layer);
        let by_size =
            name == "well" && kind == RouteKind::Image && config.variable_size == VariableSize::SeparateLayers;
        (by_mode || by_size) && !is_plane_axis(name)
    };

    let mut layer_values = Vec::new();
    let mut stack_components = Vec::new();
    for component in components {
        let value = item.address.get(&component);
        if is_layer(&component) {
            match value {
                Some(value) => layer_values.push((component, value.clone())),
                None if generation == Generation::Identified => {
                    return Err(RouteError::MissingLayerValue { component });
                }
                // Older viewers only use the components that the metadata has.
                None => {}
            }
        } else if value.is_some() || is_plane_axis(&component) {
            stack_components.push(component);
        }
    }

    let (key, title) = match &item.producer_identity {
        Some(identity) => (
            identified_key(identity, &layer_values, kind, layout),
            identified_title(identity, &layer_values, kind, layout),
        ),
        None => {
            let key = unidentified_key(item, &layer_values, kind, generation);
            (key.clone(), key)
        }
    };
    Ok(Route { key: RouteKey(key), title, layer_values, stack_components, kind })
}

impl RouteKey {
    /// The key without the number that OpenHCS 0.8.6 gives to each submission of a pipeline: equal for the same step of the same
    /// plate in every run. The number is the address of the pipeline's object in its process
    /// (`<plate>::pipeline::submission_<hex>::<step>` in `step_scope_id`), so it never comes again on purpose.
    pub fn without_submission(&self) -> Cow<'_, str> {
        const MARK: &str = "::pipeline::submission_";
        let Some(number) = self.0.find(MARK).map(|start| start + MARK.len()) else { return Cow::Borrowed(&self.0) };
        let digits = self.0[number..].bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits == 0 || !self.0[number + digits..].starts_with("::") {
            return Cow::Borrowed(&self.0);
        }
        Cow::Owned([&self.0[..number], &self.0[number + digits..]].concat())
    }
}

/// Which viewer's rules an item falls under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    /// G3 and later: it has a `producer_identity`.
    Identified,
    /// G1, G2.
    Unidentified,
    /// G0: the step stands beside the components, and the config has no order.
    Step,
}

impl Generation {
    fn of(item: &Item, config: &DisplayConfig) -> Self {
        let has_step = ["step_index", "step_name"].iter().all(|name| item.address.contains_key(*name));
        match item.producer_identity {
            Some(_) => Self::Identified,
            None if has_step && config.component_order.is_empty() => Self::Step,
            None => Self::Unidentified,
        }
    }
}

/// `component_order`, then every other component of the modes, the address and the planes by name.
fn ordered_components(item: &Item, config: &DisplayConfig, generation: Generation) -> Vec<String> {
    let mut rest: BTreeSet<&str> = config.component_modes.keys().map(String::as_str).collect();
    rest.extend(item.address.keys().map(String::as_str));
    rest.extend(item.plane_axes().iter().map(|axis| axis.component.as_str()));
    let mut ordered: Vec<&str> = Vec::new();
    match generation {
        Generation::Step => {
            rest.remove("step_index");
            rest.remove("step_name");
            ordered.extend(G0_ORDER.into_iter().filter(|name| rest.remove(name)));
        }
        _ => {
            for name in &config.component_order {
                rest.remove(name.as_str());
                if !ordered.contains(&name.as_str()) {
                    ordered.push(name);
                }
            }
        }
    }
    // A mode for a component that neither the order nor the item has means nothing here.
    let in_item =
        |name: &&str| item.address.contains_key(*name) || item.plane_axes().iter().any(|axis| axis.component == *name);
    ordered.extend(rest.into_iter().filter(in_item));
    ordered.into_iter().map(str::to_owned).collect()
}

/// Slashes and spaces become underscores.
fn token(text: &str) -> String {
    text.replace(['/', '\\', ' '], "_")
}

fn kind_suffix(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Image => "",
        RouteKind::Shapes => "_shapes",
        RouteKind::Points => "_points",
    }
}

fn identified_key(
    identity: &ProducerIdentity,
    layer_values: &[(String, ComponentValue)],
    kind: RouteKind,
    layout: Option<&ImageLayout>,
) -> String {
    let mut tokens = vec![
        format!("origin_{}", identity.origin),
        format!("kind_{}", identity.output_kind),
        format!("projection_{}", identity.projection_key),
    ];
    tokens.extend(identity.pipeline_position.map(|position| format!("step_{position}")));
    tokens.extend(identity.step_scope_id.as_ref().map(|scope| format!("scope_{scope}")));
    tokens.extend(identity.step_name.as_ref().map(|name| format!("name_{name}")));
    tokens.extend(layer_values.iter().map(|(component, value)| format!("{component}_{value}")));
    let mut key = tokens.iter().map(|text| token(text)).collect::<Vec<_>>().join("_");
    key.push_str(kind_suffix(kind));
    key.push_str(match layout.map(|layout| (layout.samples > 1, !layout.plane_axes.is_empty())) {
        Some((true, false)) => "_color_plane",
        Some((false, true)) => "_scalar_stack",
        Some((true, true)) => "_color_stack",
        Some((false, false)) | None => "",
    });
    key
}

/// "3. Segment cell_rois ROIs".
fn identified_title(
    identity: &ProducerIdentity,
    layer_values: &[(String, ComponentValue)],
    kind: RouteKind,
    layout: Option<&ImageLayout>,
) -> String {
    let mut title = String::new();
    if let Some(position) = identity.pipeline_position {
        title = format!("{}. ", position.saturating_add(1));
    }
    let base = identity.step_name.as_deref().unwrap_or(&identity.output_key);
    title.push_str(base);
    let says_nothing = matches!(identity.output_kind.as_str(), "main" | "manual" | "direct");
    if !says_nothing && identity.output_key != base {
        title = format!("{title} {}", identity.output_key);
    }
    for (component, value) in layer_values {
        title = format!("{title} {component} {value}");
    }
    title.push_str(match kind {
        RouteKind::Image => "",
        RouteKind::Shapes => " ROIs",
        RouteKind::Points => " points",
    });
    title.push_str(match layout.map(|layout| (layout.samples > 1, !layout.plane_axes.is_empty())) {
        Some((true, false)) => " RGB",
        Some((false, true)) => " image stack",
        Some((true, true)) => " RGB stack",
        Some((false, false)) | None => "",
    });
    title
}

/// G1 and G2: `source_Gaussian_Blur_channel_1`. G0: `step_02_Gaussian Blur_A01_channel_1`.
fn unidentified_key(
    item: &Item,
    layer_values: &[(String, ComponentValue)],
    kind: RouteKind,
    generation: Generation,
) -> String {
    let mut parts = Vec::new();
    if generation == Generation::Step {
        parts
            .extend(item.address.get("step_index").map(|index| format!("step_{index:0>2}", index = index.to_string())));
        parts.extend(item.address.get("step_name").map(ToString::to_string));
        let well = layer_values.iter().find(|(component, _)| component == "well");
        parts.extend(well.map(|(_, value)| value.to_string()));
    }
    let with_component =
        layer_values.iter().filter(|(component, _)| generation != Generation::Step || component != "well");
    parts.extend(with_component.map(|(component, value)| format!("{component}_{value}")));
    let mut key = if parts.is_empty() { "default_layer".to_owned() } else { parts.join("_") };
    key.push_str(kind_suffix(kind));
    key
}

/// A title that no other layer has: ` [step <n>]` is appended, else ` [<output_key>]`, else ` [<origin>]` (openhcs 0.8.6);
/// should all be taken, a number.
pub fn disambiguate(title: &str, identity: Option<&ProducerIdentity>, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(title) {
        return title.to_owned();
    }
    if let Some(identity) = identity {
        let step = identity.pipeline_position.map(|position| format!("step {}", position.saturating_add(1)));
        let suffixes = step.into_iter().chain([identity.output_key.clone(), identity.origin.clone()]);
        let mut candidates = suffixes.map(|suffix| format!("{title} [{suffix}]"));
        if let Some(free) = candidates.find(|candidate| !is_taken(candidate)) {
            return free;
        }
    }
    let mut number = 2u64;
    loop {
        let candidate = format!("{title} [{number}]");
        if !is_taken(&candidate) || number == u64::MAX {
            return candidate;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, BatchLimits};

    fn capture(name: &str) -> Batch {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures").join(name);
        Batch::decode(&std::fs::read(path).unwrap(), &BatchLimits::default()).unwrap()
    }

    fn route(batch: &Batch, index: usize) -> Route {
        route_of(&batch.items[index], &batch.display_config).unwrap()
    }

    /// Keys and titles of these items as openhcs 0.8.6 reports them in its `state` reply.
    #[test]
    fn keys_and_titles_are_those_of_the_incumbents_state_reply() {
        let rois = route(&capture("G3_openhcs-0.8.6/data/openhcs086_roi.json"), 0);
        assert_eq!(rois.key.0, "origin_pipeline_kind_artifact_projection_cell_rois_step_2_name_Segment_shapes");
        assert_eq!((rois.title.as_str(), rois.kind), ("3. Segment cell_rois ROIs", RouteKind::Shapes));
        assert_eq!(rois.stack_components, ["site", "channel", "z_index", "timepoint", "well"]);

        let points = route(&capture("G3_polystore-0.2.19/points.json"), 0);
        assert_eq!(points.key.0, "origin_pipeline_kind_artifact_projection_cell_rois_step_2_name_Segment_points");
        assert_eq!((points.title.as_str(), points.kind), ("3. Segment cell_rois points", RouteKind::Points));

        let colour = route(&capture("G3_openhcs-0.8.6/data/openhcs086_rgb.json"), 0);
        assert_eq!(
            colour.key.0,
            "origin_pipeline_kind_main_projection_main_step_0_scope_scope-1_name_Gaussian_Blur_color_plane"
        );
        assert_eq!(colour.title, "1. Gaussian Blur RGB");

        let image = route(&capture("G3_polystore-0.2.19/batch3_uint16_2d.json"), 0);
        assert_eq!(image.key.0, "origin_pipeline_kind_main_projection_main_step_0_scope_scope-1_name_Gaussian_Blur");
        assert_eq!(image.title, "1. Gaussian Blur");
    }

    #[test]
    fn runs_of_one_pipeline_differ_in_the_number_of_their_submission_only() {
        let key = |text: &str| RouteKey(text.to_owned()).without_submission().into_owned();
        let first = "step_0_scope__tmp_plate::pipeline::submission_7f2a90::step_0_name_Blur_channel_1";
        assert_eq!(key(first), key(&first.replace("7f2a90", "60c18")));
        for other in [
            &first.replace("step_0_name", "step_1_name"),
            &first.replace("_tmp_plate", "_tmp_other"),
            &first.replace("channel_1", "channel_2"),
        ] {
            assert_ne!(key(first), key(other));
        }
        for whole in
            ["step_0_name_Blur", "scope_x::pipeline::submission_::step_0", "x::pipeline::submission_7f2a90x::y"]
        {
            assert_eq!(key(whole), whole);
        }
    }

    #[test]
    fn layer_components_split_routes_and_are_named_in_the_title() {
        let batch = capture("G3_polystore-0.2.19/layer_mode_mixed_wells.json");
        let (first, second) = (route(&batch, 0), route(&batch, 1));
        assert!(first.key.0.ends_with("_name_Gaussian_Blur_channel_1") && second.key.0.ends_with("_channel_2"));
        assert_eq!(second.title, "1. Gaussian Blur channel 2");
        assert_eq!(first.layer_values, [("channel".to_owned(), ComponentValue::Int(1))]);
        assert_eq!(first.stack_components, ["site", "z_index", "timepoint", "well"]);
    }

    #[test]
    fn separate_layers_makes_the_well_a_layer_of_images_only() {
        let mut batch = capture("G3_polystore-0.2.19/batch3_uint16_2d.json");
        batch.display_config.variable_size = VariableSize::SeparateLayers;
        assert!(route(&batch, 0).key.0.ends_with("_well_A01"));
        batch.items[0].address.remove("well");
        let error = route_of(&batch.items[0], &batch.display_config).unwrap_err();
        assert_eq!(error, RouteError::MissingLayerValue { component: "well".into() });

        let mut batch = capture("G3_polystore-0.2.19/shapes_rois.json");
        batch.display_config.variable_size = VariableSize::SeparateLayers;
        assert!(route(&batch, 0).key.0.ends_with("_shapes"));
    }

    #[test]
    fn plane_axis_is_a_slider_and_marks_the_key() {
        let stack = route(&capture("G3_polystore-0.2.19/zstack_3d_plane_axis.json"), 0);
        assert!(stack.key.0.ends_with("_name_Gaussian_Blur_scalar_stack"));
        assert_eq!(stack.title, "1. Gaussian Blur image stack");
        assert_eq!(stack.stack_components, ["site", "channel", "z_index", "timepoint", "well"]);
    }

    #[test]
    fn older_items_are_keyed_by_their_slice_components() {
        let g1 = route(&capture("G1_openhcs-0.5.0/batch3_uint16_2d.json"), 0);
        assert_eq!((g1.key.0.as_str(), g1.title.as_str()), ("source_Gaussian_Blur", "source_Gaussian_Blur"));
        // `timepoint` is in its order, but not in the item.
        assert_eq!(g1.stack_components, ["site", "channel", "z_index", "well"]);
        let points = route(&capture("G1_openhcs-0.5.0/points.json"), 0);
        assert_eq!(points.key.0, "source_Gaussian_Blur_points");
        // polystore 0.1.9's stand-in config asks for separate layers.
        let g2 = route(&capture("G2_polystore-0.1.9/batch3_uint16_2d.json"), 1);
        assert_eq!(g2.key.0, "source_Gaussian_Blur_well_A01_channel_2");
        let g0 = route(&capture("G0_openhcs-0.1.0/batch3_uint16_2d.json"), 2);
        assert_eq!(g0.key.0, "step_02_Gaussian Blur_channel_3");
        assert_eq!(g0.stack_components, ["site", "z_index", "well"]);
    }

    #[test]
    fn an_item_without_layer_components_has_the_default_layer() {
        let mut batch = capture("G2_polystore-0.1.9/shapes_rois.json");
        batch.display_config.component_modes.clear();
        assert_eq!(route(&batch, 0).key.0, "default_layer_shapes");
    }

    #[test]
    fn components_outside_the_order_come_after_it() {
        let mut batch = capture("G3_polystore-0.2.19/batch3_uint16_2d.json");
        batch.display_config.component_order = vec!["well".into(), "well".into(), "channel".into()];
        assert_eq!(route(&batch, 0).stack_components, ["well", "channel", "site", "timepoint", "z_index"]);
        batch.display_config.component_modes.insert("site".into(), ComponentMode::Layer);
        assert!(route(&batch, 0).key.0.ends_with("_site_1"));
    }

    #[test]
    fn slashes_and_spaces_of_values_become_underscores() {
        let mut batch = capture("G3_polystore-0.2.19/layer_mode_mixed_wells.json");
        batch.items[0].address.insert("channel".into(), "a/b\\c d".into());
        let route = route(&batch, 0);
        assert!(route.key.0.ends_with("_channel_a_b_c_d"));
        assert_eq!(route.title, "1. Gaussian Blur channel a/b\\c d");
    }

    #[test]
    fn equal_titles_are_told_apart() {
        let batch = capture("G3_openhcs-0.8.6/data/openhcs086_roi.json");
        let identity = batch.items[0].producer_identity.as_ref();
        let free = |taken: &[&str]| disambiguate("t", identity, |title| taken.contains(&title));
        assert_eq!(free(&[]), "t");
        assert_eq!(free(&["t"]), "t [step 3]");
        assert_eq!(free(&["t", "t [step 3]"]), "t [cell_rois]");
        assert_eq!(free(&["t", "t [step 3]", "t [cell_rois]"]), "t [pipeline]");
        assert_eq!(free(&["t", "t [step 3]", "t [cell_rois]", "t [pipeline]"]), "t [2]");
        assert_eq!(disambiguate("t", None, |title| title == "t"), "t [2]");
    }
}

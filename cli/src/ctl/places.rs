//! What people call layers and slider positions, as the keys and indices that control calls need.

use wellscope_client::{ControlClient, LayerSummary, StateOptions, ViewerState};

use super::CtlError;

/// What the viewer shows, without its items; one item per layer tells the values that need no slider.
pub(super) fn overview(client: &ControlClient) -> Result<ViewerState, CtlError> {
    Ok(client.viewer_state(&StateOptions {
        include_payload_summaries: false,
        max_component_values_per_layer: Some(1),
        ..StateOptions::default()
    })?)
}

/// The layer of that title or route key.
pub(super) fn named<'s>(state: &'s ViewerState, name: &str) -> Result<&'s LayerSummary, CtlError> {
    state.layer(Some(name)).ok_or_else(|| {
        let known: Vec<String> = state.layers.iter().map(|layer| format!("{:?}", layer.title)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        CtlError::Refused(format!("there is no layer {name:?}; there are: {known}"))
    })
}

/// The layer that is meant without a name: the selected one if it will do, else the first that does.
pub(super) fn meant<'s>(
    state: &'s ViewerState,
    name: Option<&str>,
    will_do: impl Fn(&LayerSummary) -> bool,
) -> Result<&'s LayerSummary, CtlError> {
    if let Some(name) = name {
        return named(state, name);
    }
    let selected = state.layers.iter().filter(|layer| layer.selected);
    let first_of = |mut layers: Box<dyn Iterator<Item = &'s LayerSummary> + 's>| layers.find(|layer| will_do(layer));
    first_of(Box::new(selected))
        .or_else(|| first_of(Box::new(state.layers.iter())))
        .or_else(|| state.layers.first())
        .ok_or_else(|| CtlError::Refused("the viewer has no layers yet".to_owned()))
}

/// Whether a layer is at, or can be put on, these values.
pub(super) fn has_places(layer: &LayerSummary, at: &[(String, String)]) -> bool {
    at.iter()
        .all(|(component, value)| layer.index_of(component, value).is_some() || layer.is_always_at(component, value))
}

/// Local indices of values along a layer's sliders. A value that the whole layer has needs none.
pub(super) fn indices(layer: &LayerSummary, at: &[(String, String)]) -> Result<Vec<(String, u64)>, CtlError> {
    let mut indices = Vec::new();
    for (component, value) in at {
        match layer.index_of(component, value) {
            Some(index) => indices.push((component.clone(), index)),
            None if layer.is_always_at(component, value) => {}
            None => return Err(CtlError::Refused(no_place(layer, component, value))),
        }
    }
    Ok(indices)
}

fn no_place(layer: &LayerSummary, component: &str, value: &str) -> String {
    let title = &layer.title;
    match layer.sliders.iter().find(|slider| slider.component == component) {
        Some(slider) => {
            let known: Vec<String> = slider.written().collect();
            format!("layer {title:?} has nothing at {component} {value}; it has {component} {}", known.join(", "))
        }
        None => {
            let known: Vec<&str> = layer.sliders.iter().map(|slider| slider.component.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("layer {title:?} has no slider {component} and is not at {component} {value}; its sliders: {known}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wellscope_client::ComponentValues;
    use wellscope_protocol::pickle::PickleValue;

    fn layer(title: &str, selected: bool) -> LayerSummary {
        let wells = ComponentValues {
            component: "well".to_owned(),
            values: vec!["A01".into(), "B02".into()],
            labels: vec!["Well A01".to_owned(), "control".to_owned()],
        };
        LayerSummary {
            route_key: format!("key_{title}"),
            title: title.to_owned(),
            sliders: vec![wells],
            component_values: vec![vec![("site".to_owned(), PickleValue::from(1u32))]],
            selected,
            ..LayerSummary::default()
        }
    }

    fn at(places: &[(&str, &str)]) -> Vec<(String, String)> {
        places.iter().map(|(component, value)| ((*component).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_and_labels_become_indices_and_what_is_always_so_needs_none() {
        let layer = layer("a", false);
        assert_eq!(indices(&layer, &at(&[("well", "B02"), ("site", "1")])).unwrap(), [("well".to_owned(), 1)]);
        assert_eq!(indices(&layer, &at(&[("well", "control")])).unwrap(), [("well".to_owned(), 1)]);
        let error = indices(&layer, &at(&[("well", "C03")])).unwrap_err().to_string();
        assert!(error.contains("A01, B02"), "{error}");
        let error = indices(&layer, &at(&[("site", "2")])).unwrap_err().to_string();
        assert!(error.contains("its sliders: well"), "{error}");
        assert!(has_places(&layer, &at(&[("well", "A01")])) && !has_places(&layer, &at(&[("z", "1")])));
    }

    #[test]
    fn a_layer_without_a_name_is_the_selected_one_that_will_do() {
        let state = ViewerState {
            title: String::new(),
            layers: vec![layer("a", false), layer("b", true)],
            axis_labels: Vec::new(),
            current_step: Vec::new(),
            viewport: None,
            item_count: 0,
            overlay: None,
            holes: Vec::new(),
            problems: Vec::new(),
            reply: PickleValue::None,
        };
        assert_eq!(meant(&state, None, |_| true).unwrap().title, "b");
        assert_eq!(meant(&state, None, |layer| layer.title == "a").unwrap().title, "a");
        assert_eq!(meant(&state, Some("key_a"), |_| true).unwrap().title, "a");
        let error = meant(&state, Some("c"), |_| true).unwrap_err().to_string();
        assert!(error.contains("\"a\", \"b\""), "{error}");
    }
}

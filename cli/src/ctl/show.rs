//! Answers as text for people.

use std::fmt::Write;

use wellscope_client::{ComponentValues, LayerSummary, Pong, ViewerState};

/// Values of a slider that are listed before the rest is only counted.
const LISTED_VALUES: usize = 12;

/// One line: who is there.
pub(super) fn pong(pong: &Pong, url: &str) -> String {
    let mut text = format!("{} at {url}", pong.server.as_deref().unwrap_or("a viewer"));
    text.push_str(if pong.ready { " is ready" } else { " is not ready" });
    if let Some(application) = &pong.application {
        let _ = write!(text, ", of {} {}", application.id, application.version);
    }
    if let Some(process) = pong.process {
        let _ = write!(text, ", process {}", process.pid);
    }
    if let Some(log) = &pong.log_file {
        let _ = write!(text, ", log {log}");
    }
    text
}

/// Several lines: the viewer, then each layer with its sliders.
pub(super) fn state(state: &ViewerState) -> String {
    let mut text = format!("{:?}: {} layers, {} items", state.title, state.layers.len(), state.item_count);
    if let Some(overlay) = state.overlay.as_ref().filter(|overlay| !overlay.is_empty()) {
        let _ = write!(text, "\nshows {overlay}");
    }
    for title in &state.holes {
        let _ = write!(text, "\nnot received yet at this position: {title}");
    }
    for layer in &state.layers {
        let _ = write!(text, "\n\n{}", self::layer(layer));
    }
    if !state.problems.is_empty() {
        let _ = write!(text, "\n\nproblems, newest first:\n  {}", state.problems.join("\n  "));
    }
    text
}

fn layer(layer: &LayerSummary) -> String {
    let mut text = layer.title.clone();
    let marks = [(layer.selected, " (selected)"), (!layer.visible, " (hidden)")];
    marks.iter().filter(|(applies, _)| *applies).for_each(|(_, mark)| text.push_str(mark));
    let shape: Vec<String> = layer.data_shape.iter().map(u64::to_string).collect();
    let _ = write!(
        text,
        "\n  {} {}, shape {}",
        layer.item_count,
        match layer.data_types.join(", ").as_str() {
            "image" if layer.item_count == 1 => "image",
            "image" => "images",
            other => other,
        },
        shape.join(" x ")
    );
    if let Some(intensity) = layer.intensity {
        let [low, high] = intensity.contrast_limits;
        let _ = write!(text, ", contrast {low} to {high}, gamma {}", intensity.gamma);
    }
    for slider in &layer.sliders {
        let _ = write!(text, "\n  {}: {}", slider.component, values(slider));
    }
    if !layer.scalar_labels.is_empty() {
        let _ = write!(text, "\n  at {}", layer.scalar_labels.join(", "));
    }
    let _ = write!(text, "\n  route {}", layer.route_key);
    text
}

fn values(slider: &ComponentValues) -> String {
    let mut listed: Vec<String> = slider.written().take(LISTED_VALUES).collect();
    let more = slider.values.len().saturating_sub(LISTED_VALUES);
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wellscope_protocol::pickle::PickleValue;

    #[test]
    fn a_layer_is_told_in_four_lines() {
        let summary = LayerSummary {
            route_key: "k".to_owned(),
            title: "1. Blur".to_owned(),
            data_types: vec!["image".to_owned()],
            item_count: 14,
            sliders: vec![ComponentValues {
                component: "z_index".to_owned(),
                values: (1..=14u32).map(PickleValue::from).collect(),
                labels: Vec::new(),
            }],
            data_shape: vec![14, 8, 9],
            selected: true,
            ..LayerSummary::default()
        };
        let expected = "1. Blur (selected) (hidden)\n  14 images, shape 14 x 8 x 9\n  \
                        z_index: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, and 2 more\n  route k";
        assert_eq!(layer(&summary), expected);
    }
}

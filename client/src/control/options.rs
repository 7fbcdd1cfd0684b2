//! Payloads of control requests, as the Python objects that openhcs 0.8.6 and zmqruntime send.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use wellscope_protocol::pickle::PickleValue;
use wellscope_protocol::pickle::classes::WINDOW_SNAPSHOT;

/// How much a `state` reply shall hold.
#[derive(Clone, PartialEq, Debug)]
pub struct StateOptions {
    /// Only this layer; `None`: all.
    pub route_key: Option<String>,
    /// List the values of every component.
    pub include_component_values: bool,
    /// At most so many per layer.
    pub max_component_values_per_layer: u32,
    /// Summarize every image and shape.
    pub include_payload_summaries: bool,
    /// At most so many per layer.
    pub max_payload_summaries_per_layer: u32,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            route_key: None,
            include_component_values: true,
            max_component_values_per_layer: 1024,
            include_payload_summaries: false,
            max_payload_summaries_per_layer: 1024,
        }
    }
}

impl StateOptions {
    pub(super) fn to_pickle(&self) -> PickleValue {
        PickleValue::object(
            "openhcs.runtime.viewer_controls",
            "ViewerStateControlOptions",
            [
                ("route_key", self.route_key.clone().into()),
                ("include_component_values", self.include_component_values.into()),
                ("max_component_values_per_layer", self.max_component_values_per_layer.into()),
                ("include_payload_summaries", self.include_payload_summaries.into()),
                ("max_payload_summaries_per_layer", self.max_payload_summaries_per_layer.into()),
            ],
        )
    }
}

/// Where to go: a layer, its slider positions, and what to do with it. `None` leaves a thing as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Navigation {
    /// The layer.
    pub route_key: String,
    /// Component → index within the layer, from 0.
    pub axis_indices: BTreeMap<String, u32>,
    /// Show or hide it.
    pub visible: Option<bool>,
    /// Select it.
    pub selected: Option<bool>,
    /// Shape or point to select.
    pub data_index: Option<u32>,
}

impl Navigation {
    pub(super) fn to_pickle(&self) -> PickleValue {
        let axis_indices = self.axis_indices.iter().map(|(axis, index)| (axis.as_str(), PickleValue::from(*index)));
        PickleValue::object(
            "openhcs.runtime.viewer_controls",
            "ViewerNavigationControlOptions",
            [
                ("route_key", self.route_key.clone().into()),
                ("axis_indices", PickleValue::dict(axis_indices)),
                ("visible", self.visible.into()),
                ("selected", self.selected.into()),
                ("data_index", self.data_index.into()),
            ],
        )
    }
}

pub(super) fn viewport(center: [f64; 3], zoom: f64) -> PickleValue {
    PickleValue::object(
        "zmqruntime.viewer_protocol",
        "ViewerNativeViewportPresentation",
        [("center", PickleValue::tuple(center)), ("zoom", zoom.into())],
    )
}

/// What a screenshot shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ScreenshotScope {
    /// The canvas.
    #[default]
    Canvas,
    /// The window with its panels.
    Window,
}

/// What to capture, and where to.
#[derive(Clone, PartialEq, Debug)]
pub struct ScreenshotOptions {
    /// Folder on the viewer's machine; the viewer names the file.
    pub output_folder: PathBuf,
    /// Canvas or window.
    pub scope: ScreenshotScope,
    /// How long the viewer may wait for a frame.
    pub observation_timeout: Duration,
}

impl ScreenshotOptions {
    /// The canvas, into a folder, within 5 s.
    pub fn new(output_folder: impl Into<PathBuf>) -> Self {
        Self {
            output_folder: output_folder.into(),
            scope: ScreenshotScope::Canvas,
            observation_timeout: Duration::from_secs(5),
        }
    }

    pub(super) fn to_pickle(&self) -> PickleValue {
        let scope = match self.scope {
            ScreenshotScope::Canvas => "widget",
            ScreenshotScope::Window => "window",
        };
        let member = |class, value: &str| PickleValue::enum_member(WINDOW_SNAPSHOT, class, value);
        PickleValue::object(
            WINDOW_SNAPSHOT,
            "WindowSnapshotCaptureSpec",
            [
                ("output_dir_path", self.output_folder.to_string_lossy().into_owned().into()),
                ("capture_scope", member("WindowSnapshotCaptureScope", scope)),
                ("frame_condition", member("WindowSnapshotFrameCondition", "immediate")),
                ("observation_timeout_s", self.observation_timeout.as_secs_f64().into()),
            ],
        )
    }
}

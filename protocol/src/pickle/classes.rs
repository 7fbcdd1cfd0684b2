//! The allow-list: every Python name that a pickle may contain, and what it means as data.
//!
//! Field orders were read from openhcs 0.8.6, zmqruntime 0.2.24 and 0.6.5, and checked against captured requests. A
//! frozen dataclass with slots pickles its state as a list *without* names, so the order here is what names them.

/// How an allowed class writes its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClassLayout {
    /// Frozen dataclass with slots: a list of field values in the order of declaration.
    Slots(&'static [&'static str]),
    /// Ordinary instance: a dict of field names and values.
    Dict,
    /// Subclass of `dict` without fields of its own: its items are its fields.
    Mapping,
    /// Enum: called with the member's value.
    Enum,
}

/// One allowed class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowedClass {
    /// Python module.
    pub module: &'static str,
    /// Class name.
    pub name: &'static str,
    /// How its state is written.
    pub layout: ClassLayout,
}

const CONTROLS: &str = "openhcs.runtime.viewer_controls";
const VIEWER_PROTOCOL: &str = "zmqruntime.viewer_protocol";
/// Module of the screenshot classes (pyqt-reactive).
pub const WINDOW_SNAPSHOT: &str = "pyqt_reactive.services.window_snapshot";

const fn slots(module: &'static str, name: &'static str, fields: &'static [&'static str]) -> AllowedClass {
    AllowedClass { module, name, layout: ClassLayout::Slots(fields) }
}

const fn enumeration(module: &'static str, name: &'static str) -> AllowedClass {
    AllowedClass { module, name, layout: ClassLayout::Enum }
}

/// Every class that a pickle may contain.
pub const ALLOWED_CLASSES: &[AllowedClass] = &[
    slots(
        CONTROLS,
        "ViewerStateControlOptions",
        &[
            "route_key",
            "include_component_values",
            "max_component_values_per_layer",
            "include_payload_summaries",
            "max_payload_summaries_per_layer",
        ],
    ),
    slots(
        CONTROLS,
        "ViewerPayloadProjectionOptions",
        &["controls", "max_total_shape_payloads", "shape_payload_projection"],
    ),
    slots(
        CONTROLS,
        "ViewerPayloadControlOptions",
        &[
            "route_key",
            "axis_indices",
            "include_array_values",
            "max_array_elements",
            "array_slices",
            "include_shape_payloads",
            "max_shape_payloads",
        ],
    ),
    slots(
        CONTROLS,
        "ViewerNavigationControlOptions",
        &["route_key", "axis_indices", "visible", "selected", "data_index"],
    ),
    slots(
        CONTROLS,
        "ViewerLayerIsolationControlOptions",
        &["visible_route_keys", "selected_route_key", "axis_indices"],
    ),
    slots(
        CONTROLS,
        "ViewerIntensityWindowControlOptions",
        &["route_key", "axis_indices", "low_percentile", "high_percentile"],
    ),
    enumeration(CONTROLS, "ViewerShapePayloadProjection"),
    slots(VIEWER_PROTOCOL, "ViewerImageIntensityControlOptions", &["route_key", "presentation"]),
    slots(VIEWER_PROTOCOL, "ViewerNativeImageIntensityPresentation", &["contrast_limits", "gamma"]),
    slots(VIEWER_PROTOCOL, "ViewerNativeViewportPresentation", &["center", "zoom"]),
    enumeration(VIEWER_PROTOCOL, "ViewerControlMessageType"),
    enumeration(VIEWER_PROTOCOL, "ViewerProtocolStatus"),
    enumeration(VIEWER_PROTOCOL, "ViewerControlResponseField"),
    enumeration(VIEWER_PROTOCOL, "ViewerWireField"),
    enumeration(VIEWER_PROTOCOL, "ViewerComponentMode"),
    slots(
        "openhcs.agent.dto.viewer",
        "ViewerWindowSnapshotRequest",
        &[
            "connection",
            "timeout_ms",
            "include_response",
            "output_dir_path",
            "capture_scope",
            "frame_condition",
            "observation_timeout_s",
        ],
    ),
    slots("openhcs.agent.dto.execution", "ExecutionConnectionSpec", &["host", "port", "transport_mode", "persistent"]),
    AllowedClass { module: WINDOW_SNAPSHOT, name: "WindowSnapshotCaptureSpec", layout: ClassLayout::Dict },
    enumeration(WINDOW_SNAPSHOT, "WindowSnapshotCaptureScope"),
    enumeration(WINDOW_SNAPSHOT, "WindowSnapshotFrameCondition"),
    enumeration("zmqruntime.config", "TransportMode"),
    // In the real pong of zmqruntime 0.6.5.
    enumeration("zmqruntime.messages", "ServerRole"),
    enumeration("zmqruntime.messages", "EndpointControlCapability"),
    enumeration("zmqruntime.messages", "ControlMessageType"),
    // In real state replies of openhcs 0.8.6.
    AllowedClass {
        module: "polystore.streaming.identity",
        name: "StreamProducerIdentityPayload",
        layout: ClassLayout::Mapping,
    },
];

/// The allowed class of that name.
pub fn allowed_class(module: &str, name: &str) -> Option<&'static AllowedClass> {
    ALLOWED_CLASSES.iter().find(|class| class.name == name && class.module == module)
}

/// A global whose call has a fixed meaning here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Global {
    Class(&'static AllowedClass),
    /// `builtins.set` and its neighbours: protocols 0 to 3 call them.
    Set,
    FrozenSet,
    Bytes,
    ByteArray,
    /// `builtins.dict` and `builtins.object`, arguments of `copyreg._reconstructor`.
    Dict,
    Object,
    /// `copyreg._reconstructor`: how protocols 0 and 1 make instances.
    Reconstructor,
    /// `_codecs.encode(text, "latin1")`: how protocols 0 to 2 write bytes.
    CodecsEncode,
    NumpyReconstruct,
    NumpyScalar,
    NumpyFromBuffer,
    NumpyNdarray,
    NumpyDtype,
}

/// What a global means, or nothing if it is not allowed. numpy 1 writes `numpy.core`, numpy 2 `numpy._core`.
pub(super) fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("builtins" | "__builtin__", "set") => Global::Set,
        ("builtins" | "__builtin__", "frozenset") => Global::FrozenSet,
        ("builtins" | "__builtin__", "bytes") => Global::Bytes,
        ("builtins" | "__builtin__", "bytearray") => Global::ByteArray,
        ("builtins" | "__builtin__", "dict") => Global::Dict,
        ("builtins" | "__builtin__", "object") => Global::Object,
        ("copyreg" | "copy_reg", "_reconstructor") => Global::Reconstructor,
        ("_codecs", "encode") => Global::CodecsEncode,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Global::NumpyReconstruct,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Global::NumpyScalar,
        ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Global::NumpyFromBuffer,
        ("numpy", "ndarray") => Global::NumpyNdarray,
        ("numpy", "dtype") => Global::NumpyDtype,
        _ => Global::Class(allowed_class(module, name)?),
    })
}

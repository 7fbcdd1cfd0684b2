"""A producer made of the real packages: polystore's napari streaming backend, zmqruntime's ack listener and tracker.

The same file runs with polystore 0.2.19 + zmqruntime 0.2.24 (generation G3) and with 0.6.3 + 0.6.5 (G4): the backend's
calls are the same, only what it puts on the wire differs. Here is what OpenHCS would add around the backend: a
display configuration, a metadata handler for component names, and the identity of the pipeline step.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from endpoint import ViewerEndpoint
from polystore.napari_stream import NapariStreamingBackend
from polystore.streaming.identity import StreamProducerIdentity
from polystore.streaming.viewer_transport import (
    ExplicitViewerTransportConfig,
    IndexedViewerStreamSourceMetadata,
    ViewerDisplayConfigABC,
    ViewerFilenameParserABC,
    ViewerMetadataHandlerABC,
    ViewerMicroscopeHandlerABC,
    ViewerStreamBackendKwargs,
    ViewerStreamProducer,
    ViewerStreamRequest,
    ViewerStreamSource,
    ViewerStreamSourceIdentity,
)
from zmqruntime.ack_listener import GlobalAckListener
from zmqruntime.queue_tracker import GlobalQueueTrackerRegistry
from zmqruntime.viewer_protocol import ViewerTransportEndpoint

#: The five components of OpenHCS 0.8.6, in its order.
COMPONENT_ORDER = ("site", "channel", "z_index", "timepoint", "well")


class DisplayConfig(ViewerDisplayConfigABC):
    """What a viewer is told about sliders, layers and colours."""

    def __init__(
        self,
        *,
        component_order: Sequence[str] = COMPONENT_ORDER,
        layer_components: Sequence[str] = (),
        component_modes: Mapping[str, str] | None = None,
        colormap: str = "gray",
        variable_size_handling: str | None = "pad_to_max",
    ) -> None:
        self.COMPONENT_ORDER = tuple(component_order)
        # Modes are always complete, even when the order names fewer components (OpenHCS 0.8.6).
        known = tuple(dict.fromkeys((*COMPONENT_ORDER, *component_order)))
        self._modes = dict(
            component_modes or {name: "layer" if name in layer_components else "stack" for name in known}
        )
        self._extra = {"colormap": colormap, "variable_size_handling": variable_size_handling}

    def component_modes(self) -> Mapping[str, str]:
        return self._modes

    def display_payload_extra(self) -> Mapping[str, Any]:
        return self._extra


class NamesOfPlate(ViewerMetadataHandlerABC):
    """Names of component values, as a plate's own metadata would give them."""

    def __init__(self, names: Mapping[str, Mapping[str, str | None]]) -> None:
        self._names = names

    def get_component_values(self, plate_path: str | Path | None, component_name: str) -> Any:
        del plate_path
        return self._names.get(component_name)


class NoFilenames(ViewerFilenameParserABC):
    """Metadata is given with every item here, so no filename is ever parsed."""

    def parse_filename(self, filename: str) -> None:
        del filename


class Plate(ViewerMicroscopeHandlerABC):
    """The microscope surface that polystore asks for names."""

    def __init__(self, names: Mapping[str, Mapping[str, str | None]]) -> None:
        self.parser = NoFilenames()
        self.metadata_handler = NamesOfPlate(names)


@dataclasses.dataclass(frozen=True)
class Item:
    """One image or one list of ROIs of a batch."""

    #: An array `[.., y, x]`, or a sequence of `polystore.roi.ROI`.
    payload: Any
    path: str
    #: Component to value: the address of this item.
    metadata: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SentBatch:
    """What the backend did with one batch."""

    #: None when the viewer accepted it, else the text of what the backend raised.
    error: str | None
    image_ids: tuple[str, ...]
    #: Segments of this batch that still exist in /dev/shm afterwards (Linux; always empty elsewhere).
    segments_left: tuple[str, ...]
    seconds: float


class Producer:
    """Streams batches to one viewer and keeps the acks that come back."""

    def __init__(self, endpoint: ViewerEndpoint) -> None:
        self.endpoint = endpoint
        self.acks: list[dict[str, Any]] = []
        self._sent_image_ids: set[str] = set()
        self._backend = NapariStreamingBackend(transport_config=endpoint.config)
        self._built: Any = None
        # The backend's own hook for looking at a message before it is sent; as an attribute, so that no subclass
        # enters polystore's backend registry.
        self._backend.after_batch_message_built = self._remember_batch
        # The backend starts the listener itself, on its first batch.
        GlobalAckListener().register_callback(self._remember_ack)

    def _remember_batch(self, stream_request: ViewerStreamRequest, built_batch: Any) -> None:
        del stream_request
        self._built = built_batch

    def _remember_ack(self, ack: Any) -> None:
        self.acks.append(ack.to_dict())

    def send(
        self,
        items: Sequence[Item],
        *,
        identity: StreamProducerIdentity | Sequence[StreamProducerIdentity],
        display: DisplayConfig | None = None,
        component_names: Mapping[str, Mapping[str, str | None]] | None = None,
        component_value_domain: Mapping[str, Sequence[Any]] | None = None,
        item_fields: Mapping[str, Any] | None = None,
        message_extra: Mapping[str, Any] | None = None,
        plate_path: str = "/plate",
    ) -> SentBatch:
        """Send one batch and wait for the viewer's reply, as a pipeline worker does.

        Parameters
        ----------
        items
            Images and ROI lists, in the order of the message.
        identity
            One for the whole batch, or one per item.
        component_names
            Component to value (as text) to name; None as a name says that no name is known.
        component_value_domain
            Values that the viewer should expect. None: polystore gathers them from this batch.
        item_fields
            Fields added to every image of the batch, such as `source_channel_axis`.
        """
        identities = (identity,) if isinstance(identity, StreamProducerIdentity) else tuple(identity)
        names = component_names or {}
        extra = dict(message_extra or {})
        if component_value_domain is not None:
            # polystore takes both from the caller or neither.
            extra["component_names_metadata"] = {key: dict(value) for key, value in names.items()}
            extra["component_value_domain"] = {key: list(value) for key, value in component_value_domain.items()}
        request = ViewerStreamRequest(
            viewer_transport=ViewerTransportEndpoint(
                host=self.endpoint.host, port=self.endpoint.port, transport_mode=self.endpoint.transport_mode
            ),
            display_config=display or DisplayConfig(),
            source=ViewerStreamSource(
                identity=ViewerStreamSourceIdentity(microscope_handler=Plate(names), plate_path=plate_path),
                metadata=IndexedViewerStreamSourceMetadata([dict(item.metadata) for item in items]),
                item_fields=dict(item_fields or {}),
            ),
            producer=ViewerStreamProducer.from_identities(identities),
            transport_config=ExplicitViewerTransportConfig(self.endpoint.config),
            message_extra=extra or None,
        )
        self._built = None
        started = time.monotonic()
        error: str | None = None
        try:
            self._backend.save_batch(
                [item.payload for item in items],
                [item.path for item in items],
                **ViewerStreamBackendKwargs(request).to_kwargs(),
            )
        except Exception as raised:  # what the backend raises is what a pipeline step would fail with
            error = f"{type(raised).__name__}: {raised}"
        seconds = time.monotonic() - started
        if self._built is None:
            return SentBatch(error=error, image_ids=(), segments_left=(), seconds=seconds)
        self._sent_image_ids.update(self._built.image_ids)
        names_of_segments = (str(item.get("shm_name") or "") for item in self._built.batch_images)
        return SentBatch(
            error=error,
            image_ids=tuple(self._built.image_ids),
            segments_left=tuple(name for name in names_of_segments if name and os.path.exists(f"/dev/shm/{name}")),
            seconds=seconds,
        )

    def wait_for_acks(self, *, timeout_seconds: float) -> bool:
        """Wait until every image sent so far was acknowledged; False when the time ran out."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._sent_image_ids <= {ack["image_id"] for ack in self.acks}:
                return True
            time.sleep(0.02)
        return self._sent_image_ids <= {ack["image_id"] for ack in self.acks}

    def tracker(self) -> dict[str, int]:
        """What the package's own queue tracker counts: images sent, processed and pending."""
        tracker = GlobalQueueTrackerRegistry().get_or_create_tracker(self.endpoint.port, "napari")
        processed, sent = tracker.get_progress()
        return {"sent": sent, "processed": processed, "pending": tracker.get_pending_count()}

    def close(self) -> None:
        """Release the backend's sockets and any segment it still holds."""
        GlobalAckListener().stop()
        self._backend.cleanup()


def pipeline_step(name: str, position: int, **changed: Any) -> StreamProducerIdentity:
    """The identity of a pipeline step's main output; `changed` replaces single fields."""
    fields: dict[str, Any] = {
        "origin": "pipeline",
        "output_kind": "main",
        "output_key": "main",
        "projection_key": "main",
        "step_name": name,
        "pipeline_position": position,
    }
    return StreamProducerIdentity(**(fields | changed))

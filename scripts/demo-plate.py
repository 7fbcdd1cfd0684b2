"""Stream a plate of real microscope images through the released polystore backend, as a pipeline would.

    python demo-plate.py --port 5555 --transport ipc --data FOLDER

Runs in the G3 environment (tests/producers/requirements-g3.txt). FOLDER holds the image files of the stardist wheel;
the histology image lies inside scikit-image. THIRD-PARTY.md says where each comes from.

What is measured and what is arranged, so that nobody takes the plate for an experiment:
- Wells A01 to B03: one fluorescence field of nuclei, 512 x 512 pixels, cut into overlapping crops. Two sites per well.
  "Timepoints" are the same crop moved right by 12 pixels a step. Channel 1 is the fluorescence; channel 2 is computed
  from it (strength of edges). Label masks came with the image; blur, edges and outlines are computed here.
- Well C01: a z-stack of 31 planes. It is a synthetic image of nuclei, made by its authors to test segmentation.
- Well C02: a histology image in colour.
- Well B02 lacks site 2, on purpose: a viewer must show the hole.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "producers"))

import numpy as np
import skimage
import tifffile
from endpoint import add_endpoint_arguments, endpoint_from
from PIL import Image
from polystore.roi import extract_rois_from_labeled_mask
from polystore.streaming.identity import StreamProducerIdentity
from producer import DisplayConfig, Item, Producer, pipeline_step
from scipy import ndimage

PLATE = "/demo-plate"
NUCLEI_WELLS = ("A01", "A02", "A03", "B01", "B02", "B03")
Z_STACK_WELL, HISTOLOGY_WELL = "C01", "C02"
SITES = (1, 2)
TIMEPOINTS = (1, 2, 3)
HOLE = ("B02", 2)

#: Edge length of a crop in pixels, and how far a "timepoint" moves it.
CROP_PX, SHIFT_PX = 240, 12
#: Upper left corners (y, x) of the 12 crops at timepoint 1: a 3 x 4 grid, overlapping.
CORNERS = [(y, x) for y in (0, 136, 272) for x in (0, 82, 164, 246)]
BLUR_SIGMA_PX = 2.0

NUCLEI_CHANNEL, EDGES_CHANNEL, Z_STACK_CHANNEL, HISTOLOGY_CHANNEL = 1, 2, 3, 4
Z_PLANES = 31

COMPONENT_NAMES: dict[str, dict[str, str | None]] = {
    "channel": {
        str(NUCLEI_CHANNEL): "nuclei (fluorescence)",
        str(EDGES_CHANNEL): "edge strength (computed)",
        str(Z_STACK_CHANNEL): "nuclei (synthetic)",
        str(HISTOLOGY_CHANNEL): "stain (RGB)",
    },
    "timepoint": {str(t): f"crop moved {(t - 1) * SHIFT_PX} px" for t in TIMEPOINTS},
    "well": dict.fromkeys((*NUCLEI_WELLS, Z_STACK_WELL, HISTOLOGY_WELL)),
}
#: The values that a step means to send, declared with each of its batches as OpenHCS does. What is declared and missing is
#: shown as not received yet: site 2 of well B02.
Domain = Mapping[str, Sequence[Any]]
NUCLEI_DOMAIN: Domain = {
    "site": SITES,
    "channel": (NUCLEI_CHANNEL, EDGES_CHANNEL),
    "z_index": (1,),
    "timepoint": TIMEPOINTS,
    "well": NUCLEI_WELLS,
}
LABELS_DOMAIN: Domain = {**NUCLEI_DOMAIN, "channel": (NUCLEI_CHANNEL,)}
Z_STACK_DOMAIN: Domain = {
    "site": (1,),
    "channel": (Z_STACK_CHANNEL,),
    "z_index": tuple(range(1, Z_PLANES + 1)),
    "timepoint": (1,),
    "well": (Z_STACK_WELL,),
}
HISTOLOGY_DOMAIN: Domain = {
    "site": (1,),
    "channel": (HISTOLOGY_CHANNEL,),
    "z_index": (1,),
    "timepoint": (1,),
    "well": (HISTOLOGY_WELL,),
}


def address(well: str, site: int, channel: int, timepoint: int) -> dict[str, Any]:
    """The components of one plane that is no z-stack."""
    return {"site": site, "channel": channel, "z_index": 1, "timepoint": timepoint, "well": well}


def crop(field: np.ndarray, well: str, site: int, timepoint: int) -> np.ndarray:
    """The piece of a field `[y, x]` that stands for one site at one timepoint."""
    y, x = CORNERS[NUCLEI_WELLS.index(well) * len(SITES) + site - 1]
    x += (timepoint - 1) * SHIFT_PX
    return np.ascontiguousarray(field[y : y + CROP_PX, x : x + CROP_PX])


def planes_of(well: str) -> Iterator[tuple[int, int]]:
    """Site and timepoint of every plane of a well, the hole left out."""
    for site in SITES:
        if (well, site) != HOLE:
            for timepoint in TIMEPOINTS:
                yield site, timepoint


def path_of(step: str, well: str, site: int, channel: int, timepoint: int, extension: str = ".tif") -> str:
    """The file that this output would be written to."""
    return f"{PLATE}/{step}/{well}_s{site}_w{channel}_t{timepoint}{extension}"


def edge_strength(field: np.ndarray) -> np.ndarray:
    """Length of the Sobel gradient of `[y, x]`, in the field's own units, as uint16."""
    smooth = ndimage.gaussian_filter(field.astype(np.float32), 1.0)
    gradient = np.hypot(ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1))
    return np.clip(np.rint(gradient), 0, 65535).astype(np.uint16)


class Demo:
    """Sends the plate step by step and tells what it does."""

    def __init__(self, producer: Producer, data: Path) -> None:
        self._producer = producer
        self.images = 0
        self.roi_lists = 0
        self._nuclei = tifffile.imread(data / "img2d.tif")
        self._labels = tifffile.imread(data / "mask2d.tif").astype(np.int32)
        self._z_stack = tifffile.imread(data / "img3d.tif")
        histology = Path(skimage.__file__).parent / "data" / "ihc.png"
        self._histology = np.asarray(Image.open(histology).convert("RGB"))

    def stream(self) -> None:
        """Everything, in the order in which a pipeline would make it."""
        edges = edge_strength(self._nuclei)
        blurred = {
            channel: np.rint(ndimage.gaussian_filter(field.astype(np.float32), BLUR_SIGMA_PX)).astype(np.uint16)
            for channel, field in ((NUCLEI_CHANNEL, self._nuclei), (EDGES_CHANNEL, edges))
        }
        self._step("Raw", 0, {NUCLEI_CHANNEL: self._nuclei, EDGES_CHANNEL: edges}, "green")
        self._step("Gaussian Blur", 1, blurred, "blue")
        self._step("Label nuclei", 2, {NUCLEI_CHANNEL: self._labels}, "magenta")
        self._outlines()
        self._z_stack_step()
        self._histology_step()

    def _send(
        self,
        items: Sequence[Item],
        identity: StreamProducerIdentity,
        domain: Domain,
        colormap: str,
        item_fields: Mapping[str, Any] | None = None,
    ) -> None:
        sent = self._producer.send(
            items,
            identity=identity,
            display=DisplayConfig(colormap=colormap),
            component_names=COMPONENT_NAMES,
            component_value_domain=domain,
            item_fields=item_fields,
            plate_path=PLATE,
        )
        if sent.error is not None:
            raise SystemExit(f"the viewer did not take the batch: {sent.error}")

    def _step(self, name: str, position: int, fields: Mapping[int, np.ndarray], colormap: str) -> None:
        """One image step over all wells, a batch per well; `fields` maps a channel to its whole field `[y, x]`."""
        about = f"{len(fields)} channel{'s' * (len(fields) > 1)}, {next(iter(fields.values())).dtype}"
        print(f"step {position + 1}, {name} ({about}):", end="", flush=True)
        for well in NUCLEI_WELLS:
            items = [
                Item(
                    payload=crop(field, well, site, timepoint),
                    path=path_of(name, well, site, channel, timepoint),
                    metadata=address(well, site, channel, timepoint),
                )
                for site, timepoint in planes_of(well)
                for channel, field in fields.items()
            ]
            domain = NUCLEI_DOMAIN if EDGES_CHANNEL in fields else LABELS_DOMAIN
            self._send(items, pipeline_step(name, position), domain, colormap)
            self.images += len(items)
            print(f" {well}", end="", flush=True)
        print()

    def _outlines(self) -> None:
        """Outlines of the labelled nuclei, as polystore traces them."""
        identity = pipeline_step(
            "Label nuclei",
            2,
            output_kind="artifact",
            output_key="nuclei_outlines",
            projection_key="nuclei_outlines",
            artifact_kind="roi",
        )
        print("step 3, nuclei_outlines (ROIs from the labels):", end="", flush=True)
        for well in NUCLEI_WELLS:
            items = [
                Item(
                    payload=extract_rois_from_labeled_mask(crop(self._labels, well, site, timepoint)),
                    path=path_of("Label nuclei", well, site, NUCLEI_CHANNEL, timepoint, ".roi.zip"),
                    metadata=address(well, site, NUCLEI_CHANNEL, timepoint),
                )
                for site, timepoint in planes_of(well)
            ]
            self._send(items, identity, LABELS_DOMAIN, "gray")
            self.roi_lists += len(items)
            print(f" {well}", end="", flush=True)
        print()

    def _z_stack_step(self) -> None:
        """One item whose leading axis is z, as OpenHCS 0.8.6 sends a payload of several planes."""
        z_values = list(Z_STACK_DOMAIN["z_index"])
        if len(self._z_stack) != len(z_values):
            raise SystemExit(f"the z-stack must have {len(z_values)} planes, found {self._z_stack.shape}")
        components = {"site": 1, "channel": Z_STACK_CHANNEL, "timepoint": 1, "well": Z_STACK_WELL}
        item = Item(payload=self._z_stack, path=f"{PLATE}/Z-stack/{Z_STACK_WELL}.tif", metadata=components)
        fields = {"plane_axis": "runtime_slice", "plane_component_values": {"z_index": z_values}}
        self._send([item], pipeline_step("Z-stack", 3), Z_STACK_DOMAIN, "gray", fields)
        self.images += 1
        print(f"step 4, Z-stack (one image of {len(z_values)} planes, {self._z_stack.dtype}): {Z_STACK_WELL}")

    def _histology_step(self) -> None:
        components = address(HISTOLOGY_WELL, 1, HISTOLOGY_CHANNEL, 1)
        item = Item(payload=self._histology, path=f"{PLATE}/Histology/{HISTOLOGY_WELL}.tif", metadata=components)
        self._send([item], pipeline_step("Histology", 4), HISTOLOGY_DOMAIN, "gray", {"source_channel_axis": 2})
        self.images += 1
        height, width, _ = self._histology.shape
        print(f"step 5, Histology (RGB, {height} x {width}, {self._histology.dtype}): {HISTOLOGY_WELL}")


def main() -> None:
    """Stream the plate to the viewer that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_endpoint_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder with img2d.tif, mask2d.tif and img3d.tif")
    arguments = parser.parse_args()
    producer = Producer(endpoint_from(arguments))
    started = time.monotonic()
    try:
        demo = Demo(producer, arguments.data)
        demo.stream()
        seconds = time.monotonic() - started
        acknowledged = producer.wait_for_acks(timeout_seconds=10.0)
        counts = producer.tracker()
    finally:
        producer.close()
    print(f"left out on purpose: site {HOLE[1]} of well {HOLE[0]}, in every step")
    print(f"{demo.images} images and {demo.roi_lists} ROI lists in {seconds:.1f} s; ", end="")
    print(f"{counts['processed']} of {counts['sent']} acknowledged by the viewer")
    if not acknowledged:
        print("warning: some acknowledgements did not come; the images may still be there", file=sys.stderr)


if __name__ == "__main__":
    main()

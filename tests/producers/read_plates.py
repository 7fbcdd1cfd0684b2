"""Reads what wellscope wrote with the programs that people use, and prints what they see as JSON.

Usage: read_plates.py tiff FILE...      tifffile: series and pages of each file
       read_plates.py zarr PLATE...     ome-zarr's reader and zarr: wells, fields, labels
"""

import hashlib
import json
import pathlib
import sys

import numpy as np


def summary(image):
    image = np.asarray(image)
    little = np.ascontiguousarray(image.astype(image.dtype.newbyteorder("<")))
    return {"dtype": image.dtype.name, "shape": list(image.shape), "sha256": hashlib.sha256(little.tobytes()).hexdigest()}


def read_tiff(path):
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        answer = {
            **summary(series.asarray()), "axes": series.axes, "is_ome": file.is_ome, "is_shaped": file.is_shaped,
            "is_bigtiff": file.is_bigtiff, "series": len(file.series), "pages": len(file.pages),
            "compression": int(file.pages[0].compression), "photometric": int(file.pages[0].photometric),
        }
        if file.is_ome:
            pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
            channels = pixels["Channel"]
            channels = channels if isinstance(channels, list) else [channels]
            answer["voxel"] = [pixels.get(f"PhysicalSize{axis}") for axis in "ZYX"]
            answer["units"] = [pixels.get(f"PhysicalSize{axis}Unit") for axis in "ZYX"]
            answer["channels"] = [channel.get("Name") for channel in channels]
            answer["name"] = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"].get("Name")
        return answer


def read_zarr(path):
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Multiscales, Reader

    # The reader that napari-ome-zarr uses puts a plate together by itself: it fails when metadata is not consistent.
    nodes = list(Reader(parse_url(path))())
    root = zarr.open_group(path, mode="r")
    fields = {}
    for well in root.attrs["plate"]["wells"]:
        group = root[well["path"]]
        for image in group.attrs["well"]["images"]:
            where = f"{well['path']}/{image['path']}"
            node = list(Reader(parse_url(f"{path}/{where}"))())[0]
            # Computed before it is hashed: dask arrays are read only when asked for.
            data = np.asarray(node.data[0])
            labels = {}
            names = root[f"{where}/labels"].attrs["labels"] if f"{where}/labels" in root else []
            for name in names:
                label = root[f"{where}/labels/{name}"]
                labels[name] = {**summary(label["0"][...]), "attributes": sorted(label.attrs)}
            fields[where] = {
                **summary(data), "axes": [axis["name"] for axis in node.metadata["axes"]],
                "names": node.metadata.get("channel_names") or node.metadata.get("name"),
                "transformations": node.metadata["coordinateTransformations"][0],
                "omero": group[image["path"]].attrs["omero"]["channels"], "labels": labels,
            }
    return {
        "plate": root.attrs["plate"], "zarr_format": root.metadata.zarr_format, "fields": fields,
        "nodes": len(nodes), "whole_shape": list(nodes[0].data[0].shape) if nodes and nodes[0].data else None,
    }


def main():
    read = {"tiff": read_tiff, "zarr": read_zarr}[sys.argv[1]]
    print(json.dumps({pathlib.Path(path).name: read(path) for path in sys.argv[2:]}))


if __name__ == "__main__":
    main()

"""Writes plates with the programs that people use, and says what must be read back.

Usage: write_plates.py FOLDER

One folder per plate below FOLDER, and FOLDER/expected.json: per plate its path, format, name, channel names, voxel size
(z, y, x in micrometres) and every plane with its address, type, shape and the SHA-256 of its bytes (C order,
little-endian). Pixels are made from the address, so that a plane that is taken for another has another sum.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image, write_multiscale, write_plate_metadata, write_well_metadata

HEIGHT, WIDTH = 37, 50


def plane(*key, dtype="uint16", shape=(HEIGHT, WIDTH)):
    """An image of noise that depends on `key` only."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "little")
    noise = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype == bool:
        return noise.random(shape) > 0.5
    if dtype.kind == "f":
        return noise.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return noise.integers(limits.min, limits.max, size=shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)


def record(image, *, well="A01", site=1, channel=1, z_index=1, timepoint=1):
    image = np.asarray(image)
    little = np.ascontiguousarray(image.astype(image.dtype.newbyteorder("<")))
    return {
        "address": {"well": well, "site": site, "channel": channel, "z_index": z_index, "timepoint": timepoint},
        "dtype": image.dtype.newbyteorder("=").name,
        "shape": list(image.shape),
        "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
    }


class Plates:
    def __init__(self, root):
        self.root = root
        self.expected = {}

    def folder(self, name):
        folder = self.root / name
        folder.mkdir(parents=True)
        return folder

    def add(self, case, path, kind, planes, *, name=None, channels=None, voxel=(None, None, None), warnings=0):
        self.expected[case] = {
            "path": str(path), "format": kind, "planes": planes, "name": name, "channels": channels or {},
            "voxel": list(voxel), "warnings": warnings,
        }


def imagexpress(plates):
    """Names, thumbnails, GUIDs and folders of MetaXpress, and its description of a calibrated image."""
    folder = plates.folder("imagexpress")
    guid = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427"
    description = (
        '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="on"/>'
        '<prop id="spatial-calibration-x" type="float" value="0.65"/>'
        '<prop id="spatial-calibration-y" type="float" value="0.65"/>'
        '<prop id="spatial-calibration-units" type="string" value="um"/></PlaneInfo></MetaData>'
    )
    (folder / "plate.HTD").write_bytes(
        b'"HTSInfoFile", Version 1.0\r\n"Description", "Zellen \xfc"\r\n"XWells", 24\r\n"NWavelengths", 2\r\n'
        b'"WaveName1", "DAPI"\r\n"WaveName2", "FITC, long"\r\n"WaveName3", "not used"\r\n"EndFile"\r\n'
    )
    planes = []
    for time in (1, 2):
        for step in (1, 2):
            below = folder / f"TimePoint_{time}" / f"ZStep_{step}"
            below.mkdir(parents=True)
            for well in ("A01", "B10", "B2"):
                for site in (1, 2):
                    for wave in (1, 2):
                        image = plane("ix", well, site, wave, step, time)
                        name = f"Week_1_{well}_s{site}_w{wave}"
                        tifffile.imwrite(below / f"{name}{guid}.tif", image, description=description, metadata=None)
                        tifffile.imwrite(below / f"{name}_thumb{guid}.tif", image[::4, ::4])
                        padded = f"{well[0]}{int(well[1:]):02}"
                        planes.append(record(image, well=padded, site=site, channel=wave, z_index=step, timepoint=time))
    plates.add("imagexpress", folder, "ImageXpress", planes, channels={"1": "DAPI", "2": "FITC, long"},
               voxel=(None, 0.65, 0.65))


def openhcs(plates):
    """OpenHCS's own spelling, in its `images` folder, with something else beside the images."""
    folder = plates.folder("openhcs")
    images = folder / "images"
    images.mkdir()
    planes = []
    for well in ("A01", "P24"):
        for z in (1, 2, 3):
            image = plane("openhcs", well, z, dtype="uint8")
            tifffile.imwrite(images / f"{well}_s001_w1_z{z:03}_t001.tif", image, compression="zlib")
            planes.append(record(image, well=well, z_index=z))
    tifffile.imwrite(images / "overview.tif", plane("overview"))
    plates.add("openhcs", folder, "ImageXpress", planes, warnings=1)


def phenix(plates):
    """An Opera Phenix export: names in Images/, the rest in Index.idx.xml."""
    folder = plates.folder("phenix")
    images = folder / "Images"
    images.mkdir()
    planes, entries = [], []
    for row, column in ((1, 1), (2, 12), (27, 3)):
        for field in (1, 2):
            for z in (1, 2):
                for channel in (1, 2):
                    name = f"r{row:02}c{column:02}f{field:02}p{z:02}-ch{channel}sk1fk1fl1.tiff"
                    image = plane("phenix", row, column, field, z, channel)
                    tifffile.imwrite(images / name, image, compression="lzw", predictor=2)
                    well = f"{'AA' if row == 27 else chr(64 + row)}{column:02}"
                    planes.append(record(image, well=well, site=field, channel=channel, z_index=z))
                    entries.append(
                        f'<Image Version="1"><id>{row:02}{column:02}K1F{field}P{z}R{channel}</id><State>Ok</State>'
                        f"<URL>{name}</URL><Row>{row}</Row><Col>{column}</Col><FieldID>{field}</FieldID>"
                        f"<PlaneID>{z}</PlaneID><TimepointID>0</TimepointID><ChannelID>{channel}</ChannelID>"
                        f"<ChannelName>{'HOECHST &amp; 33342' if channel == 1 else 'Alexa 488'}</ChannelName>"
                        f'<ImageResolutionX Unit="m">2.9802322387695312E-07</ImageResolutionX>'
                        f'<ImageResolutionY Unit="m">2.9802322387695312E-07</ImageResolutionY>'
                        f'<PositionZ Unit="m">{-2e-06 + 1.5e-06 * z}</PositionZ>'
                        f'<AbsPositionZ Unit="m">0.135{field}</AbsPositionZ></Image>'
                    )
    gone = "r09c09f01p01-ch1sk1fk1fl1.tiff"
    entries.append(f"<Image><URL>{gone}</URL><Row>9</Row><Col>9</Col></Image>")
    (images / "Index.idx.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">'
        "<Plates><Plate><PlateID>7</PlateID><Name>screen 7</Name><Well id=\"0101\"/></Plate></Plates>"
        '<Wells><Well><id>0101</id><Image id="0101K1F1P1R1"/></Well></Wells>'
        f"<Images>{''.join(entries)}</Images></EvaluationInputData>"
    )
    plates.add("phenix", folder, "Opera Phenix", planes, name="screen 7",
               channels={"1": "HOECHST & 33342", "2": "Alexa 488"}, voxel=(1.5, 0.29802322387695312, 0.29802322387695312),
               warnings=1)


def ome_tiff(plates):
    """Files of tifffile by themselves: five axes in one, and a folder without wells."""
    folder = plates.folder("ome-tiff-single")
    stack = np.stack([[[plane("ome", t, c, z) for z in range(3)] for c in range(2)] for t in range(2)])
    path = folder / "cells.ome.tif"
    tifffile.imwrite(
        path, stack, ome=True, photometric="minisblack", compression="zlib", predictor=True,
        metadata={"axes": "TCZYX", "PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 325.0,
                  "PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm",
                  "Channel": {"Name": ["DAPI", "GFP <α>"]}},
    )
    planes = [record(stack[t, c, z], channel=c + 1, z_index=z + 1, timepoint=t + 1)
              for t in range(2) for c in range(2) for z in range(3)]
    facts = {"name": "cells", "channels": {"1": "DAPI", "2": "GFP <α>"}, "voxel": (2.0, 0.325, 0.325)}
    plates.add("ome-tiff-single-file", path, "OME-TIFF", planes, **facts)
    plates.add("ome-tiff-folder-of-one", folder, "OME-TIFF", planes, **{**facts, "name": "ome-tiff-single"})

    folder = plates.folder("ome-tiff-order")
    stack = np.stack([[plane("order", z, c) for c in range(2)] for z in range(3)])
    tifffile.imwrite(folder / "a10.ome.tiff", stack, ome=True, metadata={"axes": "ZCYX"}, photometric="minisblack")
    colour = plane("colour", dtype="uint8", shape=(HEIGHT, WIDTH, 3))
    tifffile.imwrite(folder / "a9.ome.tiff", colour, ome=True, photometric="rgb", metadata={"axes": "YXS"})
    planes = [record(colour)]
    planes += [record(stack[z, c], site=2, channel=c + 1, z_index=z + 1) for z in range(3) for c in range(2)]
    plates.add("ome-tiff-order", folder, "OME-TIFF", planes)


def ome_tiff_plate(plates):
    """A plate in OME-XML: the images of two wells in two files, described by the first."""
    folder = plates.folder("ome-tiff-plate")
    images, wells, planes = [], [], []
    for index, (row, column) in enumerate(((0, 0), (1, 2))):
        fields = []
        for field in range(2):
            number = index * 2 + field
            stack = np.stack([plane("plate", row, column, field, c) for c in range(2)])
            name = f"file{number}.ome.tif"
            images.append((name, stack))
            fields.append(f'<WellSample ID="WellSample:{number}" Index="{number}"><ImageRef ID="Image:{number}"/></WellSample>')
            well = f"{'AB'[row]}{column + 1:02}"
            planes += [record(stack[c], well=well, site=field + 1, channel=c + 1) for c in range(2)]
        wells.append(f'<Well ID="Well:{index}" Row="{row}" Column="{column}">{"".join(fields)}</Well>')
    described = "".join(
        f'<Image ID="Image:{number}" Name="field {number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint16" '
        f'SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeC="2" SizeZ="1" SizeT="1">'
        f'<Channel ID="Channel:{number}:0" Name="DNA"/><Channel ID="Channel:{number}:1" Name="Actin"/>'
        + "".join(
            f'<TiffData IFD="{c}" FirstC="{c}" FirstT="0" FirstZ="0" PlaneCount="1">'
            f'<UUID FileName="{name}">urn:uuid:00000000-0000-0000-0000-00000000000{number}</UUID></TiffData>'
            for c in range(2)
        )
        + "</Pixels></Image>"
        for number, (name, _) in enumerate(images)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Plate ID="Plate:0" Name="assay 3">{"".join(wells)}</Plate>{described}</OME>'
    )
    for name, stack in images:
        with tifffile.TiffWriter(folder / name) as writer:
            for index, image in enumerate(stack):
                writer.write(image, description=xml if index == 0 else None, metadata=None, photometric="minisblack")
    plates.add("ome-tiff-plate", folder, "OME-TIFF", planes, name="assay 3", channels={"1": "DNA", "2": "Actin"})


def tiff_variants(plates):
    """Every element type, and layouts of TIFF that microscopes and tools write. Names say nothing, so each is a site."""
    folder = plates.folder("tiff-variants")
    variants = [
        *[(f"{dtype}", plane("v", dtype, dtype=dtype), {}) for dtype in (
            "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32",
            "float64")],
        ("lzw", plane("v", "lzw"), {"compression": "lzw"}),
        ("zstd", plane("v", "zstd"), {"compression": "zstd"}),
        ("packbits", plane("v", "packbits", dtype="uint8"), {"compression": "packbits"}),
        ("predictor", plane("v", "predictor"), {"compression": "zlib", "predictor": 2}),
        ("float-predictor", plane("v", "fp", dtype="float32"), {"compression": "zlib", "predictor": 3}),
        ("tiled", plane("v", "tiled", shape=(100, 70)), {"tile": (32, 16)}),
        ("tiled-zlib", plane("v", "tiled-zlib", shape=(100, 70)), {"tile": (32, 16), "compression": "zlib"}),
        ("strips", plane("v", "strips"), {"rowsperstrip": 5}),
        ("big", plane("v", "big"), {"bigtiff": True}),
        ("motorola", plane("v", "motorola", dtype=">u2"), {"byteorder": ">"}),
        ("motorola-big", plane("v", "motorola-big", dtype=">f4"), {"byteorder": ">", "bigtiff": True}),
        ("rgb", plane("v", "rgb", dtype="uint8", shape=(HEIGHT, WIDTH, 3)), {"photometric": "rgb"}),
        ("rgba16", plane("v", "rgba16", shape=(HEIGHT, WIDTH, 4)), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ]
    planes = []
    for site, (name, image, options) in enumerate(variants, start=1):
        tifffile.imwrite(folder / f"{site} {name}.tif", image, **{"photometric": "minisblack", **options})
        planes.append(record(image, site=site))
    planar = plane("v", "planar", dtype="uint8", shape=(3, HEIGHT, WIDTH))
    tifffile.imwrite(folder / "90 planar.tif", planar, photometric="rgb", planarconfig="separate")
    planes.append(record(np.moveaxis(planar, 0, -1), site=len(planes) + 1))
    pages = np.stack([plane("v", "page", index) for index in range(5)])
    tifffile.imwrite(folder / "91 pages.tif", pages, photometric="minisblack")
    planes += [record(pages[index], site=len(variants) + 2, z_index=index + 1) for index in range(5)]
    for byteorder, big in (("<", False), (">", True)):
        site = len(variants) + 3 + int(big)
        hyper = np.stack([[[plane("v", "ij", big, t, z, c) for c in range(2)] for z in range(3)] for t in range(2)])
        options = {"bigtiff": True, "metadata": None, "byteorder": ">"} if big else {"imagej": True, "metadata": {"axes": "TZCYX"}}
        if big:
            hyper = hyper.reshape(12, 1, 1, HEIGHT, WIDTH)
        tifffile.imwrite(folder / f"{92 + int(big)} stack.tif", hyper, photometric="minisblack", **options)
        if big:
            planes += [record(hyper[z, 0, 0], site=site, z_index=z + 1) for z in range(12)]
        else:
            planes += [record(hyper[t, z, c], site=site, channel=c + 1, z_index=z + 1, timepoint=t + 1)
                       for t in range(2) for z in range(3) for c in range(2)]
    plates.add("tiff-variants", folder, "TIFF folder", planes, warnings=1)


def ome_zarr(plates):
    """HCS plates of ome-zarr, versions 0.4 (zarr 2) and 0.5 (zarr 3), with two levels each."""
    for case, version, dtype in (("ome-zarr-04", FormatV04(), "uint16"), ("ome-zarr-05", FormatV05(), "float32")):
        path = plates.root / f"{case}.ome.zarr"
        root = zarr.open_group(str(path), mode="w", zarr_format=version.zarr_format)
        wells = ["A/1", "B/12"]
        write_plate_metadata(root, ["A", "B"], ["1", "12"], wells, name=f"plate {case}", fmt=version)
        planes = []
        for well in wells:
            group = root.require_group(well)
            write_well_metadata(group, ["0", "1"], fmt=version)
            for field in range(2):
                stack = np.stack([[[plane(case, well, field, t, c, z, dtype=dtype) for z in range(2)] for c in range(2)]
                                  for t in range(2)])
                image = group.require_group(str(field))
                scale = [1.0, 1.0, 2.5, 0.5, 0.5]
                axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"},
                        *[{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]]
                write_multiscale(
                    [stack, stack[..., ::2, ::2]], image, axes=axes, fmt=version,
                    coordinate_transformations=[
                        [{"type": "scale", "scale": scale}],
                        [{"type": "scale", "scale": [*scale[:3], 1.0, 1.0]}],
                    ],
                    metadata={"omero": {"channels": [
                        {"label": label, "color": "FFFFFF", "window": {"min": 0, "max": 1, "start": 0, "end": 1}}
                        for label in ("DAPI", "Cy5")]}},
                )
                name = f"{well[0]}{int(well[2:]):02}"
                planes += [record(stack[t, c, z], well=name, site=field + 1, channel=c + 1, z_index=z + 1, timepoint=t + 1)
                           for t in range(2) for c in range(2) for z in range(2)]
        plates.add(case, path, "OME-Zarr", planes, name=f"plate {case}", channels={"1": "DAPI", "2": "Cy5"},
                   voxel=(2.5, 0.5, 0.5))


def ome_zarr_images(plates):
    """Single images, with the codecs and types that zarr 2 and 3 write."""
    from numcodecs import GZip, Zlib, Zstd
    from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ZstdCodec

    stack = np.stack([plane("zarr", z) for z in range(3)])
    axes = ["z", "y", "x"]
    for case, options in {
        "v2-raw": {"compressors": None, "dtype": ">u2"},
        "v2-zlib": {"compressors": Zlib()},
        "v2-gzip": {"compressors": GZip()},
        "v2-zstd": {"compressors": Zstd()},
        "v2-fortran": {"order": "F", "compressors": None},
        "v2-dots": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "v3-gzip": {"compressors": GzipCodec()},
        "v3-zstd": {"compressors": ZstdCodec()},
        "v3-blosc": {"compressors": BloscCodec(cname="zstd")},
        "v3-sharded": {"shards": (2, 32, 32), "compressors": ZstdCodec()},
        "v3-big": {"serializer": BytesCodec(endian="big"), "compressors": None},
        "v3-bool": {"dtype": "bool"},
        "v2-bool": {"dtype": "bool"},
        "v2-float16": {"dtype": "float16"},
        "v2-int64": {"dtype": "int64"},
    }.items():
        zarr_format = int(case[1])
        path = plates.root / f"image-{case}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
        options = {"chunk_key_encoding": {"name": "v2", "separator": "/"}, **options} if zarr_format == 2 else options
        dtype = options.pop("dtype", "uint16")
        data = stack if np.dtype(dtype).kind == "u" else np.stack([plane("zarr", case, z, dtype=dtype) for z in range(3)])
        array = group.create_array("0", shape=data.shape, chunks=(1, 16, 32), dtype=dtype, **options)
        array[...] = data
        multiscales = [{"name": "image", "axes": [{"name": axis, "type": "space"} for axis in axes],
                        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}]}]
        if zarr_format == 2:
            multiscales[0]["version"] = "0.4"
            group.attrs["multiscales"] = multiscales
        else:
            group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
        planes = [record(data[z].astype(np.dtype(dtype).newbyteorder("=")), z_index=z + 1) for z in range(3)]
        plates.add(f"image-{case}", path, "OME-Zarr", planes)

    path = plates.root / "image-2d.zarr"
    image = plane("zarr", "2d")
    write_image(image, zarr.open_group(str(path), mode="w", zarr_format=2), axes="yx", fmt=FormatV04(), scaler=None)
    plates.add("image-2d", path, "OME-Zarr", [record(image)])


def main():
    plates = Plates(pathlib.Path(sys.argv[1]))
    for write in (imagexpress, openhcs, phenix, ome_tiff, ome_tiff_plate, tiff_variants, ome_zarr, ome_zarr_images):
        write(plates)
    (plates.root / "expected.json").write_text(json.dumps(plates.expected))


if __name__ == "__main__":
    main()

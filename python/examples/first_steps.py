# %% [markdown]
# # First steps with wellscope
#
# Run it cell by cell in a notebook or editor, or as a script. On a machine without a display the viewer draws without a
# window, and the screenshots below show what it draws.

# %%
import numpy as np

import wellscope

random = np.random.default_rng(1)
wells, channels = ["A01", "A02", "B01"], ["DAPI", "GFP"]
z, y, x = np.mgrid[:6, :256, :256]


def cells(count: int) -> np.ndarray:
    """A z-stack (6, 256, 256) of uint16 with round cells."""
    stack = random.normal(300, 30, z.shape)
    for center_z, center_y, center_x in random.uniform((1, 20, 20), (5, 236, 236), (count, 3)):
        stack += 4000 * np.exp(-((y - center_y) ** 2 + (x - center_x) ** 2) / 120 - (z - center_z) ** 2 / 2)
    return stack.clip(0, 65535).astype(np.uint16)


plate = np.stack([[cells(12), cells(20)] for _ in wells])
plate.shape  # (well, channel, z, y, x)

# %% [markdown]
# ## One line
#
# Each axis before y and x becomes a slider. The viewer is started when none runs, and stays when Python ends.

# %%
viewer = wellscope.view(plate, name="plate", axes="well channel z y x", labels={"well": wells, "channel": channels})
viewer.screenshot()

# %% [markdown]
# ## Looking around

# %%
viewer.navigate(well="B01", channel="GFP", z=3)
picture = viewer.screenshot()
picture.shape, picture.dtype

# %% [markdown]
# ## Adding results
#
# Layers share sliders: what lies at well B01 is seen when the slider stands there. The same name again updates a layer.

# %%
smooth = plate.astype(np.float32)
smooth = (smooth + np.roll(smooth, 1, -1) + np.roll(smooth, 1, -2)) / 3
viewer.add_image(smooth, name="smooth", axes="well channel z y x", labels={"well": wells}, visible=False)

nuclei = (smooth[:, 0] > 1500).astype(np.int32)
viewer.add_labels(nuclei, name="nuclei", axes="well z y x", labels={"well": wells})

brightest = [np.unravel_index(stack[0].argmax(), stack[0].shape) for stack in smooth]
for well, point in zip(wells, brightest):
    viewer.add_points([point], axes="z y x", name="brightest", at={"well": well})

viewer.layers

# %%
viewer.layers["plate"].contrast_limits = (200, 4000)
viewer.layers["nuclei"].visible = False
viewer.screenshot(canvas_only=False)

# %% [markdown]
# ## Channels side by side, as layers with colours

# %%
viewer.add_image(plate, axes="well channel z y x", channel_axis="channel", labels={"well": wells, "channel": channels})
viewer.show_only("DAPI", "GFP")
viewer.screenshot()

# %% [markdown]
# ## Live
#
# A loop that computes plane by plane just sends them.

# %%
for time in range(5):
    viewer.add_image(random.poisson(20 + 5 * time, (256, 256)).astype(np.uint16), name="camera", at={"time": time})
viewer.show_only("camera")
viewer.navigate(time=4)
viewer.screenshot()

# %% [markdown]
# ## The end
#
# The viewer stays open; `viewer.close()` closes it.

# %%
print(viewer.layers)

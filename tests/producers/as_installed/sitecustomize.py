"""Makes the checkout's Python package look installed, to any Python that has this folder on its PYTHONPATH.

Python imports a module of this name at start. The two folders are what the wheel puts into site-packages, and
`addsitedir` reads the `.pth` file of the second as Python reads one there.
"""

import site
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "python"

for folder in (PACKAGE / "src", PACKAGE / "data" / "purelib"):
    site.addsitedir(str(folder))

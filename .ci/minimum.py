"""Print the lowest versions that pyproject.toml allows, as pip takes them.

    python .ci/minimum.py [EXTRA ...]

A requirement without a lower bound (a pin, the package itself) is left out.
"""

import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"(?P<name>[\w-]+)>=(?P<version>[\d.]+)(,<[\d.]+)?")

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
required = list(project["dependencies"])
for extra in sys.argv[1:]:
    required += project["optional-dependencies"][extra]
for line in required:
    if bound := BOUND.fullmatch(line):
        print(f"{bound['name']}=={bound['version']}")

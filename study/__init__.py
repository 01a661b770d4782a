"""The study: does influence work on language models? `python -m study`, or `make study`."""

import sys
from pathlib import Path

# small models and the mechanisms' measurements stand among the benchmarks, which are scripts
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

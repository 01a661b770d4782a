"""An environment of its own for each tool, built once and again when what it needs changes."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
# Their wheels are built for CUDA, and beside a CPU torch `import transformers` fails at them; no tool
# here uses either.
UNUSED = ("torchvision", "torchaudio")
NAMED = ("torch", "transformers", "peft", "numpy")


def build(folder, requirements):
    """The environment's Python, with torch and what it shares with wherefrom's in the same versions."""
    # with its local part (+cpu), so that no other build of torch can come
    wanted = [f"torch=={version('torch')}", *requirements]
    python, note = folder / "bin" / "python", folder / "made-from.json"
    if note.is_file() and json.loads(note.read_text()) == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"building {folder}: {', '.join(wanted)}", file=sys.stderr)
    run = lambda *command: subprocess.run(command, check=True)  # noqa: E731
    run(sys.executable, "-m", "venv", folder)
    pip = (python, "-m", "pip", "--quiet")
    run(*pip, "install", "--constraint", CONSTRAINTS, *wanted)
    run(*pip, "uninstall", "--yes", *UNUSED)
    note.write_text(json.dumps(wanted))
    return python


def versions(python, names):
    """Versions of packages as that Python finds them."""
    asked = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    )
    found = subprocess.run(
        (python, "-c", asked, *dict.fromkeys((*names, *NAMED))),
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(found.stdout)

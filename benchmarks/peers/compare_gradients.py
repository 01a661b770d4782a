"""Cosine between the gradients of training rows that two run folders hold, each row's whole gradient.

python benchmarks/peers/compare_gradients.py RUN OTHER
"""

import json
import sys
from pathlib import Path

import numpy as np

from wherefrom.signals import gradient_name
from wherefrom.store import SignalStore


def gradients(run):
    (path,) = Path(run).glob("signals/*/final/train/gradient.zarr")
    return SignalStore.open(path)


def main():
    one, other = map(gradients, sys.argv[1:])
    assert one.ids == other.ids
    sums = np.zeros((3, len(one.ids)))
    for block in one.blocks:
        name = gradient_name(block.name)
        a, b = (s.read(name).reshape(len(s.ids), -1).astype(np.float64) for s in (one, other))
        sums += [(a * b).sum(1), (a * a).sum(1), (b * b).sum(1)]
    cosine = sums[0] / np.sqrt(sums[1] * sums[2])
    print(json.dumps({"least": float(cosine.min()), "mean": float(cosine.mean())}))


if __name__ == "__main__":
    main()

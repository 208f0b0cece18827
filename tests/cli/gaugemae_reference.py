"""Gauge MAE and mu in meV of matrix A against matrix H of one file, as tools.md and the published code define it (--mu l2)."""
import sys
import numpy as np
from netCDF4 import Dataset

f, a, h, all_pairs = Dataset(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:] == ["--all-pairs"]
start = np.append(f["pair_start"][:], len(f.dimensions["elem"])).astype(int)
near = (f["pair_distance"][:] < f.cutoff) | all_pairs
near = np.repeat(np.asarray(near), np.diff(start))
s = np.asarray(f["overlap"][:], float)[near]
s = np.array([s, 0 * s, 0 * s, s])
d = -np.asarray(f[h][:], float) if a == "0" else np.asarray(f[a][:], float) - np.asarray(f[h][:], float)
d = (d[..., 0] + 1j * d[..., 1])[:, near]
mu = np.sum(d * s.conj()).real / (np.sum(s**2) + 1e-6)
print(repr(1e3 * np.sum(abs(d - mu * s)) / (d.size + 1e-7)), repr(1e3 * mu))

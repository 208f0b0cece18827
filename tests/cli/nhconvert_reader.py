"""Bands of files that nhconvert wrote, by readers of the test's own.

bands KIND PATH K...      KIND: deeph, deeph-old (h5py), hr, tb; PATH: a folder, or the file; K: "x,y,z" fractional
                          one line a k-point: energies in eV
same A.nc B.nc MA MB TOL  pairs, overlap and matrices of two graphs agree within TOL
"""
import json
import os
import sys

import numpy as np


def generalised(h, s):
    value, vector = np.linalg.eigh(s)
    half = vector / np.sqrt(value)
    return np.linalg.eigvalsh(half.conj().T @ h @ half)


def old_blocks(path):
    import h5py

    with h5py.File(path) as f:
        for name, block in f.items():
            x, y, z, i, j = json.loads(name)
            yield (x, y, z), i - 1, j - 1, block[...]


def new_blocks(path):
    import h5py

    with h5py.File(path) as f:
        pair, shape, bound, entry = (f[k][...] for k in ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries"))
    for p, s, a, b in zip(pair, shape, bound[:-1], bound[1:]):
        yield tuple(p[:3]), p[3], p[4], entry[a:b].reshape(s)


def bloch(blocks, k, size):
    """The matrix at k; size: rows of each atom."""
    start = np.concatenate([[0], np.cumsum(size)]).astype(int)
    m = np.zeros((start[-1], start[-1]), complex)
    for cell, i, j, block in blocks:
        m[start[i]:start[i + 1], start[j]:start[j + 1]] += np.exp(2j * np.pi * np.dot(k, cell)) * block
    return m


def deeph(folder, ks, old):
    info = json.load(open(os.path.join(folder, "info.json")))
    if old:
        shells = [[int(l) for l in line.split()] for line in open(os.path.join(folder, "orbital_types.dat"))]
        spin, names, reader = info["isspinful"], ("hamiltonians.h5", "overlaps.h5"), old_blocks
    else:
        line = open(os.path.join(folder, "POSCAR")).read().split("\n")
        atoms = [e for e, n in zip(line[5].split(), line[6].split()) for _ in range(int(n))]
        shells = [info["elements_orbital_map"][e] for e in atoms]
        spin, names, reader = info["spinful"], ("hamiltonian.h5", "overlap.h5"), new_blocks
    n = [sum(2 * l + 1 for l in s) for s in shells]
    factor = 2 if spin else 1
    h, s = (list(reader(os.path.join(folder, name))) for name in names)
    for k in ks:
        hk, sk = bloch(h, k, [factor * x for x in n]), bloch(s, k, n)
        if spin:  # S for both spins of each atom
            start = np.concatenate([[0], np.cumsum(n)]).astype(int)
            full = np.zeros_like(hk)
            for i in range(len(n)):
                for j in range(len(n)):
                    full[2 * start[i]:2 * start[i + 1], 2 * start[j]:2 * start[j + 1]] = np.kron(
                        np.eye(2), sk[start[i]:start[i + 1], start[j]:start[j + 1]])
            sk = full
        yield generalised(hk, sk)


def wannier(path, ks, tb):
    word = iter(open(path).read().split("\n", 1)[1].split())

    def take(kind, n):
        return np.array([kind(next(word)) for _ in range(n)])

    if tb:
        take(float, 9)
    n, cells = take(int, 2)
    weight = take(int, cells)
    r, h = np.zeros((cells, 3)), np.zeros((cells, n, n), complex)
    for c in range(cells):
        if tb:
            r[c] = take(int, 3)
        for _ in range(n * n):
            if not tb:
                r[c] = take(int, 3)
            a, b = take(int, 2)
            re, im = take(float, 2)
            h[c, a - 1, b - 1] = re + 1j * im
    for k in ks:
        hk = np.tensordot(np.exp(2j * np.pi * (r @ k)) / weight, h, 1)
        assert abs(hk - hk.conj().T).max() < 1e-8
        yield np.linalg.eigvalsh(hk)


def same(a, b, matrix_a, matrix_b, tolerance):
    import netCDF4

    a, b = netCDF4.Dataset(a), netCDF4.Dataset(b)
    for name in ("pair_src", "pair_dst", "pair_cell", "shell_l", "atomic_number", "atom_species"):
        assert np.array_equal(a[name][:], b[name][:]), name
    for x, y in (("position", "position"), ("lattice", "lattice"), ("overlap", "overlap"), (matrix_a, matrix_b)):
        difference = np.abs(a[x][:].astype(float) - b[y][:].astype(float)).max()
        assert difference <= float(tolerance), (x, difference)


if sys.argv[1] == "same":
    same(*sys.argv[2:])
else:
    kind, path = sys.argv[2:4]
    ks = [np.array([float(x) for x in k.split(",")]) for k in sys.argv[4:]]
    bands = deeph(path, ks, kind == "deeph-old") if kind.startswith("deeph") else wannier(path, ks, kind == "tb")
    for energy in bands:
        print(" ".join("%.9f" % e for e in energy))

#!/usr/bin/env python3
"""How far two graph files of one crystal are apart: nhscf_reference.py LABEL.nc REFERENCE.nc[.xz]
One line a quantity: name, largest and mean difference. Matrices in meV (overlap: 1) over the elements of both that are not zero in
the reference; efermi in Ry, energies (attributes E_NAME_Ry of the reference, energy_NAME of the label) in Ry.
nhscf_reference.py --structure GRAPH.nc: its atoms as extended XYZ, in their order."""
import lzma
import sys

import netCDF4
import numpy as np

RY = 13.605698066


def read(path):
    if path.endswith(".xz"):
        with lzma.open(path) as f:
            return netCDF4.Dataset("reference", memory=f.read())
    return netCDF4.Dataset(path)


def blocks(d):
    """(src, dst, cell) -> first element, number of elements"""
    src, dst, cell, start = (d[v][:].filled() if np.ma.isMA(d[v][:]) else d[v][:] for v in ("pair_src", "pair_dst", "pair_cell", "pair_start"))
    end = np.append(start[1:], d.dimensions["elem"].size)
    return {(s, t, *c): (a, b) for s, t, c, a, b in zip(src.tolist(), dst.tolist(), map(tuple, cell.tolist()), start.tolist(), end.tolist())}


if sys.argv[1] == "--structure":
    from_graph = read(sys.argv[2])
    symbols = dict(enumerate(
        "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd "
        "Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn".split()))
    number, species = from_graph["atomic_number"][:], from_graph["atom_species"][:]
    print(len(species))
    print('Lattice="' + " ".join(f"{x:.12f}" for x in from_graph["lattice"][:].ravel()) + '" Properties=species:S:1:pos:R:3')
    for s, r in zip(species, from_graph["position"][:]):
        print(symbols[int(number[s])], *(f"{x:.12f}" for x in r))
    sys.exit()

ours, reference = read(sys.argv[1]), read(sys.argv[2])
mine, theirs = blocks(ours), blocks(reference)
elem = reference.dimensions["elem"].size
index = np.full(elem, -1)
for key, (a, b) in theirs.items():
    if key in mine:
        index[a:b] = np.arange(mine[key][0], mine[key][1])
for name, unit in (("overlap", 1.0), ("h0", 1e3), ("h_label", 1e3)):
    if name not in reference.variables or name not in ours.variables:
        continue
    r = np.asarray(reference[name][:], float)
    o = np.asarray(ours[name][:], float)
    if name == "overlap":
        r, o = r[None, :, None], o[None, :, None]
    o = np.where((index >= 0)[None, :, None], o[:, index, :], 0.0)
    if name == "overlap" or r.shape[0] == 1:
        parts = {"": np.abs(o - r)[..., 0]}
    else:
        d = o - r
        parts = {"": np.abs(d[[0, 3], :, 0]), " imaginary": np.abs(d[[0, 3], :, 1]), " flip": np.abs(d[[1, 2]])}
    for part, d in parts.items():
        there = (np.abs(r[[0, 3], :, 0] if r.shape[0] == 4 else r[..., 0]) > 0) if part == "" else np.ones_like(d, bool)
        print(f"{name}{part}\t{d.max() * unit:.4g}\t{d[there].mean() * unit:.4g}")
if "efermi" in ours.ncattrs():
    print(f"efermi\t{abs(ours.efermi - reference.efermi) / RY:.4g}\t{(ours.efermi - reference.efermi) / RY:.4g}")
for name in ("total", "band", "hartree", "xc", "ewald"):
    if f"E_{name}_Ry" in reference.ncattrs() and f"energy_{name}" in ours.ncattrs():
        d = getattr(ours, f"energy_{name}") / RY - getattr(reference, f"E_{name}_Ry")
        print(f"E_{name}\t{abs(d):.4g}\t{d:.4g}")

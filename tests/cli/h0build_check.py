#!/usr/bin/env python3
"""What h0build.bats compares in netCDF files. Each command prints a line and exits with 1 where something is wrong.

symmetries FILE            hermitian, its own time reversal
same A B TOLERANCE         h0 (eV) and overlap of the pairs that both have, and at least 99 % of A's norm in them
folded CELL SUPERCELL AXIS TOLERANCE      a supercell, doubled along an axis, against its cell
scalar FOUR ONE            one spin block is the charge part of four
against OURS REFERENCE     figures of docs/h0.md 12: S, H0 in meV; REFERENCE may be packed with xz
mean OURS REFERENCE        the same for crystals whose largest errors are the reference's: S and means only
positive FILE              the overlap at k = 0 is positive definite
structure FILE             its crystal as extended XYZ
position FILE              r(R): hermitian; moved by the origin as the overlap says
"""
import lzma
import sys

import netCDF4
import numpy as np


def read(path):
    if path.endswith(".xz"):
        f = netCDF4.Dataset("memory", memory=lzma.open(path).read())
    else:
        f = netCDF4.Dataset(path)
    f.set_auto_mask(False)
    return f


def blocks(f):
    """{(i, j, R): slice of elem}"""
    start = list(f["pair_start"][:]) + [len(f.dimensions["elem"])]
    return {(i, j, *map(int, cell)): (int(start[p]), int(start[p + 1]))
            for p, (i, j, cell) in enumerate(zip(f["pair_src"][:], f["pair_dst"][:], f["pair_cell"][:]))}


def shape(f):
    """orbitals of each atom"""
    shells, l, n, at = f["species_shells"][:], f["shell_l"][:], [], 0
    for count in shells:
        n.append(int((2 * l[at:at + count] + 1).sum()))
        at += count
    return [n[s] for s in f["atom_species"][:]]


def check(good, text):
    print(text)
    if not good:
        sys.exit(1)


def symmetries(path):
    f = read(path)
    h, s, b, n = f["h0"][:], f["overlap"][:], blocks(f), shape(f)
    h = h[..., 0] + 1j * h[..., 1]
    worst = 0
    for (i, j, x, y, z), (lo, hi) in b.items():
        back = slice(*b[(j, i, -x, -y, -z)])
        for here, there in ((0, 0), (1, 2), (2, 1), (3, 3)):
            worst = max(worst, abs(h[here, lo:hi].reshape(n[i], n[j]) - h[there, back].reshape(n[j], n[i]).conj().T).max())
        worst = max(worst, abs(s[lo:hi].reshape(n[i], n[j]) - s[back].reshape(n[j], n[i]).T).max())
    reversal = max(abs(h[3] - h[0].conj()).max(), abs(h[2] + h[1].conj()).max())
    check(worst < 1e-13 and reversal < 1e-13 and abs(h[1]).max() > 1e-3, "hermitian %.1e, time reversal %.1e eV" % (worst, reversal))


def same(path_a, path_b, tolerance):
    a, b = read(path_a), read(path_b)
    pa, pb = blocks(a), blocks(b)
    common = [k for k in pa if k in pb]
    ia = np.concatenate([np.arange(*pa[k]) for k in common])
    ib = np.concatenate([np.arange(*pb[k]) for k in common])
    h, g, s, t = a["h0"][:], b["h0"][:], a["overlap"][:], b["overlap"][:]
    share = (h[:, ia]**2).sum() / (h**2).sum()
    worst = max(abs(h[:, ia] - g[:, ib]).max(), abs(s[ia] - t[ib]).max())
    check(worst <= float(tolerance) and share > 0.99, "largest difference %.1e, share %.4f" % (worst, share))


def folded(path, big_path, axis, tolerance):
    a, b, axis = read(path), read(big_path), int(axis)
    pa, pb, n = blocks(a), blocks(b), len(a.dimensions["atom"])
    h, g, s, t = a["h0"][:], b["h0"][:], a["overlap"][:], b["overlap"][:]
    worst, found = 0, 0
    for (i, j, *cell), place in pb.items():
        # atom i of the supercell is atom i % n in the half i // n
        small = list(cell)
        small[axis] = 2 * cell[axis] + j // n - i // n
        key = (i % n, j % n, *small)
        here = g[:, slice(*place)]
        if key not in pa:
            worst = max(worst, abs(here).max() if len(here[0]) else 0)
            continue
        found += 1
        there = slice(*pa[key])
        worst = max(worst, abs(here - h[:, there]).max(), abs(t[slice(*place)] - s[there]).max())
    check(worst <= float(tolerance) and found >= len(pa), "%d blocks, largest difference %.1e" % (found, worst))


def scalar(four, one):
    h, g = read(four)["h0"][:], read(one)["h0"][:]
    worst = abs((h[0] + h[3]) / 2 - g[0]).max()
    check(h.shape[1] == g.shape[1] and worst < 1e-12, "charge part %.1e" % worst)


def compared(ours, reference):
    """S max, H0 max and mean, the largest of what spin-orbit coupling makes, whether the reference is single"""
    a, b = read(ours), read(reference)
    pa, pb = blocks(a), blocks(b)
    h, g = a["h0"][:], b["h0"][:]
    common = [k for k in pb if k in pa]
    lost = max([abs(g[:, slice(*pb[k])]).max() for k in pb if k not in pa], default=0)
    ia = np.concatenate([np.arange(*pa[k]) for k in common])
    ib = np.concatenate([np.arange(*pb[k]) for k in common])
    s = abs(a["overlap"][:][ia] - b["overlap"][:][ib]).max()
    d = 1e3 * abs(h[:, ia] - g[:, ib])
    real = d[0, :, 0]
    if h.shape[0] == 4 and abs(g[0] - g[3])[:, 0].max() > 1e-3:  # magnetised: both spins count
        real = np.concatenate([d[0, :, 0], d[3, :, 0]])
    shown = abs(g[0, ib, 0]) > 0
    mean = real[np.resize(shown, len(real))].mean()
    rest = max(d[0, :, 1].max(), d[1].max(), d[2].max(), 1e3 * lost)
    print("S %.1e   H0 max %.1e mean %.1e   spin-orbit %.1e meV" % (s, real.max(), mean, rest))
    return s, real.max(), mean, rest, b["h0"].dtype == np.float32


def against(ours, reference):
    s, largest, mean, rest, single = compared(ours, reference)
    sys.exit(not (s < 1e-7 and mean < (2e-3 if single else 1e-3) and largest < 0.1 and rest < (0.05 if single else 1e-3)))


def mean(ours, reference):
    s, _, average, rest, _ = compared(ours, reference)
    sys.exit(not (s < 1e-7 and average < 2e-3 and rest < 0.05))


def positive(path):
    f = read(path)
    s, b, n = f["overlap"][:], blocks(f), shape(f)
    start = np.append(0, np.cumsum(n))
    sk = np.zeros((start[-1], start[-1]))
    for (i, j, *_), (lo, hi) in b.items():
        sk[start[i]:start[i + 1], start[j]:start[j + 1]] += s[lo:hi].reshape(n[i], n[j])
    least = np.linalg.eigvalsh(sk)[0]
    check(least > 1e-8 and abs(sk - sk.T).max() < 1e-12 and np.isfinite(f["h0"][:]).all(), "smallest eigenvalue of S %.2e" % least)


def position(path):
    f = read(path)
    r, s, b, n, lattice = f["position_matrix"][:], f["overlap"][:], blocks(f), shape(f), f["lattice"][:]
    worst = 0
    for (i, j, *cell), (lo, hi) in b.items():
        back, shift = slice(*b[(j, i, *(-x for x in cell))]), np.array(cell) @ lattice
        for k in range(3):
            here = r[k, lo:hi].reshape(n[i], n[j])
            there = r[k, back].reshape(n[j], n[i]).T + shift[k] * s[lo:hi].reshape(n[i], n[j])
            worst = max(worst, abs(here - there).max())
    # <s| r |s> of an atom is where it stands
    centre = max(abs(r[k, b[(i, i, 0, 0, 0)][0]] - f["position"][i][k]) for i in range(len(n)) for k in range(3))
    check(worst < 1e-8 and centre < 1e-9, "hermitian %.1e, centres %.1e Å" % (worst, centre))


def structure(path):
    f = read(path)
    symbols = ("X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo "
               "Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl "
               "Pb Bi").split()
    z = f["atomic_number"][:][f["atom_species"][:]]
    print(len(z))
    print('Lattice="%s" Properties=species:S:1:pos:R:3' % " ".join("%.17g" % x for x in f["lattice"][:].ravel()))
    for element, r in zip(z, f["position"][:]):
        print(symbols[element], *("%.17g" % x for x in r))


globals()[sys.argv[1]](*sys.argv[2:])

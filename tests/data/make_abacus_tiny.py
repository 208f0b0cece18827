#!/usr/bin/env python3
"""Writes abacus_tiny/: runs in the formats of ABACUS, small enough for tests, of a crystal that does not exist.

Two atoms, B (2s1p) and N (1s1p), in a triclinic cell. The Hamiltonians are random numbers that decay with distance and are
Hermitian; S is that of orthonormal orbitals with small overlaps. All is made in this project's order of orbitals (m = -l..l,
spin apart) and then written in ABACUS's. expected.tsv keeps elements of the nspin 4 label in the project's order, eV.
Run from this folder: python3 make_abacus_tiny.py
"""
import gzip
import math
import os
import random
import struct

RYDBERG = 13.605698066
LATTICE = [[3.0, 0.1, 0.0], [-0.4, 3.1, 0.2], [0.3, -0.2, 3.3]]
FRACTIONAL = [[0.02, 0.03, 0.01], [0.52, 0.47, 0.55]]
LABEL = ["B", "N"]
SHELLS = [[0, 0, 1], [0, 1]]
ORB = ["B_gga_6au_100Ry_2s1p.orb", "N_gga_5au_100Ry_1s1p.orb"]
REACH = 3.35  # of the matrices, Å
BOHR = 0.529177210903


def position(atom, cell=(0, 0, 0)):
    f = [FRACTIONAL[atom][d] + cell[d] for d in range(3)]
    return [sum(f[d] * LATTICE[d][k] for d in range(3)) for k in range(3)]


def distance(i, j, cell):
    return math.dist(position(i), position(j, cell))


# ABACUS's order: index of the orbital in m = -l..l and sign, for s and p (docs/network.md 4.2 read backwards).
ORDER = {0: [(0, 1.0)], 1: [(1, 1.0), (2, -1.0), (0, -1.0)]}
ORBITALS = []  # (atom, index in the atom, sign) in ABACUS's order
SIZE = []
for atom, shells in enumerate(SHELLS):
    first = 0
    for l in shells:
        ORBITALS += [(atom, first + index, sign) for index, sign in ORDER[l]]
        first += 2 * l + 1
    SIZE.append(first)
CELLS = [(a, b, c) for a in range(-2, 3) for b in range(-2, 3) for c in range(-2, 3)]


def rounded(x):
    return float("%.8e" % x)


def hermitian(seed, spins, is_complex):
    """{(i, j, cell): {(s, t, a, b): value}}, Ry."""
    rng = random.Random(seed)
    h = {}
    for i in range(2):
        for j in range(2):
            for cell in CELLS:
                r = distance(i, j, cell)
                back = (j, i, tuple(-n for n in cell))
                if r > REACH or back in h and back != (i, j, cell):
                    continue
                block = h.setdefault((i, j, cell), {})
                other = h.setdefault(back, {})
                for s in range(spins):
                    for t in range(spins):
                        for a in range(SIZE[i]):
                            for b in range(SIZE[j]):
                                if (s, t, a, b) in block:
                                    continue
                                decay = math.exp(-r)
                                z = complex(rounded(rng.gauss(0, 1) * decay),
                                            rounded(rng.gauss(0, 0.1) * decay) if is_complex else 0.0)
                                if block is other and (s, a) == (t, b):
                                    z = complex(z.real, 0)
                                block[s, t, a, b] = z
                                other[t, s, b, a] = z.conjugate()
    return h


def overlap(spins):
    real = hermitian(7, 1, False)
    s = {}
    for (i, j, cell), block in real.items():
        out = s.setdefault((i, j, cell), {})
        for (_, _, a, b), z in block.items():
            onsite = i == j and cell == (0, 0, 0)
            x = (1.0 if a == b else 0.3 if i == 0 and a + b == 1 else 0.0) if onsite else rounded(0.1 * z.real)
            for spin in range(spins):
                out[spin, spin, a, b] = complex(x, 0)
    return s


def cells_of(h):
    """Rows of ABACUS: [(cell, {row: {column: value}})]."""
    spins = 2 if any(s == 1 for block in h.values() for s, _, _, _ in block) else 1
    out = []
    for cell in CELLS:
        rows = {}
        for p, (i, a, sign_a) in enumerate(ORBITALS):
            for q, (j, b, sign_b) in enumerate(ORBITALS):
                block = h.get((i, j, cell))
                if block is None:
                    continue
                for s in range(spins):
                    for t in range(spins):
                        z = block.get((s, t, a, b), 0) * sign_a * sign_b
                        if abs(z) > 1e-10:
                            rows.setdefault(p * spins + s, {})[q * spins + t] = z
        out.append((cell, rows))
    return spins * len(ORBITALS), out


def lists(dimension, rows):
    values, columns, pointers = [], [], [0]
    for r in range(dimension):
        for c, z in sorted(rows.get(r, {}).items()):
            values.append(z)
            columns.append(c)
        pointers.append(len(values))
    return values, columns, pointers


def number(z, is_complex):
    return "(%.8e,%.8e)" % (z.real, z.imag) if is_complex else "%.8e" % z.real


def text_ab(h, letter, is_complex, steps=("STEP: 0\n",)):
    dimension, cells = cells_of(h)
    cells = [c for c in cells if c[1] or c[0] == (-2, -2, -2)]  # one empty block, as ABACUS has them
    out = ""
    for step in steps:
        out += step + "Matrix Dimension of %s(R): %d\nMatrix number of %s(R): %d\n" % (letter, dimension, letter, len(cells))
        for cell, rows in cells:
            values, columns, pointers = lists(dimension, rows)
            out += "%d %d %d %d\n" % (*cell, len(values))
            if values:
                out += " " + " ".join(number(z, is_complex) for z in values) + "\n"
                out += " " + " ".join(map(str, columns)) + "\n"
                out += " " + " ".join(map(str, pointers)) + "\n"
    return out


def chunks(words, first, rest):
    lines = [words[:first]]
    for i in range(first, len(words), rest):
        lines.append(words[i:i + rest])
    return "\n".join(" ".join(line) for line in lines) + "\n"


def text_c(h, letter, is_complex):
    dimension, cells = cells_of(h)
    out = " --- Ionic Step 1 ---\n # print %s matrix in real space %s(R)\n" % (letter, letter)
    out += " 1 # number of spin directions\n 1 # spin index\n %d # number of localized basis\n" % dimension
    out += " %d # number of Bravais lattice vector R\n\n none\n 1.0\n" % len(cells)
    out += "".join(" %.12f %.12f %.12f\n" % tuple(v) for v in LATTICE)
    out += " B N\n 1 1\n Direct\n" + "".join(" %.15f %.15f %.15f\n" % tuple(f) for f in FRACTIONAL) + "\n"
    rule = " #" + 70 * "-" + "#\n"
    out += rule + " # CSR format\n # values, column indices, row pointers\n #\n #\n #\n" + rule + "\n"
    for cell, rows in cells:
        values, columns, pointers = lists(dimension, rows)
        if not values:
            continue
        out += " %d %d %d %d\n # CSR values\n" % (*cell, len(values))
        out += chunks([number(z, is_complex) for z in values], 7, 8)
        out += " # CSR column indices\n" + chunks(list(map(str, columns)), 15, 16)
        out += " # CSR row pointers\n" + chunks(list(map(str, pointers)), 15, 16) + "\n"
    return out


def binary(h, is_complex, always, pointer):
    dimension, cells = cells_of(h)
    out = struct.pack("=3i", 0, dimension, len(cells))
    for cell, rows in cells:
        values, columns, pointers = lists(dimension, rows)
        out += struct.pack("=4i", *cell, len(values))
        for z in values:
            out += struct.pack("=2d", z.real, z.imag) if is_complex else struct.pack("=d", z.real)
        out += struct.pack("=%di" % len(columns), *columns)
        if values or always:
            out += struct.pack("=%d%s" % (len(pointers), pointer), *pointers)
    return out


def stru(mode, positions, comment=""):
    out = "ATOMIC_SPECIES\nB 10.81 B.upf\nN 14.007 N.upf\n\nNUMERICAL_ORBITAL\n%s\n%s\n\n" % tuple(ORB)
    out += "LATTICE_CONSTANT\n%.16f%s\n\nLATTICE_VECTORS\n" % (1 / BOHR, comment)
    out += "".join("%.12f %.12f %.12f\n" % tuple(v) for v in LATTICE)
    out += "\nATOMIC_POSITIONS\n%s\n" % mode
    for label, x in zip(LABEL, positions):
        out += "\n%s\n0.0\n1\n%.12f %.12f %.12f m 1 1 1 mag 0.5\n" % (label, *x)
    return out


def log(nspin, fermi):
    out = " READING UNITCELL INFORMATION\n"
    for n, (label, shells) in enumerate(zip(LABEL, SHELLS)):
        out += "\n READING ATOM TYPE %d\n   atom label = %s\n" % (n + 1, label)
        out += "".join("   L=%d, number of zeta = %d\n" % (l, shells.count(l)) for l in sorted(set(shells)))
    out += "\nDIRECT COORDINATES\n    atom   x   y   z  mag  vx vy vz\n"
    out += "".join("taud_%s1 %.10f %.10f %.10f 0 0 0 0\n" % (l, *f) for l, f in zip(LABEL, FRACTIONAL))
    out += "\n            AUTOSET number of electrons:  = 8\n   nspin = %d\n" % nspin
    out += " E_Fermi        0.1000000000        1.3605698066\n E_Fermi  %.10f  %.10f\n" % (fermi / RYDBERG, fermi)
    return out


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if path.endswith(".gz"):
        data = gzip.compress(data.encode(), mtime=0)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def run(folder, nspin, nmax, positions, mode, fermi, **files):
    write(folder + "/STRU", stru(mode, positions, " // bohr"))
    write(folder + "/INPUT", "INPUT_PARAMETERS\nsuffix tiny # the output folder\nNSPIN %d\nscf_nmax %d\nbasis_type lcao\n"
          % (nspin, nmax))
    write(folder + "/OUT.tiny/running_scf.log", log(nspin, fermi))
    for name, data in files.items():
        ending = ".csr.gz" if name.endswith("_gz") else ".csr"
        name = name.removesuffix("_gz").replace("_SPIN", "-sparse_SPIN").replace("data_", "data-")
        write(folder + "/OUT.tiny/" + name + ending, data)


def main():
    top = "abacus_tiny"
    moved = [[0.02, 1.03, 0.01], [-0.48, 0.47, 2.55]]  # the same crystal, atoms in other cells
    h0, label, s4 = hermitian(1, 2, True), hermitian(2, 2, True), overlap(2)
    run(top + "/nspin4/h0", 4, 1, [position(0), position(1)], "Cartesian_angstrom", 1.0,
        data_HR_SPIN0_gz=text_ab(h0, "H", True))
    run(top + "/nspin4/scf", 4, 100, moved, "Direct", 2.5,
        data_HR_SPIN0=text_ab(label, "H", True), data_SR_SPIN0_gz=text_ab(s4, "S", True))
    run(top + "/nspin1", 1, 100, FRACTIONAL, "Direct", 0.75,
        data_HR_SPIN0=text_ab(hermitian(3, 1, False), "H", False, [""]), data_SR_SPIN0=text_ab(overlap(1), "S", False, [""]))
    run(top + "/nspin2", 2, 100, FRACTIONAL, "Direct", 0.5,
        data_HR_SPIN0=text_ab(hermitian(4, 1, False), "H", False), data_HR_SPIN1=text_ab(hermitian(5, 1, False), "H", False),
        data_SR_SPIN0=text_ab(overlap(1), "S", False))
    dialects = top + "/dialects"
    write(dialects + "/c.csr.gz", text_c(label, "H", True))
    steps = text_ab(h0, "H", True, ["STEP: 0\n"]) + text_ab(label, "H", True, ["STEP: 1\n"])
    write(dialects + "/steps.csr.gz", steps)
    write(dialects + "/d.dat", binary(label, True, False, "i"))
    write(dialects + "/d_always.dat", binary(label, True, True, "i"))
    write(dialects + "/e.dat", binary(label, True, True, "q"))
    write(dialects + "/real_e.dat", binary(hermitian(3, 1, False), False, True, "q"))
    expected = "# src dst n1 n2 n3 spin a b re im (eV; spin: uu ud du dd)\n"
    n = 0
    for (i, j, cell), block in sorted(label.items()):
        for (s, t, a, b), z in sorted(block.items()):
            n += 1
            if n % 5 == 0:
                expected += "%d %d %d %d %d %d %d %d %.17g %.17g\n" % (i, j, *cell, 2 * s + t, a, b, z.real * RYDBERG,
                                                                       z.imag * RYDBERG)
    write(top + "/expected.tsv", expected)


main()

#!/usr/bin/env python3
"""Files of ABACUS for tests, from others: the tests' own writers of what the project reads.

  blocks CSR PREFIX text|bare|binary RANKS SIZE...   dialect F from a text of dialect B: PREFIX_0.dat, ... The rows of each
                                                     pair are dealt out to the ranks in turn. SIZE: orbitals (times spin) of each
                                                     atom. bare: complex numbers as "re im", without brackets
  position GRAPH OUT text|binary                     r(R) of a graph.nc with position_matrix, as data-rR-sparse.csr
"""
import struct
import sys

BOHR = 0.529177210903
ORDER = {0: [(0, 1)], 1: [(1, 1), (2, -1), (0, -1)], 2: [(2, 1), (3, -1), (1, -1), (4, 1), (0, 1)]}  # place in m = -l..l, sign


def read_csr(name):
    words = open(name).read().replace(":", " ").split()
    at = 0 if words[0] == "Matrix" else 2  # STEP n
    dimension, cells = int(words[at + 4]), int(words[at + 9])
    at += 10
    out = {}
    for _ in range(cells):
        cell = tuple(int(w) for w in words[at:at + 3])
        n = int(words[at + 3])
        at += 4
        m = out.setdefault(cell, {})
        if n == 0:
            continue
        value, column = words[at:at + n], [int(w) for w in words[at + n:at + 2 * n]]
        pointer = [int(w) for w in words[at + 2 * n:at + 2 * n + dimension + 1]]
        at += 2 * n + dimension + 1
        for row in range(dimension):
            for k in range(pointer[row], pointer[row + 1]):
                m[row, column[k]] = value[k]
    return dimension, out


def numbers(text):
    return [float(x) for x in text.strip("()").split(",")]


def blocks(csr, prefix, how, ranks, sizes):
    dimension, cells = read_csr(csr)
    first = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    assert first[-1] == dimension
    is_complex = any("(" in v for m in cells.values() for v in m.values())
    zero = "(0.0,0.0)" if is_complex else "0.0"
    for rank in range(ranks):
        pairs = []
        for i in range(len(sizes)):
            for j in range(len(sizes)):
                rows = [r for r in range(first[i], first[i + 1]) if r % ranks == rank]
                columns = list(range(first[j], first[j + 1]))
                here = [(c, m) for c, m in cells.items() if any(r in rows and k in columns for r, k in m)]
                if rows and here:
                    pairs.append((i, j, rows, columns, here))
        with open("%s_%d.dat" % (prefix, rank), "wb") as out:
            if how == "binary":
                out.write(struct.pack("=2i", 0, len(pairs)))
            else:
                out.write(b"STEP 0\nn_atom_pairs %d\n" % len(pairs))
            for i, j, rows, columns, here in pairs:
                head = (i, j, len(rows), len(columns), len(here))
                if how == "binary":
                    out.write(struct.pack("=5i", *head) + struct.pack("=%di" % len(rows), *rows) +
                              struct.pack("=%di" % len(columns), *columns))
                else:
                    out.write(("Pair: %d %d %d %d %d\n" % head + "rows: " + " ".join(map(str, rows)) + "\ncols: " +
                               " ".join(map(str, columns)) + "\n").encode())
                for cell, m in here:
                    values = [[m.get((r, c), zero) for c in columns] for r in rows]
                    if how == "binary":
                        out.write(struct.pack("=3i", *cell))
                        for line in values:
                            for v in line:
                                out.write(struct.pack("=%dd" % len(numbers(v)), *numbers(v)))
                    else:
                        out.write(("R: %d %d %d\n" % cell).encode())
                        for line in values:
                            text = " ".join(line)
                            if how == "bare":
                                text = text.replace("(", "").replace(")", "").replace(",", " ")
                            out.write((" " + text + "\n").encode())


def position(graph, out, how):
    import netCDF4
    with netCDF4.Dataset(graph) as d:
        shells = list(d["species_shells"][:])
        degrees = [int(l) for l in d["shell_l"][:]]
        of_species = [degrees[sum(shells[:i]):sum(shells[:i + 1])] for i in range(len(shells))]
        place, first = [], []  # of each orbital of ABACUS: place in its atom, sign
        for species in d["atom_species"][:]:
            first.append(len(place))
            start = 0
            for l in of_species[species]:
                place += [(start + p, s) for p, s in ORDER[l]]
                start += 2 * l + 1
        first.append(len(place))
        src, dst, cell, start = (d[v][:] for v in ("pair_src", "pair_dst", "pair_cell", "pair_start"))
        r = d["position_matrix"][:]
        matrices = {}
        for p in range(len(src)):
            m = matrices.setdefault(tuple(int(x) for x in cell[p]), [{}, {}, {}])
            i, j = int(src[p]), int(dst[p])
            columns = first[j + 1] - first[j]
            for a in range(first[i], first[i + 1]):
                for b in range(first[j], first[j + 1]):
                    at = int(start[p]) + place[a][0] * columns + place[b][0]
                    for axis in range(3):
                        x = float(r[axis, at]) * place[a][1] * place[b][1] / BOHR
                        if abs(x) > 1e-10:
                            m[axis][a, b] = x
    n = len(place)
    with open(out, "wb") as f:
        if how == "binary":
            f.write(struct.pack("=3i", 0, n, len(matrices)))
        else:
            f.write(b"STEP: 0\nMatrix Dimension of r(R): %d\nMatrix number of r(R): %d\n" % (n, len(matrices)))
        for cell, three in sorted(matrices.items()):
            f.write(struct.pack("=3i", *cell) if how == "binary" else b"%d %d %d\n" % cell)
            for m in three:
                items = sorted(m.items())
                pointer = [sum(1 for (a, _), _ in items if a < row) for row in range(n + 1)]
                if how == "binary":
                    f.write(struct.pack("=i", len(items)))
                    if items:
                        f.write(struct.pack("=%dd" % len(items), *[x for _, x in items]) +
                                struct.pack("=%di" % len(items), *[b for (_, b), _ in items]) +
                                struct.pack("=%di" % (n + 1), *pointer))
                else:
                    f.write(b"%d\n" % len(items))
                    if items:
                        f.write((" " + " ".join("%.16e" % x for _, x in items) + "\n " +
                                 " ".join(str(b) for (_, b), _ in items) + "\n " + " ".join(map(str, pointer)) + "\n").encode())


if sys.argv[1] == "blocks":
    blocks(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), [int(x) for x in sys.argv[6:]])
else:
    position(*sys.argv[2:5])

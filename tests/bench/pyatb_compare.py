#!/usr/bin/env python3
"""Compares optcond with PYATB (pip install pyatb): pyatb_compare.py GRAPH.nc MATRIX MESH ETA TABLE

TABLE is the output of `optcond --component all --gamma --mesh M M M --eta ETA --energy 0:10 --step .05 --matrix MATRIX GRAPH.nc` for an
insulator; PYATB gets the same H(R), S(R), r(R). Prints the largest difference of sigma over the largest sigma. PYATB leaves out
transitions above its last photon energy, which is therefore 120 eV here.
"""
import os
import sys
import tempfile

graph, matrix, mesh, eta, table = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), os.path.abspath(sys.argv[5])
graph = os.path.abspath(graph)
os.chdir(tempfile.mkdtemp())
import netCDF4
import numpy as np
from scipy.sparse import csc_matrix
from pyatb.tb import tb, multiXR

f = netCDF4.Dataset(graph)
shells = f["species_shells"][:]
start = np.concatenate([[0], np.cumsum(shells)])
size = [int(sum(2 * l + 1 for l in f["shell_l"][start[s]:start[s + 1]])) for s in range(len(shells))]
atoms = [size[s] for s in f["atom_species"][:]]
first = np.concatenate([[0], np.cumsum(atoms)])
n = int(first[-1])
spin = f.dimensions["spin"].size
ns = 2 if spin == 4 else 1
h = f[matrix][:, :, 0] + 1j * f[matrix][:, :, 1]
s, r = f["overlap"][:], f["position_matrix"][:]
cells = {}
for p, (i, j) in enumerate(zip(f["pair_src"][:], f["pair_dst"][:])):
    cells.setdefault(tuple(f["pair_cell"][p]), []).append((p, int(i), int(j)))
order = sorted(cells)
pairs = f["pair_start"][:]
upper = np.triu_indices(ns * n)
out = {name: np.zeros((len(order), upper[0].size), complex) for name in ("H", "S", "r_x", "r_y", "r_z")}
for c, cell in enumerate(order):
    full = {name: np.zeros((n, ns, n, ns), complex) for name in out}
    for p, i, j in cells[cell]:
        block = slice(int(pairs[p]), int(pairs[p]) + atoms[i] * atoms[j])
        a, b = slice(first[i], first[i + 1]), slice(first[j], first[j + 1])
        shape = (atoms[i], atoms[j])
        for t in range(ns):
            for u in range(ns):
                full["H"][a, t, b, u] = h[2 * t + u if ns == 2 else 0, block].reshape(shape)
            full["S"][a, t, b, t] = s[block].reshape(shape)
            for x in range(3):
                full["r_" + "xyz"[x]][a, t, b, t] = r[x, block].reshape(shape)
    for name in out:
        out[name][c] = full[name].reshape(ns * n, ns * n)[upper]
lattice = np.array(f["lattice"][:])
model = tb(4 if ns == 2 else 1, 1.0, lattice)
held = {}
for name, values in out.items():
    held[name] = multiXR(name)
    held[name].set_XR(len(order), np.array(order, dtype=int), ns * n, csc_matrix(values))
model.set_solver_HSR(held["H"], held["S"])
model.set_solver_rR(held["r_x"], held["r_y"], held["r_z"])
occupied = int(round(f.nelec)) // (1 if ns == 2 else 2)
k = np.array([[x / mesh, y / mesh, z / mesh] for x in range(mesh) for y in range(mesh) for z in range(mesh)])
sigma, _ = model.tb_solver.get_optical_conductivity(4 if ns == 2 else 1, 2401, 0.05, 0.0, eta, occupied, k, len(k), 1)
ours = np.loadtxt(table)
ours = (ours[:, 1::2] + 1j * ours[:, 2::2]).T
sigma = sigma[:, :201]
largest = abs(ours).max()
for x in (0, 1, 4, 8):
    print("xx xy xz yx yy yz zx zy zz".split()[x], "largest %.6e S/m, difference %.3e of it" % (abs(ours[x]).max(), abs(sigma[x] - ours[x]).max() / largest))
print("all: %.3e" % (abs(sigma - ours).max() / largest))
e = np.arange(201) * 0.05
for at in (0, 20, 40, 60, 80, 100):
    print("%5.2f eV: ours %14.6e %14.6e   PYATB %14.6e %14.6e" % (e[at], ours[0, at].real, ours[0, at].imag, sigma[0, at].real, sigma[0, at].imag))

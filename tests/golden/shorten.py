#!/usr/bin/env python3
"""Makes tests/golden/network_full.nc from the complete golden file of the standard network (17 MB of numbers in 6.5 MB):
shorten.py COMPLETE.nc SHORT.nc

Left out is what follows from the rest, and this is checked here: H_pred = H0 + dH_uu_real in the real parts of uu and dd;
H0_irreps, the transform of H0, but for the rows of three edges; r0_edge_3, from which r0_edge_ham_nomask is made by one linear
map; and what no test reads. Results are rounded to multiples of a power of two, by at most 1e-12 of the largest number of the
array; tests ask for 1e-10. Inputs are exact."""
import sys

import netCDF4
import numpy as np

ROUNDED = 1e-12
INPUTS = {"lattice", "positions", "occupied", "edge_R", "edge_src", "edge_dst", "edge_vec", "H0"}
LEFT_OUT = {"H_pred", "H0_irreps", "dH_blocks", "r0_edge_3", "r0_node_3", "r0_y_3_unused"}


def pick_edges(vectors):
    """On-site, shortest and longest."""
    length = np.linalg.norm(vectors, axis=1)
    far = np.where(length > 1e-6, length, np.inf)
    return np.array([np.argmin(length), np.argmin(far), np.argmax(length)], dtype=np.int32)


def main(source, target):
    with netCDF4.Dataset(source) as a, netCDF4.Dataset(target, "w") as b:
        full = {name: np.asarray(v[:]) for name, v in a.variables.items()}
        expected = full["H0"].astype(np.float64)
        n = full["dH_uu_real"].shape[1]
        for s in (slice(0, n), slice(n, 2 * n)):
            expected[:, s, s, 0] += full["dH_uu_real"]
        worst = np.abs(full["H_pred"] - expected).max() / np.abs(full["dH_uu_real"]).max()
        if worst > 1e-14:
            sys.exit(f"{source}: H_pred is not H0 + dH_uu_real: {worst:g} of the largest correction")
        b.setncatts({name: a.getncattr(name) for name in a.ncattrs()})
        b.title = "full-size network, float64 (golden data, made shorter by tests/golden/shorten.py)"

        def put(name, values, attributes):
            for length in values.shape:
                if f"n{length}" not in b.dimensions:
                    b.createDimension(f"n{length}", length)
            v = b.createVariable(name, values.dtype, [f"n{length}" for length in values.shape], zlib=True, complevel=9,
                                 shuffle=True)
            v.setncatts(attributes)
            v[:] = values

        for name, values in full.items():
            if name in LEFT_OUT:
                continue
            attributes = {k: a[name].getncattr(k) for k in a[name].ncattrs()}
            if name not in INPUTS:
                largest = np.abs(values).max()
                step = 2.0 ** np.floor(np.log2(largest * ROUNDED))
                rounded = np.round(values / step) * step
                assert np.abs(rounded - values).max() <= ROUNDED * largest
                values = rounded
            put(name, values, attributes)
        edges = pick_edges(full["edge_vec"])
        put("H0_irreps_edge", edges, {"note": "edges whose H0_irreps are here"})
        put("H0_irreps", full["H0_irreps"][edges], {"note": "network input, of the edges H0_irreps_edge"})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""make_species.py DIR: small made-up pseudopotentials and orbitals of boron and nitrogen, DIR/pseudo/El.upf and
DIR/orbital/El_made.orb, with everything that a real file has: two projectors of p with j, a core, polarisation."""
import math
import os
import sys

import numpy as np


def numbers(x):
    return "\n".join(" ".join("%.15e" % v for v in x[i:i + 4]) for i in range(0, len(x), 4))


def gaussian(l, alpha, r):
    return r**l * np.exp(-alpha * r**2)


def upf(element, z, width, core, projectors, relativistic=True, kind="NC"):
    """projectors: (l, j, exponent, D in Ry)"""
    r = np.arange(502) * 0.02
    erf = np.array([math.erf(x) for x in r / width])
    local = np.where(r > 0, -2 * z * erf / np.where(r > 0, r, 1), -4 * z / (math.sqrt(math.pi) * width))
    rho = 4 * np.pi * r**2 * np.exp(-r**2 / 1.2**2)
    rho *= z / (rho.sum() * 0.02)
    n = len(projectors)
    text = ['<UPF version="2.0.1">\n<PP_INFO>\nmade for tests: exponents < 3 & > 1\n</PP_INFO>\n<PP_HEADER\nelement="%s"' % element,
            'pseudo_type="%s"\nrelativistic="%s"' % (kind, "full" if relativistic else "scalar"),
            'is_ultrasoft="%s" is_paw="%s" is_coulomb="F"' % ("FT"[kind == "US"], "FT"[kind == "PAW"]),
            'has_so="%s"\ncore_correction="%s"\nfunctional="PBE"' % ("FT"[relativistic], "FT"[core]),
            'z_valence="   %.2f"\nmesh_size="  502"\nnumber_of_proj="%d"/>\n<PP_MESH>' % (z, n),
            '<PP_R type="real" size="502">\n%s\n</PP_R>' % numbers(r),
            '<PP_RAB type="real" size="502">\n%s\n</PP_RAB>\n</PP_MESH>' % numbers(np.full(502, 0.02)),
            '<PP_LOCAL type="real" size="502">\n%s\n</PP_LOCAL>\n<PP_NONLOCAL>' % numbers(local)]
    d = np.zeros((n, n))
    for i, (l, j, alpha, dij) in enumerate(projectors):
        beta = r * gaussian(l, alpha, r)
        beta[r > 2.4] = 0
        text.append('<PP_BETA.%d type="real" size="502" index="%d" angular_momentum="%d">\n%s\n</PP_BETA.%d>'
                    % (i + 1, i + 1, l, numbers(beta), i + 1))
        d[i, i] = dij
    text.append('<PP_DIJ type="real" size="%d">\n%s\n</PP_DIJ>\n</PP_NONLOCAL>' % (n * n, numbers(d.ravel())))
    if core:
        text.append('<PP_NLCC type="real" size="502">\n%s\n</PP_NLCC>' % numbers(0.4 * np.exp(-r**2 / 0.5**2)))
    text.append('<PP_RHOATOM type="real" size="502">\n%s\n</PP_RHOATOM>' % numbers(rho))
    if relativistic:
        text.append("<PP_SPIN_ORB>")
        text += ['<PP_RELBETA.%d index="%d" lll="%d" jjj="%.1f"/>' % (i + 1, i + 1, l, j)
                 for i, (l, j, _, _) in enumerate(projectors)]
        text.append("</PP_SPIN_ORB>")
    return "\n".join(text) + "\n</UPF>\n"


def orb(element, shells, radius=5.0):
    """shells: (l, exponent), ascending l"""
    n = int(round(radius / 0.01)) + 1
    r = np.arange(n) * 0.01
    text = ["-" * 75, "Element                     %s" % element, "Energy Cutoff(Ry)           30",
            "Radius Cutoff(a.u.)         %g" % radius, "Lmax                        %d" % max(l for l, _ in shells)]
    for l in range(max(l for l, _ in shells) + 1):
        text.append("Number of %sorbital-->       %d" % ("SPDF"[l], sum(k == l for k, _ in shells)))
    text += ["-" * 75, "SUMMARY  END", "", "Mesh                        %d" % n, "dr                          0.01"]
    last = {}
    for l, alpha in shells:
        k = last.get(l, -1) + 1
        last[l] = k
        text += ["                Type                   L                   N",
                 "                   0                   %d                   %d" % (l, k),
                 numbers(gaussian(l, alpha, r) * (1 - (r / radius)**2)**3)]
    return "\n".join(text) + "\n"


def main():
    folder = sys.argv[1]
    pseudo, orbital = os.path.join(folder, "pseudo"), os.path.join(folder, "orbital")
    os.makedirs(pseudo, exist_ok=True)
    os.makedirs(orbital, exist_ok=True)
    boron = ("B", 3, 1.0, True, [(0, 0.5, 1.5, 1.2), (1, 0.5, 1.8, -1.0), (1, 1.5, 1.8, -0.7)])
    nitrogen = ("N", 5, 0.9, False, [(0, 0.5, 2.0, 1.5), (1, 0.5, 2.2, -1.4), (1, 1.5, 2.2, -1.1)])
    for element in (boron, nitrogen):
        with open(os.path.join(pseudo, element[0] + ".upf"), "w") as f:
            f.write(upf(*element))
    for name, change in (("scalar", {"relativistic": False}), ("US", {"kind": "US"}), ("PAW", {"kind": "PAW"})):
        other = os.path.join(folder, name)
        os.makedirs(other, exist_ok=True)
        for element in (boron, nitrogen):
            with open(os.path.join(other, element[0] + ".upf"), "w") as f:
                f.write(upf(*element, **change))
    for element, shells in (("B", [(0, 0.35), (0, 0.9), (1, 0.4)]), ("N", [(0, 0.5), (1, 0.45), (1, 1.1), (2, 0.8)])):
        with open(os.path.join(orbital, element + "_made.orb"), "w") as f:
            f.write(orb(element, shells))


main()

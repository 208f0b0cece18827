#!/usr/bin/env python3
"""Two made-up elements for tests: make_elements.py FOLDER writes pseudopotentials (UPF 2, fully relativistic, norm-conserving) and
orbitals (.orb) under the names of lithium (s and p, one electron, no core) and chlorine (s and p, seven electrons, a core density,
spin-orbit coupling). Everything is a Gaussian times a power, so that coarse grids do. They resemble no real atom."""
import math
import sys

DR, POINTS = 0.02, 401  # bohr; 8 bohr
RC = 6.0                # bohr: radius of the orbitals


def numbers(values):
    return "\n".join(" ".join(f"{x:.15e}" for x in values[i:i + 4]) for i in range(0, len(values), 4))


def upf(element, z, width, projectors, core):
    """projectors: (l, j, exponent, D)"""
    r = [i * DR for i in range(POINTS)]
    local = [-2 * z * (math.erf(x / width) / x if x > 0 else 2 / (width * math.sqrt(math.pi))) for x in r]
    a = 0.45
    rho = [4 * math.pi * x * x * z * (a / math.pi) ** 1.5 * math.exp(-a * x * x) for x in r]
    text = [f'<UPF version="2.0.1">\n<PP_INFO>a made-up element</PP_INFO>\n<PP_HEADER element="{element}" pseudo_type="NC" '
            f'relativistic="full" is_ultrasoft="F" is_paw="F" core_correction="{"T" if core else "F"}" functional="PBE" '
            f'z_valence="{z}" has_so="T" mesh_size="{POINTS}" number_of_proj="{len(projectors)}"/>',
            f"<PP_MESH>\n<PP_R>\n{numbers(r)}\n</PP_R>\n<PP_RAB>\n{numbers([DR] * POINTS)}\n</PP_RAB>\n</PP_MESH>",
            f"<PP_LOCAL>\n{numbers(local)}\n</PP_LOCAL>"]
    if core:
        text.append(f"<PP_NLCC>\n{numbers([core * math.exp(-1.5 * x * x) for x in r])}\n</PP_NLCC>")
    text.append("<PP_NONLOCAL>")
    for i, (l, _, exponent, _) in enumerate(projectors, 1):
        beta = [x ** (l + 1) * math.exp(-exponent * x * x) for x in r]
        text.append(f'<PP_BETA.{i} angular_momentum="{l}">\n{numbers([b if b > 1e-8 else 0 for b in beta])}\n</PP_BETA.{i}>')
    n = len(projectors)
    text.append(f"<PP_DIJ>\n{numbers([projectors[i][3] if i == k else 0.0 for i in range(n) for k in range(n)])}\n</PP_DIJ>\n</PP_NONLOCAL>")
    text.append(f"<PP_RHOATOM>\n{numbers(rho)}\n</PP_RHOATOM>\n<PP_SPIN_ORB>")
    text += [f'<PP_RELBETA.{i} lll="{l}" jjj="{j}"/>' for i, (l, j, _, _) in enumerate(projectors, 1)]
    text.append("</PP_SPIN_ORB>\n</UPF>\n")
    return "\n".join(text)


def orb(element, shells):
    """shells: (l, n, exponent)"""
    mesh = round(RC / 0.01) + 1
    text = ["-" * 75, f"Element                     {element}", "Energy Cutoff(Ry)           100", f"Radius Cutoff(a.u.)         {RC:g}",
            f"Lmax                        {max(l for l, _, _ in shells)}"]
    for l, name in enumerate("SPD"):
        if any(s[0] == l for s in shells):
            text.append(f"Number of {name}orbital-->       {sum(s[0] == l for s in shells)}")
    text += ["-" * 75, "SUMMARY  END", "", f"Mesh                        {mesh}", "dr                          0.01"]
    for l, n, exponent in shells:
        f = [(i * 0.01) ** l * math.exp(-exponent * (i * 0.01) ** 2) * (1 - (i * 0.01 / RC) ** 2) ** 4 for i in range(mesh)]
        text += ["                Type                   L                   N", f"                   0                   {l}                   {n}",
                 numbers(f)]
    return "\n".join(text) + "\n"


folder = sys.argv[1]
for name, content in {
    "Li.upf": upf("Li", 1, 1.2, [(0, 0.5, 0.9, 0.6)], 0),
    "Cl.upf": upf("Cl", 7, 1.0, [(0, 0.5, 1.0, 1.5), (1, 0.5, 1.1, 0.3), (1, 1.5, 1.1, 0.5)], 0.8),
    "Li_gga_6au_100Ry_2s1p.orb": orb("Li", [(0, 0, 0.25), (0, 1, 0.7), (1, 0, 0.3)]),
    "Cl_gga_6au_100Ry_2s2p.orb": orb("Cl", [(0, 0, 0.35), (0, 1, 0.9), (1, 0, 0.3), (1, 1, 0.8)]),
}.items():
    with open(f"{folder}/{name}", "w", encoding="ascii") as file:
        file.write(content)

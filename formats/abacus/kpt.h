/* kpt.h - k-points from text: ABACUS's KPT, plain lists, and the options --kpath, --path, --mesh, --kpoints
 * of the programs. */
#ifndef NH_FORMATS_ABACUS_KPT_H
#define NH_FORMATS_ABACUS_KPT_H

#include "base/options.h"
#include "crystal/kpoints.h"
#include "crystal/structure.h"

/* ABACUS KPT: mesh (Gamma, Monkhorst-Pack), list (Direct, Cartesian), path (Line, Line_Cartesian).
 * lattice_constant (bohr) is the LATTICE_CONSTANT of the STRU file, needed for Cartesian coordinates alone
 * (they are in 2 pi/lattice_constant); NaN: not known. In a path the label of a corner is the first word of
 * the comment behind it, "0.5 0 0.5 20 # X". */
int nh_kpt_read(const char *path, const double lattice[9], double lattice_constant, nh_kpoints *out,
                nh_error *err);

/* One k-point a line: "k1 k2 k3 [weight] [label]", fractional; '#' begins a comment. All lines have weights
 * or none has. */
int nh_klist_read(const char *path, const double lattice[9], nh_kpoints *out, nh_error *err);

typedef struct nh_kpoint_options {
    const char *kpath, *path, *list;
    int mesh[3];
    bool has_mesh, gamma, has_points, has_total;
    int points, total;
    double lattice_constant; /* bohr; NaN: not given */
    double symprec;          /* Å, of --path auto */
    bool has_symprec;
} nh_kpoint_options;

#define NH_KPOINT_DEFAULTS ((nh_kpoint_options){.points = 40, .lattice_constant = NAN, .symprec = 0.01})

/* Rows of an option table, `o` an nh_kpoint_options. */
/* clang-format off */
#define NH_KPOINT_OPTION_ROWS(o)                                                                              \
    {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "k-points (one of)"},                                   \
    {NH_OPT_STRING, 0, "kpath", "FILE", (void *)&(o).kpath, NULL, NULL,                                       \
     "ABACUS KPT file: Gamma or MP mesh, Direct or Cartesian list, Line or Line_Cartesian path"},             \
    {NH_OPT_STRING, 0, "path", "PATH", (void *)&(o).path, NULL, NULL,                                         \
     "\"G 0 0 0; X .5 0 .5; U 5/8 1/4 5/8 | K 3/8 3/8 3/4\": corners (label optional) in fractional "         \
     "coordinates; '|' breaks the path. auto: the standard path of the crystal's Bravais lattice (Hinuma et "  \
     "al. 2017), in the coordinates of this cell"},                                                            \
    {NH_OPT_INTS3, 0, "mesh", "N1 N2 N3", (o).mesh, NULL, &(o).has_mesh,                                      \
     "Monkhorst-Pack mesh, by ABACUS's formula"},                                                             \
    {NH_OPT_STRING, 0, "kpoints", "FILE", (void *)&(o).list, NULL, NULL,                                      \
     "text file, one k-point a line: k1 k2 k3 [weight] [label], fractional"},                                 \
    {NH_OPT_HEADING, 0, NULL, NULL, NULL, NULL, NULL, "Details of the k-points"},                             \
    {NH_OPT_INT, 'n', "points", "N", &(o).points, NULL, &(o).has_points,                                      \
     "--path: points from each corner up to the next [40]"},                                                  \
    {NH_OPT_INT, 0, "total", "N", &(o).total, NULL, &(o).has_total,                                           \
     "--path: N points in all, shared among the segments by their lengths"},                                  \
    {NH_OPT_REAL, 0, "symprec", "ANGSTROM", &(o).symprec, NULL, &(o).has_symprec,                             \
     "--path auto: distance within which atoms count as equivalent [0.01]"},                                  \
    {NH_OPT_FLAG, 0, "gamma", NULL, &(o).gamma, NULL, NULL, "--mesh: centred at Gamma"},                      \
    {NH_OPT_REAL, 0, "lattice-constant", "BOHR", &(o).lattice_constant, NULL, NULL,                           \
     "LATTICE_CONSTANT of the STRU file, for Cartesian coordinates in a KPT file"}
/* clang-format on */

/* True where any of the four is given. */
bool nh_kpoint_options_given(const nh_kpoint_options *o);
/* Fails where the options contradict each other (a wrong command line). */
int nh_kpoint_options_check(const nh_kpoint_options *o, nh_error *err);
/* *note: a line about what was chosen (--path auto), else empty. */
int nh_kpoint_options_read(const nh_kpoint_options *o, const nh_structure *s, nh_kpoints *out, nh_error *note,
                           nh_error *err);

#endif

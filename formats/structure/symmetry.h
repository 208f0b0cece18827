/* symmetry.h - the operations of a space group as files list them ("-x+1/2, y, -z") or name them ("F d -3
 * m :2").
 *
 * x' = W x + w in fractional coordinates (International Tables for Crystallography A, 1.2.2). The table of
 * space groups is spglib's. */
#ifndef NH_FORMATS_STRUCTURE_SYMMETRY_H
#define NH_FORMATS_STRUCTURE_SYMMETRY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { NH_MOST_OPERATIONS = 192 }; /* of a space group, in its conventional cell */

typedef struct nh_operation {
    int turn[9];     /* W, row-major */
    double shift[3]; /* w, 0 <= w < 1 */
} nh_operation;

typedef struct nh_symmetry {
    size_t count;
    nh_operation operation[NH_MOST_OPERATIONS];
} nh_symmetry;

/* What a file says of its space group; NULL or 0 where it does not. `h_m` may end in a setting (":2",
 * ":H", " R"). */
typedef struct nh_space_group {
    const char *h_m, *hall;
    int number; /* 1..230 */
} nh_space_group;

/* "x, y, z+1/2". Shifts within 1e-3 of a multiple of 1/24 become that: files print 0.3333. */
int nh_operation_parse(const char *text, nh_operation *out, nh_error *err);
/* x' of x. */
void nh_operation_apply(const nh_operation *o, const double x[3], double out[3]);

/* The operations of the one setting of the space group that fits the names and the lattice (rows, Å).
 * Where several do, as with two choices of the origin, that is an error that names them. */
int nh_symmetry_find(const nh_space_group *g, const double lattice[9], nh_symmetry *out, nh_error *err);

/* Are they a group with the identity, without repetition, and do they keep the lengths and angles of the
 * lattice? */
int nh_symmetry_check(const nh_symmetry *s, const double lattice[9], nh_error *err);
/* True where some setting of the space group has `count` operations, or where its names are not known. */
bool nh_symmetry_count_fits(const nh_space_group *g, size_t count);

#endif

/* structure.h - a crystal: lattice, atoms, and the orbital shells of each species. */
#ifndef NH_CRYSTAL_STRUCTURE_H
#define NH_CRYSTAL_STRUCTURE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nh_structure {
    double lattice[9]; /* rows a1, a2, a3, Å */
    size_t n_atom;
    double *position; /* [n_atom][3] Cartesian, Å; owned */
    int *species;     /* [n_atom] index of the atom's species; owned */
    size_t n_species;
    int *atomic_number;  /* [n_species]; owned */
    size_t *shell_start; /* [n_species+1] first shell of each species in shell_l; owned */
    int *shell_l; /* degrees, species after species; owned. No shells at all: basis not known (shell_start all
                     0) */
    char *title;  /* may be NULL; owned */
} nh_structure;

/* Allocates the arrays (zeroed) for the given sizes; shells are set afterwards with nh_structure_set_shells.
 */
int nh_structure_new(size_t n_atom, size_t n_species, nh_structure *out, nh_error *err);
void nh_structure_free(nh_structure *s);
int nh_structure_copy(const nh_structure *s, nh_structure *out, nh_error *err);
/* Sets the shells of all species at once: counts[n_species], and their degrees one after another. */
int nh_structure_set_shells(nh_structure *s, const size_t *counts, const int *l, nh_error *err);

/* Orbitals (sum of 2l+1) of a species, of an atom, of the cell. */
size_t nh_species_orbitals(const nh_structure *s, size_t species);
size_t nh_atom_orbitals(const nh_structure *s, size_t atom);
size_t nh_structure_orbitals(const nh_structure *s);
/* First orbital of each atom: start[n_atom+1]. */
void nh_orbital_start(const nh_structure *s, size_t *start);

/* Moves every atom into the home cell, 0 <= f < 1, with ABACUS's own arithmetic (UnitCell::check_dtau: the integer part of
 * f + 10000 is taken off, so that -1e-13 counts as 0). The R of its matrices refer to these positions. */
void nh_structure_wrap(nh_structure *s);

/* Finite numbers, a lattice with volume, indices in range (nh_atoms_check of crystal/neighbours.h looks at distances, too). */
int nh_structure_check(const nh_structure *s, nh_error *err);

/* "GaAs": element symbols with counts, in order of species. The caller frees. */
char *nh_structure_formula(const nh_structure *s);

/* "Ga" <-> 31. 0 for an unknown symbol (a label such as "Fe1" counts by its leading letters); NULL for an
 * unknown number. */
int nh_atomic_number(const char *symbol);
const char *nh_element_symbol(int atomic_number);

/* "4s2p2d1f" -> degrees 0,0,0,0,1,1,2,2,3. *l is allocated, the caller frees. */
int nh_shells_parse(const char *text, size_t *count, int **l, nh_error *err);
/* Degrees -> "4s2p2d1f". The caller frees. */
char *nh_shells_text(size_t count, const int *l);

#ifdef __cplusplus
}
#endif

#endif

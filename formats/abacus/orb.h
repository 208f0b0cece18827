/* orb.h - the header of ABACUS numerical orbital files (.orb), and what their names say. */
#ifndef NH_FORMATS_ABACUS_ORB_H
#define NH_FORMATS_ABACUS_ORB_H

#include "base/error.h"

#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>

/* The head of an orbital file, up to its line "SUMMARY  END". */
typedef struct nh_orb_header {
    char element[4]; /* empty where the file does not say */
    size_t n_shell;
    int *l; /* [n_shell] all s, then all p, ...; owned: the caller frees */
} nh_orb_header;
int nh_orb_read_header(nh_stream *s, nh_orb_header *out, nh_error *err);

/* Degrees of the shells, all s, then all p, ... from the lines "Number of Sorbital-->  4". *l is allocated,
 * the caller frees. */
int nh_orb_read_shells(const char *path, size_t *count, int **l, nh_error *err);
/* The same from a name: Ga_gga_8au_100Ry_2s2p2d1f.orb. False where the name does not say. */
bool nh_orb_name_shells(const char *name, size_t *count, int **l);
/* Radius in Å from the same name ("8au"): the orbitals are zero beyond it. NaN where the name does not say.
 */
double nh_orb_name_radius(const char *name);
/* The file of an element in a folder: the one FOLDER/El_*SUFFIX there is, or El.SUFFIX, El-*SUFFIX; the suffix (".orb", ".upf") in any
 * case. *path is allocated, the caller frees. */
int nh_element_file(const char *folder, const char *element, const char *suffix, char **path, nh_error *err);

#endif

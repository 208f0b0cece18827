/* basis_names.h - names of the files that a basis is of, "Ga:8f1dfe31076e5a94 As:27fd8a3a1a2a9b40": for each element a hash
 * of its orbital file, or of its pseudopotential file. Words that are not like that are ignored. */
#ifndef NH_CRYSTAL_BASIS_NAMES_H
#define NH_CRYSTAL_BASIS_NAMES_H

#include "base/error.h"

/* The elements that have a name in both and not the same one, "Ga, As". The caller frees; "" where there are none; NULL when
 * out of memory. NULL arguments know nothing. */
char *nh_basis_names_differ(const char *a, const char *b);
/* *known with the names of `more` (NULL: none), which replace its own. *known is allocated, or NULL. */
int nh_basis_names_join(char **known, const char *more, nh_error *err);

#endif

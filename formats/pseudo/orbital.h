/* orbital.h - the orbitals of ABACUS's .orb files: what is in the file, normalised (docs/h0.md 2). */
#ifndef NH_FORMATS_PSEUDO_ORBITAL_H
#define NH_FORMATS_PSEUDO_ORBITAL_H

#include "lcao/species.h"

/* `element`: the symbol that the file must be of; NULL takes any. Free with nh_orbital_set_free. */
int nh_orbital_read(const char *path, const char *element, nh_orbital_set *out, nh_error *err);

/* The name that a file's content has: FNV-1a (64 bits, hexadecimal) of its bytes, unpacked where it is compressed. */
void nh_content_hash(const char *text, char hash[NH_HASH_TEXT]);

#endif

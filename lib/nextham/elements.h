/* elements.h - what a model has been trained on, element by element: a model knows its limits. */
#ifndef NH_NEXTHAM_ELEMENTS_H
#define NH_NEXTHAM_ELEMENTS_H

#include "crystal/structure.h"

#include <stdbool.h>
#include <stddef.h>

enum { NH_ELEMENTS = 119 }; /* atomic numbers 1..118 */

/* All zero: not known, as of the published models. */
typedef struct nh_elements {
    bool known;
    size_t crystals[NH_ELEMENTS]; /* training crystals that contain the element */
} nh_elements;

/* Counts one crystal more, and what it contains. */
void nh_elements_add(nh_elements *e, const nh_structure *s);
/* For each element the larger number: a run that goes on, or fine-tunes, forgets nothing, and its own crystals do not
 * count twice. */
void nh_elements_join(nh_elements *e, const nh_elements *other);
size_t nh_elements_count(const nh_elements *e); /* different ones */

/* "H 3 He 4", by atomic number. The caller frees; NULL when out of memory. */
char *nh_elements_text(const nh_elements *e);
/* The same back; `where` for messages. */
int nh_elements_parse(const char *text, const char *where, nh_elements *out, nh_error *err);

/* The elements of a crystal that e has never seen, "Kr, Xe". The caller frees; "" where it has seen all; NULL when out of
 * memory. */
char *nh_elements_unseen(const nh_elements *e, const nh_structure *s);

#endif

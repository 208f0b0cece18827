/* cif_text.h - the syntax of CIF 1.1 (Hall, Allen, Brown, Acta Cryst. A47 (1991) 655; the grammar is that
 * of https://www.iucr.org/resources/cif/spec/version1.1/cifsyntax): data blocks of tags with values, and
 * loops. What the tags mean is cif.c's. */
#ifndef NH_FORMATS_STRUCTURE_CIF_TEXT_H
#define NH_FORMATS_STRUCTURE_CIF_TEXT_H

#include "formats/text.h"

typedef struct nh_cif_value {
    char *text; /* without its quotes; points into the text of the file */
    size_t line;
    bool quoted;
} nh_cif_value;

/* A tag and its values: values[first + row * stride], row < count. A tag outside of loops has one. */
typedef struct nh_cif_item {
    const char *tag; /* with its "_" */
    size_t block, first, stride, count, line;
} nh_cif_item;

typedef struct nh_cif {
    const char *name; /* of the file */
    const char **block;
    size_t n_block, block_room;
    nh_cif_item *item;
    size_t n_item, item_room;
    nh_cif_value *value;
    size_t n_value, value_room;
} nh_cif;

/* Bytes of UTF-8's byte order mark at the beginning of a text: 3 or 0. */
size_t nh_cif_byte_order_mark(const char *text);
/* Cuts the whole rest of `t` in place, which must outlive `out`. Save frames and the lists and tables of
 * CIF 2.0 are refused. */
int nh_cif_parse_text(nh_text *t, nh_cif *out, nh_error *err);
void nh_cif_text_free(nh_cif *c);

/* The item with the tag, without regard to case, or NULL. Two spellings: the first that is there; `other`
 * may be NULL. */
const nh_cif_item *nh_cif_find(const nh_cif *c, size_t block, const char *tag, const char *other);
/* Row `row` of an item. */
const nh_cif_value *nh_cif_at(const nh_cif *c, const nh_cif_item *item, size_t row);
/* False for "?" (unknown) and "." (does not apply). */
bool nh_cif_known(const nh_cif_value *v);
/* A finite number, without its standard uncertainty: 5.6533(2). */
int nh_cif_real(const nh_cif *c, const nh_cif_value *v, const char *what, double *out, nh_error *err);

#endif

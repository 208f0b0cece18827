/* yaml.h - a YAML document as a tree, with the line of every node, on top of libyaml. */
#ifndef NH_BASE_YAML_H
#define NH_BASE_YAML_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum nh_yaml_kind { NH_YAML_SCALAR, NH_YAML_LIST, NH_YAML_MAP } nh_yaml_kind;

typedef struct nh_yaml {
    nh_yaml_kind kind;
    size_t line;            /* from 1; of a map's value: the line of its key */
    char *text;             /* scalar */
    size_t count;           /* list items, map entries */
    char **key;             /* map */
    struct nh_yaml **item;  /* list items, map values */
} nh_yaml;

/* Parses one document. `name` is the file's name, for messages ("NAME:LINE: ..."). Duplicate keys are errors. */
int nh_yaml_parse(const char *text, const char *name, nh_yaml **out, nh_error *err);
void nh_yaml_free(nh_yaml *y);

const nh_yaml *nh_yaml_find(const nh_yaml *map, const char *key); /* NULL where absent */
/* Values; wrong type is an error "NAME:LINE: KEY: ...". The getters leave *out alone where the key is absent. */
int nh_yaml_get_long(const nh_yaml *map, const char *name, const char *key, long *out, nh_error *err);
int nh_yaml_get_real(const nh_yaml *map, const char *name, const char *key, double *out, nh_error *err);
int nh_yaml_get_bool(const nh_yaml *map, const char *name, const char *key, bool *out, nh_error *err);
int nh_yaml_get_text(const nh_yaml *map, const char *name, const char *key, const char **out, nh_error *err);
int nh_yaml_to_real(const nh_yaml *scalar, const char *name, const char *what, double *out, nh_error *err);
int nh_yaml_to_long(const nh_yaml *scalar, const char *name, const char *what, long *out, nh_error *err);
/* Error "NAME:LINE: unknown key KEY" for the first key that is not in the NULL-terminated list. */
int nh_yaml_check_keys(const nh_yaml *map, const char *name, const char *const *known, nh_error *err);

#endif

/* yaml.h - a YAML document as a tree, with the line of every node, on top of libyaml. */
#ifndef NH_BASE_YAML_H
#define NH_BASE_YAML_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum nh_yaml_kind { NH_YAML_SCALAR, NH_YAML_LIST, NH_YAML_MAP } nh_yaml_kind;

typedef struct nh_yaml {
    nh_yaml_kind kind;
    size_t line;           /* from 1; of a map's value: the line of its key */
    char *text;            /* scalar */
    size_t count;          /* list items, map entries */
    char **key;            /* map */
    struct nh_yaml **item; /* list items, map values */
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
/* The same with bounds. A number from min to max, both exclusive where `open`; max INFINITY: any finite one from (or above) min. */
int nh_yaml_get_real_in(const nh_yaml *map, const char *name, const char *key, double min, double max,
                        bool open, double *out, nh_error *err);
int nh_yaml_get_size(const nh_yaml *map, const char *name, const char *key, size_t min, size_t max,
                     size_t *out, nh_error *err);
/* The index of the value among `words` (NULL-terminated). */
int nh_yaml_get_choice(const nh_yaml *map, const char *name, const char *key, const char *const *words,
                       int *out, nh_error *err);
/* "4 GB", "512 MB", "0": a number of bytes. */
int nh_yaml_get_bytes(const nh_yaml *map, const char *name, const char *key, double *out, nh_error *err);
/* The name of a file: *out (freed first; owned) absolute, or under `folder`; NULL for the empty one. */
int nh_yaml_get_path(const nh_yaml *map, const char *name, const char *key, const char *folder, char **out,
                     nh_error *err);
/* A map whose keys are all `known`; *out is NULL where it is absent. */
int nh_yaml_get_map(const nh_yaml *map, const char *name, const char *key, const char *const *known,
                    const nh_yaml **out, nh_error *err);
/* Line of the key, or where it is absent of the map. */
size_t nh_yaml_line(const nh_yaml *map, const char *key);
/* Error "NAME:LINE: unknown key KEY" for the first key that is not in the NULL-terminated list. */
int nh_yaml_check_keys(const nh_yaml *map, const char *name, const char *const *known, nh_error *err);

#endif

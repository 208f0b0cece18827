/* model.h - an architecture with its tables, for the tests. */
#ifndef NH_TESTS_MODEL_H
#define NH_TESTS_MODEL_H

#include "check.h"

#include "nextham/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct model {
    nh_config config;
    nh_types types;
    nh_params params;
} model;

/* Of a configuration as text. */
static inline void model_parse(const char *text, const char *name, model *m)
{
    OK(nh_config_parse(text, name, &m->config, &err));
    OK(nh_types_new(&m->config, &m->types, &err));
    OK(nh_params_new(&m->config, &m->params, &err));
}

enum { TEXT_ROOM = 65536 };

/* A whole file, in TEXT_ROOM bytes; the caller frees. */
static inline char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("cannot open %s", path);
    char *text = calloc(TEXT_ROOM, 1);
    assert_non_null(text);
    const size_t n = fread(text, 1, TEXT_ROOM - 1, f);
    assert_true(n > 0 && n < TEXT_ROOM - 1);
    fclose(f);
    return text;
}

/* Of a file, and lines that follow it. */
static inline void model_open(const char *path, const char *more, model *m)
{
    char *text = read_text(path);
    assert_true(strlen(text) + strlen(more) < TEXT_ROOM);
    strcat(text, more);
    model_parse(text, path, m);
    free(text);
}

static inline void model_close(model *m)
{
    nh_params_free(&m->params);
    nh_types_free(&m->types);
    nh_config_free(&m->config);
}

#endif

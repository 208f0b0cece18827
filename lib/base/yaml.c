#include "base/yaml.h"

#include "base/memory.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

enum { MAX_DEPTH = 32 };

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    const char *text, *name;
    nh_error *err;
} reader;

static size_t event_line(const reader *r)
{
    return r->event.start_mark.line + 1;
}

static int fail_here(const reader *r, const char *what)
{
    return nh_fail(r->err, "%s:%zu: %s", r->name, event_line(r), what);
}

/* Replaces r->event by the next one. */
static int advance(reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return 0;
    const yaml_parser_t *p = &r->parser;
    memset(&r->event, 0, sizeof r->event);
    if (p->error == YAML_MEMORY_ERROR) return nh_fail_memory(r->err, r->name);
    size_t line = p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR) {
        /* Bytes that are no UTF-8: libyaml knows their offset only. */
        line = 1;
        for (size_t i = 0; i < p->problem_offset && r->text[i] != '\0'; i++)
            line += r->text[i] == '\n';
    }
    return nh_fail(r->err, "%s:%zu: %s%s%s", r->name, line, p->problem != NULL ? p->problem : "not YAML",
                   p->context != NULL ? " " : "", p->context != NULL ? p->context : "");
}

static nh_yaml *new_node(nh_yaml_kind kind, size_t line)
{
    nh_yaml *node = NH_ARRAY(nh_yaml, 1);
    if (node == NULL) return NULL;
    node->kind = kind;
    node->line = line;
    return node;
}

/* Appends item (and key, in a map) to node. On failure they remain the caller's. */
static int append(nh_yaml *node, char *key, nh_yaml *item)
{
    const size_t n = node->count;
    if (!nh_grow_one(&node->item, n, sizeof *node->item)) return -1;
    if (node->kind == NH_YAML_MAP && !nh_grow_one(&node->key, n, sizeof *node->key)) return -1;
    node->item[n] = item;
    if (node->kind == NH_YAML_MAP) node->key[n] = key;
    node->count++;
    return 0;
}

static int read_node(reader *r, int depth, nh_yaml **out);

/* The key that r->event is, as an own string. */
static int read_key(reader *r, char **key)
{
    *key = NULL;
    if (r->event.type != YAML_SCALAR_EVENT) return fail_here(r, "plain text expected as a key");
    const char *text = (const char *)r->event.data.scalar.value;
    if (strlen(text) != r->event.data.scalar.length) return fail_here(r, "NUL character in a key");
    *key = nh_strdup(text);
    return *key != NULL ? 0 : nh_fail_memory(r->err, r->name);
}

typedef struct place {
    const char *key;
    size_t index;
} place;

static int compare_places(const void *a, const void *b)
{
    const place *const x = a, *const y = b;
    const int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

/* Sorted, so that the time of a map with many keys does not grow with their square. */
static int check_keys_differ(const reader *r, const nh_yaml *map)
{
    if (map->kind != NH_YAML_MAP || map->count < 2) return 0;
    place *sorted = NH_ARRAY(place, map->count);
    if (sorted == NULL) return nh_fail_memory(r->err, r->name);
    for (size_t i = 0; i < map->count; i++)
        sorted[i] = (place){map->key[i], i};
    qsort(sorted, map->count, sizeof *sorted, compare_places);
    size_t first = 0, second = map->count; /* the pair whose second one comes first in the text */
    for (size_t i = 1; i < map->count; i++)
        if (strcmp(sorted[i - 1].key, sorted[i].key) == 0 && sorted[i].index < second) {
            first = sorted[i - 1].index;
            second = sorted[i].index;
        }
    free(sorted);
    if (second == map->count) return 0;
    return nh_fail(r->err, "%s:%zu: key %s stands twice (first in line %zu)", r->name,
                   map->item[second]->line, map->key[second], map->item[first]->line);
}

/* Items up to the event that ends the list or map. */
static int read_items(reader *r, int depth, nh_yaml *node)
{
    yaml_event_type_t end = node->kind == NH_YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    for (;;) {
        if (advance(r) != 0) return -1;
        if (r->event.type == end) return check_keys_differ(r, node);
        size_t line = event_line(r);
        char *key = NULL;
        if (node->kind == NH_YAML_MAP && (read_key(r, &key) != 0 || advance(r) != 0)) {
            free(key);
            return -1;
        }
        nh_yaml *item = NULL;
        if (read_node(r, depth + 1, &item) != 0 || append(node, key, item) != 0) {
            /* An item that was read did not fit. */
            if (item != NULL) nh_fail_memory(r->err, r->name);
            nh_yaml_free(item);
            free(key);
            return -1;
        }
        /* What a map's value is about stands in the line of its key. */
        item->line = line;
    }
}

/* The node that begins with r->event; r->event is its last event afterwards. */
static int read_node(reader *r, int depth, nh_yaml **out)
{
    *out = NULL;
    if (depth > MAX_DEPTH)
        return nh_fail(r->err, "%s:%zu: more than %d levels", r->name, event_line(r), MAX_DEPTH);
    nh_yaml_kind kind;
    const yaml_char_t *anchor, *tag;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        kind = NH_YAML_SCALAR;
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        kind = NH_YAML_LIST;
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        kind = NH_YAML_MAP;
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    case YAML_ALIAS_EVENT:
        return fail_here(r, "aliases (*name) are not supported");
    default:
        return fail_here(r, "value expected");
    }
    if (anchor != NULL) return fail_here(r, "anchors (&name) are not supported");
    if (tag != NULL) return fail_here(r, "tags (!name) are not supported");

    nh_yaml *node = new_node(kind, event_line(r));
    if (node == NULL) return nh_fail_memory(r->err, r->name);
    int status = 0;
    if (kind == NH_YAML_SCALAR) {
        const char *text = (const char *)r->event.data.scalar.value;
        if (strlen(text) != r->event.data.scalar.length)
            status = fail_here(r, "NUL character in a value");
        else if ((node->text = nh_strdup(text)) == NULL)
            status = nh_fail_memory(r->err, r->name);
    } else {
        status = read_items(r, depth, node);
    }
    if (status != 0) {
        nh_yaml_free(node);
        return -1;
    }
    *out = node;
    return 0;
}

/* The only document of the stream. One without content is an empty map: everything is left out. */
static int read_document(reader *r, nh_yaml **out)
{
    if (advance(r) != 0 || advance(r) != 0) return -1; /* start of the stream, start of the document */
    if (r->event.type == YAML_STREAM_END_EVENT) {
        *out = new_node(NH_YAML_MAP, 1);
        return *out != NULL ? 0 : nh_fail_memory(r->err, r->name);
    }
    if (advance(r) != 0 || read_node(r, 0, out) != 0) return -1;
    if (advance(r) != 0 || advance(r) != 0) return -1; /* end of the document, end of the stream */
    if (r->event.type != YAML_STREAM_END_EVENT) return fail_here(r, "one document expected, found a second");
    return 0;
}

int nh_yaml_parse(const char *text, const char *name, nh_yaml **out, nh_error *err)
{
    *out = NULL;
    reader r = {.text = text, .name = name, .err = err};
    if (!yaml_parser_initialize(&r.parser)) return nh_fail_memory(err, name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, strlen(text));
    int status = read_document(&r, out);
    if (status != 0) {
        nh_yaml_free(*out);
        *out = NULL;
    }
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}

void nh_yaml_free(nh_yaml *y)
{
    if (y == NULL) return;
    for (size_t i = 0; i < y->count; i++) {
        if (y->key != NULL) free(y->key[i]);
        nh_yaml_free(y->item[i]);
    }
    free(y->key);
    free(y->item);
    free(y->text);
    free(y);
}

const nh_yaml *nh_yaml_find(const nh_yaml *map, const char *key)
{
    if (map == NULL || map->kind != NH_YAML_MAP) return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->key[i], key) == 0) return map->item[i];
    return NULL;
}

static int fail_type(const nh_yaml *y, const char *name, const char *what, const char *expected,
                     nh_error *err)
{
    if (y->kind == NH_YAML_SCALAR)
        return nh_fail(err, "%s:%zu: %s: %s expected, found '%.60s'", name, y->line, what, expected, y->text);
    return nh_fail(err, "%s:%zu: %s: %s expected, found a %s", name, y->line, what, expected,
                   y->kind == NH_YAML_LIST ? "list" : "map");
}

int nh_yaml_to_real(const nh_yaml *scalar, const char *name, const char *what, double *out, nh_error *err)
{
    if (scalar->kind == NH_YAML_SCALAR && scalar->text[0] != '\0' &&
        strspn(scalar->text, "+-.0123456789eE") == strlen(scalar->text)) {
        char *end;
        double value = strtod(scalar->text, &end);
        if (*end == '\0' && isfinite(value)) {
            *out = value;
            return 0;
        }
    }
    return fail_type(scalar, name, what, "number", err);
}

int nh_yaml_to_long(const nh_yaml *scalar, const char *name, const char *what, long *out, nh_error *err)
{
    if (scalar->kind == NH_YAML_SCALAR && scalar->text[0] != '\0' &&
        strspn(scalar->text, "+-0123456789") == strlen(scalar->text)) {
        char *end;
        errno = 0;
        long value = strtol(scalar->text, &end, 10);
        if (*end == '\0' && errno == 0) {
            *out = value;
            return 0;
        }
    }
    return fail_type(scalar, name, what, "integer", err);
}

int nh_yaml_get_real(const nh_yaml *map, const char *name, const char *key, double *out, nh_error *err)
{
    const nh_yaml *y = nh_yaml_find(map, key);
    return y == NULL ? 0 : nh_yaml_to_real(y, name, key, out, err);
}

int nh_yaml_get_long(const nh_yaml *map, const char *name, const char *key, long *out, nh_error *err)
{
    const nh_yaml *y = nh_yaml_find(map, key);
    return y == NULL ? 0 : nh_yaml_to_long(y, name, key, out, err);
}

int nh_yaml_get_bool(const nh_yaml *map, const char *name, const char *key, bool *out, nh_error *err)
{
    static const char *const words[2][2] = {{"false", "no"}, {"true", "yes"}};
    const nh_yaml *y = nh_yaml_find(map, key);
    if (y == NULL) return 0;
    for (int value = 0; value < 2 && y->kind == NH_YAML_SCALAR; value++)
        for (int i = 0; i < 2; i++)
            if (strcasecmp(y->text, words[value][i]) == 0) {
                *out = value == 1;
                return 0;
            }
    return fail_type(y, name, key, "true or false", err);
}

int nh_yaml_get_text(const nh_yaml *map, const char *name, const char *key, const char **out, nh_error *err)
{
    const nh_yaml *y = nh_yaml_find(map, key);
    if (y == NULL) return 0;
    if (y->kind != NH_YAML_SCALAR) return fail_type(y, name, key, "text", err);
    *out = y->text;
    return 0;
}

int nh_yaml_check_keys(const nh_yaml *map, const char *name, const char *const *known, nh_error *err)
{
    for (size_t i = 0; i < map->count && map->kind == NH_YAML_MAP; i++) {
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], map->key[i]) != 0)
            k++;
        if (known[k] == NULL)
            return nh_fail(err, "%s:%zu: unknown key %s", name, map->item[i]->line, map->key[i]);
    }
    return 0;
}

size_t nh_yaml_line(const nh_yaml *map, const char *key)
{
    const nh_yaml *node = nh_yaml_find(map, key);
    return node ? node->line : map->line;
}

int nh_yaml_get_real_in(const nh_yaml *map, const char *name, const char *key, double min, double max,
                        bool open, double *out, nh_error *err)
{
    double value = *out;
    if (!nh_yaml_find(map, key)) return 0;
    if (nh_yaml_get_real(map, name, key, &value, err)) return -1;
    if (!(value >= min && value <= max) || (open && (value <= min || value >= max))) {
        if (isinf(max))
            return nh_fail(err, "%s:%zu: %s: %g found, a finite number %s %g expected", name,
                           nh_yaml_line(map, key), key, value, open ? ">" : ">=", min);
        return nh_fail(err, "%s:%zu: %s: %g found, a number %s %g%s%g expected", name, nh_yaml_line(map, key),
                       key, value, open ? "between" : "from", min, open ? " and " : " to ", max);
    }
    *out = value;
    return 0;
}

int nh_yaml_get_size(const nh_yaml *map, const char *name, const char *key, size_t min, size_t max,
                     size_t *out, nh_error *err)
{
    long value = 0;
    if (!nh_yaml_find(map, key)) return 0;
    if (nh_yaml_get_long(map, name, key, &value, err)) return -1;
    if (value < 0 || (size_t)value < min || (size_t)value > max)
        return nh_fail(err, "%s:%zu: %s: %ld found, a number from %zu to %zu expected", name,
                       nh_yaml_line(map, key), key, value, min, max);
    *out = (size_t)value;
    return 0;
}

int nh_yaml_get_choice(const nh_yaml *map, const char *name, const char *key, const char *const *words,
                       int *out, nh_error *err)
{
    const char *text = NULL;
    if (nh_yaml_get_text(map, name, key, &text, err)) return -1;
    if (!text) return 0;
    for (int i = 0; words[i]; i++)
        if (!strcmp(text, words[i])) {
            *out = i;
            return 0;
        }
    char list[128] = "";
    for (int i = 0; words[i]; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? " or " : "", words[i]);
    }
    return nh_fail(err, "%s:%zu: %s: '%.60s' found, %s expected", name, nh_yaml_line(map, key), key, text,
                   list);
}

int nh_yaml_get_map(const nh_yaml *map, const char *name, const char *key, const char *const *known,
                    const nh_yaml **out, nh_error *err)
{
    *out = nh_yaml_find(map, key);
    if (!*out) return 0;
    if ((*out)->kind != NH_YAML_MAP)
        return nh_fail(err, "%s:%zu: %s: a map expected", name, (*out)->line, key);
    return nh_yaml_check_keys(*out, name, known, err);
}

int nh_yaml_get_path(const nh_yaml *map, const char *name, const char *key, const char *folder, char **out,
                     nh_error *err)
{
    const char *text = NULL;
    if (nh_yaml_get_text(map, name, key, &text, err)) return -1;
    if (!text) return 0;
    free(*out);
    *out = NULL;
    if (text[0] == '\0') return 0;
    char *path = NULL;
    if (text[0] == '/')
        path = nh_strdup(text);
    else if (asprintf(&path, "%s/%s", folder, text) < 0)
        path = NULL;
    *out = path;
    return path ? 0 : nh_fail_memory(err, key);
}

int nh_yaml_get_bytes(const nh_yaml *map, const char *name, const char *key, double *out, nh_error *err)
{
    static const char *const units[] = {"", "B", "kB", "MB", "GB", "TB"};
    static const double factors[] = {1, 1, 1e3, 1e6, 1e9, 1e12};
    const char *text = NULL;
    if (nh_yaml_get_text(map, name, key, &text, err)) return -1;
    if (!text) return 0;
    char *end;
    const double value = strtod(text, &end);
    if (end != text && isfinite(value) && value >= 0) {
        while (isspace((unsigned char)*end))
            end++;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (!strcasecmp(end, units[i])) {
                *out = value * factors[i];
                return 0;
            }
    }
    return nh_fail(err, "%s:%zu: %s: '%.60s' found, an amount of memory as 500 MB or 4 GB expected", name,
                   nh_yaml_line(map, key), key, text);
}

#include "formats/structure/cif_text.h"

#include "base/memory.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_TAGS = 20000 }; /* the largest dictionaries define some thousand */

typedef enum token_kind { TOKEN_END, TOKEN_DATA, TOKEN_LOOP, TOKEN_TAG, TOKEN_VALUE } token_kind;

typedef struct token {
    token_kind kind;
    nh_cif_value value;
} token;

/* Where the lexer is: *t, and whether that is the beginning of a line. */
typedef struct lexer {
    nh_text *t;
    bool fresh;
} lexer;

static void skip_space(lexer *x)
{
    nh_text *const t = x->t;
    for (;; t->at++) {
        if (*t->at == '#') {
            t->at += strcspn(t->at, "\n");
            x->fresh = false;
        }
        if (!isspace((unsigned char)*t->at)) return;
        x->fresh = *t->at == '\n';
        if (x->fresh) t->line++;
    }
}

/* Ends the token before the next byte, and steps over it. */
static void cut(lexer *x)
{
    nh_text *const t = x->t;
    x->fresh = *t->at == '\n';
    if (x->fresh) t->line++;
    if (*t->at != '\0') *t->at++ = '\0';
}

/* From a ";" at the beginning of a line to the next one. */
static int take_text_field(nh_text *t, token *out, nh_error *err)
{
    char *const end = strstr(t->at, "\n;");
    out->value.text = t->at + 1;
    if (end == NULL) return nh_text_fail(t, err, "a text that begins with \";\" does not end");
    for (const char *c = t->at; c < end; c++)
        if (*c == '\n') t->line++;
    t->line++;
    *end = '\0';
    if (end > out->value.text && end[-1] == '\r') end[-1] = '\0';
    t->at = end + 2;
    if (*t->at != '\0' && !isspace((unsigned char)*t->at))
        return nh_text_fail(t, err, "a space expected after \";\"");
    return 0;
}

/* A quote inside ends the value only where a space follows. */
static int take_quoted(nh_text *t, token *out, nh_error *err)
{
    const char quote = *t->at++;
    if (t->at[0] == quote && t->at[1] == quote)
        return nh_text_fail(t, err, "triple quotes (CIF 2.0) are not read");
    out->value.text = t->at;
    for (; *t->at != '\0' && *t->at != '\n'; t->at++)
        if (*t->at == quote && (t->at[1] == '\0' || isspace((unsigned char)t->at[1]))) {
            *t->at++ = '\0';
            return 0;
        }
    return nh_text_fail(t, err, "a quoted value does not end in its line");
}

static int next_token(lexer *x, token *out, nh_error *err)
{
    nh_text *const t = x->t;
    *out = (token){.kind = TOKEN_END};
    skip_space(x);
    const bool fresh = x->fresh;
    x->fresh = false;
    out->value.line = t->line;
    if (*t->at == '\0') return 0;
    out->kind = TOKEN_VALUE;
    out->value.quoted = true;
    if (*t->at == ';' && fresh) return take_text_field(t, out, err);
    if (*t->at == '\'' || *t->at == '"') return take_quoted(t, out, err);
    out->value.quoted = false;
    if (strchr("[]{}$`", *t->at) != NULL)
        return nh_text_fail(t, err, "\"%c\" begins no value of CIF 1.1 (quotes are needed)", *t->at);
    char *const word = t->at;
    while (*t->at != '\0' && !isspace((unsigned char)*t->at))
        t->at++;
    cut(x);
    out->value.text = word;
    if (*word == '_') {
        out->kind = TOKEN_TAG;
    } else if (strncasecmp(word, "data_", 5) == 0) {
        out->kind = TOKEN_DATA;
        out->value.text = word + 5;
    } else if (strcasecmp(word, "loop_") == 0) {
        out->kind = TOKEN_LOOP;
    } else if (strncasecmp(word, "save_", 5) == 0 || strcasecmp(word, "global_") == 0 ||
               strcasecmp(word, "stop_") == 0) {
        return nh_fail(err, "%s:%zu: \"%.20s\" is not read (dictionaries have it, crystals do not)", t->name,
                       out->value.line, word);
    }
    return 0;
}

static int add_value(nh_cif *c, const nh_cif_value *v, nh_error *err)
{
    if (!nh_grow(&c->value, &c->value_room, c->n_value + 1, sizeof *c->value))
        return nh_fail_memory(err, "the values of a CIF file");
    c->value[c->n_value++] = *v;
    return 0;
}

static int add_item(nh_cif *c, const nh_cif_value *tag, nh_error *err)
{
    if (c->n_block == 0)
        return nh_fail(err, "%s:%zu: \"%.60s\" before the first data block", c->name, tag->line, tag->text);
    if (c->n_item == MOST_TAGS)
        return nh_fail(err, "%s:%zu: more than %d tags", c->name, tag->line, (int)MOST_TAGS);
    if (nh_cif_find(c, c->n_block - 1, tag->text, NULL) != NULL)
        return nh_fail(err, "%s:%zu: \"%.60s\" is there twice", c->name, tag->line, tag->text);
    if (!nh_grow(&c->item, &c->item_room, c->n_item + 1, sizeof *c->item))
        return nh_fail_memory(err, "the tags of a CIF file");
    c->item[c->n_item++] = (nh_cif_item){.tag = tag->text,
                                         .block = c->n_block - 1,
                                         .first = c->n_value,
                                         .stride = 1,
                                         .count = 1,
                                         .line = tag->line};
    return 0;
}

/* The tags, then the values of a loop; leaves the first token after it in *next. */
static int take_loop(lexer *x, nh_cif *c, token *next, nh_error *err)
{
    const size_t first_item = c->n_item, first_value = c->n_value, line = next->value.line;
    if (next_token(x, next, err)) return -1;
    for (; next->kind == TOKEN_TAG;)
        if (add_item(c, &next->value, err) || next_token(x, next, err)) return -1;
    for (; next->kind == TOKEN_VALUE;)
        if (add_value(c, &next->value, err) || next_token(x, next, err)) return -1;
    const size_t columns = c->n_item - first_item, values = c->n_value - first_value;
    if (columns == 0) return nh_fail(err, "%s:%zu: a loop without tags", c->name, line);
    if (values % columns != 0)
        return nh_fail(err, "%s:%zu: a loop of %zu columns with %zu values", c->name, line, columns, values);
    for (size_t i = 0; i < columns; i++) {
        nh_cif_item *const item = c->item + first_item + i;
        item->first = first_value + i;
        item->stride = columns;
        item->count = values / columns;
    }
    return 0;
}

size_t nh_cif_byte_order_mark(const char *text)
{
    return strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

int nh_cif_parse_text(nh_text *t, nh_cif *out, nh_error *err)
{
    *out = (nh_cif){.name = t->name};
    t->at += nh_cif_byte_order_mark(t->at);
    t->line = 1;
    lexer x = {t, true};
    token k;
    int status = next_token(&x, &k, err);
    while (status == 0 && k.kind != TOKEN_END) {
        if (k.kind == TOKEN_LOOP) {
            status = take_loop(&x, out, &k, err);
            continue;
        }
        if (k.kind == TOKEN_DATA) {
            if (!nh_grow(&out->block, &out->block_room, out->n_block + 1, sizeof *out->block))
                status = nh_fail_memory(err, "the blocks of a CIF file");
            else
                out->block[out->n_block++] = k.value.text;
        } else if (k.kind == TOKEN_TAG) {
            const nh_cif_value tag = k.value;
            status = add_item(out, &tag, err);
            if (status == 0) status = next_token(&x, &k, err);
            if (status == 0 && k.kind != TOKEN_VALUE)
                status = nh_fail(err, "%s:%zu: \"%.60s\" has no value", out->name, tag.line, tag.text);
            if (status == 0) status = add_value(out, &k.value, err);
        } else {
            status = nh_fail(err, "%s:%zu: a value without a tag: \"%.40s\"", out->name, k.value.line,
                             k.value.text);
        }
        if (status == 0) status = next_token(&x, &k, err);
    }
    if (status != 0) nh_cif_text_free(out);
    return status;
}

void nh_cif_text_free(nh_cif *c)
{
    free(c->block);
    free(c->item);
    free(c->value);
    *c = (nh_cif){.name = NULL};
}

const nh_cif_item *nh_cif_find(const nh_cif *c, size_t block, const char *tag, const char *other)
{
    for (int spelling = 0; spelling < 2; spelling++) {
        const char *const wanted = spelling == 0 ? tag : other;
        for (size_t i = c->n_item; wanted != NULL && i-- > 0 && c->item[i].block >= block;)
            if (c->item[i].block == block && strcasecmp(c->item[i].tag, wanted) == 0) return &c->item[i];
    }
    return NULL;
}

const nh_cif_value *nh_cif_at(const nh_cif *c, const nh_cif_item *item, size_t row)
{
    return &c->value[item->first + row * item->stride];
}

bool nh_cif_known(const nh_cif_value *v)
{
    return v->quoted || (strcmp(v->text, "?") != 0 && strcmp(v->text, ".") != 0);
}

int nh_cif_real(const nh_cif *c, const nh_cif_value *v, const char *what, double *out, nh_error *err)
{
    const size_t n = strspn(v->text, "+-.0123456789eE");
    const char *const rest = v->text + n;
    const size_t digits = *rest == '(' ? strspn(rest + 1, "0123456789") : 0;
    char *end = v->text;
    const double x = n > 0 ? strtod(v->text, &end) : NAN;
    if (n == 0 || end != rest || !(*rest == '\0' || (digits > 0 && strcmp(rest + 1 + digits, ")") == 0)))
        return nh_fail(err, "%s:%zu: %s expected, \"%.40s\" found", c->name, v->line, what, v->text);
    if (!isfinite(x))
        return nh_fail(err, "%s:%zu: %s is not finite (\"%.40s\")", c->name, v->line, what, v->text);
    *out = x;
    return 0;
}

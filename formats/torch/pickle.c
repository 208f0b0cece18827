#include "formats/torch/pickle.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1024 };

typedef struct block {
    struct block *next;
    size_t used;
    nh_py value[BLOCK];
} block;

struct nh_pickle {
    block *blocks;
    const nh_py *root;
};

typedef struct machine {
    const char *where;
    const unsigned char *begin, *at, *end;
    nh_pickle *p;
    const nh_py **stack; /* NULL entries are marks */
    size_t depth, room;
    const nh_py **memo;
    size_t n_memo, memo_room;
    nh_error *err;
} machine;

/* What may be called: what PyTorch, NumPy and e3nn put around tensors and modules. Each is only remembered. */
static const struct {
    const char *module, *name; /* name NULL: all of the module */
} CALLS[] = {
    {"collections", "OrderedDict"},
    {"collections", "defaultdict"},
    {"torch._utils", "_rebuild_tensor"},
    {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_parameter"},
    {"torch._utils", "_rebuild_parameter_with_state"},
    {"torch", "Size"},
    {"torch", "device"},
    {"torch.serialization", "_get_layout"},
    {"torch.jit._pickle", NULL},
    {"numpy.core.multiarray", "scalar"},
    {"numpy.core.multiarray", "_reconstruct"},
    {"numpy._core.multiarray", "scalar"},
    {"numpy._core.multiarray", "_reconstruct"},
    {"numpy", "dtype"},
    {"_codecs", "encode"},
    {"copyreg", "_reconstructor"},
    {"copy_reg", "_reconstructor"},
    {"functools", "partial"},
    {"argparse", "Namespace"},
    {"builtins", "set"},
    {"builtins", "frozenset"},
    {"builtins", "slice"},
    {"builtins", "complex"},
    {"builtins", "bytearray"},
    {"builtins", "object"},
    {"__builtin__", "set"},
    {"__builtin__", "frozenset"},
    {"__builtin__", "slice"},
    {"__builtin__", "complex"},
    {"__builtin__", "bytearray"},
    {"__builtin__", "object"},
    {"e3nn.o3._irreps", NULL},
    {"e3nn.util.codegen._mixin", NULL},
};

static int broken(const machine *m, const char *what)
{
    nh_fail(m->err, "%s: byte %zu of the pickle: %s", m->where, (size_t)(m->at - m->begin), what);
    return -1;
}

/* --- values --- */

static nh_py *fresh(machine *m, nh_py_kind kind)
{
    block *b = m->p->blocks;
    if (b == NULL || b->used == BLOCK) {
        b = nh_calloc(1, sizeof *b);
        if (b == NULL) {
            nh_fail_memory(m->err, "a pickle");
            return NULL;
        }
        b->next = m->p->blocks;
        m->p->blocks = b;
    }
    nh_py *v = &b->value[b->used++];
    v->kind = kind;
    return v;
}

static int append(machine *m, nh_py *to, const nh_py *item)
{
    if (to->count == to->room) {
        const size_t room = to->room > 0 ? 2 * to->room : 4;
        const nh_py **grown = realloc(to->item, room * sizeof *grown);
        if (grown == NULL) return nh_fail_memory(m->err, "a pickle");
        to->item = grown;
        to->room = room;
    }
    to->item[to->count++] = item;
    return 0;
}

/* --- the stack --- */

static int push(machine *m, const nh_py *v)
{
    if (m->depth == m->room) {
        const size_t room = m->room > 0 ? 2 * m->room : 256;
        const nh_py **grown = realloc(m->stack, room * sizeof *grown);
        if (grown == NULL) return nh_fail_memory(m->err, "a pickle");
        m->stack = grown;
        m->room = room;
    }
    m->stack[m->depth++] = v;
    return 0;
}

static int push_new(machine *m, nh_py_kind kind, nh_py **out)
{
    nh_py *v = fresh(m, kind);
    if (v == NULL) return -1;
    if (out != NULL) *out = v;
    return push(m, v);
}

static int pop(machine *m, const nh_py **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == NULL) return broken(m, "nothing on its stack");
    *out = m->stack[--m->depth];
    return 0;
}

/* The value on top, to be filled. Values are only shared as const outside of this file. */
static int top(machine *m, nh_py **out)
{
    if (m->depth == 0 || m->stack[m->depth - 1] == NULL) return broken(m, "nothing on its stack");
    *out = (nh_py *)m->stack[m->depth - 1];
    return 0;
}

/* First index above the topmost mark; the mark itself is at *first - 1. */
static int above_mark(machine *m, size_t *first)
{
    size_t i = m->depth;
    while (i > 0 && m->stack[i - 1] != NULL)
        i--;
    if (i == 0) return broken(m, "no mark on its stack");
    *first = i;
    return 0;
}

static int memoize(machine *m, size_t index)
{
    nh_py *v;
    if (top(m, &v) != 0) return -1;
    if (index > (size_t)(m->end - m->begin)) return broken(m, "a memo number beyond its length");
    if (index >= m->memo_room) {
        const size_t room = 2 * index + 64;
        const nh_py **grown = realloc(m->memo, room * sizeof *grown);
        if (grown == NULL) return nh_fail_memory(m->err, "a pickle");
        memset(grown + m->memo_room, 0, (room - m->memo_room) * sizeof *grown);
        m->memo = grown;
        m->memo_room = room;
    }
    m->memo[index] = v;
    if (index >= m->n_memo) m->n_memo = index + 1;
    return 0;
}

static int recall(machine *m, size_t index)
{
    if (index >= m->n_memo || m->memo[index] == NULL) return broken(m, "a memo that was never made");
    return push(m, m->memo[index]);
}

/* --- bytes --- */

static int take(machine *m, size_t n, const unsigned char **out)
{
    if (n > (size_t)(m->end - m->at)) return broken(m, "it ends in the middle: truncated");
    *out = m->at;
    m->at += n;
    return 0;
}

static int take_unsigned(machine *m, size_t bytes, uint64_t *out)
{
    const unsigned char *p;
    if (take(m, bytes, &p) != 0) return -1;
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)p[i] << 8 * i;
    return 0;
}

static int take_line(machine *m, const char **text, size_t *length)
{
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (end == NULL) return broken(m, "it ends in the middle: truncated");
    *text = (const char *)m->at;
    *length = (size_t)(end - m->at);
    m->at = end + 1;
    return 0;
}

static int push_text(machine *m, size_t length_bytes)
{
    uint64_t n;
    const unsigned char *p;
    nh_py *v;
    if (take_unsigned(m, length_bytes, &n) != 0) return -1;
    if (n > (size_t)(m->end - m->at)) return broken(m, "a text longer than what is left: truncated");
    if (take(m, (size_t)n, &p) != 0 || push_new(m, NH_PY_TEXT, &v) != 0) return -1;
    v->text = (const char *)p;
    v->length = (size_t)n;
    return 0;
}

static int push_int(machine *m, long long value)
{
    nh_py *v;
    if (push_new(m, NH_PY_INT, &v) != 0) return -1;
    v->integer = value;
    return 0;
}

/* Little-endian two's complement of any length. */
static int push_long(machine *m, size_t length_bytes)
{
    uint64_t n;
    const unsigned char *p;
    if (take_unsigned(m, length_bytes, &n) != 0) return -1;
    if (n > (size_t)(m->end - m->at)) return broken(m, "a number longer than what is left: truncated");
    if (take(m, (size_t)n, &p) != 0) return -1;
    if (n > 8) return push_new(m, NH_PY_NONE, NULL);
    uint64_t value = n > 0 && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | p[i];
    return push_int(m, (long long)value);
}

static int push_float(machine *m)
{
    const unsigned char *p;
    uint64_t bits = 0;
    nh_py *v;
    if (take(m, 8, &p) != 0) return -1;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    if (push_new(m, NH_PY_FLOAT, &v) != 0) return -1;
    memcpy(&v->real, &bits, sizeof bits);
    return 0;
}

/* --- opcodes --- */

static int push_items(machine *m, nh_py_kind kind, size_t first, size_t below)
{
    nh_py *v = fresh(m, kind);
    if (v == NULL) return -1;
    for (size_t i = first; i < m->depth; i++)
        if (append(m, v, m->stack[i]) != 0) return -1;
    m->depth = first - below;
    return push(m, v);
}

static int push_tuple(machine *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m->depth <= i || m->stack[m->depth - 1 - i] == NULL) return broken(m, "nothing on its stack");
    return push_items(m, NH_PY_TUPLE, m->depth - n, 0);
}

static int push_marked(machine *m, nh_py_kind kind)
{
    size_t first;
    if (above_mark(m, &first) != 0) return -1;
    if (kind == NH_PY_DICT && (m->depth - first) % 2 != 0) return broken(m, "a key without a value");
    return push_items(m, kind, first, 1);
}

/* Appends what is above the mark to what is below it. */
static int extend(machine *m, bool pairs)
{
    size_t first;
    if (above_mark(m, &first) != 0) return -1;
    if (pairs && (m->depth - first) % 2 != 0) return broken(m, "a key without a value");
    if (first < 2 || m->stack[first - 2] == NULL) return broken(m, "nothing on its stack");
    nh_py *to = (nh_py *)m->stack[first - 2];
    const bool fits = to->kind == NH_PY_OBJECT || to->kind == (pairs ? NH_PY_DICT : NH_PY_LIST);
    if (!fits) return broken(m, "items for what holds none");
    for (size_t i = first; i < m->depth; i++)
        if (append(m, to, m->stack[i]) != 0) return -1;
    m->depth = first - 1;
    return 0;
}

static int extend_by(machine *m, size_t n)
{
    const nh_py *item[2];
    nh_py *to;
    for (size_t i = n; i-- > 0;)
        if (pop(m, &item[i]) != 0) return -1;
    if (top(m, &to) != 0) return -1;
    if (to->kind != NH_PY_OBJECT && to->kind != (n == 2 ? NH_PY_DICT : NH_PY_LIST))
        return broken(m, "items for what holds none");
    for (size_t i = 0; i < n; i++)
        if (append(m, to, item[i]) != 0) return -1;
    return 0;
}

static int push_global(machine *m, const char *module, size_t length, const char *name, size_t name_length)
{
    nh_py *v;
    if (push_new(m, NH_PY_GLOBAL, &v) != 0) return -1;
    v->text = module;
    v->length = length;
    v->name = name;
    v->name_length = name_length;
    return 0;
}

static int stack_global(machine *m)
{
    const nh_py *name, *module;
    if (pop(m, &name) != 0 || pop(m, &module) != 0) return -1;
    if (name->kind != NH_PY_TEXT || module->kind != NH_PY_TEXT) return broken(m, "a class without a name");
    return push_global(m, module->text, module->length, name->text, name->length);
}

static bool same(const char *text, size_t length, const char *other)
{
    return strlen(other) == length && memcmp(text, other, length) == 0;
}

static int check_call(const machine *m, const nh_py *callable)
{
    if (callable->kind != NH_PY_GLOBAL) return broken(m, "a call of what is no class or function");
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++)
        if (same(callable->text, callable->length, CALLS[i].module) &&
            (CALLS[i].name == NULL || same(callable->name, callable->name_length, CALLS[i].name)))
            return 0;
    char module[64], name[64];
    snprintf(module, sizeof module, "%.*s", (int)(callable->length < 60 ? callable->length : 60),
             callable->text);
    snprintf(name, sizeof name, "%.*s", (int)(callable->name_length < 60 ? callable->name_length : 60),
             callable->name);
    for (char *c = module; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    for (char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    return nh_fail(m->err, "%s: the pickle calls %s.%s, which no tensor needs: refused", m->where, module,
                   name);
}

/* A call (of a function on the list above), or a new object of a class, which is only data for us. */
static int push_object(machine *m, bool call, bool keywords)
{
    const nh_py *argument, *callable, *ignored;
    nh_py *v;
    if (keywords && pop(m, &ignored) != 0) return -1;
    if (pop(m, &argument) != 0 || pop(m, &callable) != 0) return -1;
    if (call ? check_call(m, callable) != 0
             : callable->kind != NH_PY_GLOBAL && broken(m, "an object without a class") != 0)
        return -1;
    if (push_new(m, NH_PY_OBJECT, &v) != 0) return -1;
    v->callable = callable;
    v->argument = argument;
    return 0;
}

static int build(machine *m)
{
    const nh_py *state;
    nh_py *v;
    if (pop(m, &state) != 0 || top(m, &v) != 0) return -1;
    if (v->kind != NH_PY_OBJECT) return broken(m, "a state for what is no object");
    v->state = state;
    return 0;
}

static int persistent(machine *m)
{
    const nh_py *id;
    nh_py *v;
    if (pop(m, &id) != 0 || push_new(m, NH_PY_PERSISTENT, &v) != 0) return -1;
    v->argument = id;
    return 0;
}

static int push_bool(machine *m, bool value)
{
    nh_py *v;
    if (push_new(m, NH_PY_BOOL, &v) != 0) return -1;
    v->integer = value;
    return 0;
}

static int global_lines(machine *m)
{
    const char *module, *name;
    size_t length, name_length;
    if (take_line(m, &module, &length) != 0 || take_line(m, &name, &name_length) != 0) return -1;
    return push_global(m, module, length, name, name_length);
}

static int step(machine *m, unsigned op)
{
    uint64_t n = 0;
    size_t first;
    const nh_py *ignored;
    nh_py *v;
    switch (op) {
    case 0x80: /* PROTO */
        if (take_unsigned(m, 1, &n) != 0) return -1;
        return n >= 2 && n <= 5 ? 0 : broken(m, "its protocol is none of 2 to 5");
    case 0x95:
        return take_unsigned(m, 8, &n); /* FRAME: for whoever reads a stream */
    case '(':
        return push(m, NULL);
    case 'N':
        return push_new(m, NH_PY_NONE, NULL);
    case 0x88:
        return push_bool(m, true);
    case 0x89:
        return push_bool(m, false);
    case 'J':
        return take_unsigned(m, 4, &n) != 0 ? -1 : push_int(m, (int32_t)(uint32_t)n);
    case 'K':
        return take_unsigned(m, 1, &n) != 0 ? -1 : push_int(m, (long long)n);
    case 'M':
        return take_unsigned(m, 2, &n) != 0 ? -1 : push_int(m, (long long)n);
    case 0x8a:
        return push_long(m, 1);
    case 0x8b:
        return push_long(m, 4);
    case 'G':
        return push_float(m);
    case 'X':
        return push_text(m, 4); /* BINUNICODE */
    case 0x8c:
        return push_text(m, 1);
    case 0x8d:
        return push_text(m, 8);
    case 'T':
        return push_text(m, 4); /* BINSTRING, Python 2 */
    case 'U':
        return push_text(m, 1);
    case 'B':
        return push_text(m, 4); /* BINBYTES */
    case 'C':
        return push_text(m, 1);
    case 0x8e:
        return push_text(m, 8);
    case 0x96:
        return push_text(m, 8); /* BYTEARRAY8 */
    case ')':
        return push_new(m, NH_PY_TUPLE, NULL);
    case ']':
        return push_new(m, NH_PY_LIST, NULL);
    case '}':
        return push_new(m, NH_PY_DICT, NULL);
    case 0x8f:
        return push_new(m, NH_PY_LIST, NULL); /* EMPTY_SET */
    case 't':
        return push_marked(m, NH_PY_TUPLE);
    case 'l':
        return push_marked(m, NH_PY_LIST);
    case 'd':
        return push_marked(m, NH_PY_DICT);
    case 0x91:
        return push_marked(m, NH_PY_LIST); /* FROZENSET */
    case 0x85:
        return push_tuple(m, 1);
    case 0x86:
        return push_tuple(m, 2);
    case 0x87:
        return push_tuple(m, 3);
    case 'a':
        return extend_by(m, 1);
    case 's':
        return extend_by(m, 2);
    case 'e':
        return extend(m, false);
    case 0x90:
        return extend(m, false); /* ADDITEMS */
    case 'u':
        return extend(m, true);
    case 'q':
        return take_unsigned(m, 1, &n) != 0 ? -1 : memoize(m, (size_t)n);
    case 'r':
        return take_unsigned(m, 4, &n) != 0 ? -1 : memoize(m, (size_t)n);
    case 0x94:
        return memoize(m, m->n_memo);
    case 'h':
        return take_unsigned(m, 1, &n) != 0 ? -1 : recall(m, (size_t)n);
    case 'j':
        return take_unsigned(m, 4, &n) != 0 ? -1 : recall(m, (size_t)n);
    case 'c':
        return global_lines(m);
    case 0x93:
        return stack_global(m);
    case 'R':
        return push_object(m, true, false);
    case 0x81:
        return push_object(m, false, false);
    case 0x92:
        return push_object(m, false, true);
    case 'b':
        return build(m);
    case 'Q':
        return persistent(m);
    case '0':
        return m->depth > 0 && m->stack[m->depth - 1] == NULL ? (m->depth--, 0) : pop(m, &ignored);
    case '1':
        if (above_mark(m, &first) != 0) return -1;
        m->depth = first - 1;
        return 0;
    case '2':
        return top(m, &v) != 0 ? -1 : push(m, v);
    default:
        return nh_fail(m->err, "%s: byte %zu of the pickle: opcode 0x%02x, which no checkpoint needs",
                       m->where, (size_t)(m->at - m->begin) - 1, op);
    }
}

int nh_pickle_read(const unsigned char *bytes, size_t length, const char *where, nh_pickle **out,
                   nh_error *err)
{
    *out = NULL;
    machine m = {.where = where,
                 .begin = bytes,
                 .at = bytes,
                 .end = bytes + length,
                 .p = nh_calloc(1, sizeof(nh_pickle)),
                 .err = err};
    if (m.p == NULL) return nh_fail_memory(err, "a pickle");
    int status = 0;
    for (;;) {
        const unsigned char *op;
        status = take(&m, 1, &op);
        if (status != 0 || *op == '.') break;
        status = step(&m, *op);
        if (status != 0) break;
    }
    if (status == 0) status = pop(&m, &m.p->root);
    free(m.stack);
    free(m.memo);
    if (status != 0)
        nh_pickle_free(m.p);
    else
        *out = m.p;
    return status;
}

void nh_pickle_free(nh_pickle *p)
{
    if (p == NULL) return;
    for (block *b = p->blocks, *next; b != NULL; b = next) {
        next = b->next;
        for (size_t i = 0; i < b->used; i++)
            free(b->value[i].item);
        free(b);
    }
    free(p);
}

const nh_py *nh_pickle_root(const nh_pickle *p)
{
    return p->root;
}

bool nh_py_is_text(const nh_py *v, const char *text)
{
    return v != NULL && v->kind == NH_PY_TEXT && same(v->text, v->length, text);
}

bool nh_py_is_global(const nh_py *v, const char *module, const char *name)
{
    return v != NULL && v->kind == NH_PY_GLOBAL && same(v->text, v->length, module) &&
           same(v->name, v->name_length, name);
}

const nh_py *nh_py_get(const nh_py *v, const char *key)
{
    if (v == NULL || (v->kind != NH_PY_DICT && v->kind != NH_PY_OBJECT)) return NULL;
    for (size_t i = 0; i + 1 < v->count; i += 2)
        if (nh_py_is_text(v->item[i], key)) return v->item[i + 1];
    return NULL;
}

/* pickle.h - Python's pickle, read as data. Nothing is imported, called or constructed: a class or function is a pair of names, a
 * call is an object that remembers what would have been called with what. A call of anything that the tensors of a checkpoint
 * and the modules around them do not need is refused by name, so that a file that would run a program is no file for us.
 *
 * Protocols 2 to 5, the opcodes that Python's own pickler writes. Memory is bounded by the length of the pickle. */
#ifndef NH_FORMATS_TORCH_PICKLE_H
#define NH_FORMATS_TORCH_PICKLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum nh_py_kind {
    NH_PY_NONE,
    NH_PY_BOOL,
    NH_PY_INT, /* of 64 bits; a longer one is NONE */
    NH_PY_FLOAT,
    NH_PY_TEXT, /* str or bytes */
    NH_PY_TUPLE,
    NH_PY_LIST, /* lists and sets */
    NH_PY_DICT,
    NH_PY_GLOBAL,    /* a class or a function: module and name */
    NH_PY_OBJECT,    /* what a call would have given */
    NH_PY_PERSISTENT /* what the file keeps elsewhere: the storage of a tensor */
} nh_py_kind;

typedef struct nh_py nh_py;
struct nh_py {
    nh_py_kind kind;
    long long integer; /* INT, BOOL */
    double real;       /* FLOAT */
    const char *text;  /* TEXT: lies in the pickle, not terminated; GLOBAL: the module */
    size_t length;
    const char *name; /* GLOBAL */
    size_t name_length;
    /* TUPLE, LIST: the items. DICT: key, value, key, value. OBJECT: what was appended or set on it, likewise. */
    size_t count, room;
    const nh_py **item;
    const nh_py *callable, *argument,
        *state; /* OBJECT; PERSISTENT: argument is the identifier. state may be NULL */
};

typedef struct nh_pickle nh_pickle;

/* `where` is for messages; the bytes must outlive the result. */
int nh_pickle_read(const unsigned char *bytes, size_t length, const char *where, nh_pickle **out,
                   nh_error *err);
void nh_pickle_free(nh_pickle *p); /* NULL is fine */
const nh_py *nh_pickle_root(const nh_pickle *p);

bool nh_py_is_text(const nh_py *v, const char *text);
/* A class or function: "torch._utils", "_rebuild_tensor_v2". */
bool nh_py_is_global(const nh_py *v, const char *module, const char *name);
/* The value of a text key in a DICT, or in an OBJECT that was filled like one; NULL where it is not there. */
const nh_py *nh_py_get(const nh_py *v, const char *key);

#endif

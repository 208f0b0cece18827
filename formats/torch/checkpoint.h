/* checkpoint.h - the tensors in a file that torch.save wrote (PyTorch 1.6 and later: a zip archive of a pickle and raw storages),
 * and such files written. Read without Python: formats/torch/pickle.h says what is not done with the pickle.
 *
 * The weights may be a dictionary of tensors under a key (state_dict, model, ...) or the whole file, or a pickled module, whose
 * parameters and buffers get the names that its state_dict would give them. The prefix "module." of DataParallel is taken off. */
#ifndef NH_FORMATS_TORCH_CHECKPOINT_H
#define NH_FORMATS_TORCH_CHECKPOINT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { NH_TENSOR_DIMS = 8 };

typedef enum nh_dtype {
    NH_FLOAT16,
    NH_BFLOAT16,
    NH_FLOAT32,
    NH_FLOAT64,
    NH_INT8,
    NH_UINT8,
    NH_INT16,
    NH_INT32,
    NH_INT64,
    NH_BOOL
} nh_dtype;

const char *nh_dtype_name(nh_dtype t); /* "float32" */
bool nh_dtype_from_name(const char *name, nh_dtype *out);
size_t nh_dtype_size(nh_dtype t);
const char *nh_dtype_storage(nh_dtype t); /* "FloatStorage": PyTorch's class of what holds its numbers */

typedef struct nh_tensor {
    char *name; /* owned */
    nh_dtype dtype;
    size_t n_dim, dim[NH_TENSOR_DIMS], stride[NH_TENSOR_DIMS]; /* in elements */
    size_t offset, count;
    size_t storage; /* private */
} nh_tensor;

typedef struct nh_checkpoint {
    char *path;
    size_t n_tensor;
    nh_tensor *tensor; /* in the file's order; owned */
    char *skipped;     /* what else the file holds, "optimizer, epoch"; empty: nothing; owned */
    char *key;         /* where the weights were found: "state_dict"; "" for the whole file; owned */
    void *file;        /* private */
} nh_checkpoint;

/* `key`: where the weights are; NULL: the usual places. */
int nh_checkpoint_open(const char *path, const char *key, nh_checkpoint **out, nh_error *err);
void nh_checkpoint_free(nh_checkpoint *c);                           /* NULL is fine */
size_t nh_checkpoint_find(const nh_checkpoint *c, const char *name); /* or SIZE_MAX */
/* values[count], row-major whatever the strides are; exact but for integers beyond 2^53. */
int nh_checkpoint_values(const nh_checkpoint *c, size_t tensor, double *values, nh_error *err);

/* A tensor to be written: values row-major. */
typedef struct nh_tensor_out {
    const char *name;
    nh_dtype dtype;
    size_t n_dim;
    const size_t *dim;
    const double *values; /* exactly one of the two is set, or none where the tensor is empty */
    const float *single;
} nh_tensor_out;

/* torch.load(path)["state_dict"] gives the tensors back. `config` (may be NULL) is kept beside them as text. */
int nh_checkpoint_write(const char *path, size_t n, const nh_tensor_out *tensor, const char *config,
                        nh_error *err);

#endif

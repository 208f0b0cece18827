/* What torch.save wrote: the archive, the pickle, and the tensors of a pickle in a good archive. */
#include "base/memory.h"
#include "formats/torch/checkpoint.h"
#include "formats/torch/pickle.h"
#include "formats/torch/zip.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void read_checkpoint(const char *path)
{
    enum { MOST = 1 << 16 };
    nh_checkpoint *c;
    nh_error err;
    if (nh_checkpoint_open(path, NULL, &c, &err)) return;
    for (size_t i = 0; i < c->n_tensor; i++) {
        if (nh_checkpoint_find(c, c->tensor[i].name) == SIZE_MAX) abort();
        if (c->tensor[i].count > MOST) continue;
        double *values = NH_ARRAY(double, c->tensor[i].count);
        if (values != NULL) (void)!nh_checkpoint_values(c, i, values, &err);
        free(values);
    }
    nh_checkpoint_free(c);
}

void fuzz_zip(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    nh_zip *z;
    nh_error err;
    if (!nh_zip_open(path, &z, &err)) {
        for (size_t i = 0; i < nh_zip_count(z); i++) {
            const unsigned char *bytes;
            void *owned;
            if (!nh_zip_data(z, i, &bytes, &owned, &err)) {
                (void)crc32(0, bytes, (unsigned)nh_zip_size(z, i)); /* every byte is there */
                free(owned);
            }
        }
        nh_zip_close(z);
    }
    read_checkpoint(path);
}

void fuzz_pickle(const uint8_t *data, size_t size)
{
    nh_pickle *p;
    nh_error err;
    if (nh_pickle_read(data, size, "f", &p, &err)) return;
    (void)nh_py_get(nh_pickle_root(p), "state_dict");
    nh_pickle_free(p);
}

/* --- an archive of stored entries --- */

typedef struct bytes {
    unsigned char *at;
    size_t n, room;
} bytes;

static void put(bytes *b, const void *data, size_t n)
{
    if (!nh_grow(&b->at, &b->room, b->n + n, 1)) abort();
    if (n > 0) memcpy(b->at + b->n, data, n);
    b->n += n;
}
static void put_number(bytes *b, unsigned long value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, &(unsigned char){(unsigned char)(value >> 8 * i)}, 1);
}
/* What the local header (APPNOTE.TXT 4.3.7) and the central directory (4.3.12) have in common, from the version needed on. */
static void put_entry(bytes *b, const char *name, const void *data, size_t n)
{
    put_number(b, 20, 2);
    put_number(b, 0, 2 + 2 + 4); /* flags, stored, time */
    put_number(b, crc32(0, data, (unsigned)n), 4);
    put_number(b, n, 4);
    put_number(b, n, 4);
    put_number(b, strlen(name), 2);
    put_number(b, 0, 2);
}

void fuzz_tensors(const uint8_t *data, size_t size)
{
    static const unsigned char storage[64] = {0, 0, 128, 63, 1, 2, 3, 64, 5};
    const struct {
        const char *name;
        const void *data;
        size_t size;
    } entry[] = {{"archive/data.pkl", data, size},
                 {"archive/version", "3\n", 2},
                 {"archive/data/0", storage, sizeof storage},
                 {"archive/data/1", storage, sizeof storage / 2}};
    enum { N = sizeof entry / sizeof *entry };
    bytes file = {0}, directory = {0};
    for (size_t i = 0; i < N; i++) {
        const size_t at = file.n;
        put(&file, "PK\3\4", 4);
        put_entry(&file, entry[i].name, entry[i].data, entry[i].size);
        put(&file, entry[i].name, strlen(entry[i].name));
        put(&file, entry[i].data, entry[i].size);
        put(&directory, "PK\1\2\24\0", 6);
        put_entry(&directory, entry[i].name, entry[i].data, entry[i].size);
        put_number(&directory, 0, 2 + 2 + 2); /* comment, disk, attributes */
        put_number(&directory, 0, 4);
        put_number(&directory, at, 4);
        put(&directory, entry[i].name, strlen(entry[i].name));
    }
    const size_t at = file.n;
    put(&file, directory.at, directory.n);
    put(&file, "PK\5\6\0\0\0", 8);
    put_number(&file, N, 2);
    put_number(&file, N, 2);
    put_number(&file, directory.n, 4);
    put_number(&file, at, 4);
    put_number(&file, 0, 2);
    read_checkpoint(fuzz_file(file.at, file.n));
    free(file.at);
    free(directory.at);
}

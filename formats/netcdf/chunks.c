#include "formats/netcdf/chunks.h"

#include "base/memory.h"

#include <libdeflate.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEVEL = 1,
    PER_THREAD = 2, /* chunks under way for each thread */
    MOST_CHUNK_BYTES = 1 << 28
};

int nh_chunks_copy(hid_t from, hid_t to, const char *variable)
{
    const hid_t a = H5Dopen2(from, variable, H5P_DEFAULT), b = H5Dopen2(to, variable, H5P_DEFAULT),
                space = a < 0 ? -1 : H5Dget_space(a);
    hsize_t count = 0, at[H5S_MAX_RANK], size;
    bool good = b >= 0 && space >= 0 && H5Dget_num_chunks(a, space, &count) >= 0;
    void *buffer = NULL;
    size_t room = 0;
    for (hsize_t i = 0; i < count && good; i++) {
        uint32_t skipped;
        good = H5Dget_chunk_info(a, space, i, at, &skipped, NULL, &size) >= 0;
        if (good && size > room) {
            free(buffer);
            buffer = malloc(room = (size_t)size);
            good = buffer != NULL;
        }
        good = good && H5Dread_chunk(a, H5P_DEFAULT, at, &skipped, buffer) >= 0 &&
               H5Dwrite_chunk(b, H5P_DEFAULT, skipped, at, (size_t)size, buffer) >= 0;
    }
    free(buffer);
    if (space >= 0) H5Sclose(space);
    if (a >= 0) H5Dclose(a);
    if (b >= 0) H5Dclose(b);
    return good ? 0 : -1;
}

/* --- how a variable is stored --- */

typedef struct stored {
    hid_t set;
    size_t rank; /* as the file has it */
    hsize_t dim[H5S_MAX_RANK], chunk[H5S_MAX_RANK];
    size_t grid[H5S_MAX_RANK];          /* chunks along each dimension */
    size_t n_chunk, chunk_count, count; /* numbers in a chunk, in all */
    size_t width;                       /* bytes of a number: 4 or 8 */
    /* The same boxes with the last dimensions that no chunk cuts taken as one: longer runs. */
    size_t n_dim, length[H5S_MAX_RANK], part[H5S_MAX_RANK];
} stored;

static bool known_filters(hid_t plan)
{
    static const H5Z_filter_t known[2] = {H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE};
    if (H5Pget_layout(plan) != H5D_CHUNKED || H5Pget_nfilters(plan) != 2) return false;
    for (unsigned i = 0; i < 2; i++) {
        unsigned flags, value[8], config;
        size_t n = sizeof value / sizeof *value;
        if (H5Pget_filter2(plan, i, &flags, &n, value, 0, NULL, &config) != known[i]) return false;
    }
    return true;
}

static size_t number_width(hid_t set)
{
    const hid_t type = H5Dget_type(set);
    const size_t width = type < 0                                ? 0
                         : H5Tequal(type, H5T_NATIVE_DOUBLE) > 0 ? sizeof(double)
                         : H5Tequal(type, H5T_NATIVE_FLOAT) > 0  ? sizeof(float)
                                                                 : 0;
    if (type >= 0) H5Tclose(type);
    return width;
}

static bool find_shape(stored *s, hid_t plan)
{
    const hid_t space = H5Dget_space(s->set);
    const int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, s->dim, NULL);
    if (space >= 0) H5Sclose(space);
    if (rank < 1 || H5Pget_chunk(plan, H5S_MAX_RANK, s->chunk) != rank) return false;
    s->rank = s->n_dim = (size_t)rank;
    s->count = s->chunk_count = s->n_chunk = 1;
    for (size_t i = 0; i < s->rank; i++) {
        s->length[i] = (size_t)s->dim[i];
        s->part[i] = (size_t)s->chunk[i];
        if (s->part[i] == 0) return false;
        s->grid[i] = s->length[i] / s->part[i] + (s->length[i] % s->part[i] != 0);
        if (!nh_size_mul(s->count, s->length[i], &s->count) ||
            !nh_size_mul(s->n_chunk, s->grid[i], &s->n_chunk) ||
            !nh_size_mul(s->chunk_count, s->part[i], &s->chunk_count))
            return false;
    }
    for (; s->n_dim > 1 && s->part[s->n_dim - 1] == s->length[s->n_dim - 1]; s->n_dim--) {
        s->length[s->n_dim - 2] *= s->length[s->n_dim - 1];
        s->part[s->n_dim - 2] *= s->part[s->n_dim - 1];
    }
    return s->chunk_count <= MOST_CHUNK_BYTES / sizeof(double);
}

/* False where it is stored in another way; s->set < 0 or to be closed in every case. */
static bool look(hid_t file, const char *variable, stored *s)
{
    *s = (stored){.set = H5Dopen2(file, variable, H5P_DEFAULT)};
    const hid_t plan = s->set < 0 ? -1 : H5Dget_create_plist(s->set);
    const bool good =
        plan >= 0 && known_filters(plan) && (s->width = number_width(s->set)) != 0 && find_shape(s, plan);
    if (plan >= 0) H5Pclose(plan);
    return good;
}

/* Where chunk c begins, in the file's dimensions. */
static void chunk_place(const stored *s, size_t c, hsize_t at[H5S_MAX_RANK])
{
    for (size_t i = s->rank; i-- > 0; c /= s->grid[i])
        at[i] = (c % s->grid[i]) * s->chunk[i];
}

/* --- numbers of a chunk --- */

/* The next run of a chunk: `length` numbers, at `there` in the variable and `here` in the chunk. */
typedef struct run {
    size_t there, here, length;
} run;

/* Calls body for every run of consecutive numbers of chunk c that lies in the variable. */
static void for_runs(const stored *s, size_t c, void (*body)(void *context, run r), void *context)
{
    size_t at[H5S_MAX_RANK], size[H5S_MAX_RANK], index[H5S_MAX_RANK] = {0};
    const size_t last = s->n_dim - 1;
    for (size_t i = s->rank; i-- > 0; c /= s->grid[i]) {
        const size_t k = c % s->grid[i];
        if (i > last) continue; /* one chunk along it */
        at[i] = k * s->part[i];
        size[i] = s->length[i] - at[i] < s->part[i] ? s->length[i] - at[i] : s->part[i];
    }
    for (;;) {
        run r = {0, 0, size[last]};
        for (size_t i = 0; i <= last; i++) {
            r.there = r.there * s->length[i] + at[i] + index[i];
            r.here = r.here * s->part[i] + index[i];
        }
        body(context, r);
        size_t i = last;
        while (i > 0 && ++index[i - 1] == size[i - 1])
            index[--i] = 0;
        if (i == 0) return;
    }
}

/* A chunk under way. */
typedef struct slot {
    size_t chunk;
    unsigned char *numbers, *bytes, *packed; /* [chunk_count][width]; the same, byte by byte; compressed */
    size_t n_packed, room;
    bool good;
    struct libdeflate_compressor *compressor;
    struct libdeflate_decompressor *decompressor;
} slot;

typedef struct work {
    stored s;
    const double *from; /* what is packed; NULL: the numbers of `source` */
    hid_t source;
    void *to;
    bool single; /* floats in `to` */
    size_t n_slot;
    slot *slot;
} work;

typedef struct transfer {
    const work *w;
    slot *slot;
} transfer;

static void take_run(void *context, run r)
{
    const transfer *t = context;
    const double *from = t->w->from + r.there;
    if (t->w->s.width == sizeof(double)) {
        memcpy((double *)(void *)t->slot->numbers + r.here, from, r.length * sizeof(double));
    } else {
        float *to = (float *)(void *)t->slot->numbers + r.here;
        for (size_t i = 0; i < r.length; i++)
            to[i] = (float)from[i];
    }
}

static void give_run(void *context, run r)
{
    const transfer *t = context;
    const bool float_here = t->w->s.width == sizeof(float);
    const double *from = (const double *)(const void *)t->slot->numbers + r.here;
    const float *from_float = (const float *)(const void *)t->slot->numbers + r.here;
    double *to = (double *)t->w->to + r.there;
    float *to_float = (float *)t->w->to + r.there;
    if (float_here && t->w->single)
        memcpy(to_float, from_float, r.length * sizeof(float));
    else if (float_here)
        for (size_t i = 0; i < r.length; i++)
            to[i] = from_float[i];
    else if (t->w->single)
        for (size_t i = 0; i < r.length; i++)
            to_float[i] = (float)from[i];
    else
        memcpy(to, from, r.length * sizeof(double));
}

/* HDF5's filter "shuffle": all first bytes, all second bytes ... */
static void shuffle(size_t n, size_t width, const unsigned char *restrict from, unsigned char *restrict to)
{
    for (size_t b = 0; b < width; b++)
        for (size_t i = 0; i < n; i++)
            to[b * n + i] = from[i * width + b];
}

static void unshuffle(size_t n, size_t width, const unsigned char *restrict from, unsigned char *restrict to)
{
    for (size_t b = 0; b < width; b++)
        for (size_t i = 0; i < n; i++)
            to[i * width + b] = from[b * n + i];
}

static void pack(void *context, size_t i, int thread)
{
    const work *w = context;
    slot *t = &w->slot[i];
    const size_t bytes = w->s.chunk_count * w->s.width;
    (void)thread;
    if (w->from) {
        memset(t->numbers, 0, bytes); /* what lies beyond the variable's end */
        for_runs(&w->s, t->chunk, take_run, &(transfer){w, t});
    }
    shuffle(w->s.chunk_count, w->s.width, t->numbers, t->bytes);
    t->n_packed = libdeflate_zlib_compress(t->compressor, t->bytes, bytes, t->packed, t->room);
    t->good = t->n_packed > 0;
}

static void unpack(void *context, size_t i, int thread)
{
    const work *w = context;
    slot *t = &w->slot[i];
    (void)thread;
    if (!t->good) return;
    t->good = libdeflate_zlib_decompress(t->decompressor, t->packed, t->n_packed, t->bytes,
                                         w->s.chunk_count * w->s.width, NULL) == LIBDEFLATE_SUCCESS;
    if (!t->good) return;
    unshuffle(w->s.chunk_count, w->s.width, t->bytes, t->numbers);
    for_runs(&w->s, t->chunk, give_run, &(transfer){w, t});
}

static void work_free(work *w)
{
    for (size_t i = 0; w->slot && i < w->n_slot; i++) {
        slot *t = &w->slot[i];
        free(t->numbers);
        free(t->bytes);
        free(t->packed);
        if (t->compressor) libdeflate_free_compressor(t->compressor);
        if (t->decompressor) libdeflate_free_decompressor(t->decompressor);
    }
    free(w->slot);
    if (w->s.set >= 0) H5Dclose(w->s.set);
}

static bool work_new(work *w, const nh_threads *threads, bool writing)
{
    const size_t bytes = w->s.chunk_count * w->s.width, most = PER_THREAD * (size_t)nh_threads_count(threads);
    w->n_slot = w->s.n_chunk < most ? w->s.n_chunk : most;
    w->slot = NH_ARRAY(slot, w->n_slot);
    for (size_t i = 0; w->slot && i < w->n_slot; i++) {
        slot *t = &w->slot[i];
        t->numbers = malloc(bytes);
        t->bytes = malloc(bytes);
        if (writing) {
            t->compressor = libdeflate_alloc_compressor(LEVEL);
            t->room = t->compressor ? libdeflate_zlib_compress_bound(t->compressor, bytes) : 0;
            t->packed = malloc(t->room);
        } else {
            t->decompressor = libdeflate_alloc_decompressor();
        }
        if (!t->numbers || !t->bytes || (writing ? !t->compressor || !t->packed : !t->decompressor))
            return false;
    }
    return w->slot != NULL;
}

/* Reads the compressed bytes of a slot's chunk. */
static bool fetch(const work *w, slot *t)
{
    hsize_t at[H5S_MAX_RANK], size = 0;
    uint32_t skipped = 0;
    chunk_place(&w->s, t->chunk, at);
    if (H5Dget_chunk_storage_size(w->s.set, at, &size) < 0 || size == 0 || size > MOST_CHUNK_BYTES)
        return false;
    if (size > t->room) {
        free(t->packed);
        t->packed = malloc(t->room = (size_t)size);
        if (!t->packed) return false;
    }
    t->n_packed = (size_t)size;
    return H5Dread_chunk(w->s.set, H5P_DEFAULT, at, &skipped, t->packed) >= 0 && skipped == 0;
}

bool nh_chunks_get(hid_t file, const char *variable, size_t count, bool single, void *values,
                   nh_threads *threads)
{
    work w = {.to = values, .single = single};
    bool good = look(file, variable, &w.s) && w.s.count == count && work_new(&w, threads, false);
    for (size_t c = 0; good && c < w.s.n_chunk; c += w.n_slot) {
        const size_t n = w.s.n_chunk - c < w.n_slot ? w.s.n_chunk - c : w.n_slot;
        for (size_t i = 0; i < n; i++) {
            w.slot[i].chunk = c + i;
            w.slot[i].good = fetch(&w, &w.slot[i]);
        }
        nh_parallel_for(threads, n, unpack, &w);
        for (size_t i = 0; i < n; i++)
            good = good && w.slot[i].good;
    }
    work_free(&w);
    return good;
}

/* Reads the numbers of a slot's chunk from another variable. */
static bool take_chunk(const work *w, slot *t)
{
    const stored *s = &w->s;
    hsize_t at[H5S_MAX_RANK], size[H5S_MAX_RANK], zero[H5S_MAX_RANK] = {0};
    chunk_place(s, t->chunk, at);
    for (size_t i = 0; i < s->rank; i++)
        size[i] = s->dim[i] - at[i] < s->chunk[i] ? s->dim[i] - at[i] : s->chunk[i];
    memset(t->numbers, 0, s->chunk_count * s->width);
    const hid_t there = H5Dget_space(w->source), here = H5Screate_simple((int)s->rank, s->chunk, NULL);
    const bool good = there >= 0 && here >= 0 &&
                      H5Sselect_hyperslab(there, H5S_SELECT_SET, at, NULL, size, NULL) >= 0 &&
                      H5Sselect_hyperslab(here, H5S_SELECT_SET, zero, NULL, size, NULL) >= 0 &&
                      H5Dread(w->source, s->width == sizeof(double) ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT,
                              here, there, H5P_DEFAULT, t->numbers) >= 0;
    if (there >= 0) H5Sclose(there);
    if (here >= 0) H5Sclose(here);
    return good;
}

/* Packs and writes all chunks of w->s. */
static bool write_chunks(work *w, nh_threads *threads)
{
    bool good = work_new(w, threads, true);
    for (size_t c = 0; good && c < w->s.n_chunk; c += w->n_slot) {
        const size_t n = w->s.n_chunk - c < w->n_slot ? w->s.n_chunk - c : w->n_slot;
        for (size_t i = 0; i < n; i++) {
            w->slot[i].chunk = c + i;
            good = good && (w->from || take_chunk(w, &w->slot[i]));
        }
        if (good) nh_parallel_for(threads, n, pack, w);
        for (size_t i = 0; good && i < n; i++) {
            hsize_t at[H5S_MAX_RANK];
            chunk_place(&w->s, w->slot[i].chunk, at);
            good = w->slot[i].good &&
                   H5Dwrite_chunk(w->s.set, H5P_DEFAULT, 0, at, w->slot[i].n_packed, w->slot[i].packed) >= 0;
        }
    }
    return good;
}

int nh_chunks_put(hid_t file, const char *variable, const double *values, nh_threads *threads)
{
    work w = {.from = values};
    const bool good = look(file, variable, &w.s) && write_chunks(&w, threads);
    work_free(&w);
    return good ? 0 : -1;
}

int nh_chunks_convert(hid_t from, hid_t to, const char *variable, nh_threads *threads)
{
    work w = {.source = H5Dopen2(from, variable, H5P_DEFAULT)};
    const bool good = look(to, variable, &w.s) && w.source >= 0 && write_chunks(&w, threads);
    if (w.source >= 0) H5Dclose(w.source);
    work_free(&w);
    return good ? 0 : -1;
}

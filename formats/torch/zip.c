#include "formats/torch/zip.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    END_SIZE = 22,
    END64_LOCATOR = 20,
    END64_SIZE = 56,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    MOST_COMMENT = 65535,
    DEFLATE_MOST = 1032 /* bytes that one byte of deflate can become */
};
static const uint32_t END = 0x06054b50, LOCATOR = 0x07064b50, END64 = 0x06064b50, CENTRAL = 0x02014b50,
                      LOCAL = 0x04034b50;

typedef struct entry {
    char *name;
    unsigned method, flags;
    uint32_t crc;
    uint64_t packed, size, local; /* local: offset of the local header */
} entry;

struct nh_zip {
    char *path;
    unsigned char *map;
    size_t length;
    size_t count;
    entry *entry;
    size_t *by_name; /* [count] entries in the order of their names: a checkpoint has thousands */
};

static unsigned u16(const unsigned char *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static uint32_t u32(const unsigned char *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

/* Where the central directory is, and its entries: from the record at the end, or zip64's. */
static int find_directory(const nh_zip *z, uint64_t *count, uint64_t *offset, uint64_t *size, nh_error *err)
{
    const size_t n = z->length;
    if (n < END_SIZE) return nh_fail(err, "%s: %zu bytes are no zip archive", z->path, n);
    const size_t lowest = n - END_SIZE > MOST_COMMENT ? n - END_SIZE - MOST_COMMENT : 0;
    size_t at = n - END_SIZE;
    while (u32(z->map + at) != END || u16(z->map + at + 20) != n - at - END_SIZE) {
        if (at == lowest) return nh_fail(err, "%s: no end of a zip archive: not one, or truncated", z->path);
        at--;
    }
    const unsigned char *end = z->map + at;
    *count = u16(end + 10);
    *size = u32(end + 12);
    *offset = u32(end + 16);
    if (u16(end + 4) != 0 || u16(end + 6) != 0) {
        if (u16(end + 4) != 0xffff) return nh_fail(err, "%s: an archive in several volumes", z->path);
    }
    if (at >= END64_LOCATOR && u32(end - END64_LOCATOR) == LOCATOR) {
        const uint64_t where = u64(end - END64_LOCATOR + 8);
        if (where > n - END64_SIZE || n < END64_SIZE || u32(z->map + where) != END64)
            return nh_fail(err, "%s: its zip64 record is not where it says", z->path);
        *count = u64(z->map + where + 32);
        *size = u64(z->map + where + 40);
        *offset = u64(z->map + where + 48);
    }
    if (*offset > n || *size > n - *offset || *count > *size / CENTRAL_SIZE)
        return nh_fail(
            err, "%s: a directory of %llu entries in %llu bytes from %llu on does not fit in the file",
            z->path, (unsigned long long)*count, (unsigned long long)*size, (unsigned long long)*offset);
    return 0;
}

/* Sizes that do not fit 32 bits are in the extra field, in this order, each only where its place holds ones. */
static bool read_zip64(const unsigned char *extra, size_t n, entry *e)
{
    for (size_t at = 0; n - at >= 4;) {
        const size_t length = u16(extra + at + 2);
        if (length > n - at - 4) return false;
        if (u16(extra + at) == 1) {
            const unsigned char *p = extra + at + 4, *stop = p + length;
            uint64_t *const field[] = {&e->size, &e->packed, &e->local};
            for (size_t i = 0; i < 3; i++) {
                if (*field[i] != UINT32_MAX) continue;
                if (stop - p < 8) return false;
                *field[i] = u64(p);
                p += 8;
            }
            return true;
        }
        at += 4 + length;
    }
    return e->size != UINT32_MAX && e->packed != UINT32_MAX && e->local != UINT32_MAX;
}

static int read_directory(nh_zip *z, nh_error *err)
{
    uint64_t count = 0, offset = 0, size = 0;
    if (find_directory(z, &count, &offset, &size, err) != 0) return -1;
    z->entry = NH_ARRAY(entry, (size_t)count);
    if (z->entry == NULL) return nh_fail_memory(err, "the directory of an archive");
    const unsigned char *at = z->map + offset, *const stop = at + size;
    for (; z->count < count; z->count++) {
        entry *e = &z->entry[z->count];
        if (stop - at < CENTRAL_SIZE || u32(at) != CENTRAL)
            return nh_fail(err, "%s: entry %zu of its directory is broken", z->path, z->count);
        const size_t name = u16(at + 28), extra = u16(at + 30), comment = u16(at + 32);
        if ((size_t)(stop - at) - CENTRAL_SIZE < name + extra + comment)
            return nh_fail(err, "%s: entry %zu of its directory is broken", z->path, z->count);
        *e = (entry){.flags = u16(at + 8),
                     .method = u16(at + 10),
                     .crc = u32(at + 16),
                     .packed = u32(at + 20),
                     .size = u32(at + 24),
                     .local = u32(at + 42)};
        if (!read_zip64(at + CENTRAL_SIZE + name, extra, e))
            return nh_fail(err, "%s: entry %zu has no zip64 sizes", z->path, z->count);
        e->name = malloc(name + 1);
        if (e->name == NULL) return nh_fail_memory(err, "the directory of an archive");
        memcpy(e->name, at + CENTRAL_SIZE, name);
        e->name[name] = '\0';
        at += CENTRAL_SIZE + name + extra + comment;
    }
    return 0;
}

static int compare_names(const void *a, const void *b, void *context)
{
    const entry *e = context;
    return strcmp(e[*(const size_t *)a].name, e[*(const size_t *)b].name);
}

static int sort_names(nh_zip *z, nh_error *err)
{
    z->by_name = NH_ARRAY(size_t, z->count);
    if (z->by_name == NULL) return nh_fail_memory(err, "the directory of an archive");
    for (size_t i = 0; i < z->count; i++)
        z->by_name[i] = i;
    qsort_r(z->by_name, z->count, sizeof *z->by_name, compare_names, z->entry);
    return 0;
}

int nh_zip_open(const char *path, nh_zip **out, nh_error *err)
{
    *out = NULL;
    struct stat about;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return nh_fail(err, "%s: %s", path, strerror(errno));
    nh_zip *z = nh_calloc(1, sizeof *z);
    int status = z == NULL || (z->path = nh_strdup(path)) == NULL ? nh_fail_memory(err, "an archive") : 0;
    if (status == 0 && (fstat(file, &about) != 0 || !S_ISREG(about.st_mode) || about.st_size <= 0))
        status = nh_fail(err, "%s: not a file with something in it", path);
    if (status == 0) {
        void *map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (map == MAP_FAILED) {
            status = nh_fail(err, "%s: %s", path, strerror(errno));
        } else {
            z->map = map;
            z->length = (size_t)about.st_size;
            status = read_directory(z, err) != 0 || sort_names(z, err) != 0 ? -1 : 0;
        }
    }
    close(file);
    if (status != 0)
        nh_zip_close(z);
    else
        *out = z;
    return status;
}

void nh_zip_close(nh_zip *z)
{
    if (z == NULL) return;
    for (size_t i = 0; z->entry != NULL && i < z->count; i++)
        free(z->entry[i].name);
    free(z->entry);
    free(z->by_name);
    if (z->map != NULL) munmap(z->map, z->length);
    free(z->path);
    free(z);
}

const char *nh_zip_path(const nh_zip *z)
{
    return z->path;
}

size_t nh_zip_count(const nh_zip *z)
{
    return z->count;
}

size_t nh_zip_find(const nh_zip *z, const char *name)
{
    size_t low = 0, high = z->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(z->entry[z->by_name[middle]].name, name);
        if (order == 0) return z->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

const char *nh_zip_name(const nh_zip *z, size_t i)
{
    return z->entry[i].name;
}

size_t nh_zip_size(const nh_zip *z, size_t i)
{
    return (size_t)z->entry[i].size;
}

int nh_zip_data(const nh_zip *z, size_t i, const unsigned char **data, void **owned, nh_error *err)
{
    const entry *e = &z->entry[i];
    *data = NULL;
    *owned = NULL;
    if (e->flags & 1) return nh_fail(err, "%s: entry %s is encrypted", z->path, e->name);
    if (e->local > z->length || z->length - e->local < LOCAL_SIZE || u32(z->map + e->local) != LOCAL)
        return nh_fail(err, "%s: entry %s: no header at byte %llu", z->path, e->name,
                       (unsigned long long)e->local);
    const unsigned char *header = z->map + e->local;
    const size_t before = LOCAL_SIZE + (size_t)u16(header + 26) + u16(header + 28);
    const size_t room = z->length - (size_t)e->local;
    if (before > room || e->packed > room - before)
        return nh_fail(err, "%s: entry %s: %llu bytes do not fit in the file: truncated", z->path, e->name,
                       (unsigned long long)e->packed);
    const unsigned char *packed = header + before;
    if (e->method == 0) {
        if (e->packed != e->size)
            return nh_fail(err, "%s: entry %s: stored, yet of two sizes", z->path, e->name);
        *data = packed;
    } else if (e->method == 8) {
        if (e->size / DEFLATE_MOST > e->packed)
            return nh_fail(err, "%s: entry %s: %llu bytes cannot unpack to %llu", z->path, e->name,
                           (unsigned long long)e->packed, (unsigned long long)e->size);
        struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
        unsigned char *room_for = malloc((size_t)e->size + 1);
        size_t got = 0;
        int status = d == NULL || room_for == NULL ? nh_fail_memory(err, "an archive's entry") : 0;
        if (status == 0 && (libdeflate_deflate_decompress(d, packed, (size_t)e->packed, room_for,
                                                          (size_t)e->size, &got) != LIBDEFLATE_SUCCESS ||
                            got != e->size))
            status = nh_fail(err, "%s: entry %s: damaged deflate data", z->path, e->name);
        libdeflate_free_decompressor(d);
        if (status != 0) {
            free(room_for);
            return -1;
        }
        *data = *owned = room_for;
    } else {
        return nh_fail(err, "%s: entry %s: compression method %u, expected stored or deflate", z->path,
                       e->name, e->method);
    }
    /* Zero: PyTorch writes no CRC where it was told not to compute one. */
    if (e->crc != 0 && libdeflate_crc32(0, *data, (size_t)e->size) != e->crc) {
        free(*owned);
        *owned = NULL;
        return nh_fail(err, "%s: entry %s: its checksum is wrong: damaged", z->path, e->name);
    }
    return 0;
}

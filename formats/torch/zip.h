/* zip.h - archives, for reading: stored and deflated entries, zip64 (APPNOTE.TXT 6.3). The file is mapped; no size in it is
 * believed before it is compared with the file's own. */
#ifndef NH_FORMATS_TORCH_ZIP_H
#define NH_FORMATS_TORCH_ZIP_H

#include "base/error.h"

#include <stddef.h>

typedef struct nh_zip nh_zip;

int nh_zip_open(const char *path, nh_zip **out, nh_error *err);
void nh_zip_close(nh_zip *z); /* NULL is fine */
const char *nh_zip_path(const nh_zip *z);
size_t nh_zip_count(const nh_zip *z);
/* Index of an entry, or SIZE_MAX. Names are not NUL-free: an entry whose name holds one is not found. */
size_t nh_zip_find(const nh_zip *z, const char *name);
const char *nh_zip_name(const nh_zip *z, size_t entry);
size_t nh_zip_size(const nh_zip *z, size_t entry); /* bytes, unpacked */

/* An entry's bytes, checked against its CRC. A stored one lies in the mapped file (*owned NULL), a deflated one is unpacked
 * (the caller frees *owned). */
int nh_zip_data(const nh_zip *z, size_t entry, const unsigned char **data, void **owned, nh_error *err);

#endif

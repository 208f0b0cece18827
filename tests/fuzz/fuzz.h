/* fuzz.h - readers against any bytes. A target takes the bytes of an input and gives them to readers, as a file where those
 * want one, and uses what comes out as a program would. It fails by crashing, by a sanitizer's report, or by abort() where a result
 * contradicts the reader's header. Nothing is printed: errors of the readers are what they are for. */
#ifndef NH_TESTS_FUZZ_H
#define NH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

typedef void fuzz_target(const uint8_t *data, size_t size);

fuzz_target fuzz_structure, fuzz_input, fuzz_csr, fuzz_kpt, fuzz_log, fuzz_orbital, fuzz_upf, fuzz_yaml,
    fuzz_settings, fuzz_words, fuzz_stream, fuzz_zip, fuzz_pickle, fuzz_tensors, fuzz_graph, fuzz_kspace,
    fuzz_eigen, fuzz_model;

/* The bytes as a file in memory; the name is valid until the next call. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* The same in the folder for temporary files, for readers that need a name there (netCDF, realpath). `slot`: 0 or 1, two files. */
const char *fuzz_file_on_disk(int slot, const void *data, size_t size);
/* The bytes as text; the caller frees. */
char *fuzz_text(const uint8_t *data, size_t size);
/* The folder of the seeds, tests/fuzz/seed. */
const char *fuzz_seed_folder(void);

#endif

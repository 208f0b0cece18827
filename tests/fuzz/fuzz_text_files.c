/* Text files: structures, k-points, logs, orbitals, pseudopotentials, compressed text and its numbers. */
#include "base/stream.h"
#include "crystal/structure.h"
#include "formats/abacus/kpt.h"
#include "formats/abacus/orb.h"
#include "formats/abacus/run.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"
#include "formats/structure/file.h"
#include "tests/fuzz/fuzz.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A crystal of two atoms on a cube of 4 Å, without shells. */
static nh_structure two_atoms(void)
{
    nh_structure s;
    nh_error err;
    if (nh_structure_new(2, 2, &s, &err)) abort();
    for (size_t i = 0; i < 3; i++)
        s.lattice[4 * i] = 4;
    for (size_t i = 0; i < 6; i++)
        s.position[i] = 0.3 * (double)i;
    s.species[1] = 1;
    s.atomic_number[0] = 3;
    s.atomic_number[1] = 1;
    return s;
}

/* The words of INPUT's latname that come with the input: chosen by its length. */
void fuzz_structure(const uint8_t *data, size_t size)
{
    static const char *const latname[] = {NULL,        "none",     "sc", "fcc", "bcc",
                                          "hexagonal", "trigonal", "so", NULL};
    nh_structure_file f;
    nh_error err;
    const char *name = latname[size % (sizeof latname / sizeof *latname)];
    if (nh_structure_file_read(fuzz_file(data, size), name, &f, &err)) return;
    free(nh_structure_formula(&f.structure));
    nh_structure_file_free(&f);
}

/* INPUT of a run folder with an empty STRU. */
static char run_folder[PATH_MAX], input_path[PATH_MAX + 8], stru_path[PATH_MAX + 8];

static void remove_run_folder(void)
{
    unlink(input_path);
    unlink(stru_path);
    rmdir(run_folder);
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
}

void fuzz_input(const uint8_t *data, size_t size)
{
    nh_abacus_run run;
    nh_error err;
    if (input_path[0] == '\0') {
        const char *where = getenv("TMPDIR");
        snprintf(run_folder, sizeof run_folder, "%s/nextham-fuzz-XXXXXX", where != NULL ? where : "/tmp");
        if (mkdtemp(run_folder) == NULL) abort();
        snprintf(input_path, sizeof input_path, "%s/INPUT", run_folder);
        snprintf(stru_path, sizeof stru_path, "%s/STRU", run_folder);
        atexit(remove_run_folder);
        write_file(stru_path, (const uint8_t *)"", 0);
    }
    write_file(input_path, data, size);
    if (!nh_abacus_run_find(run_folder, (long)(size % 3), &run, &err)) nh_abacus_run_free(&run);
}

void fuzz_kpt(const uint8_t *data, size_t size)
{
    static const double lattice[9] = {0, 2.7, 2.7, 2.7, 0, 2.7, 2.7, 2.7, 0};
    nh_kpoints k;
    nh_error err;
    const char *path = fuzz_file(data, size);
    if (!nh_kpt_read(path, lattice, size % 2 ? 10.2 : NAN, &k, &err)) nh_kpoints_free(&k);
    if (!nh_klist_read(path, lattice, &k, &err)) nh_kpoints_free(&k);
    char *text = fuzz_text(data, size);
    size_t n;
    nh_k_node *node;
    if (!nh_path_parse(text, 3, &n, &node, &err)) {
        (void)!nh_path_share(lattice, 50, n, node, &err);
        if (!nh_kpoints_path(lattice, n, node, &k, &err)) nh_kpoints_free(&k);
        free(node);
    }
    free(text);
}

void fuzz_log(const uint8_t *data, size_t size)
{
    nh_abacus_log log;
    nh_error err;
    if (nh_abacus_log_read(fuzz_file(data, size), &log, &err)) return;
    nh_structure s = two_atoms();
    nh_abacus_log_adopt(&log, &s);
    (void)nh_abacus_log_of_step(&log, (long)(size % 3));
    nh_structure_free(&s);
    nh_abacus_log_free(&log);
}

void fuzz_orbital(const uint8_t *data, size_t size)
{
    nh_error err;
    nh_orbital_set set;
    size_t n;
    int *l;
    const char *path = fuzz_file(data, size);
    if (!nh_orbital_read(path, NULL, &set, &err)) nh_orbital_set_free(&set);
    if (!nh_orb_read_shells(path, &n, &l, &err)) {
        free(nh_shells_text(n, l));
        free(l);
    }
    char *name = fuzz_text(data, size);
    if (nh_orb_name_shells(name, &n, &l)) free(l);
    (void)nh_orb_name_radius(name);
    free(name);
}

void fuzz_upf(const uint8_t *data, size_t size)
{
    nh_pseudo p;
    nh_error err;
    const char *path = fuzz_file(data, size);
    for (int spin_orbit = 0; spin_orbit < 2; spin_orbit++)
        if (!nh_upf_read(path, NULL, spin_orbit, &p, &err)) nh_pseudo_free(&p);
}

/* The first byte says in which order numbers, words and lines are asked for. */
void fuzz_stream(const uint8_t *data, size_t size)
{
    enum { MOST = 2000, TEXT = 1 << 22 };
    nh_error err;
    char *text, word[16];
    nh_stream *s;
    if (size < 1) return;
    const char *path = fuzz_file(data + 1, size - 1);
    if (!nh_read_text(path, TEXT, &text, &err)) free(text);
    if (nh_stream_open(path, &s, &err)) return;
    for (unsigned i = 0; i < MOST && nh_stream_peek(s) != -1; i++) {
        double x[2];
        long n;
        int failure = 0;
        switch ((data[0] + i * (1U + data[0] / 16)) % 6) {
        case 0:
            failure = nh_scan_real(s, x, "x", &err);
            break;
        case 1:
            failure = nh_scan_long(s, &n, "n", &err);
            break;
        case 2:
            failure = nh_scan_word(s, word, sizeof word, "w", &err);
            break;
        case 3:
            failure = nh_scan_complex(s, x, "z", &err);
            break;
        case 4:
            nh_skip_line(s);
            break;
        default:
            nh_stream_line_text(s, word, sizeof word);
        }
        if (failure) nh_stream_get(s);
    }
    nh_stream_close(s);
}

/* Every target in one program.
 *
 *   replay TARGET FILE|FOLDER...   runs the target once on each file: the corpora with any compiler (make check)
 *   fuzz TARGET [libFuzzer's options] CORPUS   (NH_LIBFUZZER; make fuzz)
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    fuzz_target *run;
} targets[] = {
    {"stru", fuzz_structure},    {"poscar", fuzz_structure}, {"xyz", fuzz_structure},
    {"cif", fuzz_structure},     {"input", fuzz_input},      {"csr", fuzz_csr},
    {"csr-binary", fuzz_csr},    {"kpt", fuzz_kpt},          {"log", fuzz_log},
    {"orbital", fuzz_orbital},   {"upf", fuzz_upf},          {"yaml", fuzz_yaml},
    {"settings", fuzz_settings}, {"words", fuzz_words},      {"stream", fuzz_stream},
    {"zip", fuzz_zip},           {"pickle", fuzz_pickle},    {"tensors", fuzz_tensors},
    {"graph", fuzz_graph},       {"kspace", fuzz_kspace},    {"eigen", fuzz_eigen},
    {"model", fuzz_model},
};

static fuzz_target *find_target(const char *name)
{
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (strcmp(name, targets[i].name) == 0) return targets[i].run;
    fprintf(stderr, "no target %s; there are:", name);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        fprintf(stderr, " %s", targets[i].name);
    fprintf(stderr, "\n");
    exit(2);
}

static _Noreturn void stop(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static void fill(int fd, const char *name, const void *data, size_t size)
{
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) stop(name);
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (fd < 0) stop("memfd_create");
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    fill(fd, path, data, size);
    return path;
}

static char on_disk[2][PATH_MAX];

static void remove_files(void)
{
    for (int i = 0; i < 2; i++)
        if (on_disk[i][0] != '\0') unlink(on_disk[i]);
}

const char *fuzz_file_on_disk(int slot, const void *data, size_t size)
{
    char *path = on_disk[slot];
    if (path[0] == '\0') {
        const char *folder = getenv("TMPDIR");
        if (folder == NULL) folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        if (slot == 0 || on_disk[0][0] == '\0') atexit(remove_files);
        snprintf(path, PATH_MAX, "%s/nextham-fuzz-%ld-%d", folder, (long)getpid(), slot);
    }
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) stop(path);
    fill(fd, path, data, size);
    close(fd);
    return path;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL) stop("memory");
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

const char *fuzz_seed_folder(void)
{
    const char *folder = getenv("NH_FUZZ_SEED");
    return folder != NULL ? folder : "tests/fuzz/seed";
}

#ifdef NH_LIBFUZZER

static fuzz_target *chosen;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The name is handed down to the processes that libFuzzer starts. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("NH_FUZZ_TARGET");
    if (name == NULL) {
        if (*argc < 2) {
            fprintf(stderr, "fuzz TARGET [options] CORPUS\n");
            exit(2);
        }
        name = (*argv)[1];
        setenv("NH_FUZZ_TARGET", name, 1);
        for (int i = 1; i + 1 < *argc; i++)
            (*argv)[i] = (*argv)[i + 1];
        *argc -= 1;
    }
    chosen = find_target(name);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    chosen(data, size);
    return 0;
}

#else

static size_t replay(fuzz_target *run, const char *path)
{
    DIR *folder = opendir(path);
    if (folder != NULL) {
        size_t count = 0;
        for (const struct dirent *e; (e = readdir(folder)) != NULL;) {
            char inside[PATH_MAX];
            if (e->d_name[0] == '.') continue;
            snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
            count += replay(run, inside);
        }
        closedir(folder);
        return count;
    }
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) stop(path);
    const long size = ftell(f);
    /* Of exactly this size, so that reading beyond it is noticed. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    rewind(f);
    if (size < 0 || data == NULL || fread(data, 1, (size_t)size, f) != (size_t)size) stop(path);
    fclose(f);
    run(data, (size_t)size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
            printf("%s\n", targets[i].name);
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "replay TARGET FILE|FOLDER...   replay --list\n");
        return 2;
    }
    fuzz_target *run = find_target(argv[1]);
    size_t count = 0;
    for (int i = 2; i < argc; i++)
        count += replay(run, argv[i]);
    printf("%s: %zu inputs\n", argv[1], count);
    return 0;
}

#endif

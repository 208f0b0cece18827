/* failmalloc.c - to be preloaded (LD_PRELOAD): one allocation of a program fails.
 *
 * Counted are the allocations that the program's own code asks for, here or in a function of the C library that allocates for it (asprintf,
 * strdup, fopen, ...): what netCDF, HDF5 or OpenBLAS do without memory is theirs.
 *
 *   NH_FAIL=N        the N-th of them fails, from 1; with NH_FAIL_ON=1 all after it, too
 *   NH_FAIL_COUNT=F  their number is written to the file F at the end
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_long calls;
static long fail_at; /* 0: none */
static bool fail_on, ready;
static const char *program_begin, *program_end;

/* The first object is the program. */
static int find_program(struct dl_phdr_info *object, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_X) == 0) continue;
        program_begin = (const char *)object->dlpi_addr + p->p_vaddr;
        program_end = program_begin + p->p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *n = getenv("NH_FAIL");
    fail_at = n != NULL ? atol(n) : 0;
    fail_on = getenv("NH_FAIL_ON") != NULL;
    dl_iterate_phdr(find_program, NULL);
    ready = true;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("NH_FAIL_COUNT");
    char text[32];
    const int fd = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (fd < 0) return;
    (void)!write(fd, text, (size_t)snprintf(text, sizeof text, "%ld\n", atomic_load(&calls)));
    close(fd);
}

static bool fails(const void *caller)
{
    const char *at = caller;
    if (!ready || at < program_begin || at >= program_end) return false;
    const long n = atomic_fetch_add(&calls, 1) + 1;
    if (fail_at == 0 || n < fail_at || (n > fail_at && !fail_on)) return false;
    errno = ENOMEM;
    return true;
}
#define FAILS fails(__builtin_return_address(0))

void *malloc(size_t size)
{
    return FAILS ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    return FAILS ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size)
{
    return FAILS ? NULL : __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    return FAILS ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (FAILS) return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out != NULL ? 0 : ENOMEM;
}

int vasprintf(char **out, const char *format, va_list args)
{
    if (FAILS) return -1;
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) return n;
    *out = __libc_malloc((size_t)n + 1);
    return *out != NULL ? vsnprintf(*out, (size_t)n + 1, format, args) : -1;
}
int asprintf(char **out, const char *format, ...)
{
    if (FAILS) return -1;
    va_list args;
    va_start(args, format);
    const int n = vasprintf(out, format, args); /* called from here: not counted again */
    va_end(args);
    return n;
}
char *strdup(const char *text)
{
    if (FAILS) return NULL;
    const size_t n = strlen(text) + 1;
    char *copy = __libc_malloc(n);
    return copy != NULL ? memcpy(copy, text, n) : NULL;
}

/* Those of the C library that are used as they are. */
#define NEXT(name)                                                                                           \
    static __typeof__(name) *next;                                                                           \
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name)
FILE *fopen(const char *path, const char *mode)
{
    NEXT(fopen);
    return FAILS ? NULL : next(path, mode);
}
FILE *open_memstream(char **text, size_t *size)
{
    NEXT(open_memstream);
    return FAILS ? NULL : next(text, size);
}
DIR *opendir(const char *path)
{
    NEXT(opendir);
    return FAILS ? NULL : next(path);
}
char *realpath(const char *path, char *to)
{
    NEXT(realpath);
    return to == NULL && FAILS ? NULL : next(path, to);
}

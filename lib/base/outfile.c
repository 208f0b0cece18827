#include "base/outfile.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct nh_outfile {
    char *name;   /* as given, for messages */
    char *target; /* what the temporary is renamed to; NULL where the output is written directly */
    char *temporary;
    int slot; /* of the temporary in `live` */
    FILE *file;
};

/* Temporaries to remove when a signal ends the process. A signal handler can reach nothing but static
 * storage; the paths are stored in place, so that the handler never follows a pointer that was freed. */
enum { MAX_LIVE = 64 };
enum { SLOT_FREE, SLOT_BUSY, SLOT_LIVE };
static struct {
    atomic_int state;
    char path[PATH_MAX];
} live[MAX_LIVE];

static void remove_live(int signal_number)
{
    static const char shortened[] = "a file in use was cut off by another program (SIGBUS)\n";
    if (signal_number == SIGBUS) (void)!write(STDERR_FILENO, shortened, sizeof shortened - 1);
    for (int i = 0; i < MAX_LIVE; i++)
        if (atomic_load(&live[i].state) == SLOT_LIVE) unlink(live[i].path);
    /* SA_RESETHAND has restored the default action; it takes place when this handler returns. */
    raise(signal_number);
}

/* Only where the default action stands: a program that handles a signal itself, or was started with it
 * ignored (nohup), keeps that. */
static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU, SIGBUS};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction action;
        if (sigaction(signals[i], NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0 ||
            action.sa_handler != SIG_DFL)
            continue;
        memset(&action, 0, sizeof action);
        action.sa_handler = remove_live;
        action.sa_flags = (int)SA_RESETHAND;
        sigfillset(&action.sa_mask);
        sigaction(signals[i], &action, NULL);
    }
    /* A limit on the size of files becomes an error of write(), "File too large", which names the output. */
    struct sigaction size;
    if (sigaction(SIGXFSZ, NULL, &size) == 0 && (size.sa_flags & SA_SIGINFO) == 0 &&
        size.sa_handler == SIG_DFL) {
        size.sa_handler = SIG_IGN;
        sigaction(SIGXFSZ, &size, NULL);
    }
}

static int take_slot(void)
{
    for (int i = 0; i < MAX_LIVE; i++) {
        int expected = SLOT_FREE;
        if (atomic_compare_exchange_strong(&live[i].state, &expected, SLOT_BUSY)) return i;
    }
    return -1;
}

static void outfile_free(nh_outfile *o)
{
    if (o == NULL) return;
    if (o->slot >= 0) atomic_store(&live[o->slot].state, SLOT_FREE);
    free(o->name);
    free(o->target);
    free(o->temporary);
    free(o);
}

/* Names of open descriptors: renaming over what they point to would go behind the back of their opener. */
static bool names_descriptor(const char *path)
{
    return strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/stderr") == 0 ||
           strncmp(path, "/dev/fd/", 8) == 0 || strncmp(path, "/proc/self/fd/", 14) == 0;
}

/* Creates the temporary beside o->target, with the target's mode where it exists. The slot is live before the
 * file is there: a signal in between removes a name that does not exist, which harms nobody. */
static int create_temporary(nh_outfile *o, const struct stat *existing, nh_error *err)
{
    const char *slash = strrchr(o->target, '/');
    int folder = slash == NULL ? 0 : (int)(slash - o->target) + 1;
    o->slot = take_slot();
    if (o->slot < 0) return nh_fail(err, "%s: more than %d outputs open at once", o->name, MAX_LIVE);
    char *path = live[o->slot].path;
    int fd = -1;
    for (int i = 0; i < 1000; i++) {
        /* The base name is cut so that the temporary's stays below NAME_MAX. */
        int used = snprintf(path, PATH_MAX, "%.*s.%.200s.%ld-%d.tmp", folder, o->target, o->target + folder,
                            (long)getpid(), i);
        if (used < 0 || used >= PATH_MAX) return nh_fail(err, "%s: %s", o->name, strerror(ENAMETOOLONG));
        if (access(path, F_OK) == 0) continue;
        atomic_store(&live[o->slot].state, SLOT_LIVE);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) break;
        atomic_store(&live[o->slot].state, SLOT_BUSY);
        if (errno != EEXIST) break;
    }
    if (fd < 0) return nh_fail(err, "%s: %s", o->name, strerror(errno));
    if (existing != NULL) (void)!fchmod(fd, existing->st_mode & 0777);
    close(fd);
    o->temporary = nh_strdup(path);
    if (o->temporary == NULL) {
        unlink(path);
        return nh_fail_memory(err, o->name);
    }
    return 0;
}

int nh_outfile_begin(const char *path, nh_outfile **out, nh_error *err)
{
    *out = NULL;
    if (path[0] == '\0') return nh_fail(err, "output: the name of the file is empty");
    nh_outfile *o = NH_ARRAY(nh_outfile, 1);
    if (o == NULL) return nh_fail_memory(err, path);
    o->slot = -1;
    bool standard = strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0;
    o->name = nh_strdup(standard ? "standard output" : path);
    if (o->name == NULL) {
        nh_fail_memory(err, path);
        goto fail;
    }
    if (standard) {
        o->file = stdout;
        *out = o;
        return 0;
    }

    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (!exists && errno != ENOENT) {
        nh_fail(err, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (!exists && lstat(path, &info) == 0) { /* the rename would put the file in place of the link */
        nh_fail(err, "%s: a symbolic link to a file that does not exist", path);
        goto fail;
    }
    if (exists && S_ISDIR(info.st_mode)) {
        nh_fail(err, "%s: %s", path, strerror(EISDIR));
        goto fail;
    }
    /* Renaming needs no permission to write the old file, but replacing a read-only one would surprise. */
    if (exists && access(path, W_OK) != 0) {
        nh_fail(err, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (names_descriptor(path) || (exists && !S_ISREG(info.st_mode))) {
        *out = o;
        return 0;
    }

    /* Through a symbolic link: the link stays, the file behind it is replaced. */
    o->target = exists ? realpath(path, NULL) : nh_strdup(path);
    if (o->target == NULL) {
        nh_fail(err, "%s: %s", path, strerror(errno));
        goto fail;
    }
    catch_signals();
    if (create_temporary(o, exists ? &info : NULL, err) != 0) goto fail;
    *out = o;
    return 0;
fail:
    outfile_free(o);
    return -1;
}

const char *nh_outfile_path(const nh_outfile *o)
{
    return o->temporary;
}

FILE *nh_outfile_stream(nh_outfile *o, nh_error *err)
{
    if (o->file == NULL) {
        o->file = fopen(o->temporary != NULL ? o->temporary : o->name, "wbe");
        if (o->file == NULL) nh_fail(err, "%s: %s", o->name, strerror(errno));
    }
    return o->file;
}

/* Writes out what is buffered and closes; standard output stays open, a duplicate is closed in its place, so
 * that errors that come with the close (quota, network file systems) are seen. */
static int finish(nh_outfile *o, nh_error *err)
{
    if (o->file == NULL) return 0;
    errno = 0;
    bool good = fflush(o->file) == 0 && ferror(o->file) == 0;
    int reason = errno;
    if (o->file == stdout) {
        int fd = dup(fileno(stdout));
        if (good && (fd < 0 || close(fd) != 0)) {
            good = false;
            reason = errno;
        } else if (!good && fd >= 0) {
            close(fd);
        }
    } else if (fclose(o->file) != 0 && good) {
        good = false;
        reason = errno;
    }
    o->file = NULL;
    if (good) return 0;
    return nh_fail(err, "%s: %s", o->name, reason != 0 ? strerror(reason) : "write error");
}

/* What the new name stands for must be on the disk before the name is, or a power cut leaves an empty file under it. Some file
 * systems cannot (EINVAL, ENOTSUP): nothing to do there. */
static int synchronise(const nh_outfile *o, nh_error *err)
{
    const int fd = open(o->temporary, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return nh_fail(err, "%s: %s", o->name, strerror(errno));
    const int failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS ? errno : 0;
    close(fd);
    return failed == 0 ? 0 : nh_fail(err, "%s: %s", o->name, strerror(failed));
}

int nh_outfile_commit(nh_outfile *o, nh_error *err)
{
    int status = finish(o, err);
    if (o->temporary != NULL) {
        if (status == 0) status = synchronise(o, err);
        if (status == 0 && rename(o->temporary, o->target) != 0)
            status = nh_fail(err, "%s: %s", o->name, strerror(errno));
        if (status != 0) unlink(o->temporary);
    }
    outfile_free(o);
    return status;
}

void nh_outfile_abort(nh_outfile *o)
{
    if (o == NULL) return;
    if (o->file != NULL && o->file != stdout) fclose(o->file);
    if (o->temporary != NULL) unlink(o->temporary);
    outfile_free(o);
}

/* .NAME.PID-N.tmp, with any NAME */
static bool is_temporary(const char *name)
{
    const size_t n = strlen(name);
    long pid;
    int number, used = 0;
    if (name[0] != '.' || n < 4 || strcmp(name + n - 4, ".tmp") != 0) return false;
    const char *dot = name + n - 4;
    while (dot > name && dot[-1] != '.')
        dot--;
    return dot > name + 1 && sscanf(dot, "%ld-%d.tmp%n", &pid, &number, &used) == 2 && dot + used == name + n;
}

void nh_outfile_remove_left(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (is_temporary(e->d_name)) (void)unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

bool nh_output_is_terminal(const char *path)
{
    return (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0) && isatty(STDOUT_FILENO);
}

int nh_outfolder(const char *path, bool *made, nh_error *err)
{
    *made = mkdir(path, 0777) == 0;
    if (*made) return 0;
    if (errno != EEXIST) return nh_fail(err, "%s: %s", path, strerror(errno));
    DIR *const d = opendir(path);
    if (d == NULL) return nh_fail(err, "%s: %s", path, strerror(errno));
    bool empty = true;
    for (const struct dirent *e; empty && (e = readdir(d)) != NULL;)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    closedir(d);
    return empty ? 0 : nh_fail(err, "%s: the folder is not empty", path);
}

FILE *nh_outfile_begin_stream(const char *path, nh_outfile **out, nh_error *err)
{
    if (nh_outfile_begin(path, out, err) != 0) return NULL;
    FILE *const stream = nh_outfile_stream(*out, err);
    if (stream == NULL) nh_outfile_abort(*out);
    return stream;
}

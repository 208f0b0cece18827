#include "base/outfile.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/nh_test_outfile_XXXXXX";
static char target[80];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(target, sizeof target, "%s/out.nc", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static size_t files_in_folder(void)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) n++;
    closedir(d);
    return n;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void check_text(const char *path, const char *expected)
{
    char text[200];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, expected);
}

static nh_outfile *begin(const char *path)
{
    nh_outfile *o = NULL;
    nh_error err = {""};
    if (nh_outfile_begin(path, &o, &err) != 0) fail_msg("%s", err.text);
    return o;
}

static void appears_on_commit(void **state)
{
    (void)state;
    nh_outfile *o = begin(target);
    FILE *f = nh_outfile_stream(o, NULL);
    assert_non_null(f);
    assert_ptr_equal(nh_outfile_stream(o, NULL), f);
    fputs("data", f);
    assert_int_not_equal(access(target, F_OK), 0);
    assert_int_equal(nh_outfile_commit(o, NULL), 0);
    check_text(target, "data");
    assert_int_equal(files_in_folder(), 1);
    unlink(target);
}

/* As the netCDF library does it: by the temporary's name. */
static void written_by_name(void **state)
{
    (void)state;
    write_text(target, "old");
    nh_outfile *o = begin(target);
    const char *temporary = nh_outfile_path(o);
    assert_non_null(temporary);
    assert_int_equal(strncmp(temporary, folder, strlen(folder)), 0);
    write_text(temporary, "new");
    check_text(target, "old");
    assert_int_equal(nh_outfile_commit(o, NULL), 0);
    check_text(target, "new");
    assert_int_equal(files_in_folder(), 1);
    unlink(target);
}

static void abort_leaves_what_was_there(void **state)
{
    (void)state;
    nh_outfile *o = begin(target);
    fputs("data", nh_outfile_stream(o, NULL));
    nh_outfile_abort(o);
    assert_int_equal(files_in_folder(), 0);
    write_text(target, "old");
    o = begin(target);
    fputs("data", nh_outfile_stream(o, NULL));
    nh_outfile_abort(o);
    check_text(target, "old");
    assert_int_equal(files_in_folder(), 1);
    unlink(target);
    nh_outfile_abort(NULL);
}

static unsigned mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (unsigned)info.st_mode & 07777;
}

static void mode_is_that_of_open(void **state)
{
    (void)state;
    static const unsigned masks[] = {022, 077, 0};
    for (size_t i = 0; i < 3; i++) {
        mode_t before = umask((mode_t)masks[i]);
        assert_int_equal(nh_outfile_commit(begin(target), NULL), 0);
        umask(before);
        assert_int_equal(mode_of(target), 0666 & ~masks[i]);
        unlink(target);
    }
    /* An existing file keeps its own. */
    write_text(target, "old");
    chmod(target, 0640);
    assert_int_equal(nh_outfile_commit(begin(target), NULL), 0);
    assert_int_equal(mode_of(target), 0640);
    unlink(target);
}

static void links_stay(void **state)
{
    (void)state;
    char other[100];
    snprintf(other, sizeof other, "%s/other", folder);
    write_text(target, "old");
    assert_int_equal(symlink("out.nc", other), 0);
    nh_outfile *o = begin(other);
    fputs("new", nh_outfile_stream(o, NULL));
    assert_int_equal(nh_outfile_commit(o, NULL), 0);
    struct stat info;
    assert_int_equal(lstat(other, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    check_text(target, "new");
    unlink(other);
    unlink(target);
}

static void dangling_links_stay(void **state)
{
    (void)state;
    nh_error err;
    nh_outfile *o;
    char other[100];
    snprintf(other, sizeof other, "%s/link.nc", folder);
    assert_int_equal(symlink("nowhere.nc", other), 0);
    assert_int_equal(nh_outfile_begin(other, &o, &err), -1);
    assert_non_null(strstr(err.text, "a symbolic link to a file that does not exist"));
    assert_int_equal(files_in_folder(), 1);
    unlink(other);
}

/* What a killed program leaves; names that only look like it stay. */
static void left_temporaries(void **state)
{
    (void)state;
    static const char *const left[] = {".out.nc.123-0.tmp", ".last.nc.99999-12.tmp"};
    static const char *const stay[] = {"out.nc",     "out.nc.123-0.tmp", ".out.nc.123.tmp",   ".tmp",
                                       ".123-0.tmp", ".out.nc.x-0.tmp",  ".out.nc.123-0.tmp2"};
    char path[120];
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, left[i]);
        write_text(path, "x");
    }
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, stay[i]);
        write_text(path, "x");
    }
    nh_outfile_remove_left(folder);
    assert_int_equal(files_in_folder(), sizeof stay / sizeof *stay);
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, stay[i]);
        assert_int_equal(unlink(path), 0);
    }
}

static void two_at_once(void **state)
{
    (void)state;
    nh_outfile *a = begin(target), *b = begin(target);
    assert_string_not_equal(nh_outfile_path(a), nh_outfile_path(b));
    fputs("a", nh_outfile_stream(a, NULL));
    fputs("b", nh_outfile_stream(b, NULL));
    assert_int_equal(nh_outfile_commit(b, NULL), 0);
    assert_int_equal(nh_outfile_commit(a, NULL), 0);
    check_text(target, "a");
    assert_int_equal(files_in_folder(), 1);
    unlink(target);
}

static void many_at_once(void **state)
{
    (void)state;
    nh_outfile *all[200] = {NULL};
    nh_error err = {""};
    size_t n = 0;
    while (n < 200 && nh_outfile_begin(target, &all[n], &err) == 0)
        n++;
    assert_true(n >= 16 && n < 200);
    assert_non_null(strstr(err.text, "outputs open at once"));
    while (n > 0)
        nh_outfile_abort(all[--n]);
    assert_int_equal(files_in_folder(), 0);
    nh_outfile_abort(begin(target));
}

static void names_that_cannot_be(void **state)
{
    (void)state;
    nh_outfile *o = NULL;
    nh_error err;
    char path[300], expected[400];
    assert_int_equal(nh_outfile_begin("/nowhere/out.nc", &o, &err), -1);
    assert_string_equal(err.text, "/nowhere/out.nc: No such file or directory");
    assert_null(o);
    assert_int_equal(nh_outfile_begin(folder, &o, &err), -1);
    snprintf(expected, sizeof expected, "%s: Is a directory", folder);
    assert_string_equal(err.text, expected);
    assert_int_equal(nh_outfile_begin("", &o, &err), -1);
    assert_string_equal(err.text, "output: the name of the file is empty");
    write_text(target, "");
    snprintf(path, sizeof path, "%s/x", target);
    snprintf(expected, sizeof expected, "%s: Not a directory", path);
    assert_int_equal(nh_outfile_begin(path, &o, &err), -1);
    assert_string_equal(err.text, expected);
    unlink(target);
    /* A name as long as the file system takes still has room for the temporary. */
    size_t n = (size_t)snprintf(path, sizeof path, "%s/", folder);
    memset(path + n, 'x', 250);
    path[n + 250] = '\0';
    assert_int_equal(nh_outfile_commit(begin(path), NULL), 0);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    if (geteuid() == 0) return; /* root may write everywhere */
    write_text(target, "old");
    chmod(target, 0444);
    assert_int_equal(nh_outfile_begin(target, &o, &err), -1);
    unlink(target);
}

static void full_disk(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    nh_error err;
    /* Small: the error comes with the flush. Large: with the writes. */
    for (size_t count = 10; count <= 1000000; count *= 100000) {
        nh_outfile *o = begin("/dev/full");
        assert_null(nh_outfile_path(o));
        FILE *f = nh_outfile_stream(o, &err);
        assert_non_null(f);
        for (size_t i = 0; i < count; i++)
            fputc('x', f);
        assert_int_equal(nh_outfile_commit(o, &err), -1);
        assert_int_equal(strncmp(err.text, "/dev/full: ", 11), 0);
        if (count == 10) assert_string_equal(err.text, "/dev/full: No space left on device");
    }
}

/* The disk fills up while the temporary is written. */
static void failed_write_leaves_nothing(void **state)
{
    (void)state;
    write_text(target, "old");
    nh_outfile *o = begin(target);
    nh_error err;
    FILE *f = nh_outfile_stream(o, &err);
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        nh_outfile_abort(o);
        unlink(target);
        skip();
    }
    fputs("new", f);
    dup2(full, fileno(f)); /* from here on the disk is full */
    close(full);
    assert_int_equal(nh_outfile_commit(o, &err), -1);
    char expected[128];
    snprintf(expected, sizeof expected, "%s: No space left on device", target);
    assert_string_equal(err.text, expected);
    check_text(target, "old");
    assert_int_equal(files_in_folder(), 1);
    unlink(target);
}

static void fifo(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(target, 0600), 0);
    int reader = open(target, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    nh_outfile *o = begin(target);
    assert_null(nh_outfile_path(o));
    fputs("through", nh_outfile_stream(o, NULL));
    assert_int_equal(nh_outfile_commit(o, NULL), 0);
    char text[10] = "";
    assert_int_equal(read(reader, text, sizeof text), 7);
    assert_string_equal(text, "through");
    close(reader);
    struct stat info;
    assert_int_equal(stat(target, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    unlink(target);
}

/* Standard output, here a file: written directly under all its names, and open afterwards. */
static void standard_output(void **state)
{
    (void)state;
    static const char *const names[] = {"-", "/dev/stdout", "/dev/fd/1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fflush(stdout);
        int before = dup(STDOUT_FILENO);
        int fd = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
        dup2(fd, STDOUT_FILENO);
        nh_error err = {""};
        nh_outfile *o = NULL;
        int status = nh_outfile_begin(names[i], &o, &err);
        if (status == 0) {
            fputs("out", nh_outfile_stream(o, &err));
            status = nh_outfile_commit(o, &err);
            fputs("more", stdout);
            fflush(stdout);
        }
        dup2(before, STDOUT_FILENO);
        close(before);
        struct stat by_name, by_descriptor;
        fstat(fd, &by_descriptor);
        close(fd);
        assert_int_equal(status, 0);
        assert_int_equal(stat(target, &by_name), 0);
        assert_true(by_name.st_ino == by_descriptor.st_ino);
        check_text(target, "outmore");
        unlink(target);
    }
}

/* How a child ends that has an output open and is sent a signal; prepare() runs in it first. */
static int end_by_signal(int signal_number, void (*prepare)(int signal_number))
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        nh_outfile *o = NULL, *second = NULL;
        if (prepare != NULL) prepare(signal_number);
        if (nh_outfile_begin(target, &o, NULL) != 0 || nh_outfile_begin(target, &second, NULL) != 0) _exit(9);
        fputs("half", nh_outfile_stream(o, NULL));
        fflush(nh_outfile_stream(o, NULL));
        if (write(ready[1], "x", 1) != 1) _exit(9);
        usleep(300000);
        nh_outfile_abort(o);
        nh_outfile_abort(second);
        _exit(7);
    }
    char x;
    assert_int_equal(read(ready[0], &x, 1), 1);
    close(ready[0]);
    close(ready[1]);
    assert_true(files_in_folder() >= 2);
    kill(child, signal_number);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void signals_remove_temporaries(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        int status = end_by_signal(signals[i], NULL);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_int_equal(files_in_folder(), 0);
    }
}

static void ignore(int signal_number)
{
    signal(signal_number, SIG_IGN);
}

/* Under nohup: an ignored signal stays ignored. */
static void ignored_signals_stay_ignored(void **state)
{
    (void)state;
    int status = end_by_signal(SIGHUP, ignore);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(files_in_folder(), 0);
}

static void terminal(void **state)
{
    (void)state;
    assert_false(nh_output_is_terminal("out.nc"));
    int before = dup(STDOUT_FILENO), other = open("/dev/null", O_WRONLY);
    fflush(stdout);
    dup2(other, STDOUT_FILENO);
    bool null_is_one = nh_output_is_terminal("-");
    int tty = posix_openpt(O_RDWR | O_NOCTTY);
    bool tty_is_one = tty >= 0 && dup2(tty, STDOUT_FILENO) >= 0 && nh_output_is_terminal("-");
    dup2(before, STDOUT_FILENO);
    close(before);
    close(other);
    assert_false(null_is_one);
    if (tty < 0) skip();
    close(tty);
    assert_true(tty_is_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appears_on_commit),
        cmocka_unit_test(written_by_name),
        cmocka_unit_test(abort_leaves_what_was_there),
        cmocka_unit_test(mode_is_that_of_open),
        cmocka_unit_test(links_stay),
        cmocka_unit_test(dangling_links_stay),
        cmocka_unit_test(left_temporaries),
        cmocka_unit_test(two_at_once),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(names_that_cannot_be),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(failed_write_leaves_nothing),
        cmocka_unit_test(fifo),
        cmocka_unit_test(standard_output),
        cmocka_unit_test(signals_remove_temporaries),
        cmocka_unit_test(ignored_signals_stay_ignored),
        cmocka_unit_test(terminal),
    };
    return cmocka_run_group_tests_name("outfile", tests, make_folder, remove_folder);
}

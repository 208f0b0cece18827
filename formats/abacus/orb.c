#include "formats/abacus/orb.h"

#include "base/memory.h"
#include "crystal/structure.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char letters[] = "SPDFGHI";

int nh_orb_read_header(nh_stream *s, nh_orb_header *out, nh_error *err)
{
    enum { HEADER_LINES = 100, MOST = 100 };
    *out = (nh_orb_header){.n_shell = 0};
    const char *const path = nh_stream_name(s);
    long found[sizeof letters] = {0};
    bool end = false;
    char line[256];
    for (int i = 0; i < HEADER_LINES && !end && nh_stream_line_text(s, line, sizeof line) == 0; i++) {
        char letter;
        long n;
        end = strstr(line, "SUMMARY") != NULL && strstr(line, "END") != NULL;
        sscanf(line, " Element %3[A-Za-z]", out->element);
        if (sscanf(line, " Number of %corbital--> %ld", &letter, &n) != 2) continue;
        const char *at = letter != '\0' ? strchr(letters, letter) : NULL;
        if (at == NULL || n < 0 || n > MOST)
            return nh_fail(err, "%s: \"%s\" is no number of orbitals", path, line);
        found[at - letters] = n;
    }
    if (nh_stream_status(s, err) != 0) return -1;
    size_t total = 0;
    for (size_t i = 0; letters[i] != '\0'; i++)
        total += (size_t)found[i];
    if (total == 0) return nh_fail(err, "%s: no line \"Number of Sorbital-->\": no .orb file", path);
    if ((out->l = NH_ARRAY(int, total)) == NULL) return nh_fail_memory(err, "orbital shells");
    for (size_t i = 0; letters[i] != '\0'; i++)
        for (long k = 0; k < found[i]; k++)
            out->l[out->n_shell++] = (int)i;
    return 0;
}

int nh_orb_read_shells(const char *path, size_t *count, int **l, nh_error *err)
{
    *count = 0;
    *l = NULL;
    nh_stream *s;
    if (nh_stream_open(path, &s, err)) return -1;
    nh_orb_header h;
    const int status = nh_orb_read_header(s, &h, err);
    nh_stream_close(s);
    if (status != 0) return -1;
    *count = h.n_shell;
    *l = h.l;
    return 0;
}

bool nh_orb_name_shells(const char *name, size_t *count, int **l)
{
    const char *slash = strrchr(name, '/'), *base = slash != NULL ? slash + 1 : name;
    const char *part = strrchr(base, '_'), *dot = strrchr(base, '.');
    char text[64];
    if (part == NULL || dot == NULL || dot <= part || (size_t)(dot - part) > sizeof text) return false;
    snprintf(text, sizeof text, "%.*s", (int)(dot - part - 1), part + 1);
    return nh_shells_parse(text, count, l, NULL) == 0;
}

double nh_orb_name_radius(const char *name)
{
    const double bohr = 0.529177210903; /* Å */
    const char *slash = strrchr(name, '/');
    for (const char *at = slash != NULL ? slash : name; (at = strchr(at, '_')) != NULL; at++) {
        char *end;
        const double radius = strtod(at + 1, &end);
        if (end != at + 1 && radius > 0 && strncmp(end, "au", 2) == 0) return radius * bohr;
    }
    return NAN;
}

int nh_element_file(const char *folder, const char *element, const char *suffix, char **path, nh_error *err)
{
    *path = NULL;
    DIR *dir = opendir(folder);
    if (dir == NULL) return nh_fail(err, "%s: %s", folder, strerror(errno));
    const size_t n = strlen(element), end = strlen(suffix);
    int status = 0;
    for (const struct dirent *e; status == 0 && (e = readdir(dir)) != NULL;) {
        const size_t length = strlen(e->d_name);
        if (strncmp(e->d_name, element, n) != 0 || strchr("_.-", e->d_name[n]) == NULL || length < n + end ||
            strcasecmp(e->d_name + length - end, suffix) != 0)
            continue;
        if (*path != NULL) {
            status = nh_fail(err, "%s: several files %s_*%s", folder, element, suffix);
        } else if (asprintf(path, "%s/%s", folder, e->d_name) < 0) {
            *path = NULL;
            status = nh_fail_memory(err, "a file name");
        }
    }
    closedir(dir);
    if (status == 0 && *path == NULL) status = nh_fail(err, "%s: no file %s_*%s", folder, element, suffix);
    if (status != 0) {
        free(*path);
        *path = NULL;
    }
    return status;
}

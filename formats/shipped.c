#include "formats/shipped.h"

#include "base/memory.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *nh_own_folder(void)
{
    char path[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return NULL;
    path[n] = '\0';
    *strrchr(path, '/') = '\0';
    return nh_strdup(path);
}

/* FOLDER/NAME if that can be read. */
static char *in_folder(const char *folder, const char *name)
{
    const size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    if (path == NULL) return NULL;
    snprintf(path, n, "%s/%s", folder, name);
    if (access(path, R_OK) == 0) return path;
    free(path);
    return NULL;
}

char *nh_find_model(const char *given, nh_error *err)
{
    const char *own = getenv("NEXTHAM_MODEL"), *data = getenv("NEXTHAM_DATA");
    if (given == NULL && own != NULL && own[0] != '\0') given = own;
    if (given != NULL) {
        char *const copy = nh_strdup(given);
        if (copy == NULL) nh_fail_memory(err, "the name of the model");
        return copy;
    }
    char *found = data != NULL && data[0] != '\0' ? in_folder(data, "model.nc") : NULL;
    char *const folder = nh_own_folder();
    if (found == NULL && folder != NULL) found = in_folder(folder, "../share/nextham/pipelines/model.nc");
    if (found == NULL && folder != NULL) found = in_folder(folder, "../pipelines/model.nc");
    if (found == NULL) nh_fail(err, "no model: -m MODEL.nc, or NEXTHAM_DATA, a folder with model.nc");
    free(folder);
    return found;
}

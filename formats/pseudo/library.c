#include "formats/pseudo/library.h"

#include "base/memory.h"
#include "formats/abacus/orb.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *folder(const char *given, const char *const *variables)
{
    for (size_t i = 0; given == NULL && variables[i] != NULL; i++) {
        given = getenv(variables[i]);
        if (given != NULL && given[0] == '\0') given = NULL;
    }
    return given != NULL ? given : ".";
}

/* The file `name` in `dir`, or the only one of the element. *path is allocated. */
static int locate(const char *dir, const char *name, const char *element, const char *suffix, const char *option, char **path,
                  nh_error *err)
{
    *path = NULL;
    if (name == NULL || name[0] == '\0')
        return nh_element_file(dir, element, suffix, path, err) != 0 ? nh_fail_at(err, "%s: %s", element, option) : 0;
    if (name[0] == '/' || strncmp(name, "./", 2) == 0 || strncmp(name, "../", 3) == 0) {
        *path = nh_strdup(name);
        return *path != NULL ? 0 : nh_fail_memory(err, "a file name");
    }
    if (asprintf(path, "%s/%s", dir, name) >= 0) return 0;
    *path = NULL;
    return nh_fail_memory(err, "a file name");
}

static int compare_shells(const nh_structure *s, size_t species, const nh_orbital_set *o, const char *path, nh_error *err)
{
    const size_t first = s->shell_start[species], n = s->shell_start[species + 1] - first;
    const int *const l = s->shell_l + first;
    if (s->shell_start[s->n_species] == 0) return 0; /* not known */
    if (n == o->n_shell && memcmp(l, o->l, n * sizeof *l) == 0) return 0;
    char *const here = nh_shells_text(n, l), *const there = nh_shells_text(o->n_shell, o->l);
    nh_fail(err, "%s: shells %s, but the crystal's %s has %s", path, there ? there : "?",
            nh_element_symbol(s->atomic_number[species]), here ? here : "?");
    free(here);
    free(there);
    return -1;
}

static int read_species(const nh_library *library, const nh_structure *s, size_t i, nh_species *out, nh_error *err)
{
    static const char *const pseudo[] = {"NEXTHAM_PSEUDO", "ABACUS_PSEUDO", "ABACUS_PP_PATH", NULL},
                             *const orbital[] = {"NEXTHAM_ORBITAL", "ABACUS_ORBITAL", "ABACUS_ORB_PATH", NULL};
    const char *const element = nh_element_symbol(s->atomic_number[i]);
    const char *const upf = library->pseudo_file != NULL ? library->pseudo_file[i] : NULL,
                      *const orb = library->orbital_file != NULL ? library->orbital_file[i] : NULL;
    char *path;
    if (locate(folder(library->pseudo_dir, pseudo), upf, element, ".upf", "--pseudo-dir", &path, err) != 0) return -1;
    int status = nh_upf_read(path, element, library->spin_orbit, &out->pseudo, err);
    free(path);
    if (status != 0) return -1;
    if (locate(folder(library->orbital_dir, orbital), orb, element, ".orb", "--orbital-dir", &path, err) != 0) return -1;
    status = nh_orbital_read(path, element, &out->orbital, err);
    if (status == 0) status = compare_shells(s, i, &out->orbital, path, err);
    free(path);
    return status;
}

int nh_library_read(const nh_library *library, const nh_structure *s, nh_species **out, nh_error *err)
{
    *out = NULL;
    nh_species *const species = NH_ARRAY(nh_species, s->n_species);
    if (species == NULL) return nh_fail_memory(err, "species");
    int status = 0;
    for (size_t i = 0; i < s->n_species && status == 0; i++)
        status = read_species(library, s, i, &species[i], err);
    if (status != 0) {
        nh_library_free(species, s->n_species);
        return -1;
    }
    *out = species;
    return 0;
}

void nh_library_free(nh_species *species, size_t count)
{
    if (species == NULL) return;
    nh_species_free(species, count);
    free(species);
}

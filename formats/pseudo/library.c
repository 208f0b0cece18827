#include "formats/pseudo/library.h"

#include "base/memory.h"
#include "formats/abacus/orb.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first of these that is set and not empty. */
static const char *folder(const char *option, const char *variable, const char *abacus)
{
    if (option != NULL) return option;
    const char *const own = getenv(variable);
    if (own != NULL && *own != '\0') return own;
    const char *const other = getenv(abacus);
    return other != NULL && *other != '\0' ? other : NULL;
}

static const char *pseudo_folder(const nh_library *l)
{
    return folder(l->pseudo, "NEXTHAM_PSEUDO", "ABACUS_PSEUDO");
}

static const char *orbital_folder(const nh_library *l)
{
    return folder(l->orbital, "NEXTHAM_ORBITAL", "ABACUS_ORBITAL");
}

static int join(const char *where, size_t n, const char *name, char **path, nh_error *err)
{
    if (asprintf(path, "%.*s/%s", (int)n, where, name) >= 0) return 0;
    *path = NULL;
    return nh_fail_memory(err, "a file name");
}

/* A name that STRU gives: as it is, in the folder (with or without its own), beside the structure file. */
static int named_file(const nh_library *l, const char *name, const char *where, char **path, nh_error *err)
{
    if (name[0] == '/') return (*path = nh_strdup(name)) != NULL ? 0 : nh_fail_memory(err, "a file name");
    const char *const slash = strrchr(name, '/');
    if (where != NULL) {
        if (join(where, strlen(where), name, path, err)) return -1;
        if (slash == NULL || access(*path, R_OK) == 0) return 0;
        free(*path);
        return join(where, strlen(where), slash + 1, path, err);
    }
    const char *const end = l->structure != NULL ? strrchr(l->structure, '/') : NULL;
    return end != NULL ? join(l->structure, (size_t)(end - l->structure), name, path, err)
                       : join(".", 1, name, path, err);
}

static int find(const nh_library *l, const char *name, const char *where, const char *element,
                const char *suffix, const char *what, const char *option, const char *variable, char **path,
                nh_error *err)
{
    *path = NULL;
    if (name != NULL) return named_file(l, name, where, path, err);
    if (where == NULL)
        return nh_fail(err, "%s: no folder to take the %s from: --%s or the environment's %s", element, what,
                       option, variable);
    return nh_element_file(where, element, suffix, path, err);
}

static int read_orbital(const nh_library *l, const char *name, const char *element, nh_orbital_set *out,
                        nh_error *err)
{
    char *path;
    int status = find(l, name, orbital_folder(l), element, ".orb", "orbitals", "orbital-dir",
                      "NEXTHAM_ORBITAL", &path, err);
    if (status == 0) status = nh_orbital_read(path, element, out, err);
    free(path);
    return status;
}

static int read_pseudo(const nh_library *l, const char *name, const char *element, nh_pseudo *out,
                       nh_error *err)
{
    char *path;
    int status = find(l, name, pseudo_folder(l), element, ".upf", "pseudopotential", "pseudo-dir",
                      "NEXTHAM_PSEUDO", &path, err);
    if (status == 0) status = nh_upf_read(path, element, l->spin_orbit, out, err);
    free(path);
    return status;
}

static int set_shells(nh_structure *s, const nh_species *species, nh_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < s->n_species; i++)
        total += species[i].orbital.n_shell;
    size_t *const counts = NH_ARRAY(size_t, s->n_species);
    int *const l = NH_ARRAY(int, total);
    int status = counts != NULL && l != NULL ? 0 : nh_fail_memory(err, "orbital shells");
    for (size_t i = 0, n = 0; i < s->n_species && status == 0; i++) {
        counts[i] = species[i].orbital.n_shell;
        memcpy(l + n, species[i].orbital.l, counts[i] * sizeof *l);
        n += counts[i];
    }
    if (status == 0) status = nh_structure_set_shells(s, counts, l, err);
    free(counts);
    free(l);
    return status;
}

int nh_library_read(const nh_library *l, nh_structure_file *file, nh_species **out, nh_error *err)
{
    nh_structure *const s = &file->structure;
    nh_species *const species = NH_ARRAY(nh_species, s->n_species);
    int status = species != NULL ? 0 : nh_fail_memory(err, "the species");
    for (size_t i = 0; i < s->n_species && status == 0; i++) {
        const char *const element = nh_element_symbol(s->atomic_number[i]);
        status = read_pseudo(l, file->pseudo_file != NULL ? file->pseudo_file[i] : NULL, element,
                             &species[i].pseudo, err);
        if (status == 0)
            status = read_orbital(l, file->orbital_file != NULL ? file->orbital_file[i] : NULL, element,
                                  &species[i].orbital, err);
    }
    if (status == 0) status = set_shells(s, species, err);
    if (status != 0) {
        if (species != NULL) nh_species_free(species, s->n_species);
        free(species);
        *out = NULL;
        return -1;
    }
    *out = species;
    return 0;
}

static int compare_shells(const nh_structure *s, size_t species, const nh_orbital_set *o, nh_error *err)
{
    const size_t first = s->shell_start[species], n = s->shell_start[species + 1] - first;
    if (n == o->n_shell && memcmp(s->shell_l + first, o->l, n * sizeof *o->l) == 0) return 0;
    char *const here = nh_shells_text(n, s->shell_l + first), *const there = nh_shells_text(o->n_shell, o->l);
    nh_fail(err, "%s: the crystal has shells %s, its orbital file %s",
            nh_element_symbol(s->atomic_number[species]), here != NULL ? here : "?",
            there != NULL ? there : "?");
    free(here);
    free(there);
    return -1;
}

int nh_library_read_known(const nh_library *l, const nh_structure *s, nh_species **out, nh_error *err)
{
    nh_species *const species = NH_ARRAY(nh_species, s->n_species);
    int status = species != NULL ? 0 : nh_fail_memory(err, "the species");
    for (size_t i = 0; i < s->n_species && status == 0; i++) {
        const char *const element = nh_element_symbol(s->atomic_number[i]);
        status = read_pseudo(l, NULL, element, &species[i].pseudo, err);
        if (status == 0) status = read_orbital(l, NULL, element, &species[i].orbital, err);
        if (status == 0) status = compare_shells(s, i, &species[i].orbital, err);
    }
    if (status != 0) {
        if (species != NULL) nh_species_free(species, s->n_species);
        free(species);
        *out = NULL;
        return -1;
    }
    *out = species;
    return 0;
}

int nh_library_read_orbitals(const nh_library *l, const nh_structure_file *file, nh_species **out,
                             nh_error *err)
{
    const nh_structure *const s = &file->structure;
    nh_species *const species = NH_ARRAY(nh_species, s->n_species);
    int status = species != NULL ? 0 : nh_fail_memory(err, "the species");
    for (size_t i = 0; i < s->n_species && status == 0; i++)
        status = read_orbital(l, file->orbital_file != NULL ? file->orbital_file[i] : NULL,
                              nh_element_symbol(s->atomic_number[i]), &species[i].orbital, err);
    if (status != 0) {
        nh_species_free(species, species != NULL ? s->n_species : 0);
        free(species);
        *out = NULL;
        return -1;
    }
    *out = species;
    return 0;
}

char *nh_library_names(const nh_structure *s, const nh_species *species, bool pseudo)
{
    enum { WIDEST = NH_HASH_TEXT + 8 };
    char *const text = NH_ARRAY(char, s->n_species *WIDEST + 1), *at = text;
    for (size_t i = 0; text != NULL && i < s->n_species; i++)
        at += snprintf(at, WIDEST, "%s%s:%s", i > 0 ? " " : "", nh_element_symbol(s->atomic_number[i]),
                       pseudo ? species[i].pseudo.hash : species[i].orbital.hash);
    return text;
}

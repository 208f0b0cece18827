/* UPF pseudopotentials and .orb orbitals: what is read, and what is refused. */
#include "check.h"

#include "base/memory.h"
#include "formats/pseudo/orbital.h"
#include "formats/pseudo/upf.h"

#include <unistd.h>

#define SHARED "../shared/data/"

static char folder[] = "/tmp/nh_test_pseudo_XXXXXX", path[64];

static int set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void put(const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A small file: nine points (the tenth is dropped), two projectors p1/2 and p3/2. */
#define INFO "<UPF version=\"2.0.1\">\n<PP_INFO>\n a < b & c\n<PP_INPUTFILE>\n</PP_INPUTFILE>\n</PP_INFO>\n"
#define HEADER_OF(type, element, so, functional, proj)                                                       \
    "<PP_HEADER element=\" " element "\" pseudo_type=\"" type "\" has_so=\"" so "\" core_correction=\"T\"\n" \
    "functional=\"" functional "\" z_valence=\"   4.00\" mesh_size=\"  10\" number_of_proj=\"" proj "\"/>\n"
#define HEADER HEADER_OF("NC", "Si", "T", "PBE", "2")
#define R_TEXT "<PP_R size=\"10\">0 .5 1 1.5 2 2.5 3 3.5\n4 4.5</PP_R>\n"
#define MESH "<PP_MESH>" R_TEXT "<PP_RAB>.5 .5 .5 .5 .5 .5 .5 .5 .5 .5</PP_RAB></PP_MESH>\n"
#define LOCAL_TEXT "<PP_LOCAL>-1 -2 -3 -4D+00 -5 -6 -7 -8 -9 -10</PP_LOCAL>\n"
#define BETA1 "<PP_BETA.1 angular_momentum=\"1\">0 1 2 3 1e-11 0 0 0 0 0</PP_BETA.1>\n"
#define BETA2 "<PP_BETA.2 angular_momentum=\"1\">0 1 2 3 4 0 0 0 0 0</PP_BETA.2>\n"
#define DIJ_TEXT "<PP_DIJ>1.5 0 0 2.5</PP_DIJ>\n"
#define REST                                                                                                 \
    "<PP_PSWFC><PP_CHI.1>1 2 3</PP_CHI.1></PP_PSWFC><PP_NLCC>9 8 7 6 5 4 3 2 1 0</PP_NLCC>\n"                \
    "<PP_RHOATOM>0 1 1 1 1 1 1 1 0 0</PP_RHOATOM>\n"
#define RELBETA                                                                                              \
    "<PP_SPIN_ORB><PP_RELBETA.1 lll=\"1\" jjj=\"0.5\"/><PP_RELBETA.2 lll=\"1\" "                             \
    "jjj=\"1.5\"/></PP_SPIN_ORB>\n"
#define TAIL "</UPF>\n"
#define NONLOCAL "<PP_NONLOCAL>" BETA1 BETA2 DIJ_TEXT "</PP_NONLOCAL>\n"
#define GOOD INFO HEADER MESH LOCAL_TEXT NONLOCAL REST RELBETA TAIL

static void small_file(void **state)
{
    (void)state;
    nh_pseudo p;
    put(GOOD);
    OK(nh_upf_read(path, "Si", true, &p, &err));
    assert_string_equal(p.element, "Si");
    assert_true(p.z_valence == 4);
    assert_true(p.spin_orbit);
    assert_int_equal(p.n_full, 9);
    assert_int_equal(p.n_mesh, 9);
    assert_true(p.local[3] == -4);
    assert_true(p.core[1] == 8);
    /* Simpson: (4 + 2 + 4 + 2 + 4 + 2 + 4) 0.5 / 3 */
    assert_true(fabs(p.rho_atom[1] - 4 / (22 * 0.5 / 3)) < 1e-15);
    assert_int_equal(p.n_projector, 2);
    assert_int_equal(p.projector[0].n, 3); /* the last index is 3, odd: dropped */
    assert_int_equal(p.projector[1].n, 5); /* 4, even: kept */
    assert_true(nh_projector_radius(&p) == 2);
    assert_true(p.projector[0].j == 0.5 && p.projector[1].j == 1.5);
    assert_true(p.d[3] == 2.5);
    assert_int_equal(strlen(p.hash), 16);
    char hash[NH_HASH_TEXT];
    memcpy(hash, p.hash, sizeof hash);
    nh_pseudo_free(&p);
    put(INFO HEADER MESH LOCAL_TEXT NONLOCAL REST RELBETA "\n" TAIL);
    OK(nh_upf_read(path, NULL, false, &p, &err));
    assert_string_not_equal(p.hash, hash);
    nh_pseudo_free(&p);
    put(INFO HEADER_OF("NC", "Si", "F", "SLA PW PBX PBC", "2") MESH LOCAL_TEXT NONLOCAL REST TAIL);
    OK(nh_upf_read(path, "Si", false, &p, &err));
    assert_false(p.spin_orbit);
    assert_true(isnan(p.projector[0].j));
    nh_pseudo_free(&p);
}

static void refused_pseudopotentials(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint;
    } table[] = {
        {"", "no UPF"},
        {"<PP_INFO>\n</PP_INFO>\n<PP_HEADER>\n 0 Version Number\n</PP_HEADER>\n", "version 1"},
        {"<UPF version=\"3.0\">" HEADER MESH TAIL, "version 3"},
        {INFO HEADER_OF("US", "Si", "T", "PBE", "2") MESH TAIL, "ultrasoft"},
        {INFO HEADER_OF("PAW", "Si", "T", "PBE", "2") MESH TAIL, "PAW"},
        {INFO HEADER_OF("1/r", "Si", "T", "PBE", "2") MESH TAIL, "Coulomb"},
        {INFO HEADER_OF("SL", "Si", "T", "PBE", "2") MESH TAIL, "pseudo_type"},
        {INFO HEADER_OF("NC", "Ge", "T", "PBE", "2") MESH TAIL, "of Ge where that of Si"},
        {INFO HEADER_OF("NC", "Si", "T", "PBESOL", "2") MESH TAIL, "PBESOL"},
        {INFO HEADER_OF("NC", "Si", "T", "PBE", "2e9") MESH TAIL, "number_of_proj"},
        {INFO HEADER_OF("NC", "Si", "T", "PBE", "-1") MESH TAIL, "number_of_proj"},
        {INFO HEADER_OF("NC", "Si", "F", "PBE", "2") MESH LOCAL_TEXT NONLOCAL REST TAIL,
         "scalar-relativistic"},
        {INFO MESH HEADER TAIL, "before PP_HEADER"},
        {INFO TAIL, "no PP_HEADER"},
        {INFO HEADER MESH LOCAL_TEXT, "truncated"},
        {INFO HEADER MESH LOCAL_TEXT "<PP_NONLOCAL><PP_BETA.1 angular_mom", "truncated"},
        {INFO HEADER MESH LOCAL_TEXT "<PP_NONLOCAL><PP_BETA.1 angular_momentum=\"1\">0 1 2", "truncated"},
        {INFO HEADER MESH LOCAL_TEXT "</PP_MESH>" TAIL, "mismatched"},
        {INFO HEADER LOCAL_TEXT NONLOCAL REST RELBETA TAIL, "no <PP_R>"},
        {INFO HEADER MESH NONLOCAL REST RELBETA TAIL, "no <PP_LOCAL>"},
        {INFO HEADER MESH LOCAL_TEXT BETA1 DIJ_TEXT REST RELBETA TAIL, "no <PP_BETA.2>"},
        {INFO HEADER MESH LOCAL_TEXT BETA1 BETA2 REST RELBETA TAIL, "no <PP_DIJ>"},
        {INFO HEADER MESH LOCAL_TEXT NONLOCAL REST TAIL, "no <PP_RELBETA.1>"},
        {INFO HEADER MESH LOCAL_TEXT NONLOCAL RELBETA TAIL, "no <PP_NLCC>"},
        {INFO HEADER MESH MESH TAIL, "twice"},
        {INFO HEADER HEADER TAIL, "twice"},
        {INFO HEADER "<PP_R>0 1 2</PP_R>" TAIL, "3 numbers where 10"},
        {INFO HEADER "<PP_R>0 1 2 3 4 5 6 7 8 9 10</PP_R>" TAIL, "11 numbers where 10"},
        {INFO HEADER "<PP_R>0 1 2 3 x 5 6 7 8 9</PP_R>" TAIL, "number 5"},
        {INFO HEADER "<PP_R>0 1 2 3 nan 5 6 7 8 9</PP_R>" TAIL, "not finite"},
        {INFO HEADER "<PP_R>0 1 2 3 <X/> 5 6 7 8 9</PP_R>" TAIL, "inside"},
        {INFO HEADER
         "<PP_R>0 1 2 3 3 5 6 7 8 9</PP_R><PP_RAB>1 1 1 1 1 1 1 1 1 1</PP_RAB>" LOCAL_TEXT NONLOCAL REST
             RELBETA TAIL,
         "out of order"},
        {INFO HEADER "<PP_BETA.3 angular_momentum=\"0\">" TAIL, "2 projectors"},
        {INFO HEADER "<PP_BETA.1>" TAIL, "angular_momentum"},
        {INFO HEADER MESH LOCAL_TEXT BETA1 BETA2 "<PP_DIJ>1.5 0 1 2.5</PP_DIJ>" REST RELBETA TAIL, "couples"},
        {INFO HEADER MESH LOCAL_TEXT BETA1 BETA2 "<PP_DIJ>1.5 0 2.5</PP_DIJ>" REST RELBETA TAIL,
         "3 numbers where 4"},
        {INFO HEADER MESH LOCAL_TEXT NONLOCAL REST
         "<PP_RELBETA.1 jjj=\"0.5\"/><PP_RELBETA.2 jjj=\"2.5\"/>" TAIL,
         "j = 2.5"},
        {INFO HEADER MESH LOCAL_TEXT NONLOCAL "<PP_NLCC>0 0 0 0 0 0 0 0 0 0</PP_NLCC>"
                                              "<PP_RHOATOM>0 0 0 0 0 0 0 0 0 0</PP_RHOATOM>" RELBETA TAIL,
         "0 electrons"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        nh_pseudo p;
        put(table[i].text);
        err.text[0] = '\0';
        assert_int_equal(nh_upf_read(path, "Si", true, &p, &err), -1);
        if (strstr(err.text, table[i].complaint) == NULL || strstr(err.text, path) == NULL)
            fail_msg("case %zu: \"%s\" does not name \"%s\"", i, err.text, table[i].complaint);
        assert_int_equal(nh_upf_read(path, "Si", true, &p, NULL), -1);
    }
    nh_pseudo p;
    assert_int_equal(nh_upf_read("/nowhere/Si.upf", "Si", true, &p, &err), -1);
}

/* A file cut anywhere is an error, or complete. */
static void truncated_anywhere(void **state)
{
    (void)state;
    char text[] = GOOD;
    for (size_t n = strlen(text) - strlen("</UPF>\n"); n-- > 0;) {
        nh_pseudo p;
        text[n] = '\0';
        put(text);
        assert_int_equal(nh_upf_read(path, "Si", true, &p, &err), -1);
    }
}

#define ORB_HEAD                                                                                             \
    "-----\nElement                     Si\nNumber of Sorbital-->       2\nNumber of Porbital-->       "     \
    "1\n-----\n"                                                                                             \
    "SUMMARY  END\n\n"
#define ORB_BLOCKS " Type L N\n 0 0 1\n 1 1 1 0\n Type L N\n 0 0 0\n 2 1 1 0\n Type L N\n 0 1 0\n 0 1 2 0\n"

static void small_orbitals(void **state)
{
    (void)state;
    nh_orbital_set o;
    put(ORB_HEAD "Mesh 4\ndr 0.5\n" ORB_BLOCKS);
    OK(nh_orbital_read(path, "Si", &o, &err));
    assert_int_equal(o.n_shell, 3);
    assert_int_equal(nh_orbital_count(&o), 5);
    assert_true(nh_orbital_radius(&o) == 1.5);
    assert_int_equal(o.l[2], 1);
    /* int f^2 r^2 with the fifth point: (4/4 + 2) 0.5/3 = 0.5, whichever f(0) */
    assert_true(fabs(o.f[1] - sqrt(2)) < 1e-15);
    assert_true(fabs(o.f[0] - 2 * sqrt(2)) < 1e-15); /* N = 0 stands first although it comes second */
    nh_orbital_set_free(&o);
}

static void refused_orbitals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *complaint;
    } table[] = {
        {"", "no .orb file"},
        {ORB_HEAD, "Mesh"},
        {ORB_HEAD "Mesh 4\nDr 0.5\n", "dr"},
        {ORB_HEAD "Mesh 1e9\ndr 0.5\n", "mesh"},
        {ORB_HEAD "Mesh 2\ndr 0.5\n", "mesh"},
        {ORB_HEAD "Mesh 4\ndr -0.5\n", "dr"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 0 1 1 1", "expected"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 0 1 1 nan 0", "not finite"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 0 0 0 0 0", "no norm"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 2 0 1 1 1 0", "says nothing"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 2 1 1 1 0", "says nothing"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 0 1 1 1 0 Type L N 0 0 0 1 1 1 0", "twice"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n Type L N 0 0 0 1 1 1 0", "Type L N"},
        {ORB_HEAD "Mesh 4\ndr 0.5\n" ORB_BLOCKS "Type L N 0 0 0 1 1 1 0", "more orbitals"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        nh_orbital_set o;
        put(table[i].text);
        assert_int_equal(nh_orbital_read(path, "Si", &o, &err), -1);
        if (strstr(err.text, table[i].complaint) == NULL || strstr(err.text, path) == NULL)
            fail_msg("case %zu: \"%s\" does not name \"%s\"", i, err.text, table[i].complaint);
    }
    nh_orbital_set o;
    put(ORB_HEAD "Mesh 4\ndr 0.5\n" ORB_BLOCKS);
    assert_int_equal(nh_orbital_read(path, "Ge", &o, &err), -1);
    assert_non_null(strstr(err.text, "orbitals of Si where those of Ge"));
}

static double simpson(size_t n, const double *rab, const double *f)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (i == 0 || i == n - 1 ? 1 : i % 2 == 1 ? 4 : 2) * rab[i] * f[i];
    return sum / 3;
}

/* docs/h0.md 11: integrals over the published files' meshes. */
static void published_files(void **state)
{
    (void)state;
    if (access(SHARED "pseudo/Si.upf", R_OK) != 0) skip();
    static const struct {
        const char *element;
        double local, core;
    } table[] = {
        {"Si", 18.693935222, 0.724254858}, {"Ga", 49.397480062, 7.957212163}, {"As", 5.178749729, 0}};
    const double pi = acos(-1);
    for (size_t i = 0; i < 3; i++) {
        char name[128];
        nh_pseudo p;
        snprintf(name, sizeof name, SHARED "pseudo/%s.upf", table[i].element);
        OK(nh_upf_read(name, table[i].element, true, &p, &err));
        assert_int_equal(p.n_mesh, i == 2 ? 601 : 1501);
        double *const x = NH_ARRAY(double, p.n_mesh);
        for (size_t k = 0; k < p.n_mesh; k++)
            x[k] = 4 * pi * p.r[k] * (p.r[k] * p.local[k] + 2 * p.z_valence);
        assert_true(fabs(simpson(p.n_mesh, p.rab, x) - table[i].local) < 2e-9);
        for (size_t k = 0; k < p.n_mesh && p.core != NULL; k++)
            x[k] = 4 * pi * p.r[k] * p.r[k] * p.core[k];
        if (table[i].core > 0) assert_true(fabs(simpson(p.n_mesh, p.rab, x) - table[i].core) < 2e-9);
        if (table[i].core == 0) assert_null(p.core);
        assert_true(fabs(simpson(p.n_mesh, p.rab, p.rho_atom) - p.z_valence) < 1e-12);
        free(x);
        nh_pseudo_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_file),         cmocka_unit_test(refused_pseudopotentials),
        cmocka_unit_test(truncated_anywhere), cmocka_unit_test(small_orbitals),
        cmocka_unit_test(refused_orbitals),   cmocka_unit_test(published_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Files whose numbers are elsewhere (formats/netcdf/hdf.h): refused before anything is read. */
#include "formats/netcdf/nc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/test_inside_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static hid_t begin(const char *name)
{
    const hid_t f = H5Fcreate(in_folder(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, strlen("NextHAM-1") + 1);
    const hid_t a = H5Acreate2(f, "Conventions", type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(f >= 0 && a >= 0 && H5Awrite(a, type, "NextHAM-1") >= 0);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
    return f;
}

static void dataset(hid_t f, hid_t made)
{
    const hsize_t n[1] = {4};
    const hid_t space = H5Screate_simple(1, n, NULL);
    const hid_t d = H5Dcreate2(f, "x", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, made, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Dclose(d);
    H5Sclose(space);
}

static int make_files(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    hid_t f = begin("plain.nc");
    dataset(f, H5P_DEFAULT);
    H5Fclose(f);

    hid_t made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(made, "/etc/hostname", 0, 32);
    f = begin("external.nc");
    dataset(f, made);
    H5Pclose(made);
    H5Fclose(f);

    made = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t n[1] = {4};
    const hid_t space = H5Screate_simple(1, n, NULL);
    H5Pset_virtual(made, space, in_folder("plain.nc"), "x", space);
    f = begin("virtual.nc");
    dataset(f, made);
    H5Sclose(space);
    H5Pclose(made);
    H5Fclose(f);

    f = begin("link.nc");
    H5Lcreate_external(in_folder("plain.nc"), "/x", f, "x", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(f);

    f = begin("deep.nc");
    const hid_t group = H5Gcreate2(f, "range0", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    made = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(made, "/etc/hostname", 0, 32);
    dataset(group, made);
    H5Pclose(made);
    H5Gclose(group);
    H5Fclose(f);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const names[] = {"plain.nc", "external.nc", "virtual.nc", "link.nc", "deep.nc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}

static void refused(void **state)
{
    (void)state;
    static const char *const names[] = {"external.nc", "virtual.nc", "link.nc", "deep.nc"};
    nh_nc *f;
    nh_error err = {""};
    if (nh_nc_open(in_folder("plain.nc"), &f, &err) != 0) fail_msg("%s", err.text);
    nh_nc_close(f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(nh_nc_open(in_folder(names[i]), &f, &err), -1);
        if (strstr(err.text, names[i]) == NULL || strstr(err.text, "another file: refused") == NULL)
            fail_msg("%s", err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

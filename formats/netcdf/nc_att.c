/* Global attributes as things: their kind, copied, dropped. Their values are read in nc_read.c and written in nc_write.c. */
#include "formats/netcdf/nc_internal.h"

#include <stdio.h>

static int failed(const nh_nc *f, const char *attribute, int status, nh_error *err)
{
    return nh_fail(err, "%s: attribute %s: %s", f->name, attribute, nc_strerror(status));
}

nh_nc_att nh_nc_att_kind(const nh_nc *f, const char *name)
{
    nc_type type;
    if (nc_inq_atttype(f->id, NC_GLOBAL, name, &type) != NC_NOERR) return NH_NC_ATT_NONE;
    return type == NC_CHAR || type == NC_STRING ? NH_NC_ATT_TEXT : NH_NC_ATT_NUMBER;
}

bool nh_nc_is_single(const nh_nc *f, const char *variable)
{
    int id;
    nc_type type;
    return nc_inq_varid(f->id, variable, &id) == NC_NOERR && nc_inq_vartype(f->id, id, &type) == NC_NOERR &&
           type == NC_FLOAT;
}

int nh_nc_set_ints(nh_nc *f, const char *attribute, size_t n, const int *values, nh_error *err)
{
    const int status = nc_put_att_int(f->id, NC_GLOBAL, attribute, NC_INT, n, values);
    return status != NC_NOERR ? failed(f, attribute, status, err) : 0;
}

int nh_nc_drop_att(nh_nc *f, const char *attribute, nh_error *err)
{
    const int status = nc_del_att(f->id, NC_GLOBAL, attribute);
    return status != NC_NOERR && status != NC_ENOTATT ? failed(f, attribute, status, err) : 0;
}

int nh_nc_copy_att(nh_nc *to, const nh_nc *from, const char *attribute, nh_error *err)
{
    const int status = nc_copy_att(from->id, NC_GLOBAL, attribute, to->id, NC_GLOBAL);
    return status != NC_NOERR && status != NC_ENOTATT ? failed(from, attribute, status, err) : 0;
}

#include "base/version.h"

const char *nh_version(void)
{
    return NH_VERSION;
}

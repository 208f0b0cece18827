/* layout.h - the two layouts of DeepH's folders (deeph.h describes them). */
#ifndef NH_FORMATS_DEEPH_LAYOUT_H
#define NH_FORMATS_DEEPH_LAYOUT_H

typedef enum nh_deeph_layout { NH_DEEPH_NONE, NH_DEEPH_OLD, NH_DEEPH_NEW } nh_deeph_layout;

#endif

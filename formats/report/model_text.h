/* model_text.h - what is in a model, as tables of text. */
#ifndef NH_FORMATS_REPORT_MODEL_TEXT_H
#define NH_FORMATS_REPORT_MODEL_TEXT_H

#include "nextham/model.h"

#include <stdio.h>

/* A row for each part of a sub-model: the equal blocks under one name, their tensors' shapes, how many parameters, what they
 * reach. */
int nh_model_parts(FILE *out, const nh_model *m, nh_error *err);
void nh_model_parameters(FILE *out, const nh_model *m); /* a row for each parameter */
void nh_model_totals(FILE *out, const nh_model *m);     /* how many are reached by what */

#endif

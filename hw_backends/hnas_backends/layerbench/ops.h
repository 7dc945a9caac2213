/* What the program can compute: operations made of the keys of layers. */
#ifndef OPS_H
#define OPS_H
#include "op.h"

/* Make an operation of a layer's key, with the places that it reads. On failure NULL, and `error` says why. */
Op *op_new(const char *key, uint32_t seed, char *error, size_t size);
void op_free(Op *);                         /* the whole chain */
void op_run(const Op *, float *const *buffers);

void fill(float *, size_t, uint32_t seed, uint32_t from);   /* numbers from .. from + n of that seed */
void *alloc(size_t bytes);                  /* zeroed, for vectors; NULL when there is no memory */
#endif

/* What the program can compute: one operation with its shapes and weights. */
#ifndef OPS_H
#define OPS_H
#include <stddef.h>
#include <stdint.h>

enum Kind { CONV2D, LINEAR, NORM, MAX_POOL, AVG_POOL, ADD, RELU, ELU, SELU, SIGMOID, RELU6, LEAKYRELU };
#define MAX_KERNEL 64

typedef struct { int c, h, w; } Map;        /* channels, height, width of one image, in this order in memory */

typedef struct Op {
    enum Kind kind;
    Map in, out;
    int kernel, stride, padding, groups, bias;
    float *weight;                          /* of a norm: its scale; of an addition: the other operand */
    float *packed;                          /* a convolution's weight in the order of its micro-kernel */
    float *shift;                           /* bias, or shift of a norm */
    int lo[MAX_KERNEL], hi[MAX_KERNEL];     /* outputs lo <= x < hi meet a pixel in column q of the window */
    int from, other, to;                    /* buffers: what it reads, what an addition joins (-1: weight), its result */
    struct Op *next;
} Op;

/* Make an operation of a layer's key. On failure NULL, and `error` says why. */
Op *op_new(const char *key, uint32_t seed, char *error, size_t size);
void op_free(Op *);                         /* the whole chain */
void op_run(const Op *, const float *in, const float *other, float *out);    /* `other`: of an addition, or NULL */

static inline size_t count(Map m) { return (size_t)m.c * m.h * m.w; }
void fill(float *, size_t, uint32_t seed, uint32_t from);   /* numbers from .. from + n of that seed */
void *alloc(size_t bytes);                  /* zeroed, for vectors; NULL when there is no memory */
#endif

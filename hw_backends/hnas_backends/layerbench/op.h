/* One operation with its shapes and weights: what the files that make, run and connect operations share. */
#ifndef OP_H
#define OP_H
#include "activations.h"
#include <stddef.h>

#define KIND(kind, name, result) kind,
enum Kind { CONV2D, LINEAR, NORM, MAX_POOL, AVG_POOL, ADD, CONCAT, ACTIVATIONS(KIND) };
#undef KIND
#define MAX_KERNEL 64

typedef struct { int c, h, w; } Map;        /* channels, height, width of one image, in this order in memory */

/* `back`: 1 is the result of the operation before, 2 that of the one before it. flow.h sets the others. */
typedef struct { int back, buffer; Map map; } Read;

typedef struct Op {
    enum Kind kind;
    Map in, out;
    int kernel, stride, padding, groups, bias, dilation;
    float *weight;                          /* of a norm: its scale; of an addition: the other operand */
    float *packed;                          /* a convolution's weight in the order of its micro-kernel */
    float *shift;                           /* bias, or shift of a norm */
    int lo[MAX_KERNEL], hi[MAX_KERNEL];     /* outputs lo <= x < hi meet a pixel in column q of the window */
    Read *reads;                            /* one; of an addition or concatenation within a network, also more */
    int n_reads, to;                        /* `to`: the buffer of its result */
    struct Op *next;
} Op;

static inline size_t count(Map m) { return (size_t)m.c * m.h * m.w; }
#endif

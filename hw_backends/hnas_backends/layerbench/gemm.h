/* Convolution as a product of matrices. */
#ifndef GEMM_H
#define GEMM_H
#include "op.h"

/* The micro-kernel holds MR x NR results in registers: MR output channels, NR pixels in two vectors of VL floats.
 * -march and its like choose. */
#if defined(__AVX2__) && defined(__FMA__)
#define VL 8
#define MR 6
#define SIMD "avx2"
#elif defined(__aarch64__)
#define VL 4
#define MR 8
#define SIMD "neon"
#elif defined(__ARM_NEON)
#define VL 4
#define MR 4
#define SIMD "neon"
#elif defined(__SSE2__)
#define VL 4
#define MR 4
#define SIMD "sse2"
#else                                       /* ARMv6: scalar VFP */
#define VL 2
#define MR 4
#define SIMD "scalar"
#endif
#define NR (2 * VL)

size_t conv_packed(const Op *);             /* floats that `packed` needs */
void conv_pack(const Op *);                 /* `weight` into `packed` */
void conv_run(const Op *, const float *in, float *out);
#endif

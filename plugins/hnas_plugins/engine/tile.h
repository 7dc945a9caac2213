// The micro-kernel of the matrix products in products.c: a tile of the result, held in registers.

#include "kernels.h"

// A tile of the result is ROWS x NV vectors, held in registers: 12 of 16, or 24 of 32.
#ifdef __AVX512F__
#define BYTES 64
#define NV 4
#elif defined(__aarch64__)
#define BYTES 16
#define NV 4
#else
#define BYTES 32
#define NV 2
#endif
typedef REAL vec __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
#define VL ((int)(BYTES / sizeof(REAL)))
#define ROWS 6
#define COLUMNS (NV * VL)
#define INLINE static inline __attribute__((always_inline))

// c[m][0..n) (+)= sum over runs r and l < length of a[m][runs[r] + l * a_step] * b[.. + l * b_step], b going on from run
// to run. Columns of `b` are read up to a multiple of the vector length; only n of them are written.
INLINE void tile(int nv, const REAL *const *a, const int *runs, int n_runs, int length, long a_step, const REAL *b,
                 long b_step, REAL *const *c, int n, int add) {
  vec s[ROWS][NV];
#pragma GCC unroll 8
  for (int m = 0; m < ROWS; m++)
#pragma GCC unroll 8
    for (int v = 0; v < nv; v++) s[m][v] = (vec){0};
  for (int r = 0; r < n_runs; r++) {
    const REAL *a0 = a[0] + runs[r], *a1 = a[1] + runs[r], *a2 = a[2] + runs[r], *a3 = a[3] + runs[r],
               *a4 = a[4] + runs[r], *a5 = a[5] + runs[r];
    long i = 0;
    for (int l = 0; l < length; l++, i += a_step, b += b_step) {
      vec q[NV];
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++) q[v] = *(const vec *)(b + v * VL);
#define ROW(m)                                                                                                  \
  {                                                                                                             \
    REAL p = a##m[i];                                                                                           \
    _Pragma("GCC unroll 8") for (int v = 0; v < nv; v++) s[m][v] += p * q[v];                                    \
  }
      ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5)
#undef ROW
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < ROWS; m++) {
    REAL *o = c[m];
    if (n == nv * VL) {
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++) {
        if (add) s[m][v] += *(vec *)(o + v * VL);
        *(vec *)(o + v * VL) = s[m][v];
      }
    } else {
      REAL t[COLUMNS];
#pragma GCC unroll 8
      for (int v = 0; v < nv; v++) *(vec *)(t + v * VL) = s[m][v];
      for (int i = 0; i < n; i++) o[i] = add ? o[i] + t[i] : t[i];
    }
  }
}
// A kernel for each number of vectors, so that few filters are not computed as many.
#define KERNEL(nv)                                                                                                \
  static __attribute__((noinline)) void tile_##nv(const REAL *const *a, const int *runs, int n_runs, int length,  \
                                                  long a_step, const REAL *b, long b_step, REAL *const *c, int n, \
                                                  int add) {                                                      \
    tile(nv, a, runs, n_runs, length, a_step, b, b_step, c, n, add);                                              \
  }
KERNEL(1)
KERNEL(2)
#if NV == 4
KERNEL(3)
KERNEL(4)
#endif
typedef void (*Kernel)(const REAL *const *, const int *, int, int, long, const REAL *, long, REAL *const *, int, int);
static const Kernel KERNELS[] = {
    tile_1, tile_2,
#if NV == 4
    tile_3, tile_4,
#endif
};
#define TILE(n, ...) KERNELS[((n) - 1) / VL](__VA_ARGS__)

static int least(int a, int b) { return a < b ? a : b; }
static int round_up(int n, int to) { return (n + to - 1) / to * to; }

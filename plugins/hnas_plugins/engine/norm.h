// What norm.c and norm2.c share: loops over pixels and channels, sums, and one function for each activation.
//
// Arrays are [G][N][H][W][C], contiguous: G independent tasks, each with its own gamma and beta [G][C].
// Notation of the derivation in norm.py: M = N*H*W rows, xh the normalised input, z = gamma*xh + beta, y = f(z).

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// A loop over channels, which are independent: said aloud, because compilers cannot prove it of pointers into one block
// of scratch space, and a loop that is not vectorised is up to ten times slower. Needs -fopenmp-simd.
#define CHANNELS _Pragma("omp simd") for (int c = 0; c < C; c++)
#define INLINE static inline __attribute__((always_inline))  // so that the activation is a constant in each loop

#include "activations.h"

#ifdef DOUBLE
#define REAL_MAX DBL_MAX
#else
#define REAL_MAX FLT_MAX
#endif

// The pooled position of input pixel (i, j) and which of its four it is.
#define POOLED(i, j) (((long)n * h + (i) / 2) * w + (j) / 2)
#define CORNER(i, j) (((i) & 1) * 2 + ((j) & 1))

// Sums over rows: at most about CHUNK rows are added up in REAL, then into doubles. Added up in one go, half a million
// floats lose four digits, and with them which side of a kink a value falls on.
#define CHUNK 64
static inline void flush(REAL *restrict part, double *restrict sum, long n) {
#pragma omp simd
  for (long c = 0; c < n; c++) { sum[c] += part[c]; part[c] = 0; }
}

// What backward and double backward have of each pixel: its row, its gradient gy (where pooled: at the winning corner
// only), and gz = f'(z) gy.
#define GZ(out)                                                                        \
  {                                                                                    \
    REAL z = p[c] * a[c] + b[c], f1 = slope(act, z);                                \
    out = pool ? (k[c] == me ? f1 * g[c] : 0) : f1 * g[c];                             \
  }
#define EACH_LINE                                                                      \
  for (int n = 0; n < N; n++)                                                          \
    for (int i = 0; i < H; i++)
#define EACH_PIXEL EACH_LINE for (int j = 0; j < W; j++)
#define PIXEL                                                                          \
  long row = ((long)n * H + i) * W + j, at = pool ? POOLED(i, j) : row;                \
  const REAL *p = x + row * C, *restrict g = gy + at * C;                     \
  const uint8_t *restrict k = pool ? corner + at * C : 0;                              \
  int me = CORNER(i, j);                                                               \
  (void)me; (void)k;
// Add up `rows` sums over all pixels: what is given adds one channel of one pixel to `parts`, which go into `sums`.
#define SUMS(rows, ...)                                                                \
  {                                                                                    \
    long since = 0;                                                                    \
    EACH_LINE {                                                                        \
      for (int j = 0; j < W; j++) { PIXEL CHANNELS { __VA_ARGS__ } }                   \
      if ((since += W) >= CHUNK) { flush(parts, sums, (long)(rows) * C); since = 0; }  \
    }                                                                                  \
    flush(parts, sums, (long)(rows) * C);                                              \
  }

// One function for each activation, pooled and not, in which both are constants: so the loops above are specialised, and
// compiled in half the time that one function with all of them inlined takes.
#define NOINLINE static __attribute__((noinline))
#define BOTH(ACT, DO) DO(ACT, 0) DO(ACT, 1)
#define VARIANTS(DO) ACTIVATIONS(BOTH, DO)
#define TABLE_ROW(ACT, POOL) [ACT][POOL] = VARIANT(ACT, POOL),

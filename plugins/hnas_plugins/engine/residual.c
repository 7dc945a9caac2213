// Where two branches of a network meet: y = f(s), s = a + b, and back; T tasks of n numbers each. The last numbers of a
// loop, which fill no vector, may be rounded otherwise: one loop for each task, so none depends on the others.

#include "kernels.h"
#include "activations.h"

#define INLINE static inline __attribute__((always_inline))  // so that the activation is a constant in each loop

INLINE void forward(int act, const REAL *b, REAL *s, REAL *y, long n) {
#pragma omp simd
  for (long i = 0; i < n; i++) {
    s[i] = y[i] + b[i];
    y[i] = activate(act, s[i]);
  }
}
INLINE void backward(int act, const REAL *s, REAL *gy, REAL *gb, long n) {
#pragma omp simd
  for (long i = 0; i < n; i++) gb[i] = gy[i] = slope(act, s[i]) * gy[i];
}

#define CASE(ACT, DO) case ACT: DO(ACT); break;
#define SPECIALISE(DO) switch (act) { ACTIVATIONS(CASE, DO) }

// `y` holds a, and gets the result; `s` keeps the sum.
void join_forward(const REAL *b, REAL *s, REAL *y, int act, int T, long n) {
#define CALL(ACT) for (int t = 0; t < T; t++) forward(ACT, b + t * n, s + t * n, y + t * n, n)
  SPECIALISE(CALL)
#undef CALL
}

// `gy` holds the gradient of y, and gets that of a; `gb` gets that of b, which is the same.
void join_backward(const REAL *s, REAL *gy, REAL *gb, int act, int T, long n) {
#define CALL(ACT) for (int t = 0; t < T; t++) backward(ACT, s + t * n, gy + t * n, gb + t * n, n)
  SPECIALISE(CALL)
#undef CALL
}

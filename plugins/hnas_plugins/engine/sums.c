// Sums over tasks that do not depend on the order: each number is rounded to a multiple of one quantum, and so few of those
// are added up that the sums are exact, see exact_sum in hnas.toolkit.learning. Not for -ffast-math.

#include "kernels.h"

#define BLOCK 1024  // sums that stay in the first cache while all tasks are added

// x is [T][n]; adding `large` and subtracting it again rounds.
void exact_sum(const REAL *restrict x, double *restrict sums, int T, long n, double large) {
  for (long first = 0; first < n; first += BLOCK) {
    long last = first + BLOCK < n ? first + BLOCK : n;
    for (int t = 0; t < T; t++)
#pragma omp simd
      for (long i = first; i < last; i++) sums[i] = (t ? sums[i] : 0) + (x[t * n + i] + large - large);
  }
}

// What the files of the engine offer each other; each says what its own functions do.

#include <stdint.h>

#ifdef DOUBLE
typedef double REAL;
#else
typedef float REAL;
#endif

int norm_forward(const REAL *x, const REAL *gamma, const REAL *beta, REAL *y, uint8_t *corner, REAL *mean, REAL *rstd,
                 int G, int N, int H, int W, int C, int act, int pool, double eps);
int norm_backward(const REAL *gy, const REAL *x, const uint8_t *corner, const REAL *gamma, const REAL *beta,
                  const REAL *mean, const REAL *rstd, REAL *gx, REAL *dgamma, REAL *dbeta, int G, int N, int H, int W,
                  int C, int act, int pool);
int conv_forward(const REAL *x, const REAL *w, REAL *y, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
                 int Wo, long wt, long wo, long wy, long wx, long wc);
int conv_data(const REAL *gy, const REAL *w, REAL *gx, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
              int Wo, long wt, long wo, long wy, long wx, long wc);
int conv_weight(const REAL *x, const REAL *gy, REAL *w, int T, int N, int H, int W, int C, int O, int k, int s, int Ho,
                int Wo);
void join_forward(const REAL *b, REAL *s, REAL *y, int act, int T, long n);
void join_backward(const REAL *s, REAL *gy, REAL *gb, int act, int T, long n);

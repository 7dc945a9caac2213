/* How a chain of operations is timed. */
#ifndef BENCH_H
#define BENCH_H
#include "ops.h"

typedef struct {
    int samples;
    uint64_t sample_ns;                     /* a sample repeats the chain until it lasts this long */
    uint64_t limit_ns;                      /* no more samples after this time, but three at least */
    uint64_t warm_ns;                       /* warm-up of a chain, which is run three times at least */
    size_t flush;                           /* bytes written before each sample, of one run then, so that caches are cold */
} Plan;

/* Print the row of a chain; 0, or -1 where there is no memory (nothing is printed then). */
int bench(const char *id, const Op *chain, const Plan *plan, int core);
#endif

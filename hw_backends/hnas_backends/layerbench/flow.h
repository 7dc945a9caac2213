/* Which earlier results each operation of a network reads, and which buffer holds which result. */
#ifndef FLOW_H
#define FLOW_H
#include "ops.h"

/* Set `from`, `other` and `to` of each operation, as hnas.toolkit.dataflow says. The number of buffers, of which 0 is the
 * network's input; 0 where the operations do not fit, with the first that does not in `*wrong` (NULL: a branch that is
 * never joined); -1 where there is no memory. */
int flow(Op *first, const Op **wrong);
#endif

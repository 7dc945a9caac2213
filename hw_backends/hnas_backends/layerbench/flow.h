/* Which buffer holds which result of a network. */
#ifndef FLOW_H
#define FLOW_H
#include "ops.h"

/* Set `reads` and `to` of each operation. The number of buffers, of which 0 is the network's input; on failure 0, and
 * `error` says why. */
int flow(Op *first, char *error, size_t size);
#endif

/* See flow.h. Value 0 is the network's input, value n what the n-th operation gives. */
#include "flow.h"
#include <stdlib.h>

typedef struct { Map map; int last, buffer; } Value;        /* `last`: the operation, from 1, that reads it last */

static int takes(const Op *o, Map m) {
    if (o->kind == LINEAR) return count(m) == count(o->in);
    return m.c == o->in.c && m.h == o->in.h && m.w == o->in.w;
}

/* Find what each operation reads; 0, or the number of the first that fits nothing, or n + 1 for an open branch. */
static int connect(Op *first, int n, Value *values, int *waiting) {
    int open = 0, i = 1;
    values[0].map = first->in;
    for (Op *o = first; o; o = o->next, i++) {
        int read = i - 1;
        while (read >= 0 && !takes(o, values[read].map)) read--;
        if (read < 0) return i;
        if (read != i - 1) waiting[open++] = i - 1;
        o->from = read;
        o->other = o->kind == ADD && open && takes(o, values[waiting[open - 1]].map) ? waiting[--open] : -1;
        values[read].last = i;
        if (o->other >= 0) values[o->other].last = i;
        values[i].map = o->out;
        values[i].last = i;
    }
    return open ? n + 1 : 0;
}

/* Give each value the first buffer that holds nothing still to be read: for a chain, two in turn. */
static int place(Op *first, Value *values, int *held) {
    int buffers = 1, i = 1;
    for (Op *o = first; o; o = o->next, i++) {
        int b = 1;
        while (b < buffers && held[b] >= i) b++;
        if (b == buffers) buffers++;
        values[i].buffer = b;
        held[b] = o->next ? values[i].last : i;
        o->from = values[o->from].buffer;
        if (o->other >= 0) o->other = values[o->other].buffer;
        o->to = b;
    }
    return buffers;
}

int flow(Op *first, const Op **wrong) {
    int n = 0;
    for (Op *o = first; o; o = o->next) n++;
    Value *values = calloc(n + 1, sizeof *values);
    int *scratch = calloc(n + 2, sizeof *scratch), buffers = -1;
    if (values && scratch) {
        int bad = connect(first, n, values, scratch);
        buffers = 0;
        *wrong = NULL;
        if (bad) {
            if (bad <= n)
                for (*wrong = first; --bad;) *wrong = (*wrong)->next;
        } else {
            for (int i = 0; i < n + 2; i++) scratch[i] = 0;
            buffers = place(first, values, scratch);
        }
    }
    free(values);
    free(scratch);
    return buffers;
}

/* What the machine can do: copy memory in a stream, and look up bits at random places. */

#include <stdint.h>

void copy(uint64_t *to, const uint64_t *from, int64_t words) {
    #pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < words; i++) to[i] = from[i];
}

/* How many of the places, in any order, have their bit set. */
int64_t look_up(const uint32_t *words, const int32_t *places, int64_t many) {
    int64_t found = 0;
    #pragma omp parallel for schedule(static) reduction(+ : found)
    for (int64_t i = 0; i < many; i++) found += words[places[i] >> 5] >> (places[i] & 31) & 1;
    return found;
}

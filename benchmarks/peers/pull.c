/* The reference for the limit: flags packed 32 to a word, neighbours in one table for each degree, all agents looked at.
   Agents are numbered in the order of the tables. Compile with -O3 -march=native -fopenmp. */

#include <stdint.h>

enum { SUSCEPTIBLE, INFECTIOUS, RECOVERED };
enum { BLOCK = 1024 };

static inline uint32_t hashed(uint32_t x) { /* Wellons' lowbias32 */
    x ^= x >> 16; x *= 0x7feb352dU;
    x ^= x >> 15; x *= 0x846ca68bU;
    return x ^ (x >> 16);
}

static void pack(const uint8_t *stage, uint32_t *words, int64_t agents) {
    #pragma omp for schedule(static)
    for (int64_t word = 0; word < (agents + 31) / 32; word++) {
        uint32_t bits = 0;
        int64_t here = agents - 32 * word < 32 ? agents - 32 * word : 32;
        for (int64_t bit = 0; bit < here; bit++) bits |= (uint32_t)(stage[32 * word + bit] == INFECTIOUS) << bit;
        words[word] = bits;
    }
}

/* One class: agents [first, first + many) of one degree; rows is (degree, many). */
static void pull(uint8_t *stage, const uint32_t *words, const int32_t *rows, int64_t first, int64_t many, int degree,
                 const uint32_t *limits, uint32_t salt) {
    #pragma omp for schedule(static) nowait
    for (int64_t begin = 0; begin < many; begin += BLOCK) {
        int64_t here = many - begin < BLOCK ? many - begin : BLOCK;
        uint32_t around[BLOCK] = {0};
        for (int d = 0; d < degree; d++) {
            const int32_t *row = rows + (int64_t)d * many + begin;
            for (int64_t i = 0; i < here; i++) around[i] += words[row[i] >> 5] >> (row[i] & 31) & 1;
        }
        uint8_t *mine = stage + first + begin;
        for (int64_t i = 0; i < here; i++) {
            uint32_t draw = hashed((uint32_t)(first + begin + i) ^ salt);
            uint32_t limit = mine[i] == INFECTIOUS ? limits[0] : around[i] ? limits[around[i]] : 0;
            mine[i] += (mine[i] < RECOVERED) & (draw < limit);
        }
    }
}

/* Days of an epidemic; counts is (days, 2), susceptible and infectious at the end of each day. */
void simulate(uint8_t *stage, uint32_t *words, int64_t agents, const int32_t *rows, const int64_t *class_sizes,
              const int32_t *class_degrees, int classes, const uint32_t *limits, const uint32_t *salts, int days,
              int64_t *counts) {
    for (int day = 0; day < days; day++) {
        int64_t susceptible = 0, infectious = 0;
        #pragma omp parallel
        {
            pack(stage, words, agents);
            const int32_t *table = rows;
            int64_t first = 0;
            for (int c = 0; c < classes; c++) {
                pull(stage, words, table, first, class_sizes[c], class_degrees[c], limits, salts[day]);
                table += class_sizes[c] * class_degrees[c];
                first += class_sizes[c];
            }
            #pragma omp barrier
            #pragma omp for schedule(static) reduction(+ : susceptible, infectious)
            for (int64_t i = 0; i < agents; i++) {
                susceptible += stage[i] == SUSCEPTIBLE;
                infectious += stage[i] == INFECTIOUS;
            }
        }
        counts[2 * day] = susceptible;
        counts[2 * day + 1] = infectious;
    }
}

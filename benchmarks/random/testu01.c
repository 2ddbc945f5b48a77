/* TestU01 on the library's counter-based draws.
 *
 *   words = threefry2x32_R(key = (k0, k1), counter = (agent id, step))
 *
 * Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (2011), section 4.2.
 *
 *   testu01 check                              known answers of Random123, then exit
 *   testu01 words  DIRECTION ROUNDS N          print N words, to compare with another implementation
 *   testu01 small  DIRECTION ROUNDS            SmallCrush
 *   testu01 crush  DIRECTION ROUNDS [TEST...]  Crush, or the tests of Crush with these numbers
 *
 * DIRECTION is agents, steps or streams. Both words of a block are given one after the other.
 * SEED=n in the environment replaces the seed 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bbattery.h"
#include "swrite.h"
#include "unif01.h"

enum { LANES = 1024, KEY_ROUNDS = 20, CRUSH_TESTS = 96 };

static const uint32_t REALIZATION = 0, REALIZATION_TAG = 0x7265616c;
static const uint32_t STREAM_HASH = 0x243f6a88, DRAW_INDEX = 0, AGENT = 0, STEP = 0;

typedef enum { AGENTS, STEPS, STREAMS } Direction;

static Direction direction;
static int rounds;
static uint64_t next_block;
static uint32_t run_key[2], stream_key[2];
static uint32_t words[2 * LANES];
static int next_word = 2 * LANES;

/* Encrypts n counters (x0, x1) in place, each under its own key. Rounds outside, lanes inside: it vectorizes. */
static void threefry(int n_rounds, int n, const uint32_t *k0, const uint32_t *k1, uint32_t *x0, uint32_t *x1)
{
    static const int ROTATIONS[8] = {13, 15, 26, 6, 17, 29, 16, 24};
    for (int i = 0; i < n; i++) {
        x0[i] += k0[i];
        x1[i] += k1[i];
    }
    for (int round = 0; round < n_rounds; round++) {
        const int left = ROTATIONS[round % 8];
        for (int i = 0; i < n; i++) {
            x0[i] += x1[i];
            x1[i] = ((x1[i] << left) | (x1[i] >> (32 - left))) ^ x0[i];
        }
        if (round % 4 != 3)
            continue;
        const uint32_t injection = (uint32_t)(round + 1) / 4;
        for (int i = 0; i < n; i++) {
            const uint32_t schedule[3] = {k0[i], k1[i], k0[i] ^ k1[i] ^ 0x1BD11BDA};
            x0[i] += schedule[injection % 3];
            x1[i] += schedule[(injection + 1) % 3] + injection;
        }
    }
}

static void derive(const uint32_t key[2], uint32_t a, uint32_t b, uint32_t out[2])
{
    out[0] = a;
    out[1] = b;
    threefry(KEY_ROUNDS, 1, &key[0], &key[1], &out[0], &out[1]);
}

static void fill_keys_of_streams(uint32_t *k0, uint32_t *k1)
{
    uint32_t run0[LANES], run1[LANES];
    for (int i = 0; i < LANES; i++) {
        run0[i] = run_key[0];
        run1[i] = run_key[1];
        k0[i] = (uint32_t)(next_block + i);
        k1[i] = (uint32_t)((next_block + i) >> 32);
    }
    threefry(KEY_ROUNDS, LANES, run0, run1, k0, k1);
}

static void fill_words(void)
{
    uint32_t k0[LANES], k1[LANES], x0[LANES], x1[LANES];
    for (int i = 0; i < LANES; i++) {
        const uint64_t block = next_block + i;
        const uint32_t low = (uint32_t)block, high = (uint32_t)(block >> 32);
        k0[i] = stream_key[0];
        k1[i] = stream_key[1];
        x0[i] = direction == AGENTS ? low : direction == STEPS ? AGENT + high : AGENT;
        x1[i] = direction == AGENTS ? STEP + high : direction == STEPS ? low : STEP;
    }
    if (direction == STREAMS)
        fill_keys_of_streams(k0, k1);
    threefry(rounds, LANES, k0, k1, x0, x1);
    for (int i = 0; i < LANES; i++) {
        words[2 * i] = x0[i];
        words[2 * i + 1] = x1[i];
    }
    next_block += LANES;
    next_word = 0;
}

static unsigned int draw(void)
{
    if (next_word == 2 * LANES)
        fill_words();
    return words[next_word++];
}

/* The vectors published with Random123 (tests/kat_vectors), 13 and 20 rounds. */
static int check_known_answers(void)
{
    static const struct { int rounds; uint32_t counter[2], key[2], answer[2]; } KNOWN[] = {
        {13, {0, 0}, {0, 0}, {0x9d1c5ec6, 0x8bd50731}},
        {13, {0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0xfd36d048, 0x2d17272c}},
        {13, {0x243f6a88, 0x85a308d3}, {0x13198a2e, 0x03707344}, {0xba3e4725, 0xf27d669e}},
        {20, {0, 0}, {0, 0}, {0x6b200159, 0x99ba4efe}},
        {20, {0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x1cb996fc, 0xbb002be7}},
        {20, {0x243f6a88, 0x85a308d3}, {0x13198a2e, 0x03707344}, {0xc4923a9c, 0x483df7a0}},
    };
    const int n = sizeof KNOWN / sizeof KNOWN[0];
    for (int i = 0; i < n; i++) {
        uint32_t x[2] = {KNOWN[i].counter[0], KNOWN[i].counter[1]};
        threefry(KNOWN[i].rounds, 1, &KNOWN[i].key[0], &KNOWN[i].key[1], &x[0], &x[1]);
        if (memcmp(x, KNOWN[i].answer, sizeof x) != 0) {
            fprintf(stderr, "known answer %d (%d rounds): got %08x %08x, expected %08x %08x\n", i,
                    KNOWN[i].rounds, x[0], x[1], KNOWN[i].answer[0], KNOWN[i].answer[1]);
            return 1;
        }
    }
    printf("%d known answers of threefry2x32 reproduced\n", n);
    return 0;
}

/* Runs only the tests of Crush numbered in `tests`. */
static void run_some_of_crush(unif01_Gen *generator, int n_tests, char **tests)
{
    int repetitions[1 + CRUSH_TESTS] = {0};
    for (int i = 0; i < n_tests; i++) {
        const int test = atoi(tests[i]);
        if (test < 1 || test > CRUSH_TESTS) {
            fprintf(stderr, "Crush test %s: write a number from 1 to %d\n", tests[i], CRUSH_TESTS);
            exit(2);
        }
        repetitions[test] = 1;
    }
    bbattery_RepeatCrush(generator, repetitions);
}

static void run_battery(const char *suite, const char *direction_name, uint64_t seed, int n_tests, char **tests)
{
    char name[120];
    snprintf(name, sizeof name, "threefry2x32, %d rounds, along %s, seed %" PRIu64, rounds, direction_name, seed);
    setvbuf(stdout, NULL, _IOLBF, 0);
    swrite_Host = FALSE;
    unif01_Gen *generator = unif01_CreateExternGenBits(name, draw);
    if (strcmp(suite, "small") == 0)
        bbattery_SmallCrush(generator);
    else if (n_tests == 0)
        bbattery_Crush(generator);
    else
        run_some_of_crush(generator, n_tests, tests);
    unif01_DeleteExternGenBits(generator);
    printf("Blocks drawn: %" PRIu64 "\n", next_block);
}

static int usage(void)
{
    fputs("usage: testu01 check | words DIRECTION ROUNDS N | small DIRECTION ROUNDS | "
          "crush DIRECTION ROUNDS [TEST...]\n"
          "       DIRECTION is agents, steps or streams; ROUNDS is 1 to 20\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const char *DIRECTIONS[] = {"agents", "steps", "streams"};
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return check_known_answers();
    if (argc < 4)
        return usage();
    while (strcmp(DIRECTIONS[direction], argv[2]) != 0)
        if (++direction > STREAMS)
            return usage();
    rounds = atoi(argv[3]);
    const uint64_t seed = getenv("SEED") != NULL ? strtoull(getenv("SEED"), NULL, 10) : 1;
    if (rounds < 1 || rounds > 20)
        return usage();

    const uint32_t seed_words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    derive(seed_words, REALIZATION, REALIZATION_TAG, run_key);
    derive(run_key, STREAM_HASH, DRAW_INDEX, stream_key);

    if (argc == 5 && strcmp(argv[1], "words") == 0)
        for (long n = atol(argv[4]); n > 0; n--)
            printf("%08x\n", draw());
    else if ((argc == 4 && strcmp(argv[1], "small") == 0) || strcmp(argv[1], "crush") == 0)
        run_battery(argv[1], argv[2], seed, argc - 4, argv + 4);
    else
        return usage();
    return 0;
}

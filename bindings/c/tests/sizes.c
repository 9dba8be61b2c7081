/* Prints what a detector needs: bytes of the object, of the arena and of stack. The program is linked with
 * `model.h`, and reads `recording.pcm`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "wakeling.h"

/* Bytes of stack that are painted, below those in use. */
#define PAINTED 24576u
#define PAINT 0xA5u

static wakeling_object object;
static uint8_t arena[65536];
static int16_t samples[16000];

/* Fills the stack below this function. */
static __attribute__((noinline)) void paint(void) {
    volatile uint8_t stack[PAINTED];
    size_t i;
    for (i = 0; i < PAINTED; i++) {
        stack[i] = PAINT;
    }
    __asm volatile("" : : "r"(stack) : "memory");
}

/* Counts the bytes that were written since. */
static __attribute__((noinline)) size_t depth(void) {
    volatile uint8_t stack[PAINTED];
    size_t i = 0;
    __asm volatile("" : : "r"(stack) : "memory");
    while (i < PAINTED && stack[i] == PAINT) {
        i++;
    }
    return PAINTED - i;
}

static int32_t ignore(void *context, const char *text, size_t bytes) {
    (void)context;
    (void)text;
    (void)bytes;
    return 0;
}

int main(void) {
    FILE *recording = fopen("recording.pcm", "rb");
    wakeling *detector = NULL;
    wakeling_info info = {0, 0, 0};
    size_t count = recording == NULL ? 0 : fread(samples, sizeof samples[0], 16000, recording);
    size_t loading, pushing;
    paint();
    if (wakeling_load(&object, sizeof object, model, MODEL_LENGTH, &detector) < 0 ||
        wakeling_start(detector, arena, sizeof arena) < 0) {
        return EXIT_FAILURE;
    }
    loading = depth();
    paint();
    if (wakeling_push(detector, samples, count) < 0 || wakeling_get_info(detector, &info) < 0) {
        return EXIT_FAILURE;
    }
    pushing = depth();
    paint();
    if (wakeling_push_lines(detector, samples, count, true, ignore, NULL) < 0) {
        return EXIT_FAILURE;
    }
    printf("object=%u arena=%u stack_load=%u stack_push=%u stack_lines=%u\n", (unsigned)wakeling_object_bytes(),
           (unsigned)info.arena_bytes, (unsigned)loading, (unsigned)pushing, (unsigned)depth());
    return EXIT_SUCCESS;
}

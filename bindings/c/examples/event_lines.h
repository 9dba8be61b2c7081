/* Event lines of a model over a recording, as the firmware prints them. Both examples share this. */
#ifndef EVENT_LINES_H
#define EVENT_LINES_H

#include <stdio.h>
#include <stdlib.h>

#include "wakeling.h"

/* Largest arena, in bytes; a model of the size M needs 12 KB. */
#define ARENA_BYTES 65536u
/* Samples of one block: 20 ms. The result does not depend on it. */
#define BLOCK_SAMPLES 320u

/* All memory of the detector. */
static wakeling_object object;
static uint8_t arena[ARENA_BYTES];

/* Ends the program with the text of an error. */
static void check(wakeling_status status) {
    if (status < 0) {
        printf("error %s\n", wakeling_status_text(status));
        exit(EXIT_FAILURE);
    }
}

static int32_t print(void *context, const char *text, size_t bytes) {
    (void)context;
    return fwrite(text, 1, bytes, stdout) == bytes ? 0 : -1;
}

/* Loads a model, starts, and prints the first line. */
static wakeling *begin(const void *model, size_t model_bytes) {
    wakeling *detector;
    check(wakeling_load(&object, sizeof object, model, model_bytes, &detector));
    check(wakeling_start(detector, arena, sizeof arena));
    check(wakeling_announce(detector, print, NULL));
    return detector;
}

#endif

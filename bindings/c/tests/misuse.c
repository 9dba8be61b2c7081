/* Calls every function with wrong arguments. The sanitizers end the program if memory is touched that is not
 * its own. `misuse MODEL.wkl` with a model of two keywords. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wakeling.h"

/* Checks that a call returns a status. */
#define EXPECT(status, call)                                                                     \
    do {                                                                                         \
        wakeling_status found = (call);                                                          \
        if (found != (status)) {                                                                 \
            fprintf(stderr, "%s: %s (%d)\n", #call, wakeling_status_text(found), (int)found);    \
            exit(EXIT_FAILURE);                                                                  \
        }                                                                                        \
    } while (0)
#define REQUIRE(condition)                                                                       \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                              \
            exit(EXIT_FAILURE);                                                                  \
        }                                                                                        \
    } while (0)

static uint64_t model[8192];
static size_t model_bytes;

static void load(int count, char **words) {
    FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
    REQUIRE(file != NULL);
    model_bytes = fread(model, 1, sizeof model, file);
    fclose(file);
    REQUIRE(model_bytes > 1000 && model_bytes < sizeof model);
}

/* Loading: pointers, sizes, alignment, damage. */
static void test_load(void) {
    /* On the heap, where the sanitizer sees each byte beyond the end. */
    size_t bytes = wakeling_object_bytes();
    char *memory = malloc(bytes);
    wakeling *object = (wakeling *)memory;
    unsigned char *copy = malloc(model_bytes + 8);
    size_t i;
    REQUIRE(memory != NULL && copy != NULL && bytes <= WAKELING_OBJECT_BYTES);
    EXPECT(WAKELING_STATUS_NULL, wakeling_load(memory, bytes, model, model_bytes, NULL));
    EXPECT(WAKELING_STATUS_NULL, wakeling_load(NULL, bytes, model, model_bytes, &object));
    REQUIRE(object == NULL);
    EXPECT(WAKELING_STATUS_NULL, wakeling_load(memory, bytes, NULL, model_bytes, &object));
    EXPECT(WAKELING_STATUS_OBJECT_SIZE, wakeling_load(memory, bytes - 1, model, model_bytes, &object));
    EXPECT(WAKELING_STATUS_OBJECT_ALIGNMENT, wakeling_load(memory + 1, bytes, model, model_bytes, &object));
    EXPECT(WAKELING_STATUS_COUNT, wakeling_load(memory, bytes, model, SIZE_MAX, &object));
    EXPECT(WAKELING_STATUS_MODEL_TRUNCATED, wakeling_load(memory, bytes, model, 0, &object));
    EXPECT(WAKELING_STATUS_MODEL_TRUNCATED, wakeling_load(memory, bytes, model, model_bytes - 1, &object));
    memcpy(copy + 1, model, model_bytes);
    EXPECT(WAKELING_STATUS_MODEL_ALIGNMENT, wakeling_load(memory, bytes, copy + 1, model_bytes, &object));
    memcpy(copy, model, model_bytes);
    for (i = 0; i < model_bytes; i += 7) {
        copy[i] ^= 4;
        REQUIRE(wakeling_load(memory, bytes, copy, model_bytes, &object) <= WAKELING_STATUS_MODEL_TRUNCATED);
        REQUIRE(object == NULL);
        EXPECT(WAKELING_STATUS_NOT_LOADED, wakeling_push((wakeling *)memory, NULL, 0));
        copy[i] ^= 4;
    }
    copy[0] = 'X';
    EXPECT(WAKELING_STATUS_MODEL_MAGIC, wakeling_load(memory, bytes, copy, model_bytes, &object));
    EXPECT(WAKELING_STATUS_OK, wakeling_load(memory, bytes, model, model_bytes, &object));
    REQUIRE((char *)object == memory);
    free(copy);
    free(memory);
}

static int calls;

/* A callback that uses the object that calls it. */
static void reenter(void *context, const wakeling_detection *detection) {
    wakeling_detection other;
    EXPECT(WAKELING_STATUS_BUSY, wakeling_push(context, NULL, 0));
    EXPECT(WAKELING_STATUS_BUSY, wakeling_poll(context, &other));
    EXPECT(WAKELING_STATUS_BUSY, wakeling_reset(context));
    REQUIRE(detection->keyword < 2 && detection->level >= WAKELING_LEVEL_THRESHOLD);
    calls++;
}

static int32_t refuse(void *context, const char *text, size_t bytes) {
    (void)context;
    REQUIRE(text != NULL && bytes > 0);
    return 7;
}

static int32_t accept(void *context, const char *text, size_t bytes) {
    (void)text;
    *(size_t *)context += bytes;
    return 0;
}

/* The rest, on a loaded model. */
static void test_object(void) {
    static wakeling_object memory;
    static int16_t samples[16000 * 20 + 1];
    wakeling *object = (wakeling *)&memory;
    wakeling_info info;
    wakeling_detection detection, first;
    wakeling_score score;
    wakeling_operating_point point;
    wakeling_microphone health;
    int16_t threshold;
    uint64_t position;
    char label[16];
    char *arena;
    size_t i, written = 0;
    uint32_t noise = 1;

    /* Zeroed memory is no object. */
    EXPECT(WAKELING_STATUS_NOT_LOADED, wakeling_push(object, samples, 1));
    EXPECT(WAKELING_STATUS_NULL, wakeling_push(NULL, samples, 1));
    EXPECT(WAKELING_STATUS_OBJECT_ALIGNMENT, wakeling_push((wakeling *)((char *)object + 4), samples, 1));
    EXPECT(WAKELING_STATUS_OK, wakeling_load(&memory, sizeof memory, model, model_bytes, &object));

    EXPECT(WAKELING_STATUS_NULL, wakeling_get_info(object, NULL));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_info(object, &info));
    REQUIRE(info.keywords == 2 && info.step_samples == 320);
    EXPECT(WAKELING_STATUS_NULL, wakeling_get_label(object, 0, NULL, 9));
    EXPECT(WAKELING_STATUS_TEXT_SIZE, wakeling_get_label(object, 0, label, 0));
    EXPECT(WAKELING_STATUS_TEXT_SIZE, wakeling_get_label(object, 0, label, 12));
    REQUIRE(strcmp(label, "hey wakelin") == 0);
    EXPECT(WAKELING_STATUS_OK, wakeling_get_label(object, 0, label, 13));
    REQUIRE(strcmp(label, "hey wakeling") == 0);
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_get_label(object, 2, label, sizeof label));
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_get_label(object, UINT32_MAX, label, sizeof label));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_name(object, label, sizeof label));
    REQUIRE(strcmp(label, "random") == 0);

    /* Nothing runs before the start. */
    EXPECT(WAKELING_STATUS_NOT_STARTED, wakeling_push(object, samples, 1));
    EXPECT(WAKELING_STATUS_NOT_STARTED, wakeling_reset(object));
    EXPECT(WAKELING_STATUS_NOT_STARTED, wakeling_get_samples(object, &position));
    EXPECT(WAKELING_STATUS_NO_DETECTION, wakeling_poll(object, &detection));
    arena = malloc(info.arena_bytes);
    REQUIRE(arena != NULL);
    EXPECT(WAKELING_STATUS_NULL, wakeling_start(object, NULL, info.arena_bytes));
    EXPECT(WAKELING_STATUS_ARENA_SIZE, wakeling_start(object, arena, info.arena_bytes - 1));
    EXPECT(WAKELING_STATUS_ARENA_SIZE, wakeling_start(object, arena, 0));
    EXPECT(WAKELING_STATUS_COUNT, wakeling_start(object, arena, SIZE_MAX));
    EXPECT(WAKELING_STATUS_NOT_STARTED, wakeling_push(object, samples, 1));
    EXPECT(WAKELING_STATUS_OK, wakeling_start(object, arena, info.arena_bytes));

    for (i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        noise = noise * 1664525u + 1013904223u;
        samples[i] = (int16_t)((int32_t)(noise >> 17) - 16384);
    }
    EXPECT(WAKELING_STATUS_OK, wakeling_push(object, NULL, 0));
    EXPECT(WAKELING_STATUS_NULL, wakeling_push(object, NULL, 1));
    EXPECT(WAKELING_STATUS_COUNT, wakeling_push(object, samples, SIZE_MAX));
    EXPECT(WAKELING_STATUS_COUNT, wakeling_push(object, samples, SIZE_MAX / 2));
    EXPECT(WAKELING_STATUS_SAMPLE_ALIGNMENT,
           wakeling_push(object, (const int16_t *)((const char *)samples + 1), 1));
    EXPECT(WAKELING_STATUS_NULL, wakeling_push_callback(object, samples, 1, NULL, NULL));
    EXPECT(WAKELING_STATUS_NULL, wakeling_push_lines(object, samples, 1, true, NULL, NULL));
    EXPECT(WAKELING_STATUS_NULL, wakeling_announce(object, NULL, NULL));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_samples(object, &position));
    REQUIRE(position == 0);

    /* Thresholds and sensitivities. */
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_set_threshold(object, 2, 0));
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_get_threshold(object, 2, &threshold));
    EXPECT(WAKELING_STATUS_NULL, wakeling_get_threshold(object, 0, NULL));
    EXPECT(WAKELING_STATUS_SENSITIVITY, wakeling_set_sensitivity(object, 3));
    EXPECT(WAKELING_STATUS_SENSITIVITY, wakeling_set_sensitivity(object, -1));
    EXPECT(WAKELING_STATUS_OK, wakeling_set_sensitivity(object, WAKELING_SENSITIVITY_STRICT));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_threshold(object, 1, &threshold));
    REQUIRE(threshold == 768);
    EXPECT(WAKELING_STATUS_OK, wakeling_get_operating_point(object, 1, 0, &point));
    REQUIRE(point.false_accepts == 3 && point.audio_seconds == 7200 && point.threshold == 512);
    EXPECT(WAKELING_STATUS_POINT, wakeling_get_operating_point(object, 1, 1, &point));
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_get_operating_point(object, 9, 0, &point));
    EXPECT(WAKELING_STATUS_KEYWORD, wakeling_get_score(object, 2, &score));
    EXPECT(WAKELING_STATUS_NULL, wakeling_get_score(object, 0, NULL));

    /* Every step above the least threshold is detected, at most one in the refractory period. */
    for (i = 0; i < 2; i++) {
        EXPECT(WAKELING_STATUS_OK, wakeling_set_threshold(object, (uint32_t)i, INT16_MIN));
    }
    EXPECT(WAKELING_STATUS_OK, wakeling_push(object, samples, 16000));
    EXPECT(WAKELING_STATUS_NULL, wakeling_poll(object, NULL));
    EXPECT(WAKELING_STATUS_OK, wakeling_poll(object, &first));
    EXPECT(WAKELING_STATUS_OK, wakeling_poll(object, &detection));
    EXPECT(WAKELING_STATUS_NO_DETECTION, wakeling_poll(object, &detection));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_score(object, 0, &score));
    REQUIRE(score.level >= WAKELING_LEVEL_THRESHOLD && score.smoothed != 0);
    EXPECT(WAKELING_STATUS_OK, wakeling_get_samples(object, &position));
    REQUIRE(position == 16000);

    /* A reset starts again, with the thresholds that were set. */
    EXPECT(WAKELING_STATUS_OK, wakeling_reset(object));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_samples(object, &position));
    REQUIRE(position == 0);
    EXPECT(WAKELING_STATUS_OK, wakeling_push(object, samples, 16000));
    EXPECT(WAKELING_STATUS_OK, wakeling_poll(object, &detection));
    REQUIRE(detection.end_samples == first.end_samples && detection.logit == first.logit);

    /* A full queue keeps the newest. */
    EXPECT(WAKELING_STATUS_QUEUE_FULL, wakeling_push(object, samples, 16000 * 20));
    for (i = 0; wakeling_poll(object, &detection) == WAKELING_STATUS_OK; i++) {
    }
    REQUIRE(i == WAKELING_QUEUE_DETECTIONS && detection.end_samples > 16000 * 19);

    /* Callbacks. */
    EXPECT(WAKELING_STATUS_OK, wakeling_push_callback(object, samples, 16000 * 4, reenter, object));
    REQUIRE(calls > 2);
    EXPECT(WAKELING_STATUS_NO_DETECTION, wakeling_poll(object, &detection));
    EXPECT(WAKELING_STATUS_WRITE, wakeling_announce(object, refuse, NULL));
    EXPECT(WAKELING_STATUS_WRITE, wakeling_push_lines(object, samples, 16000, true, refuse, NULL));
    EXPECT(WAKELING_STATUS_OK, wakeling_push_lines(object, samples, 16000, true, accept, &written));
    REQUIRE(written > 500);

    /* Two seconds of one value. */
    EXPECT(WAKELING_STATUS_OK, wakeling_reset(object));
    memset(samples, 0, sizeof samples);
    EXPECT(WAKELING_STATUS_OK, wakeling_get_microphone(object, &health));
    REQUIRE(health == WAKELING_MICROPHONE_GOOD);
    EXPECT(WAKELING_STATUS_OK, wakeling_push(object, samples, 32000));
    EXPECT(WAKELING_STATUS_OK, wakeling_get_microphone(object, &health));
    REQUIRE(health == WAKELING_MICROPHONE_STUCK);

    /* A failed load leaves no object behind. */
    EXPECT(WAKELING_STATUS_MODEL_TRUNCATED, wakeling_load(&memory, sizeof memory, model, 3, &object));
    EXPECT(WAKELING_STATUS_NOT_LOADED, wakeling_push((wakeling *)&memory, samples, 1));
    free(arena);
}

int main(int count, char **words) {
    int status;
    load(count, words);
    for (status = -100; status < 100; status++) {
        REQUIRE(strlen(wakeling_status_text(status)) > 5);
    }
    REQUIRE(strcmp(wakeling_status_text(99), "unknown status") == 0);
    REQUIRE(strchr(wakeling_version(), '.') != NULL);
    test_load();
    test_object();
    return EXIT_SUCCESS;
}

/* Wakeling: wake words on microcontrollers.
 *
 * docs/guide/c.md describes the interface. Every function returns a status and checks its arguments. None
 * allocates memory, none waits, and none ends the program. An object may be used by one thread or interrupt at
 * a time; objects are independent of each other.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef WAKELING_H
#define WAKELING_H

/* Written by cbindgen from bindings/c/src; do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX > 0xFFFFFFFFu
#define WAKELING_64_BIT
#else
#define WAKELING_32_BIT
#endif

// Samples per second. Sound is mono, 16 bits.
#define WAKELING_SAMPLE_RATE_HZ 16000

// Alignment of a model's first byte.
#define WAKELING_MODEL_ALIGNMENT 4

// Alignment of the memory for an object.
#define WAKELING_OBJECT_ALIGNMENT 8

#if defined(WAKELING_32_BIT)
// Memory for an object, in words of 64 bits.
#define WAKELING_OBJECT_WORDS 1536
#endif

#if defined(WAKELING_64_BIT)
// Memory for an object, in words of 64 bits.
#define WAKELING_OBJECT_WORDS 2048
#endif

// Memory for an object, in bytes. The object itself may be smaller: `wakeling_object_bytes()`.
#define WAKELING_OBJECT_BYTES (WAKELING_OBJECT_WORDS * 8)

// Largest number of keywords in a model.
#define WAKELING_MAX_KEYWORDS 16

// Number of detections that can wait for `wakeling_poll`.
#define WAKELING_QUEUE_DETECTIONS 16

// Level of a keyword's threshold, in tenths.
#define WAKELING_LEVEL_THRESHOLD 500

// Result of a function. Zero and positive values are no errors.
enum wakeling_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Success.
    WAKELING_STATUS_OK = 0,
    // No detection is waiting.
    WAKELING_STATUS_NO_DETECTION = 1,
    // A pointer is null.
    WAKELING_STATUS_NULL = -1,
    // The memory for the object is shorter than `wakeling_object_bytes()`.
    WAKELING_STATUS_OBJECT_SIZE = -2,
    // The memory for the object is not at a multiple of `WAKELING_OBJECT_ALIGNMENT`.
    WAKELING_STATUS_OBJECT_ALIGNMENT = -3,
    // The object holds no loaded model.
    WAKELING_STATUS_NOT_LOADED = -4,
    // `wakeling_start` was not called, or failed.
    WAKELING_STATUS_NOT_STARTED = -5,
    // A callback called a function on the object that is calling it.
    WAKELING_STATUS_BUSY = -6,
    // The arena is shorter than `wakeling_info.arena_bytes`.
    WAKELING_STATUS_ARENA_SIZE = -7,
    // A count of samples or bytes is larger than memory can be.
    WAKELING_STATUS_COUNT = -8,
    // The model has no keyword with this index.
    WAKELING_STATUS_KEYWORD = -9,
    // The keyword has no operating point with this index.
    WAKELING_STATUS_POINT = -10,
    // The sensitivity is no value of `wakeling_sensitivity`.
    WAKELING_STATUS_SENSITIVITY = -11,
    // The text does not fit. The buffer holds its first part, and a terminating zero.
    WAKELING_STATUS_TEXT_SIZE = -12,
    // More detections were waiting than the queue holds, and the oldest were dropped.
    WAKELING_STATUS_QUEUE_FULL = -13,
    // The callback for event lines returned an error. The samples after the line were not
    // processed as a whole; call `wakeling_reset`.
    WAKELING_STATUS_WRITE = -14,
    // The samples are not at an even address.
    WAKELING_STATUS_SAMPLE_ALIGNMENT = -15,
    // The model has fewer bytes than its header names.
    WAKELING_STATUS_MODEL_TRUNCATED = -32,
    // The bytes are no Wakeling model.
    WAKELING_STATUS_MODEL_MAGIC = -33,
    // The model has a format version that this library does not read.
    WAKELING_STATUS_MODEL_VERSION = -34,
    // The model has a flag that this library does not define, such as a signature.
    WAKELING_STATUS_MODEL_FLAGS = -35,
    // The model is for images, not for sound.
    WAKELING_STATUS_MODEL_KIND = -36,
    // The model is not at a multiple of `WAKELING_MODEL_ALIGNMENT`.
    WAKELING_STATUS_MODEL_ALIGNMENT = -37,
    // The model is damaged: checksum and content disagree.
    WAKELING_STATUS_MODEL_CHECKSUM = -38,
    // The description inside the model cannot be read.
    WAKELING_STATUS_MODEL_DESCRIPTION = -39,
    // The values of the model contradict each other.
    WAKELING_STATUS_MODEL_SHAPE = -40,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum wakeling_status wakeling_status;
#else
typedef int32_t wakeling_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Health of the microphone, judged every two seconds of sound.
enum wakeling_microphone
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // No problem found.
    WAKELING_MICROPHONE_GOOD = 0,
    // One value for the whole period: a wire is off, or the driver delivers nothing.
    WAKELING_MICROPHONE_STUCK = 1,
    // More than one sample in 32 is at the end of the scale: reduce the gain.
    WAKELING_MICROPHONE_CLIPPING = 2,
    // The mean is far from zero: remove the offset.
    WAKELING_MICROPHONE_OFFSET = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum wakeling_microphone wakeling_microphone;
#else
typedef int32_t wakeling_microphone;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Named sensitivity, as `wakeling simulate --sensitivity` has it.
enum wakeling_sensitivity
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Fewest false accepts, most misses.
    WAKELING_SENSITIVITY_STRICT = 0,
    // The model's own thresholds.
    WAKELING_SENSITIVITY_NORMAL = 1,
    // Fewest misses, more false accepts.
    WAKELING_SENSITIVITY_EAGER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum wakeling_sensitivity wakeling_sensitivity;
#else
typedef int32_t wakeling_sensitivity;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A loaded model and the state of detection with it.
typedef struct wakeling wakeling;

// Properties of a loaded model.
typedef struct wakeling_info {
    // Bytes of memory that `wakeling_start` needs.
    size_t arena_bytes;
    // Number of keywords, 1 to `WAKELING_MAX_KEYWORDS`.
    uint32_t keywords;
    // Number of samples between two inference steps.
    uint32_t step_samples;
} wakeling_info;

// A detected keyword.
typedef struct wakeling_detection {
    // End of the deciding step, in samples since the start or the last reset.
    uint64_t end_samples;
    // Index of the keyword.
    uint32_t keyword;
    // Probability that corresponds to the smoothed logit: 65,536 times a value of 0 to 1.
    uint16_t score;
    // Level in tenths, 0 to 1,000; the threshold is at `WAKELING_LEVEL_THRESHOLD`.
    uint16_t level;
    // Smoothed logit, 256 times log-odds.
    int16_t logit;
} wakeling_detection;

// Callback for a detection. It must return normally, and must not use the object that calls it.
typedef void (*wakeling_on_detection)(void *context, const struct wakeling_detection *detection);

// Callback for a part of an event line: `bytes` bytes at `text`, without a terminating zero. It
// returns 0, or another value if it failed. It must return normally, and must not use the object
// that calls it.
typedef int32_t (*wakeling_on_text)(void *context, const char *text, size_t bytes);

// Score of a keyword at the last inference step.
typedef struct wakeling_score {
    // Output of the network, 256 times log-odds.
    int16_t logit;
    // Mean over the smoothing window, 256 times log-odds. It is compared with the threshold.
    int16_t smoothed;
    // Probability that corresponds to `smoothed`: 65,536 times a value of 0 to 1.
    uint16_t score;
    // Level of `smoothed` in tenths, 0 to 1,000; the threshold is at `WAKELING_LEVEL_THRESHOLD`.
    uint16_t level;
} wakeling_score;

// One row of a keyword's table of false accepts.
typedef struct wakeling_operating_point {
    // Number of false accepts at this threshold.
    uint32_t false_accepts;
    // Seconds of audio without the keyword in which they were counted.
    uint32_t audio_seconds;
    // Threshold, 256 times log-odds.
    int16_t threshold;
} wakeling_operating_point;

// Memory for an object, of the right size and alignment. A static one is a good place; its content
// is private. It must not be moved or copied after `wakeling_load`.
typedef struct wakeling_object {
    // Private.
    uint64_t words[WAKELING_OBJECT_WORDS];
} wakeling_object;



#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the library, such as `0.1.0`.
const char *wakeling_version(void);

// English text of a status. Never null.
const char *wakeling_status_text(int32_t status);

// Number of bytes that `wakeling_load` needs for an object, at most `WAKELING_OBJECT_BYTES`.
size_t wakeling_object_bytes(void);

// Checks a model and loads it into the memory for an object, whatever that held before.
//
// `memory`: `memory_bytes` bytes, aligned to `WAKELING_OBJECT_ALIGNMENT`; a `wakeling_object` has
// both. It belongs to the object from then on and must not be moved, copied or freed while it is
// used. Nothing needs to be released at the end.
// `model`: `model_bytes` bytes of a model file, aligned to `WAKELING_MODEL_ALIGNMENT`. They are not
// copied, and must stay as they are; flash is a good place. Bytes after the model are ignored.
// `out`: receives the object, or null at an error.
//
// # Safety
// `memory`, `model` and `out` must each be null or point to as many bytes as stated.
wakeling_status wakeling_load(void *memory,
                              size_t memory_bytes,
                              const void *model,
                              size_t model_bytes,
                              struct wakeling **out);

// Writes the properties of the loaded model to `info`.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `info` null or writable.
wakeling_status wakeling_get_info(struct wakeling *object, struct wakeling_info *info);

// Copies the name of the model to `text`, with a terminating zero: UTF-8, at most `bytes` bytes.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `text` null or `bytes` writable bytes.
wakeling_status wakeling_get_name(struct wakeling *object, char *text, size_t bytes);

// Copies the label of a keyword to `text`, with a terminating zero: UTF-8, at most `bytes` bytes.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `text` null or `bytes` writable bytes.
wakeling_status wakeling_get_label(struct wakeling *object,
                                   uint32_t keyword,
                                   char *text,
                                   size_t bytes);

// Starts detection at sample 0.
//
// `arena`: `arena_bytes` bytes, at least as many as `wakeling_info.arena_bytes`, at any address. They
// belong to the object until it is loaded again or started with another arena.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `arena` null or `arena_bytes` writable bytes.
wakeling_status wakeling_start(struct wakeling *object,
                               void *arena,
                               size_t arena_bytes);

// Starts again at sample 0, as after `wakeling_start`. Thresholds stay as they were set.
//
// # Safety
// `object` must be null or from `wakeling_load`, and its arena still there.
wakeling_status wakeling_reset(struct wakeling *object);

// Processes `count` samples, 16 kHz mono; any number. Detections then wait for `wakeling_poll`.
// The result does not depend on how sound is divided into blocks.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `samples` null or `count` readable samples.
wakeling_status wakeling_push(struct wakeling *object, const int16_t *samples, size_t count);

// Takes the oldest waiting detection. Returns `WAKELING_STATUS_NO_DETECTION` if none is waiting.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `detection` null or writable.
wakeling_status wakeling_poll(struct wakeling *object, struct wakeling_detection *detection);

// Processes samples as `wakeling_push` does, but calls `on_detection` instead of queueing.
//
// # Safety
// As `wakeling_push`. `on_detection` must be null or a function that takes `context`.
wakeling_status wakeling_push_callback(struct wakeling *object,
                                       const int16_t *samples,
                                       size_t count,
                                       wakeling_on_detection on_detection,
                                       void *context);

// Passes the line that names the model and its keywords to `on_text`, as a device prints it first.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `on_text` null or a function that takes
// `context`.
wakeling_status wakeling_announce(struct wakeling *object, wakeling_on_text on_text, void *context);

// Processes samples as `wakeling_push` does, and passes the event lines of a device to `on_text`:
// detections, changes of the microphone's health and, if `with_scores`, every inference step. The
// firmware and the laptop's simulator print the same bytes. A line may come in several parts.
// Detections are queued as well.
//
// # Safety
// As `wakeling_push`. `on_text` must be null or a function that takes `context`.
wakeling_status wakeling_push_lines(struct wakeling *object,
                                    const int16_t *samples,
                                    size_t count,
                                    bool with_scores,
                                    wakeling_on_text on_text,
                                    void *context);

// Writes the score of a keyword at the last inference step to `score`; zeros before the first.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `score` null or writable.
wakeling_status wakeling_get_score(struct wakeling *object,
                                   uint32_t keyword,
                                   struct wakeling_score *score);

// Writes the number of samples since the start or the last reset to `samples`.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `samples` null or writable.
wakeling_status wakeling_get_samples(struct wakeling *object, uint64_t *samples);

// Writes the health of the microphone to `health`, a value of `wakeling_microphone`.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `health` null or writable.
wakeling_status wakeling_get_microphone(struct wakeling *object, wakeling_microphone *health);

// Writes the threshold of a keyword to `threshold`, 256 times log-odds.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `threshold` null or writable.
wakeling_status wakeling_get_threshold(struct wakeling *object,
                                       uint32_t keyword,
                                       int16_t *threshold);

// Sets the threshold of a keyword, 256 times log-odds, before or after the start. It stays in force
// until the model is loaded again.
//
// # Safety
// `object` must be null or from `wakeling_load`.
wakeling_status wakeling_set_threshold(struct wakeling *object,
                                       uint32_t keyword,
                                       int16_t threshold);

// Sets the thresholds of all keywords to a value of `wakeling_sensitivity`, as
// `wakeling simulate --sensitivity` does.
//
// # Safety
// `object` must be null or from `wakeling_load`.
wakeling_status wakeling_set_sensitivity(struct wakeling *object, int32_t sensitivity);

// Writes row `index` of a keyword's table of false accepts to `point`, strictest first. Returns
// `WAKELING_STATUS_POINT` after the last one.
//
// # Safety
// `object` must be null or from `wakeling_load`, and `point` null or writable.
wakeling_status wakeling_get_operating_point(struct wakeling *object,
                                             uint32_t keyword,
                                             uint32_t index,
                                             struct wakeling_operating_point *point);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* WAKELING_H */

/* Prints what a model detects in a WAV file: `detect MODEL.wkl SOUND.wav`, or the event lines of a device with
 * a third word: `detect MODEL.wkl SOUND.wav lines`. */
#include <string.h>

#include "../event_lines.h"

/* Largest model file that this program takes. */
#define MODEL_BYTES (4u << 20)

/* A model has to be aligned, which an array of words is. */
static uint32_t model[MODEL_BYTES / sizeof(uint32_t)];

static void fail(const char *path, const char *problem) {
    fprintf(stderr, "%s: %s\n", path, problem);
    exit(EXIT_FAILURE);
}

static uint32_t little_endian(const uint8_t *bytes, size_t count) {
    uint32_t value = 0;
    while (count-- > 0) {
        value = value << 8 | bytes[count];
    }
    return value;
}

/* Skips to the samples of a WAV file of 16 kHz, mono, 16 bits. Returns their number. */
static uint32_t open_samples(FILE *file, const char *path) {
    uint8_t head[12], chunk[8], format[16];
    int is_right = 0;
    if (fread(head, 1, sizeof head, file) != sizeof head || memcmp(head, "RIFF", 4) != 0 ||
        memcmp(head + 8, "WAVE", 4) != 0) {
        fail(path, "no WAV file");
    }
    while (fread(chunk, 1, sizeof chunk, file) == sizeof chunk) {
        uint32_t bytes = little_endian(chunk + 4, 4);
        if (memcmp(chunk, "data", 4) == 0) {
            if (!is_right) {
                fail(path, "16 kHz, mono and 16 bits are needed");
            }
            return bytes / 2;
        }
        if (memcmp(chunk, "fmt ", 4) == 0) {
            if (bytes < sizeof format || fread(format, 1, sizeof format, file) != sizeof format) {
                fail(path, "the format is truncated");
            }
            is_right = little_endian(format, 2) == 1 && little_endian(format + 2, 2) == 1 &&
                       little_endian(format + 4, 4) == WAKELING_SAMPLE_RATE_HZ &&
                       little_endian(format + 14, 2) == 16;
            bytes -= (uint32_t)sizeof format;
        }
        if (bytes > 0x7FFFFFFEu || fseek(file, (long)(bytes + (bytes & 1)), SEEK_CUR) != 0) {
            fail(path, "a chunk is truncated");
        }
    }
    fail(path, "it has no samples");
    return 0;
}

static void print_detections(wakeling *detector) {
    wakeling_detection detection;
    char label[64];
    while (wakeling_poll(detector, &detection) == WAKELING_STATUS_OK) {
        check(wakeling_get_label(detector, detection.keyword, label, sizeof label));
        printf("%.3f s  level %u.%u  %s\n", (double)detection.end_samples / WAKELING_SAMPLE_RATE_HZ,
               detection.level / 10u, detection.level % 10u, label);
    }
}

int main(int count, char **words) {
    static uint8_t bytes[2 * BLOCK_SAMPLES];
    static int16_t block[BLOCK_SAMPLES];
    int has_lines = count == 4 && strcmp(words[3], "lines") == 0;
    wakeling *detector;
    uint32_t left;
    size_t model_bytes;
    FILE *file;
    if (count != 3 && !has_lines) {
        fprintf(stderr, "usage: detect MODEL.wkl SOUND.wav [lines]\n");
        return EXIT_FAILURE;
    }
    file = fopen(words[1], "rb");
    if (file == NULL) {
        fail(words[1], "cannot be opened");
    }
    model_bytes = fread(model, 1, sizeof model, file);
    fclose(file);
    if (has_lines) {
        detector = begin(model, model_bytes);
    } else {
        check(wakeling_load(&object, sizeof object, model, model_bytes, &detector));
        check(wakeling_start(detector, arena, sizeof arena));
    }

    file = fopen(words[2], "rb");
    if (file == NULL) {
        fail(words[2], "cannot be opened");
    }
    left = open_samples(file, words[2]);
    while (left > 0) {
        size_t wanted = left < BLOCK_SAMPLES ? left : BLOCK_SAMPLES;
        size_t read = fread(bytes, 2, wanted, file);
        size_t i;
        if (read == 0) {
            fail(words[2], "the samples are truncated");
        }
        for (i = 0; i < read; i++) {
            block[i] = (int16_t)little_endian(bytes + 2 * i, 2);
        }
        left -= (uint32_t)read;
        if (has_lines) {
            check(wakeling_push_lines(detector, block, read, true, print, NULL));
        } else {
            check(wakeling_push(detector, block, read));
            print_detections(detector);
        }
    }
    fclose(file);
    return EXIT_SUCCESS;
}

/* Runs a model over the recording `recording.pcm` (16 kHz mono, 16 bits, little-endian), which the debugger or
 * the emulator provides, and prints the event lines of a device. The model is in flash: `model.h` is written by
 * `wakeling export --format c-array`. */
#include "../event_lines.h"
#include "model.h"

int main(void) {
    static int16_t block[BLOCK_SAMPLES];
    wakeling *detector = begin(model, MODEL_LENGTH);
    FILE *recording = fopen("recording.pcm", "rb");
    size_t count;
    if (recording == NULL) {
        printf("error recording.pcm cannot be opened\n");
        return EXIT_FAILURE;
    }
    while ((count = fread(block, sizeof block[0], BLOCK_SAMPLES, recording)) > 0) {
        check(wakeling_push_lines(detector, block, count, true, print, NULL));
    }
    fclose(recording);
    return EXIT_SUCCESS;
}

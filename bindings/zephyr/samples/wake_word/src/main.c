/* Prints what a model detects in the sound of a digital microphone.
 *
 * Put your model beside this file: wakeling export model.wkl --format c-array --out . */
#include <zephyr/audio/dmic.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "model.h"
#include "wakeling.h"

/* Samples of one block: 20 ms. */
#define BLOCK_SAMPLES 320
#define BLOCK_BYTES (BLOCK_SAMPLES * sizeof(int16_t))
#define BLOCKS 8
#define TIMEOUT_MS 1000

K_MEM_SLAB_DEFINE_STATIC(blocks, BLOCK_BYTES, BLOCKS, 4);

static wakeling_object object;
static uint8_t arena[16384];

static int start_microphone(const struct device *microphone) {
    struct pcm_stream_cfg stream = {
        .pcm_rate = WAKELING_SAMPLE_RATE_HZ,
        .pcm_width = 16,
        .block_size = BLOCK_BYTES,
        .mem_slab = &blocks,
    };
    struct dmic_cfg config = {
        .io = {.min_pdm_clk_freq = 1000000,
               .max_pdm_clk_freq = 3500000,
               .min_pdm_clk_dc = 40,
               .max_pdm_clk_dc = 60},
        .streams = &stream,
        .channel = {.req_num_chan = 1, .req_num_streams = 1},
    };
    int error;
    config.channel.req_chan_map_lo = dmic_build_channel_map(0, 0, PDM_CHAN_LEFT);
    error = dmic_configure(microphone, &config);
    return error < 0 ? error : dmic_trigger(microphone, DMIC_TRIGGER_START);
}

/* Processes a block and prints the detections. */
static wakeling_status process(wakeling *detector, const int16_t *samples, size_t count) {
    wakeling_detection detection;
    char label[64];
    wakeling_status status = wakeling_push(detector, samples, count);
    while (wakeling_poll(detector, &detection) == WAKELING_STATUS_OK) {
        wakeling_get_label(detector, detection.keyword, label, sizeof label);
        printk("%u ms %s\n",
               (unsigned int)(detection.end_samples / (WAKELING_SAMPLE_RATE_HZ / 1000)), label);
    }
    return status;
}

int main(void) {
    const struct device *const microphone = DEVICE_DT_GET(DT_NODELABEL(dmic_dev));
    wakeling *detector;
    wakeling_status status =
        wakeling_load(&object, sizeof object, model, MODEL_LENGTH, &detector);
    int error;
    if (status == WAKELING_STATUS_OK) {
        status = wakeling_start(detector, arena, sizeof arena);
    }
    if (status < 0) {
        printk("%s\n", wakeling_status_text(status));
        return 0;
    }
    if (!device_is_ready(microphone) || (error = start_microphone(microphone)) < 0) {
        printk("the microphone does not start\n");
        return 0;
    }
    for (;;) {
        void *block;
        size_t bytes;
        error = dmic_read(microphone, 0, &block, &bytes, TIMEOUT_MS);
        if (error < 0) {
            printk("the microphone failed: %d\n", error);
            return 0;
        }
        status = process(detector, block, bytes / sizeof(int16_t));
        k_mem_slab_free(&blocks, block);
        if (status < 0) {
            printk("%s\n", wakeling_status_text(status));
        }
    }
}

/* Wake word on an ESP32 with a digital microphone on I2S, such as an INMP441 (L/R to ground).
 *
 * Put your model beside this file: wakeling export model.wkl --format c-array --out . */
#include <inttypes.h>
#include <stdio.h>

#include "driver/i2s_std.h"
#include "esp_err.h"
#include "esp_log.h"

#include "model.h"
#include "wakeling.h"

/* Pins of the microphone. Change them to yours. */
#define CLOCK_PIN GPIO_NUM_4
#define WORD_PIN GPIO_NUM_5
#define DATA_PIN GPIO_NUM_6

#define BLOCK_SAMPLES 320

static const char *TAG = "wakeling";

static wakeling_object object;
static uint8_t arena[16384];

/* Logs the text of an error and ends the program. */
static void check(wakeling_status status) {
    if (status < 0) {
        ESP_LOGE(TAG, "%s", wakeling_status_text(status));
        abort();
    }
}

static i2s_chan_handle_t start_microphone(void) {
    i2s_chan_handle_t microphone;
    i2s_chan_config_t channel = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    i2s_std_config_t config = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(WAKELING_SAMPLE_RATE_HZ),
        .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                     .bclk = CLOCK_PIN,
                     .ws = WORD_PIN,
                     .dout = I2S_GPIO_UNUSED,
                     .din = DATA_PIN},
    };
    config.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
    ESP_ERROR_CHECK(i2s_new_channel(&channel, NULL, &microphone));
    ESP_ERROR_CHECK(i2s_channel_init_std_mode(microphone, &config));
    ESP_ERROR_CHECK(i2s_channel_enable(microphone));
    return microphone;
}

/* Takes 16 of a slot's 24 bits, with a gain of four bits: such a microphone is quiet. */
static int16_t sample_of(int32_t slot) {
    int32_t value = slot >> 12;
    return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

void app_main(void) {
    static int32_t slots[BLOCK_SAMPLES];
    static int16_t samples[BLOCK_SAMPLES];
    wakeling *detector;
    check(wakeling_load(&object, sizeof object, model, MODEL_LENGTH, &detector));
    check(wakeling_start(detector, arena, sizeof arena));
    i2s_chan_handle_t microphone = start_microphone();
    for (;;) {
        size_t bytes = 0;
        ESP_ERROR_CHECK(i2s_channel_read(microphone, slots, sizeof slots, &bytes, 1000));
        size_t count = bytes / sizeof slots[0];
        for (size_t i = 0; i < count; i++) {
            samples[i] = sample_of(slots[i]);
        }
        check(wakeling_push(detector, samples, count));
        wakeling_detection detection;
        while (wakeling_poll(detector, &detection) == WAKELING_STATUS_OK) {
            char label[64];
            check(wakeling_get_label(detector, detection.keyword, label, sizeof label));
            printf("%" PRIu64 " ms %s\n", detection.end_samples / (WAKELING_SAMPLE_RATE_HZ / 1000),
                   label);
        }
    }
}

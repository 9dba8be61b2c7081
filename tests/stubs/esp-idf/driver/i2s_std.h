/* What the example uses of ESP-IDF's I2S driver. */
#ifndef STUB_I2S_STD_H
#define STUB_I2S_STD_H

#include <stdbool.h>

#include "../../recording.h"
#include "../esp_err.h"

typedef struct stub_channel *i2s_chan_handle_t;
typedef enum { GPIO_NUM_4 = 4, GPIO_NUM_5 = 5, GPIO_NUM_6 = 6, I2S_GPIO_UNUSED = -1 } gpio_num_t;
enum { I2S_NUM_AUTO = -1, I2S_ROLE_MASTER = 0, I2S_SLOT_MODE_MONO = 1, I2S_STD_SLOT_LEFT = 1 };
enum { I2S_DATA_BIT_WIDTH_32BIT = 32 };
typedef struct { int id, role; } i2s_chan_config_t;
typedef struct { uint32_t sample_rate_hz; } i2s_std_clk_config_t;
typedef struct { int data_bit_width, slot_mode, slot_mask; } i2s_std_slot_config_t;
typedef struct { gpio_num_t mclk, bclk, ws, dout, din; struct { bool mclk_inv; } invert_flags; } i2s_std_gpio_config_t;
typedef struct {
    i2s_std_clk_config_t clk_cfg;
    i2s_std_slot_config_t slot_cfg;
    i2s_std_gpio_config_t gpio_cfg;
} i2s_std_config_t;
#define I2S_CHANNEL_DEFAULT_CONFIG(id, role) { id, role }
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) { rate }
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode) { bits, mode, 0 }

static inline esp_err_t i2s_new_channel(const i2s_chan_config_t *config, i2s_chan_handle_t *tx, i2s_chan_handle_t *rx) {
    *rx = NULL;
    return config->role == I2S_ROLE_MASTER && tx == NULL ? 0 : -1;
}
static inline esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t channel, const i2s_std_config_t *config) {
    return channel == NULL && config->clk_cfg.sample_rate_hz == 16000 && config->slot_cfg.data_bit_width == 32 ? 0 : -1;
}
static inline esp_err_t i2s_channel_enable(i2s_chan_handle_t channel) {
    return channel == NULL ? 0 : -1;
}
static inline esp_err_t i2s_channel_read(i2s_chan_handle_t channel, void *slots, size_t size, size_t *bytes, uint32_t ms) {
    static int16_t samples[4096];
    size_t count = stub_read(samples, size / 4), i;
    for (i = 0; i < count; i++) {
        ((int32_t *)slots)[i] = stub_slot(samples[i]);
    }
    *bytes = 4 * count;
    return channel == NULL && ms > 0 ? 0 : -1;
}

#endif

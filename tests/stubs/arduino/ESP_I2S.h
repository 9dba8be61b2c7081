// Espressif's I2S library for Arduino, version 3.
#ifndef STUB_ESP_I2S_H
#define STUB_ESP_I2S_H

enum i2s_mode_t { I2S_MODE_STD };
enum i2s_data_bit_width_t { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 };
enum i2s_slot_mode_t { I2S_SLOT_MODE_MONO = 1, I2S_SLOT_MODE_STEREO = 2 };
enum i2s_std_slot_mask_t { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_RIGHT = 2 };
#define SET_LOOP_TASK_STACK_SIZE(bytes) static const size_t loop_stack_bytes __attribute__((unused)) = (bytes)

struct I2SClass {
    void setPins(int8_t, int8_t, int8_t, int8_t = -1, int8_t = -1) {}
    bool begin(i2s_mode_t, uint32_t rate, i2s_data_bit_width_t, i2s_slot_mode_t, int8_t = -1) {
        return rate == 16000;
    }
    size_t readBytes(char *buffer, size_t size) {
        int16_t samples[1024];
        size_t count = stub_read(samples, size / 4 < 1024 ? size / 4 : 1024);
        for (size_t i = 0; i < count; i++) {
            ((int32_t *)buffer)[i] = stub_slot(samples[i]);
        }
        return 4 * count;
    }
};

#endif

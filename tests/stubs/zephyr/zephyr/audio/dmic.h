/* What the sample uses of Zephyr's interface to digital microphones. */
#ifndef STUB_DMIC_H
#define STUB_DMIC_H

#include "../../../recording.h"
#include "../kernel.h"

enum pdm_lr { PDM_CHAN_RIGHT, PDM_CHAN_LEFT };
enum dmic_trigger { DMIC_TRIGGER_STOP, DMIC_TRIGGER_START };
struct pdm_io_cfg {
    uint32_t min_pdm_clk_freq, max_pdm_clk_freq;
    uint8_t min_pdm_clk_dc, max_pdm_clk_dc, pdm_clk_pol, pdm_data_pol;
};
struct pcm_stream_cfg {
    uint32_t pcm_rate;
    uint8_t pcm_width;
    uint16_t block_size;
    struct k_mem_slab *mem_slab;
};
struct pdm_chan_cfg {
    uint32_t act_chan_map_lo, act_chan_map_hi, req_chan_map_lo, req_chan_map_hi;
    uint8_t act_num_chan, act_num_streams, req_num_chan, req_num_streams;
};
struct dmic_cfg {
    struct pdm_io_cfg io;
    struct pcm_stream_cfg *streams;
    struct pdm_chan_cfg channel;
};

static struct k_mem_slab *stub_slab;

static inline uint32_t dmic_build_channel_map(uint8_t channel, uint8_t pdm, enum pdm_lr lr) {
    return (uint32_t)((pdm & 7u) << 1 | (lr == PDM_CHAN_LEFT)) << (channel * 4u);
}
static inline int dmic_configure(const struct device *device, struct dmic_cfg *config) {
    stub_slab = config->streams->mem_slab;
    return device->id == 1 && config->streams->pcm_rate == 16000 && config->streams->pcm_width == 16 ? 0 : -22;
}
static inline int dmic_trigger(const struct device *device, enum dmic_trigger trigger) {
    return device->id == 1 && trigger == DMIC_TRIGGER_START ? 0 : -22;
}
static inline int dmic_read(const struct device *device, uint8_t stream, void **block, size_t *bytes, int32_t ms) {
    if (device->id != 1 || stream != 0 || ms <= 0 || stub_slab->used > 0) {
        return -12;
    }
    stub_slab->used = 1;
    *block = stub_slab->memory;
    *bytes = 2 * stub_read(*block, stub_slab->block_size / 2);
    return 0;
}

#endif

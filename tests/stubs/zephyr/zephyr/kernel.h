/* What the sample uses of Zephyr's kernel and devices. */
#ifndef STUB_KERNEL_H
#define STUB_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct k_mem_slab {
    char *memory;
    size_t block_size;
    int used;
};
#define K_MEM_SLAB_DEFINE_STATIC(name, size, count, align)                      \
    static char name##_memory[(size) * (count)] __attribute__((aligned(align))); \
    static struct k_mem_slab name = {name##_memory, size, 0}
static inline void k_mem_slab_free(struct k_mem_slab *slab, void *block) {
    slab->used -= block == slab->memory;
}

struct device {
    int id;
};
static const struct device stub_device = {1};
#define DT_NODELABEL(label) stub_device
#define DEVICE_DT_GET(node) (&node)
static inline bool device_is_ready(const struct device *device) {
    return device->id == 1;
}

#endif

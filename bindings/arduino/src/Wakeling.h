// Wakeling for Arduino: a class over the C library. docs/guide/arduino.md describes it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef WAKELING_ARDUINO_H
#define WAKELING_ARDUINO_H

#include "c/wakeling.h"

// A detector with all its memory. Make it a global variable: it is too large for most stacks, and must not
// move. `ArenaBytes` is the memory for activations; begin() fails if the model needs more.
template <size_t ArenaBytes = 16384>
class WakelingDetector {
public:
    WakelingDetector() : detector_(nullptr) {}
    WakelingDetector(const WakelingDetector &) = delete;
    WakelingDetector &operator=(const WakelingDetector &) = delete;

    // Loads a model and starts. The model is not copied and must stay where it is: a const array is in flash.
    wakeling_status begin(const void *model, size_t bytes) {
        wakeling_status status =
            wakeling_load(&object_, sizeof object_, model, bytes, &detector_);
        return status < 0 ? status : wakeling_start(detector_, arena_, sizeof arena_);
    }

    // Processes samples: 16 kHz, mono, any number.
    wakeling_status push(const int16_t *samples, size_t count) {
        return wakeling_push(detector_, samples, count);
    }

    // Takes the oldest detection that waits. Returns false if none does.
    bool poll(wakeling_detection &detection) {
        return wakeling_poll(detector_, &detection) == WAKELING_STATUS_OK;
    }

    // Label of a keyword. The text is valid until the next call.
    const char *label(uint32_t keyword) {
        label_[0] = '\0';
        wakeling_get_label(detector_, keyword, label_, sizeof label_);
        return label_;
    }

    // Memory that the loaded model needs for activations, in bytes; 0 without a model.
    size_t arenaBytes() {
        wakeling_info info = wakeling_info();
        wakeling_get_info(detector_, &info);
        return info.arena_bytes;
    }

    // WAKELING_SENSITIVITY_STRICT, WAKELING_SENSITIVITY_NORMAL or WAKELING_SENSITIVITY_EAGER.
    wakeling_status setSensitivity(wakeling_sensitivity sensitivity) {
        return wakeling_set_sensitivity(detector_, sensitivity);
    }

    // Health of the microphone, judged every two seconds.
    wakeling_microphone microphone() {
        wakeling_microphone health = WAKELING_MICROPHONE_GOOD;
        wakeling_get_microphone(detector_, &health);
        return health;
    }

    // Forgets the sound so far. Time starts at 0 again.
    wakeling_status reset() { return wakeling_reset(detector_); }

    // Time of a detection in seconds since begin() or reset().
    static float seconds(const wakeling_detection &detection) {
        return static_cast<float>(detection.end_samples) / WAKELING_SAMPLE_RATE_HZ;
    }

    // Text of a status.
    static const char *text(wakeling_status status) { return wakeling_status_text(status); }

    // The object of the C library, for its other functions.
    wakeling *detector() { return detector_; }

private:
    wakeling_object object_;
    uint8_t arena_[ArenaBytes];
    char label_[64];
    wakeling *detector_;
};

#endif

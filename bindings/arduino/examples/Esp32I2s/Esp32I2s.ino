// Wake word on an ESP32 with a digital microphone on I2S, such as an INMP441 (L/R to ground). For version 3 of
// Espressif's core.
//
// Put your model beside this sketch: wakeling export model.wkl --format c-array --out .
//
// The library comes with archives for the ESP32-C3 and C6. An archive for the ESP32-S3 has to be built with
// Espressif's compiler first; docs/guide/arduino.md says how.
#include <ESP_I2S.h>
#include <Wakeling.h>

#include "model.h"

// Pins of the microphone. Change them to yours.
#if defined(CONFIG_IDF_TARGET_ESP32S3)
static const int clockPin = 12, wordPin = 11, dataPin = 10;
#else
static const int clockPin = 4, wordPin = 5, dataPin = 6;
#endif

static WakelingDetector<> detector;
static I2SClass microphone;

// Stops with a message.
static void stop(const char *text) {
    Serial.println(text);
    for (;;) {
        delay(1000);
    }
}

void setup() {
    Serial.begin(115200);
    wakeling_status status = detector.begin(model, MODEL_LENGTH);
    if (status < 0) {
        stop(detector.text(status));
    }
    microphone.setPins(clockPin, wordPin, -1, dataPin);
    if (!microphone.begin(I2S_MODE_STD, WAKELING_SAMPLE_RATE_HZ, I2S_DATA_BIT_WIDTH_32BIT,
                          I2S_SLOT_MODE_MONO, I2S_STD_SLOT_LEFT)) {
        stop("I2S does not start");
    }
}

// Takes 16 of a slot's 24 bits, with a gain of four bits: such a microphone is quiet.
static int16_t sampleOf(int32_t slot) {
    int32_t value = slot >> 12;
    return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

void loop() {
    static int32_t slots[320];
    static int16_t samples[320];
    size_t count = microphone.readBytes((char *)slots, sizeof slots) / sizeof slots[0];
    for (size_t i = 0; i < count; i++) {
        samples[i] = sampleOf(slots[i]);
    }
    wakeling_status status = detector.push(samples, count);
    if (status < 0) {
        Serial.println(detector.text(status));
    }

    wakeling_detection detection;
    while (detector.poll(detection)) {
        Serial.print(detection.end_samples / (WAKELING_SAMPLE_RATE_HZ / 1000));
        Serial.print(" ms ");
        Serial.println(detector.label(detection.keyword));
    }
}

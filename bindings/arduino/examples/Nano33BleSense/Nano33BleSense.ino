// Wake word on the Arduino Nano 33 BLE Sense, with its microphone on board.
//
// Put your model beside this sketch: wakeling export model.wkl --format c-array --out .
#include <PDM.h>
#include <Wakeling.h>

#include "model.h"

static WakelingDetector<> detector;

// Samples on their way from the interrupt to loop(): a quarter of a second.
static const size_t ringSamples = 4096;
static int16_t ring[ringSamples];
static volatile uint32_t written = 0;
static volatile uint32_t lost = 0;
static uint32_t taken = 0;

// Called in an interrupt when a block of sound is ready.
static void onSound() {
    static int16_t block[256];
    int bytes = PDM.available();
    while (bytes > 0) {
        int wanted = bytes < (int)sizeof block ? bytes : (int)sizeof block;
        int read = PDM.read(block, wanted);
        if (read <= 0) {
            return;
        }
        bytes -= read;
        size_t count = (size_t)read / sizeof block[0];
        if (ringSamples - (written - taken) < count) {
            lost += count;
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            ring[(written + i) % ringSamples] = block[i];
        }
        written += count;
    }
}

// Stops with a message.
static void stop(const char *text) {
    Serial.println(text);
    for (;;) {
        delay(1000);
    }
}

void setup() {
    Serial.begin(115200);
    pinMode(LED_BUILTIN, OUTPUT);
    wakeling_status status = detector.begin(model, MODEL_LENGTH);
    if (status < 0) {
        stop(detector.text(status));
    }
    PDM.onReceive(onSound);
    if (!PDM.begin(1, WAKELING_SAMPLE_RATE_HZ)) {
        stop("the microphone does not start");
    }
}

void loop() {
    uint32_t waiting = written - taken;
    if (waiting == 0) {
        return;
    }
    // The part up to the end of the ring.
    size_t start = taken % ringSamples;
    size_t count = waiting < ringSamples - start ? waiting : ringSamples - start;
    wakeling_status status = detector.push(&ring[start], count);
    taken += count;
    if (status < 0) {
        Serial.println(detector.text(status));
    }

    wakeling_detection detection;
    while (detector.poll(detection)) {
        Serial.print(detection.end_samples / (WAKELING_SAMPLE_RATE_HZ / 1000));
        Serial.print(" ms ");
        Serial.println(detector.label(detection.keyword));
        digitalWrite(LED_BUILTIN, HIGH);
    }
    if (lost > 0) {
        Serial.println("sound was lost: the model is too slow for this board");
        lost = 0;
    }
}

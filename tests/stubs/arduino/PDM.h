// Arduino's PDM library: calls the function of the sketch when it reads the clock of the board, which is
// between two calls of loop() here.
#ifndef STUB_PDM_H
#define STUB_PDM_H

#include <string.h>

struct PDMClass {
    void (*function)() = nullptr;
    int16_t block[256];
    int bytes = 0, position = 0;

    void onReceive(void (*on_receive)()) { function = on_receive; }
    int begin(int channels, int rate) { return channels == 1 && rate == 16000; }
    int available() { return bytes - position; }
    int read(void *buffer, size_t size) {
        int count = available() < (int)size ? available() : (int)size;
        memcpy(buffer, (char *)block + position, (size_t)count);
        position += count;
        return count;
    }
    void interrupt() {
        bytes = (int)(stub_read(block, 256) * sizeof block[0]);
        position = 0;
        function();
    }
};
static PDMClass PDM;
#define STUB_INTERRUPT() PDM.interrupt()

#endif

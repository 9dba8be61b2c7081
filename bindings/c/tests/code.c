/* The smallest program with the library, to measure its code; it is linked, not run. With LINES, it prints event
 * lines. */
#include "wakeling.h"

extern const unsigned char model[];
extern wakeling_object object;
extern unsigned char arena[];
extern const int16_t samples[];
extern wakeling_detection detection;
extern int32_t on_text(void *context, const char *text, size_t bytes);
int entry(void);

int entry(void) {
    wakeling *detector;
    if (wakeling_load(&object, sizeof object, model, 100000, &detector) < 0 ||
        wakeling_start(detector, arena, 16384) < 0) {
        return 1;
    }
#ifdef LINES
    return wakeling_announce(detector, on_text, NULL) +
           wakeling_push_lines(detector, samples, 320, true, on_text, NULL);
#else
    return wakeling_push(detector, samples, 320) + wakeling_poll(detector, &detection);
#endif
}

#ifndef STUB_ESP_ERR_H
#define STUB_ESP_ERR_H

#include <stdlib.h>

typedef int esp_err_t;
#define ESP_ERROR_CHECK(call)    \
    do {                         \
        if ((call) != 0) abort(); \
    } while (0)

#endif

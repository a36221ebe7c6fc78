#include "support.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail_at(const char *file, int line, const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    abort();
}

void *allocate(size_t count, size_t size) {
    // Empty lists of the interface are null.
    if (count == 0) return NULL;
    void *memory = calloc(count, size);
    if (memory == NULL) fail("out of memory: %zu items of %zu bytes", count, size);
    return memory;
}

bool text_equals(text a, const char *b) {
    return a.len == strlen(b) && (a.len == 0 || memcmp(a.ptr, b, a.len) == 0);
}

void print(text *to, const char *format, ...) {
    va_list first, second;
    va_start(first, format);
    va_copy(second, first);
    int length = vsnprintf(NULL, 0, format, first);
    va_end(first);
    if (length < 0) fail("not a format: %s", format);
    // One byte more for the final NUL, which is not part of the text.
    to->ptr = allocate((size_t)length + 1, 1);
    to->len = (size_t)length;
    vsnprintf((char *)to->ptr, to->len + 1, format, second);
    va_end(second);
}

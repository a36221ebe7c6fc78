// Helpers for every plugin. Arguments of the functions here belong to the caller; results of
// the plugin belong to the host.
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef plugin_string_t text;

// Traps with a message like printf's, after the file and line. `assert` works as well.
#define fail(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void fail_at(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Allocates zeroed memory. Traps if memory is exhausted; the host then halves the batch.
void *allocate(size_t count, size_t size);

bool text_equals(text a, const char *b);

// For "%.*s" in formats.
#define TEXT(a) (int)(a).len, (const char *)(a).ptr

// Writes a text like printf.
void print(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif

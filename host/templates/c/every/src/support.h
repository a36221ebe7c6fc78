// What every plugin needs. Who holds a text or a list owns it: what a function here is given
// belongs to the caller, and what a plugin answers belongs to the host.
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "plugin.h"

typedef plugin_string_t text;

// Zeroed memory. Ends the call with a trap where there is none: the host then halves the batch.
void *allocate(size_t count, size_t size);

bool text_equals(text a, const char *b);

// For "%.*s" in formats.
#define TEXT(a) (int)(a).len, (const char *)(a).ptr

// Writes a text, as printf does.
void print(text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

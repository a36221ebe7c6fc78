// Texts of the interface: UTF-8, not terminated by NUL, and owned by their holder.
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

typedef plugin_string_t text;

// These trap if memory is exhausted; the host then halves the batch.
void *allocate(size_t count, size_t size);
void *grow(void *items, size_t count, size_t size);

bool text_is(text a, text b);
bool text_equals(text a, const char *b);
bool text_equals_ignoring_ascii_case(text a, const char *b);
bool text_starts_with(text a, const char *prefix);

// The next code point, which is removed from `rest`. `rest` must not be empty.
uint32_t text_next(text *rest);
// The number of code points.
size_t text_length(text a);
// The text without white space at both ends.
text text_trimmed(text a);
// Takes the text before the next comma from `rest`, trimmed; the comma is removed too.
text text_next_item(text *rest);

// White space as defined by Unicode (White_Space).
bool is_space(uint32_t c);
// Zero-width space, word joiner, byte order mark: left over from copying from web pages.
// Not the zero-width joiners, which some scripts need.
bool is_invisible(uint32_t c);

// A text being written. It starts as {0}; its text is never freed here.
typedef struct {
    text text;
    size_t capacity;
} text_builder;

void put(text_builder *to, const char *chars);
void put_text(text_builder *to, text a);
void put_integer(text_builder *to, int64_t n);

#endif

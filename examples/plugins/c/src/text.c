#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *pointer) {
    if (pointer == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return pointer;
}

void *allocate(size_t count, size_t size) {
    // Empty lists of the interface are null.
    return count == 0 ? NULL : checked(calloc(count, size));
}

void *grow(void *items, size_t count, size_t size) {
    return checked(reallocarray(items, count, size));
}

bool text_is(text a, text b) {
    // An empty text may be null, which memcmp may not be given.
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool text_equals(text a, const char *b) {
    return text_is(a, (text){(uint8_t *)b, strlen(b)});
}

static uint8_t ascii_lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

bool text_equals_ignoring_ascii_case(text a, const char *b) {
    if (a.len != strlen(b)) return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.ptr[i]) != ascii_lower((uint8_t)b[i])) return false;
    }
    return true;
}

bool text_starts_with(text a, const char *prefix) {
    size_t length = strlen(prefix);
    return a.len >= length && memcmp(a.ptr, prefix, length) == 0;
}

uint32_t text_next(text *rest) {
    // The host has checked that this is UTF-8.
    uint8_t first = rest->ptr[0];
    size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t c = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) c = c << 6 | (rest->ptr[i] & 0x3f);
    rest->ptr += length;
    rest->len -= length;
    return c;
}

size_t text_length(text a) {
    size_t length = 0;
    for (; a.len > 0; length++) text_next(&a);
    return length;
}

text text_trimmed(text a) {
    text last = a;
    size_t end = 0; // Bytes up to the last character that is not white space.
    bool started = false;
    while (last.len > 0) {
        text here = last;
        if (is_space(text_next(&last))) continue;
        if (!started) {
            a = here;
            started = true;
        }
        end = (size_t)(last.ptr - a.ptr);
    }
    a.len = started ? end : 0;
    return a;
}

text text_next_item(text *rest) {
    const uint8_t *comma = memchr(rest->ptr, ',', rest->len);
    text item = *rest;
    if (comma == NULL) {
        rest->len = 0;
    } else {
        item.len = (size_t)(comma - rest->ptr);
        rest->ptr += item.len + 1;
        rest->len -= item.len + 1;
    }
    return text_trimmed(item);
}

bool is_space(uint32_t c) {
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool is_invisible(uint32_t c) {
    return c == 0x200b || c == 0x2060 || c == 0xfeff;
}

void put_text(text_builder *to, text a) {
    if (a.len == 0) return;
    size_t length = to->text.len + a.len;
    if (length > to->capacity) {
        to->capacity = 2 * length;
        to->text.ptr = grow(to->text.ptr, to->capacity, 1);
    }
    memcpy(to->text.ptr + to->text.len, a.ptr, a.len);
    to->text.len = length;
}

void put(text_builder *to, const char *chars) {
    put_text(to, (text){(uint8_t *)chars, strlen(chars)});
}

void put_integer(text_builder *to, int64_t n) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, n);
    put(to, digits);
}

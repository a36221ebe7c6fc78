// Reads the settings, and refuses invalid ones with a message that says what is valid.
#include "row_rules.h"

#define ENGLISH_LEVELS                                                                 \
    "no_english, basic, pre_intermediate, intermediate, upper_intermediate, advanced, " \
    "fluent, native"
#define KNOWN                                                                           \
    "min_years, max_years, english_levels, require_keyword, drop_codes, halt_codes"

bool list_contains(const list *of, text item) {
    for (size_t i = 0; i < of->count; i++) {
        if (text_is(of->items[i], item)) return true;
    }
    return false;
}

// The items that are not empty. They are not copied.
static list split(text from) {
    list items = {0};
    while (from.len > 0) {
        text item = text_next_item(&from);
        if (item.len == 0) continue;
        items.items = grow(items.items, items.count + 1, sizeof(text));
        items.items[items.count++] = item;
    }
    return items;
}

static bool wrong(text *error, text key, text given, const char *expected) {
    text_builder message = {0};
    put_text(&message, key);
    put(&message, " is `");
    put_text(&message, given);
    put(&message, "`; it must be ");
    put(&message, expected);
    *error = message.text;
    return false;
}

static bool parse_integer(text from, int64_t *to) {
    bool negative = from.len > 0 && from.ptr[0] == '-';
    size_t i = negative || (from.len > 0 && from.ptr[0] == '+');
    if (i == from.len) return false;
    // Counted downwards, as there is one more negative number than positive ones.
    int64_t n = 0;
    for (; i < from.len; i++) {
        if (from.ptr[i] < '0' || from.ptr[i] > '9') return false;
        if (__builtin_mul_overflow(n, 10, &n)) return false;
        if (__builtin_sub_overflow(n, from.ptr[i] - '0', &n)) return false;
    }
    if (!negative && __builtin_sub_overflow(0, n, &n)) return false;
    *to = n;
    return true;
}

static bool parse_years(text key, text given, int64_t *to, text *error) {
    return parse_integer(given, to) || wrong(error, key, given, "a whole number");
}

static bool parse_bool(text key, text given, bool *to, text *error) {
    *to = text_equals(given, "true");
    return *to || text_equals(given, "false") || wrong(error, key, given, "`true` or `false`");
}

static bool is_code(text code) {
    for (size_t i = 0; i < code.len; i++) {
        uint8_t c = code.ptr[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_') return false;
    }
    return true;
}

static bool parse_codes(text key, text given, list *to, text *error) {
    *to = split(given);
    for (size_t i = 0; i < to->count; i++) {
        if (is_code(to->items[i])) continue;
        text_builder message = {0};
        put_text(&message, key);
        put(&message, " has `");
        put_text(&message, to->items[i]);
        put(&message, "`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`");
        *error = message.text;
        return false;
    }
    return true;
}

static bool parse_one(text key, text given, settings *to, text *error) {
    if (text_equals(key, "min_years")) return parse_years(key, given, &to->min_years, error);
    if (text_equals(key, "max_years")) return parse_years(key, given, &to->max_years, error);
    if (text_equals(key, "require_keyword")) {
        return parse_bool(key, given, &to->require_keyword, error);
    }
    if (text_equals(key, "drop_codes")) return parse_codes(key, given, &to->drop_codes, error);
    if (text_equals(key, "halt_codes")) return parse_codes(key, given, &to->halt_codes, error);
    if (text_equals(key, "english_levels")) {
        to->english_levels = split(given);
        return true;
    }
    text_builder message = {0};
    put(&message, "unknown setting `");
    put_text(&message, key);
    put(&message, "`; there are " KNOWN);
    *error = message.text;
    return false;
}

// Checks that involve several settings.
static bool check(const settings *all, text *error) {
    text_builder message = {0};
    if (all->min_years > all->max_years) {
        put(&message, "min_years is ");
        put_integer(&message, all->min_years);
        put(&message, "; it must be at most max_years, which is ");
        put_integer(&message, all->max_years);
    } else if (all->english_levels.count == 0) {
        put(&message, "english_levels is empty; it must be a list such as `basic, fluent`");
    }
    for (size_t i = 0; i < all->drop_codes.count && message.text.len == 0; i++) {
        text code = all->drop_codes.items[i];
        if (!list_contains(&all->halt_codes, code)) continue;
        put(&message, "halt_codes and drop_codes both have ");
        put_text(&message, code);
        put(&message, "; it must be in one");
    }
    *error = message.text;
    return message.text.len == 0;
}

bool settings_parse(const plugin_list_tuple2_string_string_t *config, settings *to, text *error) {
    text levels;
    plugin_string_set(&levels, ENGLISH_LEVELS);
    *to = (settings){.max_years = 60, .english_levels = split(levels), .require_keyword = true};
    for (size_t i = 0; i < config->len; i++) {
        if (!parse_one(config->ptr[i].f0, config->ptr[i].f1, to, error)) return false;
    }
    return check(to, error);
}

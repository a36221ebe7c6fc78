// Rejects rows that lack a required column.
#include <string.h>

#include "support.h"

typedef forebay_plugin_types_value_t value;
typedef forebay_plugin_types_row_t row;
typedef forebay_plugin_types_rejection_t rejection;
typedef exports_forebay_plugin_validate_list_rejection_t rejections;

// Maximum number of required columns.
enum { REQUIRED = 64 };

// Set once on every instance, before its first batch.
static text required[REQUIRED];
static size_t required_len;

void exports_forebay_plugin_describe_describe(exports_forebay_plugin_describe_descriptor_t *to) {
    plugin_string_dup(&to->name, "{{name}}");
    plugin_string_dup(&to->version, "0.1.0");
    // Fewer columns are faster: name them here.
    to->reads.is_some = false;
}

// Splits a list at its commas.
static bool require(text list, text *error) {
    size_t at = 0;
    while (at < list.len) {
        while (at < list.len && (list.ptr[at] == ' ' || list.ptr[at] == ',')) at++;
        size_t start = at;
        while (at < list.len && list.ptr[at] != ',') at++;
        size_t end = at;
        while (end > start && list.ptr[end - 1] == ' ') end--;
        if (end == start) continue;
        if (required_len == REQUIRED) {
            print(error, "required has more columns than %d", REQUIRED);
            return false;
        }
        plugin_string_dup_n(&required[required_len++], (const char *)list.ptr + start, end - start);
    }
    return true;
}

bool exports_forebay_plugin_describe_configure(plugin_list_tuple2_string_string_t *config,
                                               text *error) {
    bool right = true;
    for (size_t i = 0; right && i < config->len; i++) {
        text name = config->ptr[i].f0;
        if (text_equals(name, "required")) {
            right = require(config->ptr[i].f1, error);
        } else {
            print(error, "unknown setting `%.*s`; there is required", TEXT(name));
            right = false;
        }
    }
    plugin_list_tuple2_string_string_free(config);
    return right;
}

// The value of a column; null if the pipeline does not have the column.
static const value *find(const plugin_list_string_t *columns, const row *in, text name) {
    for (size_t i = 0; i < columns->len; i++) {
        text column = columns->ptr[i];
        if (column.len == name.len && memcmp(column.ptr, name.ptr, name.len) == 0) {
            return &in->values.ptr[i];
        }
    }
    return NULL;
}

static bool is_missing(const value *of) {
    if (of == NULL || of->tag == FOREBAY_PLUGIN_TYPES_VALUE_NONE) return true;
    return of->tag == FOREBAY_PLUGIN_TYPES_VALUE_TEXT && of->val.text.len == 0;
}

static rejection missing(text column) {
    rejection made = {.field.is_some = true};
    plugin_string_dup(&made.code, "FIELD_REQUIRED");
    print(&made.message, "%.*s must be given", TEXT(column));
    plugin_string_dup_n(&made.field.val, (const char *)column.ptr, column.len);
    return made;
}

static rejections judge(const plugin_list_string_t *columns, const row *of) {
    rejections found = {0};
    for (size_t i = 0; i < required_len; i++) {
        if (!is_missing(find(columns, of, required[i]))) continue;
        // Most rows are valid and need no memory.
        if (found.ptr == NULL) found.ptr = allocate(required_len, sizeof(rejection));
        found.ptr[found.len++] = missing(required[i]);
    }
    return found;
}

bool exports_forebay_plugin_validate_validate(
    exports_forebay_plugin_validate_batch_t *batch,
    exports_forebay_plugin_validate_list_list_rejection_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = batch->rows.len;
    to->ptr = allocate(to->len, sizeof(rejections));
    for (size_t i = 0; i < to->len; i++) {
        to->ptr[i] = judge(&batch->columns, &batch->rows.ptr[i]);
    }
    exports_forebay_plugin_validate_batch_free(batch);
    return true;
}

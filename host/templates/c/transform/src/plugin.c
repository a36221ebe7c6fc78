// Trims the white space around texts.
#include <stdlib.h>

#include "support.h"

typedef forebay_plugin_types_value_t value;
typedef forebay_plugin_types_row_t row;
typedef forebay_plugin_types_field_t field;
typedef forebay_plugin_types_outcome_t outcome;

void exports_forebay_plugin_describe_describe(exports_forebay_plugin_describe_descriptor_t *to) {
    plugin_string_dup(&to->name, "{{name}}");
    plugin_string_dup(&to->version, "0.1.0");
    // Fewer columns are faster: name them here.
    to->reads.is_some = false;
}

bool exports_forebay_plugin_describe_configure(plugin_list_tuple2_string_string_t *config,
                                               text *error) {
    bool known = config->len == 0;
    if (!known) {
        print(error, "unknown setting `%.*s`: this plugin has none", TEXT(config->ptr[0].f0));
    }
    plugin_list_tuple2_string_string_free(config);
    return known;
}

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static text trimmed(text a) {
    while (a.len > 0 && is_space(a.ptr[a.len - 1])) a.len--;
    while (a.len > 0 && is_space(a.ptr[0])) a.ptr++, a.len--;
    return a;
}

// The field to set, if the column has a text that changes. An empty text becomes null.
static bool change(text name, const value *of, field *to) {
    if (of->tag != FOREBAY_PLUGIN_TYPES_VALUE_TEXT) return false;
    text after = trimmed(of->val.text);
    if (after.len == of->val.text.len && after.len > 0) return false;
    plugin_string_dup_n(&to->name, (const char *)name.ptr, name.len);
    to->value.tag = FOREBAY_PLUGIN_TYPES_VALUE_NONE;
    if (after.len > 0) {
        to->value.tag = FOREBAY_PLUGIN_TYPES_VALUE_TEXT;
        plugin_string_dup_n(&to->value.val.text, (const char *)after.ptr, after.len);
    }
    return true;
}

static outcome outcome_of(const plugin_list_string_t *columns, const row *of) {
    field *set = allocate(columns->len, sizeof(field));
    size_t changes = 0;
    for (size_t i = 0; i < columns->len; i++) {
        if (change(columns->ptr[i], &of->values.ptr[i], &set[changes])) changes++;
    }
    if (changes > 0) {
        return (outcome){.tag = FOREBAY_PLUGIN_TYPES_OUTCOME_SET, .val.set = {set, changes}};
    }
    free(set);
    return (outcome){.tag = FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED};
}

bool exports_forebay_plugin_transform_transform(
    exports_forebay_plugin_transform_batch_t *batch,
    exports_forebay_plugin_transform_list_outcome_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = batch->rows.len;
    to->ptr = allocate(to->len, sizeof(outcome));
    for (size_t i = 0; i < to->len; i++) {
        to->ptr[i] = outcome_of(&batch->columns, &batch->rows.ptr[i]);
    }
    exports_forebay_plugin_transform_batch_free(batch);
    return true;
}

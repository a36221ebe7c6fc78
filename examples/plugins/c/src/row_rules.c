// The exports: what the host calls. Arguments belong to the callee, which frees them; results
// belong to the host, which has them freed by the generated bindings.
#include "row_rules.h"

const char *const COLUMN_NAMES[COLUMNS] = {
    "company_name", "exp_years", "english_level", "primary_keyword", "title",
};

// Set by `configure`, which the host calls on every instance before its first batch.
static settings current;
static bool configured;

static bool failed(text *error, const char *message) {
    plugin_string_dup(error, message);
    return false;
}

void exports_forebay_plugin_describe_describe(exports_forebay_plugin_describe_descriptor_t *to) {
    plugin_string_dup(&to->name, "row-rules-c");
    plugin_string_dup(&to->version, "0.1.0");
    // Only these columns cross into the sandbox.
    to->reads.is_some = true;
    to->reads.val = (plugin_list_string_t){allocate(COLUMNS, sizeof(text)), COLUMNS};
    for (size_t i = 0; i < COLUMNS; i++) plugin_string_dup(&to->reads.val.ptr[i], COLUMN_NAMES[i]);
}

bool exports_forebay_plugin_describe_configure(plugin_list_tuple2_string_string_t *config,
                                               text *error) {
    if (configured) return failed(error, "configured twice");
    // Refused settings end the pipeline, so only accepted ones keep the config's texts.
    configured = settings_parse(config, &current, error);
    return configured;
}

// Finds the columns once per batch. One that the pipeline lacks has the index of no value.
static void find_columns(const plugin_list_string_t *names, size_t indices[COLUMNS]) {
    for (size_t column = 0; column < COLUMNS; column++) {
        size_t i = 0;
        while (i < names->len && !text_equals(names->ptr[i], COLUMN_NAMES[column])) i++;
        indices[column] = i;
    }
}

static fields fields_of(const row *of, const size_t indices[COLUMNS]) {
    static const value null = {.tag = FOREBAY_PLUGIN_TYPES_VALUE_NONE};
    fields found;
    for (size_t column = 0; column < COLUMNS; column++) {
        size_t i = indices[column];
        found.of[column] = i < of->values.len ? &of->values.ptr[i] : &null;
    }
    return found;
}

bool exports_forebay_plugin_transform_transform(
    exports_forebay_plugin_transform_batch_t *batch,
    exports_forebay_plugin_transform_list_outcome_t *to, text *error) {
    (void)error;
    size_t indices[COLUMNS];
    find_columns(&batch->columns, indices);
    to->len = batch->rows.len;
    to->ptr = allocate(to->len, sizeof(outcome));
    for (size_t i = 0; i < to->len; i++) {
        fields of = fields_of(&batch->rows.ptr[i], indices);
        normalize(&of, &to->ptr[i]);
    }
    exports_forebay_plugin_transform_batch_free(batch);
    return true;
}

bool exports_forebay_plugin_validate_validate(
    exports_forebay_plugin_validate_batch_t *batch,
    exports_forebay_plugin_validate_list_list_rejection_t *to, text *error) {
    if (!configured) return failed(error, "not configured");
    size_t indices[COLUMNS];
    find_columns(&batch->columns, indices);
    to->len = batch->rows.len;
    to->ptr = allocate(to->len, sizeof(rejections));
    for (size_t i = 0; i < to->len; i++) {
        fields of = fields_of(&batch->rows.ptr[i], indices);
        judge(&current, &of, &to->ptr[i]);
    }
    exports_forebay_plugin_validate_batch_free(batch);
    return true;
}

bool exports_forebay_plugin_dead_letter_policy_decide(
    exports_forebay_plugin_dead_letter_policy_list_failure_t *failures,
    exports_forebay_plugin_dead_letter_policy_list_decision_t *to, text *error) {
    if (!configured) return failed(error, "not configured");
    to->len = failures->len;
    to->ptr = allocate(to->len, sizeof(decision));
    for (size_t i = 0; i < to->len; i++) decide(&current, &failures->ptr[i], &to->ptr[i]);
    exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    return true;
}

// Begins with these roles: {{roles}}. They change nothing yet.
#include "support.h"

void exports_forebay_plugin_describe_describe(exports_forebay_plugin_describe_descriptor_t *to) {
    plugin_string_dup(&to->name, "{{name}}");
    plugin_string_dup(&to->version, "0.1.0");
    // Fewer columns are faster: name them here.
    to->reads.is_some = false;
}

bool exports_forebay_plugin_describe_configure(plugin_list_tuple2_string_string_t *config,
                                               text *error) {
    bool right = config->len == 0;
    if (!right) {
        print(error, "unknown setting `%.*s`: this plugin has none", TEXT(config->ptr[0].f0));
    }
    plugin_list_tuple2_string_string_free(config);
    return right;
}
{{#transform}}

bool exports_forebay_plugin_transform_transform(
    exports_forebay_plugin_transform_batch_t *batch,
    exports_forebay_plugin_transform_list_outcome_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = batch->rows.len;
    to->ptr = allocate(to->len, sizeof *to->ptr);
    for (size_t i = 0; i < to->len; i++) to->ptr[i].tag = FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED;
    exports_forebay_plugin_transform_batch_free(batch);
    return true;
}
{{/transform}}
{{#validate}}

bool exports_forebay_plugin_validate_validate(
    exports_forebay_plugin_validate_batch_t *batch,
    exports_forebay_plugin_validate_list_list_rejection_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = batch->rows.len;
    // Zeroed memory is empty lists.
    to->ptr = allocate(to->len, sizeof *to->ptr);
    exports_forebay_plugin_validate_batch_free(batch);
    return true;
}
{{/validate}}
{{#policy}}

bool exports_forebay_plugin_dead_letter_policy_decide(
    exports_forebay_plugin_dead_letter_policy_list_failure_t *failures,
    exports_forebay_plugin_dead_letter_policy_list_decision_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = failures->len;
    to->ptr = allocate(to->len, sizeof *to->ptr);
    for (size_t i = 0; i < to->len; i++) {
        text stage = failures->ptr[i].stage;
        to->ptr[i].tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER;
        plugin_string_dup_n(&to->ptr[i].val.dead_letter, (const char *)stage.ptr, stage.len);
    }
    exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    return true;
}
{{/policy}}

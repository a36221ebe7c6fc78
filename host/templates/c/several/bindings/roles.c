// Which of the exports in plugin.c the component has is said by the world in forebay-plugin.toml. The
// others are never called.
#include "plugin.h"

// The type of the world is added to the module when it is built.
void __component_type_object_force_link_plugin(void) {}
{{^transform}}

bool exports_forebay_plugin_transform_transform(
    exports_forebay_plugin_transform_batch_t *batch,
    exports_forebay_plugin_transform_list_outcome_t *to, plugin_string_t *error) {
    (void)batch, (void)to, (void)error;
    __builtin_trap();
}
{{/transform}}
{{^validate}}

bool exports_forebay_plugin_validate_validate(
    exports_forebay_plugin_validate_batch_t *batch,
    exports_forebay_plugin_validate_list_list_rejection_t *to, plugin_string_t *error) {
    (void)batch, (void)to, (void)error;
    __builtin_trap();
}
{{/validate}}
{{^policy}}

bool exports_forebay_plugin_dead_letter_policy_decide(
    exports_forebay_plugin_dead_letter_policy_list_failure_t *failures,
    exports_forebay_plugin_dead_letter_policy_list_decision_t *to, plugin_string_t *error) {
    (void)failures, (void)to, (void)error;
    __builtin_trap();
}
{{/policy}}

// Sorts failed rows into a queue for each stage.
#include "support.h"

typedef exports_forebay_plugin_dead_letter_policy_failure_t failure;
typedef exports_forebay_plugin_dead_letter_policy_decision_t decision;

enum { RETRY_AFTER_MS = 200 };

// Serialization failure, deadlock, lock not available: caused by other transactions.
static const char *const RETRYABLE[] = {"SQL_40001", "SQL_40P01", "SQL_55P03"};

// Set once on every instance, before its first batch.
static uint32_t retries = 3;

void exports_forebay_plugin_describe_describe(exports_forebay_plugin_describe_descriptor_t *to) {
    plugin_string_dup(&to->name, "{{name}}");
    plugin_string_dup(&to->version, "0.1.0");
    // The codes are enough. Columns named here are in the fields of the failures.
    to->reads.is_some = true;
    to->reads.val = (plugin_list_string_t){0};
}

static bool set_retries(text number, text *error) {
    uint32_t parsed = 0;
    bool right = number.len > 0 && number.len <= 9;
    for (size_t i = 0; right && i < number.len; i++) {
        right = number.ptr[i] >= '0' && number.ptr[i] <= '9';
        parsed = 10 * parsed + (number.ptr[i] - '0');
    }
    if (right) {
        retries = parsed;
    } else {
        print(error, "retries is `%.*s`; it must be a whole number", TEXT(number));
    }
    return right;
}

bool exports_forebay_plugin_describe_configure(plugin_list_tuple2_string_string_t *config,
                                               text *error) {
    bool right = true;
    for (size_t i = 0; right && i < config->len; i++) {
        text name = config->ptr[i].f0;
        if (text_equals(name, "retries")) {
            right = set_retries(config->ptr[i].f1, error);
        } else {
            print(error, "unknown setting `%.*s`; there is retries", TEXT(name));
            right = false;
        }
    }
    plugin_list_tuple2_string_string_free(config);
    return right;
}

static bool is_retryable(text code) {
    for (size_t i = 0; i < sizeof RETRYABLE / sizeof *RETRYABLE; i++) {
        if (text_equals(code, RETRYABLE[i])) return true;
    }
    return false;
}

static decision decide(const failure *of) {
    decision made = {.tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER};
    if (is_retryable(of->code) && of->attempt <= retries) {
        made.tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_RETRY;
        made.val.retry = RETRY_AFTER_MS;
    } else {
        plugin_string_dup_n(&made.val.dead_letter, (const char *)of->stage.ptr, of->stage.len);
    }
    return made;
}

bool exports_forebay_plugin_dead_letter_policy_decide(
    exports_forebay_plugin_dead_letter_policy_list_failure_t *failures,
    exports_forebay_plugin_dead_letter_policy_list_decision_t *to, text *error) {
    (void)error; // Nothing here can fail.
    to->len = failures->len;
    to->ptr = allocate(to->len, sizeof(decision));
    for (size_t i = 0; i < to->len; i++) to->ptr[i] = decide(&failures->ptr[i]);
    exports_forebay_plugin_dead_letter_policy_list_failure_free(failures);
    return true;
}

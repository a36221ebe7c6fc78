// Sorts failed rows into queues for the people who can fix them.
//
// code in `halt_codes`                                    halt
// code in `drop_codes`                                    drop
// PLUGIN_*                                                queue `plugin`
// `decode`                                                queue `source`
// `transform`, `validate`                                 queue `review`
// `write`: serialization failure, deadlock, lock not available    retry, three times
// `write`                                                 queue `database`
#include "row_rules.h"

enum { RETRIES = 3, RETRY_AFTER_MS = 200 };

// Conditions caused by other transactions, not by the row.
static bool is_retryable(text code) {
    return text_equals(code, "SQL_40001") || text_equals(code, "SQL_40P01") ||
           text_equals(code, "SQL_55P03");
}

static const char *queue_of(const failure *what) {
    if (text_starts_with(what->code, "PLUGIN_")) return "plugin";
    if (text_equals(what->stage, "decode")) return "source";
    if (text_equals(what->stage, "transform")) return "review";
    if (text_equals(what->stage, "validate")) return "review";
    if (text_equals(what->stage, "write")) return "database";
    return "default";
}

static text halt_message(const failure *what) {
    text_builder message = {0};
    put_text(&message, what->code);
    put(&message, " at row `");
    put_text(&message, what->key);
    put(&message, "`: ");
    put_text(&message, what->message);
    return message.text;
}

void decide(const settings *policy, const failure *what, decision *to) {
    if (list_contains(&policy->halt_codes, what->code)) {
        to->tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_HALT;
        to->val.halt = halt_message(what);
    } else if (list_contains(&policy->drop_codes, what->code)) {
        to->tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DROP;
    } else if (text_equals(what->stage, "write") && is_retryable(what->code) &&
               what->attempt <= RETRIES) {
        to->tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_RETRY;
        to->val.retry = RETRY_AFTER_MS;
    } else {
        to->tag = EXPORTS_FOREBAY_PLUGIN_DEAD_LETTER_POLICY_DECISION_DEAD_LETTER;
        plugin_string_dup(&to->val.dead_letter, queue_of(what));
    }
}

// Rejects rows that must not be written, with all their faults at once; what the tables check
// themselves, such as the length of a keyword, is not repeated here.
#include "row_rules.h"

enum { COMPANY_NAME_LENGTH = 200 };

static void reject(rejections *to, enum column column, const char *code, text_builder detail) {
    to->ptr = grow(to->ptr, to->len + 1, sizeof *to->ptr);
    exports_forebay_plugin_validate_rejection_t *rejection = &to->ptr[to->len++];
    text_builder message = {0};
    put(&message, COLUMN_NAMES[column]);
    put(&message, " ");
    put_text(&message, detail.text);
    plugin_string_free(&detail.text);
    rejection->message = message.text;
    plugin_string_dup(&rejection->code, code);
    rejection->field.is_some = true;
    plugin_string_dup(&rejection->field.val, COLUMN_NAMES[column]);
}

static void reject_missing(rejections *to, enum column column) {
    text_builder detail = {0};
    put(&detail, "must be given");
    reject(to, column, "FIELD_REQUIRED", detail);
}

static bool has_text(const value *of) {
    return of->tag == FOREBAY_PLUGIN_TYPES_VALUE_TEXT && of->val.text.len > 0;
}

static void judge_company_name(const value *name, rejections *to) {
    if (!has_text(name)) {
        reject_missing(to, COMPANY_NAME);
        return;
    }
    size_t length = text_length(name->val.text);
    if (length <= COMPANY_NAME_LENGTH) return;
    text_builder detail = {0};
    put(&detail, "has ");
    put_integer(&detail, (int64_t)length);
    put(&detail, " characters, of ");
    put_integer(&detail, COMPANY_NAME_LENGTH);
    put(&detail, " at most");
    reject(to, COMPANY_NAME, "FIELD_LENGTH", detail);
}

static void judge_exp_years(const settings *rules, const value *years, rejections *to) {
    if (years->tag != FOREBAY_PLUGIN_TYPES_VALUE_INTEGER) {
        reject_missing(to, EXP_YEARS);
        return;
    }
    int64_t given = years->val.integer;
    if (given >= rules->min_years && given <= rules->max_years) return;
    text_builder detail = {0};
    put(&detail, "is ");
    put_integer(&detail, given);
    put(&detail, "; it must be ");
    put_integer(&detail, rules->min_years);
    put(&detail, " to ");
    put_integer(&detail, rules->max_years);
    reject(to, EXP_YEARS, "FIELD_RANGE", detail);
}

static void judge_english_level(const settings *rules, const value *level, rejections *to) {
    if (level->tag != FOREBAY_PLUGIN_TYPES_VALUE_TEXT) return;
    const list *known = &rules->english_levels;
    if (list_contains(known, level->val.text)) return;
    text_builder detail = {0};
    put(&detail, "is `");
    put_text(&detail, level->val.text);
    put(&detail, "`; it must be one of ");
    for (size_t i = 0; i < known->count; i++) {
        if (i > 0) put(&detail, ", ");
        put_text(&detail, known->items[i]);
    }
    reject(to, ENGLISH_LEVEL, "FIELD_VALUE", detail);
}

void judge(const settings *rules, const fields *of, rejections *to) {
    judge_company_name(of->of[COMPANY_NAME], to);
    judge_exp_years(rules, of->of[EXP_YEARS], to);
    judge_english_level(rules, of->of[ENGLISH_LEVEL], to);
    if (rules->require_keyword && !has_text(of->of[PRIMARY_KEYWORD])) {
        reject_missing(to, PRIMARY_KEYWORD);
    }
}

// Shared by the roles of this plugin.
#ifndef ROW_RULES_H
#define ROW_RULES_H

#include "text.h"

typedef forebay_plugin_types_value_t value;
typedef forebay_plugin_types_row_t row;
typedef forebay_plugin_types_outcome_t outcome;
typedef exports_forebay_plugin_validate_list_rejection_t rejections;
typedef exports_forebay_plugin_dead_letter_policy_failure_t failure;
typedef exports_forebay_plugin_dead_letter_policy_decision_t decision;

// The columns this plugin reads, in the order of `describe`.
enum column { COMPANY_NAME, EXP_YEARS, ENGLISH_LEVEL, PRIMARY_KEYWORD, TITLE, COLUMNS };
extern const char *const COLUMN_NAMES[COLUMNS];

// The values of a row by column; null if the pipeline has no such column.
typedef struct {
    const value *of[COLUMNS];
} fields;

typedef struct {
    text *items;
    size_t count;
} list;

bool list_contains(const list *of, text item);

typedef struct {
    int64_t min_years, max_years;
    list english_levels;
    bool require_keyword;
    list drop_codes, halt_codes;
} settings;

// Reads the settings of the pipeline. If they are invalid, `error` says why.
bool settings_parse(const plugin_list_tuple2_string_string_t *config, settings *to, text *error);

void normalize(const fields *of, outcome *to);
void judge(const settings *rules, const fields *of, rejections *to);
void decide(const settings *policy, const failure *what, decision *to);

#endif

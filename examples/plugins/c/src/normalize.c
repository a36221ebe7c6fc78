// Normalizes the texts of a row, and drops test postings. An unknown value stays
// as it is, for the rules to judge.
#include <ctype.h>
#include <wctype.h>

#include "row_rules.h"

// A spelling and its aliases.
typedef struct {
    const char *name;
    const char *aliases[5]; // Null-terminated.
} spelling;

// Aliases are compared by letters and digits only.
static const spelling ENGLISH_LEVELS[] = {
    {"no_english", {"noenglish", "none", "no"}},
    {"basic", {"basic", "beginner", "elementary", "a1"}},
    {"pre_intermediate", {"preintermediate", "pre", "a2"}},
    {"intermediate", {"intermediate", "b1"}},
    {"upper_intermediate", {"upperintermediate", "upper", "b2"}},
    {"advanced", {"advanced", "c1"}},
    {"fluent", {"fluent", "proficient", "c2"}},
    {"native", {"native", "mothertongue"}},
};

// ASCII case is ignored.
static const spelling KEYWORDS[] = {
    {"Android", {0}},
    {"C#", {"c sharp", "csharp", "c-sharp"}},
    {"C++", {"cpp", "c plus plus"}},
    {"Data Engineer", {"data engineering"}},
    {"Data Science", {"data scientist", "datascience"}},
    {"Design", {"designer", "ui/ux"}},
    {"DevOps", {"dev ops", "dev-ops"}},
    {"Fullstack", {"full stack", "full-stack"}},
    {"Go", {"golang", "go lang"}},
    {"Java", {0}},
    {"JavaScript", {"js", "java script", "ecmascript"}},
    {"Kotlin", {0}},
    {"Machine Learning", {"ml", "machine-learning"}},
    {".NET", {"dotnet", "dot net"}},
    {"Node.js", {"node", "nodejs", "node js"}},
    {"PHP", {0}},
    {"Project Manager", {"project management"}},
    {"Python", {"python3"}},
    {"QA", {"quality assurance", "tester"}},
    {"React", {"reactjs", "react.js"}},
    {"Ruby", {"ruby on rails", "ror"}},
    {"Rust", {"rustlang"}},
    {"Scala", {0}},
    {"SQL", {0}},
    {"TypeScript", {"ts", "type script"}},
    {"iOS", {"ios developer"}},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

// Trims, makes each run of white space one space, and removes invisible characters.
static text clean(text from) {
    text_builder cleaned = {0};
    bool space = false;
    while (from.len > 0) {
        text c = from;
        uint32_t code = text_next(&from);
        c.len -= from.len;
        if (is_invisible(code)) continue;
        if (is_space(code)) {
            space = true;
            continue;
        }
        if (space && cleaned.text.len > 0) put(&cleaned, " ");
        space = false;
        put_text(&cleaned, c);
    }
    return cleaned.text;
}

static bool is_same_level(text level, const char *alias) {
    while (level.len > 0) {
        uint32_t c = text_next(&level);
        if (!iswalnum((wint_t)c)) continue;
        // Aliases are ASCII, so a text that equals one in lower case is ASCII too.
        if (c >= 0x80 || tolower((int)c) != *alias++) return false;
    }
    return *alias == 0;
}

// The text is a new one, except where it is empty.
static text english_level(text from) {
    text to = {0};
    for (size_t i = 0; i < COUNT(ENGLISH_LEVELS); i++) {
        const spelling *level = &ENGLISH_LEVELS[i];
        bool same = text_equals(from, level->name);
        for (const char *const *alias = level->aliases; !same && *alias != NULL; alias++) {
            same = is_same_level(from, *alias);
        }
        if (!same) continue;
        plugin_string_dup(&to, level->name);
        return to;
    }
    text cleaned = clean(from);
    if (cleaned.len > 0) plugin_string_dup_n(&to, (const char *)from.ptr, from.len);
    plugin_string_free(&cleaned);
    return to;
}

static text keyword(text from) {
    text cleaned = clean(from);
    for (size_t i = 0; i < COUNT(KEYWORDS); i++) {
        const spelling *known = &KEYWORDS[i];
        bool same = text_equals_ignoring_ascii_case(cleaned, known->name);
        for (const char *const *alias = known->aliases; !same && *alias != NULL; alias++) {
            same = text_equals_ignoring_ascii_case(cleaned, *alias);
        }
        if (!same) continue;
        plugin_string_free(&cleaned);
        plugin_string_dup(&cleaned, known->name);
        break;
    }
    return cleaned;
}

static bool is_test(text title) {
    for (text rest = title; rest.len > 0; title = rest) {
        uint32_t c = text_next(&rest);
        if (!is_space(c) && !is_invisible(c)) break;
    }
    if (title.len > 6) title.len = 6;
    return text_equals_ignoring_ascii_case(title, "[test]");
}

void normalize(const fields *of, outcome *to) {
    static const struct {
        enum column column;
        text (*tidy)(text);
    } TIDIED[] = {
        {COMPANY_NAME, clean},
        {ENGLISH_LEVEL, english_level},
        {PRIMARY_KEYWORD, keyword},
    };

    const value *title = of->of[TITLE];
    if (title->tag == FOREBAY_PLUGIN_TYPES_VALUE_TEXT && is_test(title->val.text)) {
        to->tag = FOREBAY_PLUGIN_TYPES_OUTCOME_DROP;
        plugin_string_dup(&to->val.drop, "TEST_POSTING");
        return;
    }

    forebay_plugin_types_list_field_t set = {0};
    for (size_t i = 0; i < COUNT(TIDIED); i++) {
        const value *from = of->of[TIDIED[i].column];
        if (from->tag != FOREBAY_PLUGIN_TYPES_VALUE_TEXT) continue;
        text tidy = TIDIED[i].tidy(from->val.text);
        if (tidy.len > 0 && text_is(tidy, from->val.text)) {
            plugin_string_free(&tidy);
            continue;
        }
        set.ptr = grow(set.ptr, set.len + 1, sizeof *set.ptr);
        forebay_plugin_types_field_t *field = &set.ptr[set.len++];
        plugin_string_dup(&field->name, COLUMN_NAMES[TIDIED[i].column]);
        // An empty text becomes null.
        field->value.tag =
            tidy.len == 0 ? FOREBAY_PLUGIN_TYPES_VALUE_NONE : FOREBAY_PLUGIN_TYPES_VALUE_TEXT;
        field->value.val.text = tidy;
    }
    to->tag = set.len == 0 ? FOREBAY_PLUGIN_TYPES_OUTCOME_UNCHANGED
                           : FOREBAY_PLUGIN_TYPES_OUTCOME_SET;
    to->val.set = set;
}

package main

import (
	"strings"
	"unicode"
	"unicode/utf8"

	types "row-rules-go/bindings/imports/forebay_plugin_types"
)

// spelling is a spelling and its aliases.
type spelling struct {
	name    string
	aliases []string
}

// Aliases are compared by letters and digits only.
var levels = []spelling{
	{"no_english", []string{"noenglish", "none", "no"}},
	{"basic", []string{"basic", "beginner", "elementary", "a1"}},
	{"pre_intermediate", []string{"preintermediate", "pre", "a2"}},
	{"intermediate", []string{"intermediate", "b1"}},
	{"upper_intermediate", []string{"upperintermediate", "upper", "b2"}},
	{"advanced", []string{"advanced", "c1"}},
	{"fluent", []string{"fluent", "proficient", "c2"}},
	{"native", []string{"native", "mothertongue"}},
}

// ASCII case is ignored.
var keywords = []spelling{
	{"Android", nil},
	{"C#", []string{"c sharp", "csharp", "c-sharp"}},
	{"C++", []string{"cpp", "c plus plus"}},
	{"Data Engineer", []string{"data engineering"}},
	{"Data Science", []string{"data scientist", "datascience"}},
	{"Design", []string{"designer", "ui/ux"}},
	{"DevOps", []string{"dev ops", "dev-ops"}},
	{"Fullstack", []string{"full stack", "full-stack"}},
	{"Go", []string{"golang", "go lang"}},
	{"Java", nil},
	{"JavaScript", []string{"js", "java script", "ecmascript"}},
	{"Kotlin", nil},
	{"Machine Learning", []string{"ml", "machine-learning"}},
	{".NET", []string{"dotnet", "dot net"}},
	{"Node.js", []string{"node", "nodejs", "node js"}},
	{"PHP", nil},
	{"Project Manager", []string{"project management"}},
	{"Python", []string{"python3"}},
	{"QA", []string{"quality assurance", "tester"}},
	{"React", []string{"reactjs", "react.js"}},
	{"Ruby", []string{"ruby on rails", "ror"}},
	{"Rust", []string{"rustlang"}},
	{"Scala", nil},
	{"SQL", nil},
	{"TypeScript", []string{"ts", "type script"}},
	{"iOS", []string{"ios developer"}},
}

// normalize normalizes the texts of a row, and drops test postings. An unknown
// value stays as it is, for the rules to judge.
func normalize(r row) types.Outcome {
	if text, ok := textOf(r.title); ok && isTest(text) {
		return types.MakeOutcomeDrop("TEST_POSTING")
	}
	var set []types.Field
	tidy := func(name string, value types.Value, spell func(string) string) {
		text, ok := textOf(value)
		if !ok {
			return
		}
		switch tidied := spell(text); tidied {
		case "":
			set = append(set, types.Field{Name: name, Value: types.MakeValueNone()})
		case text:
		default:
			set = append(set, types.Field{Name: name, Value: types.MakeValueText(tidied)})
		}
	}
	tidy(companyName, r.companyName, clean)
	tidy(englishLevel, r.englishLevel, spellLevel)
	tidy(primaryKeyword, r.primaryKeyword, spellKeyword)
	if set == nil {
		return types.MakeOutcomeUnchanged()
	}
	return types.MakeOutcomeSet(set)
}

func isTest(title string) bool {
	const mark = "[test]"
	title = strings.TrimLeftFunc(title, func(r rune) bool { return unicode.IsSpace(r) || isInvisible(r) })
	return len(title) >= len(mark) && strings.EqualFold(title[:len(mark)], mark)
}

// clean trims, makes each run of white space one space, and removes invisible characters.
func clean(text string) string {
	visible := strings.Map(func(r rune) rune {
		if isInvisible(r) {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(visible), " ")
}

// isInvisible is true for zero-width space, word joiner and byte order mark, left over from
// copying from web pages; not for the zero-width joiners, which some scripts need.
func isInvisible(r rune) bool {
	return r == '\u200b' || r == '\u2060' || r == '\ufeff'
}

func spellLevel(text string) string {
	for _, level := range levels {
		if text == level.name {
			return text
		}
		for _, alias := range level.aliases {
			if isSameLevel(text, alias) {
				return level.name
			}
		}
	}
	if clean(text) == "" {
		return ""
	}
	return text
}

func isSameLevel(text, alias string) bool {
	for _, r := range text {
		if !unicode.In(r, unicode.Letter, unicode.Number, unicode.Other_Alphabetic) {
			continue
		}
		// Aliases are ASCII, so a text that equals one in lower case is ASCII too.
		if alias == "" || r >= utf8.RuneSelf || unicode.ToLower(r) != rune(alias[0]) {
			return false
		}
		alias = alias[1:]
	}
	return alias == ""
}

func spellKeyword(text string) string {
	cleaned := clean(text)
	for _, keyword := range keywords {
		if equalIgnoringASCIICase(cleaned, keyword.name) {
			return keyword.name
		}
		for _, alias := range keyword.aliases {
			if equalIgnoringASCIICase(cleaned, alias) {
				return keyword.name
			}
		}
	}
	return cleaned
}

// equalIgnoringASCIICase compares with ascii, which is. What folds to ASCII and is not has more
// bytes, such as the Kelvin sign.
func equalIgnoringASCIICase(text, ascii string) bool {
	return len(text) == len(ascii) && strings.EqualFold(text, ascii)
}

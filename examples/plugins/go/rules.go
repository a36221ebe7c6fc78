package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	types "row-rules-go/bindings/imports/forebay_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

const companyNameLength = 200

// judge rejects rows that must not be written, with all their faults at once; what the
// tables check themselves, such as the length of a keyword, is not repeated here.
func (s *settings) judge(r row) []types.Rejection {
	var faults []types.Rejection
	reject := func(field, code, detail string) {
		faults = append(faults, types.Rejection{
			Code:    code,
			Message: field + " " + detail,
			Field:   wit.Some(field),
		})
	}

	if name, _ := textOf(r.companyName); name == "" {
		reject(companyName, "FIELD_REQUIRED", "must be given")
	} else if length := utf8.RuneCountInString(name); length > companyNameLength {
		detail := fmt.Sprintf("has %d characters, of %d at most", length, companyNameLength)
		reject(companyName, "FIELD_LENGTH", detail)
	}

	if r.expYears.Tag() != types.Value_Integer {
		reject(expYears, "FIELD_REQUIRED", "must be given")
	} else if years := r.expYears.Integer(); years < s.minYears || years > s.maxYears {
		detail := fmt.Sprintf("is %d; it must be %d to %d", years, s.minYears, s.maxYears)
		reject(expYears, "FIELD_RANGE", detail)
	}

	if level, ok := textOf(r.englishLevel); ok && !slices.Contains(s.englishLevels, level) {
		known := strings.Join(s.englishLevels, ", ")
		reject(englishLevel, "FIELD_VALUE", "is `"+level+"`; it must be one of "+known)
	}

	if keyword, _ := textOf(r.primaryKeyword); keyword == "" && s.requireKeyword {
		reject(primaryKeyword, "FIELD_REQUIRED", "must be given")
	}
	return faults
}

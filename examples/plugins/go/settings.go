package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"row-rules-go/bindings"
)

type settings struct {
	minYears, maxYears   int64
	englishLevels        []string
	requireKeyword       bool
	dropCodes, haltCodes []string
}

const knownSettings = "min_years, max_years, english_levels, require_keyword, drop_codes, halt_codes"

// parseSettings refuses invalid settings with an error that says what is valid.
func parseSettings(given []bindings.Setting) (*settings, error) {
	s := &settings{maxYears: 60, requireKeyword: true}
	for _, level := range levels {
		s.englishLevels = append(s.englishLevels, level.name)
	}
	for _, setting := range given {
		if err := s.set(setting); err != nil {
			return nil, err
		}
	}
	if s.minYears > s.maxYears {
		return nil, fmt.Errorf("min_years is %d; it must be at most max_years, which is %d", s.minYears, s.maxYears)
	}
	if len(s.englishLevels) == 0 {
		return nil, errors.New("english_levels is empty; it must be a list such as `basic, fluent`")
	}
	for _, code := range s.dropCodes {
		if slices.Contains(s.haltCodes, code) {
			return nil, fmt.Errorf("halt_codes and drop_codes both have %s; it must be in one", code)
		}
	}
	return s, nil
}

func (s *settings) set(setting bindings.Setting) (err error) {
	switch setting.Key {
	case "min_years":
		s.minYears, err = parseYears(setting)
	case "max_years":
		s.maxYears, err = parseYears(setting)
	case "english_levels":
		s.englishLevels = split(setting.Value)
	case "require_keyword":
		s.requireKeyword = setting.Value == "true"
		if !s.requireKeyword && setting.Value != "false" {
			err = wrong(setting, "`true` or `false`")
		}
	case "drop_codes":
		s.dropCodes, err = parseCodes(setting)
	case "halt_codes":
		s.haltCodes, err = parseCodes(setting)
	default:
		err = fmt.Errorf("unknown setting `%s`; there are %s", setting.Key, knownSettings)
	}
	return err
}

func wrong(setting bindings.Setting, expected string) error {
	return fmt.Errorf("%s is `%s`; it must be %s", setting.Key, setting.Value, expected)
}

func parseYears(setting bindings.Setting) (int64, error) {
	years, err := strconv.ParseInt(setting.Value, 10, 64)
	if err != nil {
		return 0, wrong(setting, "a whole number")
	}
	return years, nil
}

func parseCodes(setting bindings.Setting) ([]string, error) {
	codes := split(setting.Value)
	for _, code := range codes {
		if strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			return nil, fmt.Errorf("%s has `%s`; it must be a list of codes such as `FIELD_RANGE, SQL_23514`", setting.Key, code)
		}
	}
	return codes, nil
}

// split splits a list at its commas and skips empty items.
func split(list string) []string {
	var items []string
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

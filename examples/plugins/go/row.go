package main

import (
	"slices"

	types "row-rules-go/bindings/imports/forebay_plugin_types"
)

const (
	companyName    = "company_name"
	expYears       = "exp_years"
	englishLevel   = "english_level"
	primaryKeyword = "primary_keyword"
	title          = "title"
)

// columns are the indexes of the relevant columns in a batch, -1 if the pipeline lacks one.
type columns struct{ companyName, expYears, englishLevel, primaryKeyword, title int }

// row has the relevant values of a row; null if the pipeline has no such column.
type row struct{ companyName, expYears, englishLevel, primaryKeyword, title types.Value }

// findColumns is called once per batch.
func findColumns(names []string) columns {
	return columns{
		companyName:    slices.Index(names, companyName),
		expYears:       slices.Index(names, expYears),
		englishLevel:   slices.Index(names, englishLevel),
		primaryKeyword: slices.Index(names, primaryKeyword),
		title:          slices.Index(names, title),
	}
}

func (c columns) of(r types.Row) row {
	value := func(i int) types.Value {
		if i < 0 {
			return types.MakeValueNone()
		}
		return r.Values[i]
	}
	return row{
		companyName:    value(c.companyName),
		expYears:       value(c.expYears),
		englishLevel:   value(c.englishLevel),
		primaryKeyword: value(c.primaryKeyword),
		title:          value(c.title),
	}
}

// textOf is the text of a value, if it is a text.
func textOf(v types.Value) (text string, ok bool) {
	if v.Tag() != types.Value_Text {
		return "", false
	}
	return v.Text(), true
}

// Command {{name}} is a Forebay plugin that rejects rows that lack a required column.
package main

import (
	"fmt"
	"slices"
	"strings"

	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	descriptions "example.com/plugin/bindings/exports/export_forebay_plugin_describe"
	validations "example.com/plugin/bindings/exports/export_forebay_plugin_validate"
	_ "example.com/plugin/bindings/exports/wit_exports"
	describe "example.com/plugin/bindings/imports/forebay_plugin_describe"
	types "example.com/plugin/bindings/imports/forebay_plugin_types"
)

// required is set once on every instance, before its first batch.
var required []string

func init() {
	descriptions.Described = describe.Descriptor{
		Name:    "{{name}}",
		Version: "0.1.0",
		// Fewer columns are faster: name them with wit.Some([]string{"title"}).
		Reads: wit.None[[]string](),
	}
	descriptions.Configured = configure
	validations.Validated = validate
}

// The host calls only exported functions.
func main() {}

func configure(settings []bindings.Setting) error {
	for _, setting := range settings {
		if setting.Key != "required" {
			return fmt.Errorf("unknown setting `%s`; there is required", setting.Key)
		}
		for name := range strings.SplitSeq(setting.Value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				required = append(required, name)
			}
		}
	}
	return nil
}

func validate(batch types.Batch) ([][]types.Rejection, error) {
	// The columns are the same for all rows of a batch.
	columns := make([]int, len(required))
	for i, name := range required {
		columns[i] = slices.Index(batch.Columns, name)
	}
	rejections := make([][]types.Rejection, len(batch.Rows))
	for i, row := range batch.Rows {
		for j, column := range columns {
			if isMissing(row.Values, column) {
				rejections[i] = append(rejections[i], missing(required[j]))
			}
		}
	}
	return rejections, nil
}

func isMissing(values []types.Value, column int) bool {
	if column < 0 {
		return true
	}
	switch values[column].Tag() {
	case types.Value_None:
		return true
	case types.Value_Text:
		return values[column].Text() == ""
	default:
		return false
	}
}

func missing(column string) types.Rejection {
	return types.Rejection{
		Code:    "FIELD_REQUIRED",
		Message: column + " must be given",
		Field:   wit.Some(column),
	}
}

// Command {{name}} is a Forebay plugin that trims the white space around texts.
package main

import (
	"fmt"
	"strings"

	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	descriptions "example.com/plugin/bindings/exports/export_forebay_plugin_describe"
	transforms "example.com/plugin/bindings/exports/export_forebay_plugin_transform"
	_ "example.com/plugin/bindings/exports/wit_exports"
	describe "example.com/plugin/bindings/imports/forebay_plugin_describe"
	types "example.com/plugin/bindings/imports/forebay_plugin_types"
)

func init() {
	descriptions.Described = describe.Descriptor{
		Name:    "{{name}}",
		Version: "0.1.0",
		// Fewer columns are faster: name them with wit.Some([]string{"title"}).
		Reads: wit.None[[]string](),
	}
	descriptions.Configured = configure
	transforms.Transformed = transform
}

// The host calls only exported functions.
func main() {}

func configure(settings []bindings.Setting) error {
	for _, setting := range settings {
		return fmt.Errorf("unknown setting `%s`: this plugin has none", setting.Key)
	}
	return nil
}

func transform(batch types.Batch) ([]types.Outcome, error) {
	outcomes := make([]types.Outcome, len(batch.Rows))
	for i, row := range batch.Rows {
		outcomes[i] = outcome(batch.Columns, row.Values)
	}
	return outcomes, nil
}

func outcome(columns []string, values []types.Value) types.Outcome {
	var set []types.Field
	for i, name := range columns {
		if values[i].Tag() != types.Value_Text {
			continue
		}
		switch text := strings.TrimSpace(values[i].Text()); text {
		case "":
			set = append(set, types.Field{Name: name, Value: types.MakeValueNone()})
		case values[i].Text():
		default:
			set = append(set, types.Field{Name: name, Value: types.MakeValueText(text)})
		}
	}
	if set == nil {
		return types.MakeOutcomeUnchanged()
	}
	return types.MakeOutcomeSet(set)
}

// Command row-rules-go is a Forebay plugin with all three roles: it normalizes `recruit` rows,
// rejects those that must not be written, and sorts failed rows into queues.
package main

import (
	"errors"

	"row-rules-go/bindings"
	policies "row-rules-go/bindings/exports/export_forebay_plugin_dead_letter_policy"
	descriptions "row-rules-go/bindings/exports/export_forebay_plugin_describe"
	transforms "row-rules-go/bindings/exports/export_forebay_plugin_transform"
	validations "row-rules-go/bindings/exports/export_forebay_plugin_validate"
	_ "row-rules-go/bindings/exports/wit_exports"
	policy "row-rules-go/bindings/imports/forebay_plugin_dead_letter_policy"
	describe "row-rules-go/bindings/imports/forebay_plugin_describe"
	types "row-rules-go/bindings/imports/forebay_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// current is set by configure, which the host calls on every instance before its first batch.
var current *settings

var errNotConfigured = errors.New("not configured")

func init() {
	descriptions.Described = describe.Descriptor{
		Name:    "row-rules-go",
		Version: "0.1.0",
		// Only these columns cross into the sandbox.
		Reads: wit.Some([]string{companyName, expYears, englishLevel, primaryKeyword, title}),
	}
	descriptions.Configured = configure
	transforms.Transformed = transform
	validations.Validated = validate
	policies.Decided = decide
}

// The host calls only exported functions.
func main() {}

func configure(given []bindings.Setting) (err error) {
	if current != nil {
		return errors.New("configured twice")
	}
	current, err = parseSettings(given)
	return err
}

func transform(batch types.Batch) ([]types.Outcome, error) {
	columns := findColumns(batch.Columns)
	outcomes := make([]types.Outcome, len(batch.Rows))
	for i, row := range batch.Rows {
		outcomes[i] = normalize(columns.of(row))
	}
	return outcomes, nil
}

func validate(batch types.Batch) ([][]types.Rejection, error) {
	if current == nil {
		return nil, errNotConfigured
	}
	columns := findColumns(batch.Columns)
	rejections := make([][]types.Rejection, len(batch.Rows))
	for i, row := range batch.Rows {
		rejections[i] = current.judge(columns.of(row))
	}
	return rejections, nil
}

func decide(failures []policy.Failure) ([]policy.Decision, error) {
	if current == nil {
		return nil, errNotConfigured
	}
	decisions := make([]policy.Decision, len(failures))
	for i, failure := range failures {
		decisions[i] = current.decide(failure)
	}
	return decisions, nil
}

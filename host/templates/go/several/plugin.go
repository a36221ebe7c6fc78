// Command {{name}} is a Forebay plugin with these roles: {{roles}}. They change nothing yet.
package main

import (
	"fmt"

	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
{{#policy}}
	policies "example.com/plugin/bindings/exports/export_forebay_plugin_dead_letter_policy"
{{/policy}}
	descriptions "example.com/plugin/bindings/exports/export_forebay_plugin_describe"
{{#transform}}
	transforms "example.com/plugin/bindings/exports/export_forebay_plugin_transform"
{{/transform}}
{{#validate}}
	validations "example.com/plugin/bindings/exports/export_forebay_plugin_validate"
{{/validate}}
	_ "example.com/plugin/bindings/exports/wit_exports"
{{#policy}}
	policy "example.com/plugin/bindings/imports/forebay_plugin_dead_letter_policy"
{{/policy}}
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
{{#transform}}
	transforms.Transformed = transform
{{/transform}}
{{#validate}}
	validations.Validated = validate
{{/validate}}
{{#policy}}
	policies.Decided = decide
{{/policy}}
}

// The host calls only exported functions.
func main() {}

func configure(settings []bindings.Setting) error {
	for _, setting := range settings {
		return fmt.Errorf("unknown setting `%s`: this plugin has none", setting.Key)
	}
	return nil
}
{{#transform}}

func transform(batch types.Batch) ([]types.Outcome, error) {
	outcomes := make([]types.Outcome, len(batch.Rows))
	for i := range batch.Rows {
		outcomes[i] = types.MakeOutcomeUnchanged()
	}
	return outcomes, nil
}
{{/transform}}
{{#validate}}

func validate(batch types.Batch) ([][]types.Rejection, error) {
	return make([][]types.Rejection, len(batch.Rows)), nil
}
{{/validate}}
{{#policy}}

func decide(failures []policy.Failure) ([]policy.Decision, error) {
	decisions := make([]policy.Decision, len(failures))
	for i, failure := range failures {
		decisions[i] = policy.MakeDecisionDeadLetter(failure.Stage)
	}
	return decisions, nil
}
{{/policy}}

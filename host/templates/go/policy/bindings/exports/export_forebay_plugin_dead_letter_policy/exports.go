// Package export_forebay_plugin_dead_letter_policy is where the generated exports look for the plugin.
package export_forebay_plugin_dead_letter_policy

import (
	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	policy "example.com/plugin/bindings/imports/forebay_plugin_dead_letter_policy"
)

// Decided is the plugin's function, set by its init.
var Decided func(failures []policy.Failure) ([]policy.Decision, error)

// Decide is called by the host.
func Decide(failures []policy.Failure) wit.Result[[]policy.Decision, string] {
	return bindings.Answer(func() ([]policy.Decision, error) { return Decided(failures) })
}

// Package export_forebay_plugin_transform is where the generated exports look for the plugin.
package export_forebay_plugin_transform

import (
	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	types "example.com/plugin/bindings/imports/forebay_plugin_types"
)

// Transformed is the plugin's function, set by its init.
var Transformed func(batch types.Batch) ([]types.Outcome, error)

// Transform is called by the host.
func Transform(batch types.Batch) wit.Result[[]types.Outcome, string] {
	return bindings.Answer(func() ([]types.Outcome, error) { return Transformed(batch) })
}

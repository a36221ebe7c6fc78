// Package export_forebay_plugin_validate is where the generated exports look for the plugin.
package export_forebay_plugin_validate

import (
	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	types "example.com/plugin/bindings/imports/forebay_plugin_types"
)

// Validated is the plugin's function, set by its init.
var Validated func(batch types.Batch) ([][]types.Rejection, error)

// Validate is called by the host.
func Validate(batch types.Batch) wit.Result[[][]types.Rejection, string] {
	return bindings.Answer(func() ([][]types.Rejection, error) { return Validated(batch) })
}

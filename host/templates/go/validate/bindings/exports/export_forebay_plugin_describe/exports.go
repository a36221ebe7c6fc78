// Package export_forebay_plugin_describe is where the generated exports look for the plugin.
package export_forebay_plugin_describe

import (
	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	describe "example.com/plugin/bindings/imports/forebay_plugin_describe"
)

// The plugin's functions, set by its init.
var (
	Described  describe.Descriptor
	Configured func(settings []bindings.Setting) error
)

// Describe is called by the host.
func Describe() describe.Descriptor { return Described }

// Configure is called by the host.
func Configure(config []wit.Tuple2[string, string]) wit.Result[wit.Unit, string] {
	settings := make([]bindings.Setting, len(config))
	for i, setting := range config {
		settings[i] = bindings.Setting{Key: setting.F0, Value: setting.F1}
	}
	return bindings.Answer(func() (wit.Unit, error) { return wit.Unit{}, Configured(settings) })
}

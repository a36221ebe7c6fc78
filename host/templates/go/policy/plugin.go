// Command {{name}} is a Forebay plugin that sorts failed rows into a queue for each stage.
package main

import (
	"fmt"
	"slices"
	"strconv"

	wit "go.bytecodealliance.org/pkg/wit/types"

	"example.com/plugin/bindings"
	policies "example.com/plugin/bindings/exports/export_forebay_plugin_dead_letter_policy"
	descriptions "example.com/plugin/bindings/exports/export_forebay_plugin_describe"
	_ "example.com/plugin/bindings/exports/wit_exports"
	policy "example.com/plugin/bindings/imports/forebay_plugin_dead_letter_policy"
	describe "example.com/plugin/bindings/imports/forebay_plugin_describe"
)

const retryAfterMS = 200

// Serialization failure, deadlock, lock not available: caused by other transactions.
var retryable = []string{"SQL_40001", "SQL_40P01", "SQL_55P03"}

// retries is set once on every instance, before its first batch.
var retries uint32 = 3

func init() {
	descriptions.Described = describe.Descriptor{
		Name:    "{{name}}",
		Version: "0.1.0",
		// The codes are enough. Columns named here are in the fields of the failures.
		Reads: wit.Some([]string{}),
	}
	descriptions.Configured = configure
	policies.Decided = decide
}

// The host calls only exported functions.
func main() {}

func configure(settings []bindings.Setting) error {
	for _, setting := range settings {
		if setting.Key != "retries" {
			return fmt.Errorf("unknown setting `%s`; there is retries", setting.Key)
		}
		number, err := strconv.ParseUint(setting.Value, 10, 32)
		if err != nil {
			return fmt.Errorf("retries is `%s`; it must be a whole number", setting.Value)
		}
		retries = uint32(number)
	}
	return nil
}

func decide(failures []policy.Failure) ([]policy.Decision, error) {
	decisions := make([]policy.Decision, len(failures))
	for i, failure := range failures {
		if slices.Contains(retryable, failure.Code) && failure.Attempt <= retries {
			decisions[i] = policy.MakeDecisionRetry(retryAfterMS)
		} else {
			decisions[i] = policy.MakeDecisionDeadLetter(failure.Stage)
		}
	}
	return decisions, nil
}

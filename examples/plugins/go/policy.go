package main

import (
	"slices"
	"strings"

	policy "row-rules-go/bindings/imports/forebay_plugin_dead_letter_policy"
)

const (
	retries      = 3
	retryAfterMS = 200
)

// Conditions caused by other transactions, not by the row: serialization failure, deadlock, lock
// not available.
var retryable = []string{"SQL_40001", "SQL_40P01", "SQL_55P03"}

// decide sorts a failed row into a queue for the people who can fix it.
func (s *settings) decide(failure policy.Failure) policy.Decision {
	code := failure.Code
	switch {
	case slices.Contains(s.haltCodes, code):
		return policy.MakeDecisionHalt(code + " at row `" + failure.Key + "`: " + failure.Message)
	case slices.Contains(s.dropCodes, code):
		return policy.MakeDecisionDrop()
	case strings.HasPrefix(code, "PLUGIN_"):
		return policy.MakeDecisionDeadLetter("plugin")
	}
	switch failure.Stage {
	case "decode":
		return policy.MakeDecisionDeadLetter("source")
	case "transform", "validate":
		return policy.MakeDecisionDeadLetter("review")
	case "write":
		if slices.Contains(retryable, code) && failure.Attempt <= retries {
			return policy.MakeDecisionRetry(retryAfterMS)
		}
		return policy.MakeDecisionDeadLetter("database")
	default:
		return policy.MakeDecisionDeadLetter("default")
	}
}

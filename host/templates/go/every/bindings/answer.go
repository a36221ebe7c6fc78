// Package bindings holds what wit-bindgen made of the interface, in imports and exports/wit_exports,
// and the few lines written by hand that give a plugin's functions the shape Go has for them.
package bindings

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Setting is one of the settings that the pipeline has for a plugin.
type Setting struct{ Key, Value string }

// Answer calls f. An error and a panic become the interface's err: the host then finds the rows
// that are to blame. Without this a panic would end the instance, which costs a fresh one.
func Answer[T any](f func() (T, error)) (answer wit.Result[T, string]) {
	defer func() {
		if cause := recover(); cause != nil {
			answer = wit.Err[T](fmt.Sprintf("panic: %v (%s)", cause, origin()))
		}
	}()
	value, err := f()
	if err != nil {
		return wit.Err[T](err.Error())
	}
	return wit.Ok[T, string](value)
}

// origin is the file and line of the panic that is being recovered from: the first frame below
// those of the runtime, which raises it.
func origin() string {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	panicked := false
	for {
		frame, more := frames.Next()
		if panicked && !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
		}
		panicked = panicked || frame.Function == "runtime.gopanic"
		if !more {
			return "at an unknown place"
		}
	}
}

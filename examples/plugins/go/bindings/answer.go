// Package bindings holds what wit-bindgen made of the interface, in imports and exports/wit_exports,
// and the few lines written by hand that give a plugin's functions the shape Go has for them.
package bindings

import (
	"fmt"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Setting is one of the settings that the pipeline has for a plugin.
type Setting struct{ Key, Value string }

// Answer calls f. An error and a panic become the interface's err: the host then finds the rows
// that are to blame. Without this a panic would end the instance, and its message be lost.
func Answer[T any](f func() (T, error)) (answer wit.Result[T, string]) {
	defer func() {
		if cause := recover(); cause != nil {
			answer = wit.Err[T](fmt.Sprint("panic: ", cause))
		}
	}()
	collect()
	value, err := f()
	if err != nil {
		return wit.Err[T](err.Error())
	}
	return wit.Ok[T, string](value)
}

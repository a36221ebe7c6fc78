package bindings

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// leastCollected is the size of a heap, in bytes, below which collecting is not worth its time.
const leastCollected = 4 << 20

// threshold is the size of the heap, in bytes, from which the next call collects.
var threshold uint64 = leastCollected

// A collection reads the clock, which a component may not do while the host copies arguments in
// or has results freed: one that started there would be a trap. So none starts by itself.
func init() { debug.SetGCPercent(-1) }

// collect runs a collection as soon as the heap is twice as large as after the last one, as Go
// does by default, but only here: within a call, where the clock may be read.
func collect() {
	if heap() < threshold {
		return
	}
	runtime.GC()
	threshold = max(2*heap(), leastCollected)
}

// heap is the size of all objects in bytes, including garbage.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

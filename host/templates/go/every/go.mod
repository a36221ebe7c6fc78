module example.com/plugin

go 1.27.1

require go.bytecodealliance.org/pkg v0.4.0

// The runtime of the generated code, in the version that belongs to it.
replace go.bytecodealliance.org/pkg => ./bindings/pkg

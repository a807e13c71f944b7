//go:build !linux

package localstore

// swap gives a file the name of another, which goes to aside first.
func swap(from, to, aside string) error { return swapInSteps(from, to, aside) }

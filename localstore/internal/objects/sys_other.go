//go:build !linux

package objects

// swap gives a file the name of another one, which is renamed to aside first.
func swap(from, to, aside string) error { return swapInSteps(from, to, aside) }

// clearAttributesOf does nothing: a new file inherits no extended attributes on these systems.
func clearAttributesOf(string) (found bool, err error) { return false, nil }

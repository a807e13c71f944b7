//go:build !race

package derivation_test

const raceEnabled = false

//go:build !race

package testenv

// RaceEnabled says whether the race detector is part of the program.
const RaceEnabled = false

//go:build !linux

package monitor

// commandOf returns nil: only Linux is supported.
func commandOf(int) []string { return nil }

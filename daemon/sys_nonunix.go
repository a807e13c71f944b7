//go:build !unix

package daemon

// hasNonblocking reports whether the functions below exist.
const hasNonblocking = false

func isQuiet(uintptr) bool         { return false }
func tryWrite(uintptr, []byte) int { return 0 }

//go:build !unix

package main

// maxFiles returns 0: the number of files that the process may open is unknown.
func maxFiles() uint64 { return 0 }

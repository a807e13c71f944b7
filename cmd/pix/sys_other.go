//go:build !unix

package main

import (
	"io/fs"
	"os"
)

// maxFiles returns 0: the number of files that the process may open is unknown.
func maxFiles() uint64 { return 0 }

// takeOwner does nothing: files have no numbers of users.
func takeOwner(*os.File, fs.FileInfo) error { return nil }

//go:build amd64 || 386 || arm

package main

import "golang.org/x/sys/unix"

// legacyChmod has calls that newer machines do not have.
var legacyChmod = map[string]uintptr{"chmod": unix.SYS_CHMOD}

//go:build amd64 || 386 || arm

package main

import "syscall"

// legacyChmod has calls that newer machines do not have.
var legacyChmod = map[string]uintptr{"chmod": syscall.SYS_CHMOD}

//go:build !(amd64 || 386 || arm)

package main

var legacyChmod map[string]uintptr

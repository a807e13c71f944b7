//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "pix-sh is the shell of sandboxes, which only Linux has")
	os.Exit(2)
}

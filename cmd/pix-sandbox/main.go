// The pix-sandbox command is the helper of pix that sets up sandboxes. It is small, so that it starts faster than
// pix. Build it with CGO_ENABLED=0 and install it beside pix, which finds it there; pix does without it too.
package main

import (
	"fmt"
	"os"

	"pix/builder/sandbox"
)

func main() {
	sandbox.Main()
	fmt.Fprintln(os.Stderr, "pix-sandbox is started by pix and has no use of its own")
	os.Exit(2)
}

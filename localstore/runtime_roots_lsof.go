package localstore

import (
	"bytes"
	"context"
	"os/exec"
)

// lsofLink is what Nix calls the roots that it has from lsof, which it asks where there is no /proc.
const lsofLink = "{lsof}"

// lsof finds the open files of all processes. Without lsof there are none.
func (f *runtimeRootFinder) lsof(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "lsof", "-n", "-w", "-F", "n").Output()
	if err != nil {
		return context.Cause(ctx)
	}
	f.lsofLines(out)
	return nil
}

// lsofLines reads what lsof prints: a line each, beginning with a letter that says what follows.
func (f *runtimeRootFinder) lsofLines(out []byte) {
	for line := range bytes.Lines(out) {
		if name, ok := bytes.CutPrefix(line, []byte("n")); ok {
			f.add(lsofLink, string(bytes.TrimSuffix(name, []byte("\n"))))
		}
	}
}

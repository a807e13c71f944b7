package localstore

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
)

// lsofLink is what Nix calls the roots that it has from lsof, which it asks where there is no /proc.
const lsofLink = "{lsof}"

// lsof finds the open files of all processes. lsof fails if it cannot see one of many things, and
// prints the others. If it prints nothing, or is not installed, nothing is known.
func (f *runtimeRoots) lsof(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "lsof", "-n", "-w", "-F", "n").Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !(failed && len(out) > 0) {
		return f.unsure(ctx, "lsof", err)
	}
	f.lsofLines(out)
	return nil
}

// lsofLines reads what lsof prints: a line each, beginning with a letter that says what follows.
func (f *runtimeRoots) lsofLines(out []byte) {
	for line := range bytes.Lines(out) {
		if name, ok := bytes.CutPrefix(line, []byte("n")); ok {
			f.add(lsofLink, string(bytes.TrimSuffix(name, []byte("\n"))))
		}
	}
}

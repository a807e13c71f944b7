package builder

import (
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"pix/builder/sandbox"
)

// A brokenExecutor cannot run anything.
type brokenExecutor struct{ err error }

func (e brokenExecutor) Run(context.Context, *sandbox.Request, io.Writer) (*sandbox.Result, error) {
	return nil, e.err
}

func (e brokenExecutor) KillUser(context.Context, int) error { return e.err }

// A program that cannot run processes gets the error that says what it lacks, also if the first process is the one that kills others.
func TestKillUserWithoutMain(t *testing.T) {
	helper := &sandbox.HelperError{File: "/bin/true", Err: io.EOF}
	for _, err := range []error{sandbox.ErrNoMain, helper} {
		b := &build{opts: &Options{Executor: brokenExecutor{err}}, user: &userLock{ids: ids{12, 13, 1}}}
		if got := b.killUser(t.Context()); got != err {
			t.Errorf("%v, not %v", got, err)
		}
	}
	b := &build{opts: &Options{Executor: brokenExecutor{syscall.EPERM}}, user: &userLock{ids: ids{12, 13, 1}}}
	if err := b.killUser(t.Context()); !errors.Is(err, syscall.EPERM) || err.Error() != "cannot kill processes for uid '12': operation not permitted" {
		t.Error(err)
	}
}

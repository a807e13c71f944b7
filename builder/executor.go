package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pix/builder/sandbox"
)

// An Executor runs the processes of builds.
type Executor interface {
	// Run runs a process, and copies its output to log at once. It kills the process if log returns an error or ctx
	// is done. When Run returns, all processes that it started have ended. It returns an error if the process could
	// not be started.
	Run(ctx context.Context, req *sandbox.Request, log io.Writer) (*sandbox.Result, error)
}

// A userKiller is an [Executor] that kills all processes of a user.
//
// A process that outlives its build could change the files of later builds of the same user. In a sandbox, all
// processes end with the first one. Without a sandbox, a process may have left its process group. If pix was killed,
// a process of its builder may still run.
type userKiller interface {
	KillUser(ctx context.Context, uid int) error
}

// killLimit is how long killing may take.
const killLimit = 10 * time.Second

// killUser kills all processes of the build user. It does nothing for an executor that runs builds on another
// machine.
func (b *build) killUser(ctx context.Context) error {
	killer, ok := b.opts.executor().(userKiller)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	err := killer.KillUser(ctx, b.user.uid)
	if _, ok := errors.AsType[*sandbox.HelperError](err); ok || errors.Is(err, sandbox.ErrNoMain) {
		return err // says what the program lacks to run any process
	}
	if err != nil {
		return fmt.Errorf("cannot kill processes for uid '%d': %w", b.user.uid, err)
	}
	return nil
}

// killLeftovers kills the processes that a builder without a sandbox has left.
func (b *build) killLeftovers(ctx context.Context) error {
	if b.user == nil || b.sandboxed {
		return nil
	}
	return b.killUser(context.WithoutCancel(ctx))
}

// executor returns the executor of the options, or the default one.
func (o *Options) executor() Executor {
	if o.Executor != nil {
		return o.Executor
	}
	return local{}
}

// local runs processes on this machine.
type local struct{}

func (local) Run(ctx context.Context, req *sandbox.Request, log io.Writer) (*sandbox.Result, error) {
	return sandbox.Run(ctx, req, log)
}

func (local) KillUser(ctx context.Context, uid int) error {
	return sandbox.KillUser(ctx, uid)
}

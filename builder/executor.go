package builder

import (
	"context"
	"fmt"
	"io"
	"time"

	"pix/builder/sandbox"
)

// An Executor runs the processes of builds.
type Executor interface {
	// Run runs a process, and writes what it prints to log as it comes. An error of log, or the end of ctx, ends
	// the process. When Run returns, all processes that it started are gone. The error is not nil if the process
	// could not be started.
	Run(ctx context.Context, req *sandbox.Request, log io.Writer) (*sandbox.Result, error)
}

// A userKiller is an [Executor] that kills all processes of a user.
//
// A process of a build user could change the files of later builds of this user. In a sandbox all processes end with the
// first one. Without one, a process may have left its process group, and another builder may have been killed before
// it could clean up.
type userKiller interface {
	KillUser(ctx context.Context, uid, gid int) error
}

// killLimit is how long killing may take.
const killLimit = 10 * time.Second

// killUser kills all processes of the build user. An executor that runs builds elsewhere has no such processes here.
func (b *build) killUser(ctx context.Context) error {
	killer, ok := b.opts.executor().(userKiller)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := killer.KillUser(ctx, b.user.uid, b.user.gid); err != nil {
		return fmt.Errorf("cannot kill processes for uid '%d': %w", b.user.uid, err)
	}
	return nil
}

// killLeftovers kills what a builder without a sandbox has left running.
func (b *build) killLeftovers(ctx context.Context) error {
	if b.user == nil || b.sandboxed {
		return nil
	}
	return b.killUser(context.WithoutCancel(ctx))
}

// executor returns what runs the processes of builds.
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

func (local) KillUser(ctx context.Context, uid, gid int) error {
	return sandbox.KillUser(ctx, uid, gid)
}

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"os"
)

// Check tries a sandbox: see the function [Check].
func (r *Runner) Check(ctx context.Context) error {
	r.checkMu.Lock()
	defer r.checkMu.Unlock()
	if !r.checked {
		err := r.try(ctx, &Request{UID: 1000, GID: 100, HostUID: os.Geteuid(), HostGID: os.Getegid()})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.checked, r.check = true, err
	}
	return r.check
}

func withAdvice(err error) error { return err }

// try runs a process that does nothing, with namespaces, in an empty root directory.
func (r *Runner) try(ctx context.Context, req *Request) error {
	root, err := os.MkdirTemp("", "pix-sandbox-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	req.Root, req.Dir, req.Builtin = root, "/", trial
	var log limitedBuffer
	result, err := r.Run(ctx, req, &log)
	if err != nil {
		return err
	}
	if result.ExitCode != 0 {
		return &SetupError{Step: "running a program", Err: errors.New(log.String())}
	}
	return nil
}

// A limitedBuffer keeps the beginning of what is written.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, 4096-b.Len()))])
	return len(p), nil
}

//go:build !linux

package sandbox

import (
	"context"
	"io"
	"io/fs"

	"pix/internal/unsupported"
)

type runner struct{}

var errSystem = unsupported.Errorf("processes run in a sandbox on Linux only")

// Main must be the first call of main in a program that runs processes. It does not return in a supervisor.
func Main() {}

// Run returns an error: processes run on Linux only.
func (r *Runner) Run(ctx context.Context, req *Request, log io.Writer) (*Result, error) {
	return nil, errSystem
}

// Check returns an error: processes run on Linux only.
func (r *Runner) Check(ctx context.Context) error { return errSystem }

// KillUser returns an error: processes run on Linux only.
func (r *Runner) KillUser(ctx context.Context, uid int) error { return errSystem }

// Examine returns an error: processes run on Linux only.
func (r *Runner) Examine(ctx context.Context, uid, gid int) (*Findings, error) { return nil, errSystem }

// Mount returns an error: processes run on Linux only.
func (l *Live) Mount(ctx context.Context, source, target string) error { return errSystem }

// Close has no effect.
func (r *Runner) Close() error { return nil }

func (r *Runner) setHelper(file string) { r.Helper = file }

func ownedByUs(fs.FileInfo) bool { return false }

// Package contextio has readers that end with a context.
package contextio

import (
	"context"
	"io"
)

// NewReader returns a reader of src that fails with the cause of ctx once ctx is done. It does not interrupt a Read of
// src that blocks.
func NewReader(ctx context.Context, src io.Reader) io.Reader { return &reader{ctx, src} }

type reader struct {
	ctx context.Context
	src io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.src.Read(p)
}

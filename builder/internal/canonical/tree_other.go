//go:build !linux

package canonical

import (
	"context"
	"errors"
	"os"
)

// A Canonicaliser makes the outputs of one build canonical, on Linux.
type Canonicaliser struct{}

// New returns a Canonicaliser.
func New(*Options) *Canonicaliser { return new(Canonicaliser) }

// Tree returns [errors.ErrUnsupported].
func (c *Canonicaliser) Tree(context.Context, *os.File, string) error { return errors.ErrUnsupported }

// Written returns true.
func (c *Canonicaliser) Written() bool { return true }

// ClearSetID returns [errors.ErrUnsupported].
func (c *Canonicaliser) ClearSetID(*os.File) error { return errors.ErrUnsupported }

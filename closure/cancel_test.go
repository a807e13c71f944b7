package closure

import (
	"context"
	"errors"
	"testing"
)

// A computation over a large closure ends with the cause of its context, also after it has begun.
func TestCancel(t *testing.T) {
	c := randomClosure(t, 10_000)
	b := newBuilder(0)
	for i := range 5000 {
		b.node(numbered(t, i))
		b.all[i].added = true
	}
	why := errors.New("enough")
	for name, compute := range map[string]func(context.Context) error{
		"ClosureSizes":   func(ctx context.Context) error { _, err := c.ClosureSizes(ctx, c.Paths()...); return err },
		"few sizes":      func(ctx context.Context) error { _, err := c.ClosureSizes(ctx, c.Paths()[:3]...); return err },
		"AddedSizes":     func(ctx context.Context) error { _, err := c.AddedSizes(ctx, c.Paths()...); return err },
		"Layout":         func(ctx context.Context) error { _, err := c.Layout(ctx); return err },
		"loaded closure": func(ctx context.Context) error { _, err := b.closure(ctx); return err },
	} {
		ctx := &countingContext{Context: t.Context(), left: 1 << 30}
		if err := compute(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		asked := 1<<30 - ctx.left
		if asked == 0 {
			t.Fatalf("%s does not look at its context", name)
		}
		for _, left := range []int{0, asked - 1} {
			ctx := &countingContext{Context: t.Context(), left: left, why: why}
			if err := compute(ctx); err != why {
				t.Errorf("%s, cancelled after %d of %d looks: %v", name, left, asked, err)
			}
		}
	}
}

// A countingContext is done after a number of calls of Err.
type countingContext struct {
	context.Context
	left int
	why  error
}

func (c *countingContext) Err() error {
	if c.left == 0 {
		return c.why
	}
	c.left--
	return nil
}

// Value makes the context the nearest one that can be cancelled, so that it is asked for the cause.
func (c *countingContext) Value(any) any { return nil }

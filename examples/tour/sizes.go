package main

import (
	"context"
	"fmt"
	"io"

	"pix/closure"
	"pix/store"
)

// sizes prints the size of each path in the closure of the arguments, and the size of its own closure.
func sizes(ctx context.Context, s store.Store, args []string, out io.Writer) error {
	roots, err := parse(s, args)
	if err != nil {
		return err
	}
	c, err := closure.Load(ctx, s, roots...)
	if err != nil {
		return err
	}
	closureSizes, err := c.ClosureSizes(ctx, c.Paths()...)
	if err != nil {
		return err
	}
	for path, info := range c.All() {
		fmt.Fprintf(out, "%10d %10d  %s\n", info.NARSize, closureSizes[path], path)
	}
	_, err = fmt.Fprintf(out, "%10d total\n", c.Size())
	return err
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"pix/closure"
	"pix/store"
)

// diff prints the packages whose paths differ between the closures of two paths.
func diff(ctx context.Context, s store.Store, before, after string, out io.Writer) error {
	var closures [2]*closure.Closure
	for i, arg := range []string{before, after} {
		root, err := s.Dir().Parse(arg)
		if err != nil {
			return err
		}
		if closures[i], err = closure.Load(ctx, s, root); err != nil {
			return err
		}
	}
	d := closure.Compare(closures[0], closures[1])
	for _, p := range d.Packages {
		fmt.Fprintf(out, "%s: %s -> %s, %+d bytes\n", p.Name, strings.Join(p.Before, ", "), strings.Join(p.After, ", "), p.SizeDelta)
	}
	_, err := fmt.Fprintf(out, "%d paths removed, %d added, %d -> %d bytes\n", d.Removed, d.Added, d.SizeBefore, d.SizeAfter)
	return err
}

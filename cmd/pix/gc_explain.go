package main

import (
	"context"
	"fmt"
	"strings"

	"pix/store"
	"pix/storepath"
)

// explainLiveness prints for each path the root that keeps it.
func (a *app) explainLiveness(ctx context.Context, args []string, asJSON bool) error {
	names, err := a.names(args)
	if err != nil {
		return err
	}
	return a.withStore(ctx, toRead, func(ctx context.Context, s store.Store) error {
		paths, err := objectsOf(ctx, s, names)
		if err != nil {
			return err
		}
		var b strings.Builder
		objects := make([]livenessJSON, len(paths))
		garbage := false
		for i, p := range paths {
			l, err := store.ExplainLiveness(ctx, s, p)
			if err != nil {
				return err
			}
			objects[i] = newLivenessJSON(p, l)
			garbage = garbage || l == nil
			a.writeLiveness(&b, p, l)
		}
		if err := a.printEither(b.String(), objects, asJSON); err != nil {
			return err
		}
		if garbage {
			return &silentError{exitNo}
		}
		return nil
	})
}

// writeLiveness writes the root, and below it the chain of paths from the root to p.
func (a *app) writeLiveness(b *strings.Builder, p storepath.Path, l *store.Liveness) {
	if l == nil {
		fmt.Fprintf(b, "%s is garbage: no root needs it\n", p)
		return
	}
	fmt.Fprintln(b, a.shown(l.Root.Link))
	for i, step := range l.Chain {
		fmt.Fprintf(b, "%s%s", strings.Repeat("  ", i+1), step.Path)
		switch step.Needed {
		case store.LiveDeriver:
			b.WriteString(" (which made it)")
		case store.LiveOutput:
			b.WriteString(" (which it makes)")
		}
		b.WriteString("\n")
	}
}

// A livenessJSON is a path in the output of gc --explain --json.
type livenessJSON struct {
	Path  storepath.Path     `json:"path"`
	Root  *string            `json:"root"` // null for garbage
	Chain []livenessStepJSON `json:"chain"`
}

type livenessStepJSON struct {
	Path   storepath.Path `json:"path"`
	Needed string         `json:"needed"`
}

func newLivenessJSON(p storepath.Path, l *store.Liveness) livenessJSON {
	object := livenessJSON{Path: p, Chain: []livenessStepJSON{}}
	if l == nil {
		return object
	}
	object.Root = &l.Root.Link
	for _, step := range l.Chain {
		object.Chain = append(object.Chain, livenessStepJSON{step.Path, step.Needed.String()})
	}
	return object
}

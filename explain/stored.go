package explain

import (
	"context"
	"errors"
	"fmt"

	"pix/store"
	"pix/storepath"
)

// PathIn explains the path of a content-addressed object of a store, like [Path]. It reads the archive if it has at most [MaxContents]
// bytes and the store can read archives. It returns the errors of [Path] and of the store.
func PathIn(ctx context.Context, s store.Store, info *store.PathInfo) (*Explanation, error) {
	if info.CA.IsZero() || info.NARSize > MaxContents {
		return Path(info, nil)
	}
	archive, err := store.ReadNAR(ctx, s, info.Path)
	if errors.Is(err, errors.ErrUnsupported) {
		return Path(info, nil)
	}
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	return Path(info, archive)
}

// Output explains the path of an output by its deriver d, like [Derivation]. It ignores the Outputs of the options. If no output of d
// is known to have the path, it explains all outputs. It is then a problem if the paths of all outputs are computed, and none is this path.
func Output(ctx context.Context, path storepath.Path, d Drv, o *DerivationOptions) (*Explanation, error) {
	var options DerivationOptions
	if o != nil {
		options = *o
	}
	name, found, err := d.outputAt(ctx, options.Store, path)
	if err != nil {
		return nil, err
	}
	options.Outputs = nil
	if found {
		options.Outputs = []string{name}
	}
	e, err := Derivation(ctx, d, &options)
	if err == nil && !found && e.excludes(d, path) {
		e.Problems = append(e.Problems, fmt.Sprintf("'%s' is the deriver of '%s', but has no output with this path", d.Path, path))
	}
	return e, err
}

// outputAt returns the name of the output with a path. The store, which may be nil, knows the paths of floating outputs.
func (d Drv) outputAt(ctx context.Context, s store.Store, path storepath.Path) (name string, found bool, err error) {
	for name, o := range d.Outputs.All() {
		if o.Path() == path {
			return name, true, nil
		}
	}
	if s == nil {
		return "", false, nil
	}
	known, err := store.OutputMap(ctx, s, d.Path)
	if err != nil {
		return "", false, unlessUnknown(err)
	}
	for name, p := range known {
		if p == path {
			return name, true, nil
		}
	}
	return "", false, nil
}

// excludes reports whether the explanation of all outputs of d has the path of each of them, and none is path.
func (e *Explanation) excludes(d Drv, path storepath.Path) bool {
	computed := map[string]string{}
	for i := range e.Steps {
		if s := &e.Steps[i]; s.Name == StepPath {
			computed[s.Output] = s.Result
		}
	}
	for name := range d.Outputs.Keys() {
		if result, ok := computed[name]; !ok || result == string(path) {
			return false
		}
	}
	return true
}

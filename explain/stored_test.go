package explain_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// An unreadableStore has infos and no archives.
type unreadableStore struct{ *memstore.Store }

func (unreadableStore) NARFromPath(context.Context, storepath.Path) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// An object is explained from its contents, or from its content address if the store cannot read archives.
func TestPathIn(t *testing.T) {
	s := memstore.New(nil)
	path, err := s.AddTextToStore(t.Context(), "text", "hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    store.Store
		want string // the text of the step
	}{{s, "hello"}, {unreadableStore{s}, info.CA.Hash().Base16()}} {
		e, err := explain.PathIn(t.Context(), c.s, info)
		if err != nil {
			t.Fatal(err)
		}
		if text := stepOf(t, e, explain.StepContent, "").Text; text != c.want || len(e.Problems) > 0 {
			t.Errorf("the contents are %q, want %q, problems %q", text, c.want, e.Problems)
		}
	}
	if _, err := explain.PathIn(t.Context(), s, &store.PathInfo{Path: path}); !isNoContentAddress(err) {
		t.Errorf("an object without content address: %v", err)
	}
}

func isNoContentAddress(err error) bool {
	_, ok := errors.AsType[*explain.NoContentAddressError](err)
	return ok
}

// Output explains only the output with the path. A path that no output has is a problem, unless an output is not built yet.
func TestOutput(t *testing.T) {
	f := fakePackages{t, texts{}}
	d := &derivation.Derivation{Name: "two", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("dev", derivation.DeferredOutput())
	d.Outputs.Set("out", derivation.DeferredOutput())
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	path, err := d.Path()
	if err != nil {
		t.Fatal(err)
	}
	two := explain.Drv{Path: path, Derivation: d, Inputs: f}
	floating := &derivation.Derivation{Name: "floating", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	floating.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	dev, _ := d.Outputs.Get("dev")
	blank := &derivation.Derivation{Name: "two", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	blank.Outputs.Set("dev", derivation.DeferredOutput())
	blank.Outputs.Set("out", derivation.DeferredOutput())
	blank.Env.Set("dev", "")
	blank.Env.Set("out", "")
	const other storepath.Path = "/nix/store/00000000000000000000000000000000-other"
	for _, c := range []struct {
		path     storepath.Path
		d        explain.Drv
		explains string
		excluded bool
	}{
		{dev.Path(), two, "dev", false},
		{other, two, "dev out", true},
		{other, f.finish(floating), "", false},
		{dev.Path(), explain.Drv{Path: path, Derivation: blank, Inputs: f}, "dev out", false}, // no output has a path, but one follows
	} {
		e, err := explain.Output(t.Context(), c.path, c.d, nil)
		if err != nil {
			t.Fatal(err)
		}
		var outputs []string
		for _, s := range e.Steps {
			if s.Name == explain.StepPath && s.Output != "" {
				outputs = append(outputs, s.Output)
			}
		}
		slices.Sort(outputs)
		if excluded := strings.Contains(strings.Join(e.Problems, "\n"), "has no output with this path"); strings.Join(outputs, " ") != c.explains || excluded != c.excluded {
			t.Errorf("'%s' by '%s': the outputs are %q, the problems %q", c.path, c.d.Path, outputs, e.Problems)
		}
	}
}

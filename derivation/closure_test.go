package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// graphOf returns a loader of derivations that consist only of inputs.
func graphOf(inputs map[string][]string) derivation.Loader {
	return derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) {
		list, ok := inputs[strings.TrimSuffix(path.Name(), ".drv")]
		if !ok {
			return "", fs.ErrNotExist
		}
		d := &derivation.Derivation{}
		d.Outputs.Set("out", derivation.DeferredOutput())
		for _, in := range list {
			d.InputDerivations.Set(p(in+".drv"), derivation.OutputsOf("out"))
		}
		return d.String(), nil
	})
}

func TestClosure(t *testing.T) {
	l := graphOf(map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": nil, "e": {"a"}})
	var mu sync.Mutex
	loaded := map[storepath.Path]int{}
	counting := derivation.LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		loaded[path]++
		return l.LoadDerivation(ctx, path)
	})
	c, err := derivation.LoadClosure(t.Context(), counting, []storepath.Path{p("a.drv"), p("b.drv"), p("a.drv")}, &derivation.ClosureOptions{Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for path, d := range c.All() {
		order = append(order, d.Name)
		if loaded[path] != 1 {
			t.Errorf("%s was loaded %d times", path, loaded[path])
		}
	}
	if got := strings.Join(order, " "); got != "d b c a" || c.Len() != 4 {
		t.Errorf("the order is %s", got)
	}
	if _, ok := c.Get(p("e.drv")); ok {
		t.Error("the closure contains a path that is not an input")
	}
	var missing *derivation.MissingInputError
	if _, err := c.HashModulo(p("e.drv"), derivation.AsInput); !errors.As(err, &missing) {
		t.Errorf("a hash of a path outside of the closure: %v", err)
	}
	if paths, err := c.OutputPaths(p("a.drv")); err != nil || paths.Len() != 1 {
		t.Errorf("%v, %v", paths, err)
	}
}

func TestClosureErrors(t *testing.T) {
	for _, c := range []struct {
		what  string
		graph map[string][]string
		want  []string
	}{
		{"missing", map[string][]string{"a": {"b"}, "b": {"c"}}, []string{"-c.drv", "(an input of", "-b.drv)", "is missing"}},
		{"no root", nil, []string{"-a.drv is missing"}},
		{"itself", map[string][]string{"a": {"a"}}, []string{"-a.drv has itself as an input"}},
		{"a cycle", map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": nil}, []string{"cycle", "-b.drv", "-c.drv"}},
	} {
		_, err := derivation.LoadClosure(t.Context(), graphOf(c.graph), []storepath.Path{p("a.drv")}, nil)
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %q in it", c.what, err, part)
			}
		}
		var load *derivation.LoadError
		var cycle *derivation.CycleError
		if !errors.As(err, &load) && !errors.As(err, &cycle) {
			t.Errorf("%s: %T", c.what, err)
		}
		if c.what == "missing" && (!errors.Is(err, fs.ErrNotExist) || load.Path != p("c.drv") || load.NeededBy != p("b.drv")) {
			t.Errorf("%v", err)
		}
	}
	var syntax *derivation.SyntaxError
	bad := derivation.LoaderFunc(func(context.Context, storepath.Path) (string, error) { return "Derive(", nil })
	if _, err := derivation.LoadClosure(t.Context(), bad, []storepath.Path{p("a.drv")}, nil); !errors.As(err, &syntax) {
		t.Errorf("an invalid text: %v", err)
	}
	if _, err := derivation.LoadClosure(t.Context(), bad, []storepath.Path{p("a")}, nil); err == nil || !strings.Contains(err.Error(), "not a derivation") {
		t.Errorf("a root that is not a derivation: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := derivation.LoaderFunc(func(ctx context.Context, _ storepath.Path) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	})
	if _, err := derivation.LoadClosure(ctx, waiting, []storepath.Path{p("a.drv"), p("b.drv")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An input does not have an output that is used.
func TestClosureUsedOutputs(t *testing.T) {
	l := derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) {
		if path == p("a.drv") {
			return text(`Derive([("out","","","")],[("%B.drv",["dev"])],[],"","",[],[])`), nil
		}
		return `Derive([("out","","","")],[],[],"","",[],[])`, nil
	})
	c, err := derivation.LoadClosure(t.Context(), l, []storepath.Path{p("a.drv")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var invalid *derivation.InvalidError
	if err := c.Hash(t.Context()); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "it has no output dev") {
		t.Errorf("%v", err)
	}
}

// No hash depends on the inputs of a fixed output.
func TestClosureForHashes(t *testing.T) {
	l := derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) {
		if path == p("a.drv") {
			return text(`Derive([("out","%A","sha256","` + zeros + `")],[("%B.drv",["out"])],[],"","",[],[])`), nil
		}
		return "", fs.ErrNotExist
	})
	c, err := derivation.LoadClosure(t.Context(), l, []storepath.Path{p("a.drv")}, &derivation.ClosureOptions{ForHashes: true})
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := c.HashModulo(p("a.drv"), derivation.AsInput); err != nil || hash.Hash.IsZero() {
		t.Errorf("%v, %v", hash, err)
	}
	if _, err := derivation.LoadClosure(t.Context(), l, []storepath.Path{p("a.drv")}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Derivations with known hashes, and their inputs, are not loaded. The hashes of the others are the same as without.
func TestClosureKnown(t *testing.T) {
	all := map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": nil}
	roots := []storepath.Path{p("a.drv"), p("b.drv")}
	whole, err := derivation.LoadClosure(t.Context(), graphOf(all), roots, nil)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := whole.InputHashes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := func(path storepath.Path) (derivation.ModuloHash, bool) {
		if path == p("b.drv") || path == p("d.drv") {
			return hashes(path)
		}
		return derivation.ModuloHash{}, false
	}
	delete(all, "b")
	delete(all, "d")
	part, err := derivation.LoadClosure(t.Context(), graphOf(all), roots, &derivation.ClosureOptions{Known: known})
	if err != nil {
		t.Fatal(err)
	}
	got, err := part.InputHashes(t.Context())
	if err != nil || part.Len() != 2 {
		t.Fatalf("%d derivations, %v", part.Len(), err)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		want, _ := hashes(p(name + ".drv"))
		if hash, ok := got(p(name + ".drv")); !ok || hash != want || hash.Hash.IsZero() {
			t.Errorf("%s has the hash %v, want %v", name, hash, want)
		}
	}
}

// A chain of 100,000 derivations does not overflow the stack.
func TestClosureDeep(t *testing.T) {
	const n = 100_000
	l := derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) {
		var i int
		if _, err := fmt.Sscanf(path.Name(), "%d.drv", &i); err != nil {
			return "", err
		}
		if i == n {
			return `Derive([("out","","","")],[],[],"","",[],[])`, nil
		}
		return fmt.Sprintf(`Derive([("out","","","")],[("%s",["out"])],[],"","",[],[])`, p(fmt.Sprintf("%d.drv", i+1))), nil
	})
	c, err := derivation.LoadClosure(t.Context(), l, []storepath.Path{p("0.drv")}, nil)
	if err != nil || c.Len() != n+1 {
		t.Fatal(err)
	}
	if hash, err := c.HashModulo(p("0.drv"), derivation.ForOutputs); err != nil || hash.Deferred {
		t.Errorf("%v, %v", hash, err)
	}
}

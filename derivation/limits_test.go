package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/storepath"
)

// An inventor is a malicious loader. It returns a derivation for every path, with inputs that do
// not exist.
type inventor struct {
	inputs int
	extra  string // a variable
	n      atomic.Int64
}

func (v *inventor) LoadDerivation(context.Context, storepath.Path) (string, error) {
	var b strings.Builder
	b.WriteString(`Derive([("out","","","")],[`)
	for i := range v.inputs {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `("/nix/store/%032d-invented-%d.drv",["out"])`, v.n.Add(1), i)
	}
	fmt.Fprintf(&b, `],[],"","",[],[("extra","%s")])`, v.extra)
	return b.String(), nil
}

func limitOf(t *testing.T, err error) *derivation.LimitError {
	t.Helper()
	limit, ok := errors.AsType[*derivation.LimitError](err)
	if !ok {
		t.Fatalf("%v, want a *LimitError", err)
	}
	return limit
}

// Memory is limited if a loader invents derivations.
func TestEndlessClosure(t *testing.T) {
	root := p("root.drv")
	small := &derivation.ClosureOptions{Limits: &derivation.Limits{Bytes: 64 << 20}}
	for _, scene := range []struct {
		name  string
		l     *inventor
		opts  *derivation.ClosureOptions
		limit int64
	}{
		{"two inputs", &inventor{inputs: 2}, nil, 300 << 20},
		{"a chain", &inventor{inputs: 1}, small, 100 << 20},
		{"a wide closure", &inventor{inputs: 25_000}, small, 100 << 20},
		{"large variables", &inventor{inputs: 2, extra: strings.Repeat("x", 1<<20)}, small, 100 << 20},
	} {
		t.Run(scene.name, func(t *testing.T) {
			testenv.MaxResident(t, scene.limit, func(t *testing.T) {
				_, err := derivation.LoadClosure(t.Context(), scene.l, []storepath.Path{root}, scene.opts)
				if limit := limitOf(t, err); limit.Root != root || limit.Source != "the loader" {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// Memory is limited if two such closures are compared.
func TestEndlessDiff(t *testing.T) {
	testenv.MaxResident(t, 100<<20, func(t *testing.T) {
		var l inventor
		l.inputs = 1
		load := func() *derivation.Derivation {
			text, _ := l.LoadDerivation(t.Context(), "")
			d, err := derivation.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		_, err := derivation.DiffClosure(t.Context(), load(), &l, load(), &l, &derivation.DiffOptions{Limits: &derivation.Limits{Bytes: 64 << 20}})
		limitOf(t, err)
	})
}

// Each limit is exact, and 0 means no limit.
func TestLimits(t *testing.T) {
	chain := map[string][]string{"a": {"b", "c"}, "b": {"d", "c"}, "c": {"d"}, "d": nil} // 4 derivations, 5 inputs
	load := func(l derivation.Limits) error {
		_, err := derivation.LoadClosure(t.Context(), graphOf(chain), []storepath.Path{p("a.drv")}, &derivation.ClosureOptions{Limits: &l})
		return err
	}
	for _, good := range []derivation.Limits{{}, {Paths: 4}, {References: 5}, {Bytes: 8000}} {
		if err := load(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for name, bad := range map[string]derivation.Limits{"3 paths": {Paths: 3}, "4 references": {References: 4}, "4000 bytes of memory": {Bytes: 4000}} {
		err := load(bad)
		limit := limitOf(t, err)
		if got := fmt.Sprint(limit.Max, " ", limit.Limit); got != name || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), string(p("a.drv"))) {
			t.Errorf("%v", err)
		}
	}
}

// A file is read up to the limit.
func TestMaxFile(t *testing.T) {
	dir := t.TempDir()
	const base = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x.drv"
	file := filepath.Join(dir, base)
	path, err := storepath.DefaultDir.ParseBase(base)
	if err == nil {
		err = os.WriteFile(file, nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		size int64
		want string // in the error; "" for none
	}{{derivation.MaxFile, ""}, {derivation.MaxFile + 1, "it has more than 33554432 bytes"}} {
		if err := os.Truncate(file, c.size); err != nil {
			t.Fatal(err)
		}
		text, err := derivation.Directory(dir).LoadDerivation(t.Context(), path)
		if c.want == "" && (err != nil || int64(len(text)) != c.size) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d bytes: got %d, %v", c.size, len(text), err)
		}
	}
	results, err := derivation.Verify(t.Context(), derivation.Directory(dir), []string{base}, nil)
	if err != nil || results[0].Status != derivation.Failed || !strings.Contains(results[0].Problems[0].Reason, "it has more than") {
		t.Errorf("got %v, %v", results, err)
	}
}

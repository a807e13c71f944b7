package derivation_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// A testBatch is a BatchLoader that leaves out some texts of each batch.
type testBatch struct {
	derivation.Loader
	single, batched atomic.Int64 // texts
	largest         atomic.Int64
}

func (b *testBatch) LoadDerivation(ctx context.Context, path storepath.Path) (string, error) {
	b.single.Add(1)
	return b.Loader.LoadDerivation(ctx, path)
}

func (b *testBatch) LoadDerivations(ctx context.Context, paths []storepath.Path) []string {
	b.largest.Store(max(b.largest.Load(), int64(len(paths))))
	texts := make([]string, len(paths))
	for i, path := range paths {
		if i%8 == 7 {
			continue
		}
		texts[i], _ = b.Loader.LoadDerivation(ctx, path)
		b.batched.Add(1)
	}
	return texts
}

// Closures and differences are the same for a loader that loads several derivations at once. Only the texts that it leaves out are
// loaded one by one.
func TestBatchLoader(t *testing.T) {
	a, b, texts := wideDerivations(t)
	plain := fromMap(texts)
	check := func(what string, l *testBatch) {
		t.Helper()
		if single, batched := l.single.Load(), l.batched.Load(); batched < 300 || single > 100 || l.largest.Load() > 64 {
			t.Errorf("%s: %d texts were loaded one by one and %d in batches of at most %d", what, single, batched, l.largest.Load())
		}
	}

	l := &testBatch{Loader: plain}
	if got, want := describe(diffClosure(t, a, l, b, l, nil)), describe(diffClosure(t, a, plain, b, plain, nil)); got != want {
		t.Errorf("the difference is\n%s\nwant\n%s", got, want)
	}
	check("a difference", l)

	l = &testBatch{Loader: plain}
	roots := slices.Collect(maps.Keys(texts))
	closure, err := derivation.LoadClosure(t.Context(), l, roots, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range texts {
		if d, ok := closure.Get(path); !ok || d.String() != text {
			t.Errorf("the closure has a wrong derivation at %s", path)
		}
	}
	check("a closure", l)

	missing := roots[17]
	delete(texts, missing)
	_, err = derivation.LoadClosure(t.Context(), &testBatch{Loader: plain}, roots, nil)
	if e, ok := errors.AsType[*derivation.LoadError](err); !ok || e.Path != missing {
		t.Errorf("without %s: %v", missing, err)
	}
}

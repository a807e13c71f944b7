package pixpkgs_test

import (
	"context"
	"io"
	"iter"
	"math"
	"testing"

	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/pixpkgs"
	"pix/store"
	"pix/storepath"
)

// A collecting store collects all garbage before each step, through another connection.
type collecting struct {
	store.Store
	collector func()
	steps     *int
}

func (c collecting) Unwrap() store.Store { return c.Store }

func (c collecting) Session(ctx context.Context) (store.Store, error) {
	s, err := c.Store.(store.Sessioner).Session(ctx)
	return collecting{s, c.collector, c.steps}, err
}

func (c collecting) step() {
	*c.steps++
	c.collector()
}

func (c collecting) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	c.step()
	return c.Store.QueryValidPaths(ctx, paths, substitute)
}

func (c collecting) AddTempRoot(ctx context.Context, path storepath.Path) error {
	c.step()
	return c.Store.(store.TempRooter).AddTempRoot(ctx, path)
}

func (c collecting) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, o *store.AddOptions) error {
	c.step()
	return c.Store.(store.NARAdder).AddToStoreNAR(ctx, info, nar, o)
}

func (c collecting) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], o *store.AddOptions) error {
	c.step()
	return c.Store.(store.MultipleAdder).AddMultipleToStore(ctx, n, objects, o)
}

func (c collecting) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	c.step()
	return c.Store.(store.Builder).BuildPaths(ctx, paths, mode)
}

// A collection between any two steps of Realize does no harm, because all is done in one
// session; nor does one that takes away what was found to be there.
func TestRealizeWhileCollecting(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		collector := dial(t, d)
		pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		steps := 0
		c := collecting{pool, func() {
			if _, err := collector.(store.Collector).CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
				t.Error(err)
			}
		}, &steps}
		below := mk(t, spec{Name: "below", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo $x > $out", text(t, "t", "text\n"))}})
		above := mk(t, spec{Name: "above", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo $x > $out", below)}})
		for _, p := range []*pixpkgs.Package{below, above, above} {
			if _, err := pixpkgs.Realize(t.Context(), c, p); err != nil {
				t.Fatal(err)
			}
			// Part of it stays behind, since what is collected comes and goes.
			if _, err := pixpkgs.Realize(t.Context(), pool, below); err != nil {
				t.Fatal(err)
			}
		}
		if steps < 9 {
			t.Errorf("there were only %d steps", steps)
		}
	})
}

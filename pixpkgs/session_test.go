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

// A collecting store runs the garbage collector on another connection before the steps of a session.
type collecting struct {
	store.Store
	collector func()
	from      int // the first step before which it collects
	*counts
}

type counts struct{ step, sessions, open int }

func (c collecting) Unwrap() store.Store { return c.Store }

func (c collecting) Session(ctx context.Context) (store.Store, error) {
	c.sessions++
	c.open++
	s, err := c.Store.(store.Sessioner).Session(ctx)
	c.Store = s
	return c, err
}

func (c collecting) Close() error {
	c.open--
	return c.Store.Close()
}

func (c collecting) before() {
	if c.step++; c.step >= c.from {
		c.collector()
	}
}

func (c collecting) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	c.before()
	return c.Store.QueryValidPaths(ctx, paths, substitute)
}

func (c collecting) AddTempRoot(ctx context.Context, path storepath.Path) error {
	c.before()
	return c.Store.(store.TempRooter).AddTempRoot(ctx, path)
}

func (c collecting) AddToStoreNAR(ctx context.Context, info *store.PathInfo, nar io.Reader, o *store.AddOptions) error {
	c.before()
	return c.Store.(store.NARAdder).AddToStoreNAR(ctx, info, nar, o)
}

func (c collecting) AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[store.Import, error], o *store.AddOptions) error {
	c.before()
	return c.Store.(store.MultipleAdder).AddMultipleToStore(ctx, n, objects, o)
}

func (c collecting) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	c.before()
	return c.Store.(store.Builder).BuildPaths(ctx, paths, mode)
}

// A collection between any two steps of Realize does no harm: a session protects the new objects, and
// Realize adds an object again if it was deleted after the check.
func TestRealizeWhileCollecting(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		collector := dial(t, d)
		collect := func() {
			if _, err := collector.(store.Collector).CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
				t.Error(err)
			}
		}
		below := mk(t, spec{Name: "below", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo $x > $out", text(t, "t", "text\n"))}})
		above := mk(t, spec{Name: "above", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo $x > $out", below)}})
		for from := range 6 {
			for _, p := range []*pixpkgs.Package{below, above} {
				realizeFor(t, d, below) // valid, but without a root
				c := collecting{open(t, d), collect, from, new(counts)}
				if _, err := pixpkgs.Realize(t.Context(), c, p); err != nil {
					t.Fatalf("collecting from step %d on: %v", from, err)
				}
				if c.sessions != 1 || c.open != 0 || c.step < 3 {
					t.Errorf("there were %d sessions, %d of them are open, and %d steps", c.sessions, c.open, c.step)
				}
				collect()
			}
		}
	})
}

func open(t *testing.T, d *realnix.Daemon) *daemon.Pool {
	t.Helper()
	pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

// realizeFor builds p on a connection that it then closes, so the temporary roots are gone.
func realizeFor(t *testing.T, d *realnix.Daemon, p *pixpkgs.Package) {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := pixpkgs.Realize(t.Context(), c, p); err != nil {
		t.Fatal(err)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A closureBudget is a budget of some bytes.
type closureBudget struct {
	mu            sync.Mutex
	left          int64
	running, most int
}

var errNoBudget = errors.New("no budget is left")

func (b *closureBudget) AcquireClosure(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= n; b.left < 0 {
		return errNoBudget
	}
	return nil
}

func (b *closureBudget) AskSource(ctx context.Context, ask func() error) error {
	b.count(1)
	defer b.count(-1)
	return ask()
}

func (b *closureBudget) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running += n
	b.most = max(b.most, b.running)
}

// inventedSubstitutes has a substitute for every path.
type inventedSubstitutes struct{ *inventor }

func (s inventedSubstitutes) FindSubstitute(ctx context.Context, path storepath.Path, _ storepath.ContentAddress) (*store.Substitute, error) {
	info, err := s.QueryPathInfo(ctx, path)
	return &store.Substitute{Info: info}, err
}

func (inventedSubstitutes) AlwaysAllowed(context.Context) (bool, error) { return false, nil }

func (inventedSubstitutes) SubstitutableOutput(context.Context, storepath.Path, string) (storepath.Path, error) {
	return "", nil
}

func (inventedSubstitutes) ClosureLimits() store.Limits { return derivation.ForeignLimits() }

// Every walk ends when the budget of its context is exhausted, and queries through the budget.
func TestClosureBudget(t *testing.T) {
	for name, references := range map[string]int{"small infos": 2, "large infos": 25_000} {
		endless := &inventor{invent: func(v *inventor, _ storepath.Path) *store.PathInfo {
			return &store.PathInfo{References: v.paths(references)}
		}}
		for call, run := range map[string]func(context.Context) error{
			"Closure": func(ctx context.Context) error {
				_, err := closureError(ctx, endless, numbered(0))
				return err
			},
			"Copy": func(ctx context.Context) error {
				_, err := store.Copy(ctx, memstore.New(nil), endless, []storepath.Path{numbered(0)}, nil)
				return err
			},
			"FindMissing": func(ctx context.Context) error {
				_, err := store.FindMissing(ctx, memstore.New(nil), inventedSubstitutes{endless}, []derivation.DerivedPath{derivation.Opaque{Path: numbered(0)}})
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s, %s", call, name), func(t *testing.T) {
				b := &closureBudget{left: 24 << 20}
				if err := run(store.WithClosureBudget(t.Context(), b)); !errors.Is(err, errNoBudget) {
					t.Errorf("%v, want %v", err, errNoBudget)
				}
				if b.most == 0 || b.running != 0 {
					t.Errorf("%d queries were running at the same time, and %d still are", b.most, b.running)
				}
			})
		}
	}
	// A closure within the budget is the same as without a budget.
	mem := memstore.New(nil)
	paths := chain(t, mem, 50, 0)
	ctx := store.WithClosureBudget(t.Context(), &closureBudget{left: 1 << 20})
	if n, err := closureError(ctx, mem, paths...); n != 50 || err != nil {
		t.Errorf("%d infos, %v", n, err)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An inventor is a store that invents the infos of all paths.
type inventor struct {
	store.Store
	invent func(v *inventor, path storepath.Path) *store.PathInfo
	n      atomic.Int64
}

func (v *inventor) Dir() storepath.Dir { return storepath.DefaultDir }

func (v *inventor) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	info := v.invent(v, path)
	if info.Path == "" {
		info.Path = path
	}
	info.NARHash, info.NARSize = nixhash.Sum(nixhash.SHA256, nil), 1
	return info, nil
}

// paths returns n paths that no store has, sorted.
func (v *inventor) paths(n int) []storepath.Path {
	paths := make([]storepath.Path, n)
	to := v.n.Add(int64(n)) + 1 // 0 is the root
	for i := range paths {
		paths[i] = numbered(int(to) - n + i)
	}
	return paths
}

func numbered(i int) storepath.Path {
	path, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-an-invented-package-1.0", i))
	if err != nil {
		panic(err)
	}
	return path
}

// inventions are the ways in which a store may return too much.
var inventions = map[string]func(v *inventor, path storepath.Path) *store.PathInfo{
	"two references each": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: v.paths(2)}
	},
	"a chain": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: v.paths(1)}
	},
	"25,000 references each": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: v.paths(25_000)}
	},
	"the same reference again and again": func(v *inventor, path storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: append(v.paths(1), slices.Repeat([]storepath.Path{path}, 100_000)...)}
	},
	"references that are parts of long texts": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: []storepath.Path{partOfLong(v.paths(1)[0])}}
	},
	"signatures": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: v.paths(2), Signatures: slices.Repeat([]string{strings.Repeat("x", 1000)}, 1000)}
	},
	"signatures and a deriver that are parts of long texts": func(v *inventor, _ storepath.Path) *store.PathInfo {
		return &store.PathInfo{References: v.paths(2), Signatures: []string{partOfLong("a:AAAA")}, Deriver: partOfLong(numbered(0))}
	},
}

// partOfLong returns s as a part of a longer text.
func partOfLong[T ~string](s T) T { return (s + T(strings.Repeat("x", 8<<10)))[:len(s)] }

func limitError(t *testing.T, err error) *store.LimitError {
	t.Helper()
	limit, ok := errors.AsType[*store.LimitError](err)
	if !ok {
		t.Fatalf("%v, want a *LimitError", err)
	}
	return limit
}

// closureError returns the number of infos of a closure, and its error.
func closureError(ctx context.Context, s store.Store, roots ...storepath.Path) (n int, err error) {
	for _, err := range store.Closure(ctx, s, roots...) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

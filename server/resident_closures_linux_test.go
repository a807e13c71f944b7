package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// maxHostile is the largest memory in megabytes of a server with hostile substituters.
const maxHostile = 300

// An endlessCache has every path. Each path refers to paths that no other path refers to.
type endlessCache struct {
	store.Store
	references int
	invented   atomic.Int64
}

func (c *endlessCache) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	n := c.references
	if strings.HasSuffix(path.Name(), "-root") {
		n = 300
	}
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1, References: make([]storepath.Path, n)}
	first := c.invented.Add(int64(n)) - int64(n)
	for i := range info.References {
		ref, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-an-invented-package-1.0", first+int64(i)))
		if err != nil {
			return nil, err
		}
		info.References[i] = ref
	}
	return info, nil
}

func init() {
	for name, references := range map[string]int{"small infos": 2, "large infos": 25_000} {
		residentStores[name] = func(*testing.T) store.Store {
			cache := &endlessCache{Store: memstore.New(nil), references: references}
			return substitute.New(memstore.New(nil), &substitute.Options{Settings: func(context.Context) (*substitute.Settings, error) {
				return &substitute.Settings{NoSignatures: true, Substituters: []substitute.Substituter{{Store: cache, URI: "test://a", WantMassQuery: true}}}, nil
			}})
		}
	}
}

// 16 requests of one user for endless closures share the memory of that user. Afterwards the
// user is served.
func TestResidentClosures(t *testing.T) {
	for _, kind := range []string{"small infos", "large infos"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			bothTrusts(t, func(t *testing.T, trust bool) {
				r := startResident(t, kind, trust)
				var crowd sync.WaitGroup
				for i := range 16 {
					c := r.dial()
					crowd.Go(func() {
						c.nc.SetDeadline(time.Now().Add(10 * time.Minute))
						path := storepath.Path(fmt.Sprintf("/nix/store/%032d-root", i))
						var req protocol.Request = &protocol.QueryMissingRequest{Paths: []derivation.DerivedPath{derivation.Opaque{Path: path}}}
						if i%2 == 0 {
							req = &protocol.EnsurePathRequest{Path: path}
						}
						if _, err := c.ask(req, nil); err == nil || !strings.Contains(err.Error(), "memory") {
							t.Errorf("%s: %v", req.Op(), err)
						}
						if _, err := c.ask(&protocol.IsValidPathRequest{Path: path}, nil); err != nil {
							t.Errorf("afterwards: %v", err)
						}
					})
				}
				crowd.Wait()
				if mb := r.megabytes(); mb > maxHostile {
					t.Errorf("the server used %d MB, more than the limit of %d", mb, maxHostile)
				} else {
					t.Logf("%d MB", mb)
				}
			})
		})
	}
}

package memstore

import (
	"cmp"
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"pix/store"
	"pix/storepath"
)

// activeBuilds are the builds that run now. The zero value has none.
type activeBuilds struct {
	mu     sync.Mutex
	builds []*store.ActiveBuild
}

// track adds a build until end is called.
func (a *activeBuilds) track(drv storepath.Path) (end func()) {
	b := &store.ActiveBuild{Derivation: drv, Start: time.Now().Truncate(time.Second), Owner: os.Getpid(), User: store.User{UID: os.Getuid()}}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.builds = append(a.builds, b)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.builds = slices.DeleteFunc(a.builds, func(other *store.ActiveBuild) bool { return other == b })
	}
}

// QueryActiveBuilds implements [store.ActiveBuildQuerier]. The builds have no processes of their own.
func (s *Store) QueryActiveBuilds(context.Context) ([]store.ActiveBuild, error) {
	s.active.mu.Lock()
	defer s.active.mu.Unlock()
	var builds []store.ActiveBuild
	for _, b := range s.active.builds {
		builds = append(builds, *b)
	}
	slices.SortFunc(builds, func(a, b store.ActiveBuild) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Derivation, b.Derivation))
	})
	return builds, nil
}

package localstore

import (
	"context"

	"pix/internal/activebuilds"
	"pix/store"
)

// QueryActiveBuilds implements [store.ActiveBuildQuerier]. Builds of other users are missing unless the user is root.
func (s *Store) QueryActiveBuilds(context.Context) ([]store.ActiveBuild, error) {
	return activebuilds.List(s.stateDir, s.dir)
}

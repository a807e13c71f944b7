package cacheserver

import (
	"context"

	"pix/store"
)

// lookUp returns the info of the path with a hash part, and the first store that has it. The error is [store.ErrNotFound] if
// no store has it.
func (h *Handler) lookUp(ctx context.Context, hashPart string) (store.Store, *store.PathInfo, error) {
	for _, s := range h.stores {
		info, err := queryHashPart(ctx, s, hashPart)
		if err == nil || !isAbsent(err) {
			return s, info, err
		}
	}
	return nil, nil, &store.NotFoundError{}
}

// queryHashPart returns the info of the path of one store with a hash part.
func queryHashPart(ctx context.Context, s store.Store, hashPart string) (*store.PathInfo, error) {
	path, err := store.PathFromHashPart(ctx, s, hashPart)
	if err != nil {
		return nil, err
	}
	return s.QueryPathInfo(ctx, path)
}

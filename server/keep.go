package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"pix/protocol"
	"pix/store"
)

// addTempRoot does nothing in a store that collects no garbage.
func (c *conn) addTempRoot(ctx context.Context, req *protocol.AddTempRootRequest) (*protocol.Ack, error) {
	if r, ok := store.As[store.TempRooter](c.store); ok {
		if err := c.countTempRoots(1); err != nil {
			return nil, err
		}
		return new(protocol.Ack), r.AddTempRoot(ctx, req.Path)
	}
	return new(protocol.Ack), nil
}

// addTempRoots does the same for many paths. Clients of Determinate Nix send those that they are about to copy.
func (c *conn) addTempRoots(ctx context.Context, req *protocol.AddTempRootsRequest) (*protocol.Ack, error) {
	if _, ok := store.As[store.TempRooter](c.store); ok {
		if err := c.countTempRoots(len(req.Paths)); err != nil {
			return nil, err
		}
	}
	return new(protocol.Ack), store.AddTempRoots(ctx, c.store, req.Paths)
}

func (c *conn) rooter(what string) (store.Rooter, error) {
	if r, ok := store.As[store.Rooter](c.store); ok {
		return r, nil
	}
	return nil, fmt.Errorf("%s not supported by this store: %w", what, errors.ErrUnsupported)
}

func (c *conn) addIndirectRoot(ctx context.Context, req *protocol.AddIndirectRootRequest) (*protocol.Ack, error) {
	r, err := c.rooter("Indirect GC roots registration")
	if err != nil {
		return nil, err
	}
	link, err := absolute(req.Link)
	if err != nil {
		return nil, err
	}
	return new(protocol.Ack), r.AddIndirectRoot(ctx, link)
}

// absolute returns the name of a root without "." and "..". A relative name would be
// relative to a directory that the client knows nothing of.
func absolute(link string) (string, error) {
	if !filepath.IsAbs(link) {
		return "", fmt.Errorf("the name of a root must be absolute, '%s' is not", link)
	}
	return filepath.Clean(link), nil
}

func (c *conn) addPermRoot(ctx context.Context, req *protocol.AddPermRootRequest) (*protocol.AddPermRootReply, error) {
	r, err := c.rooter("Local Filesystem Store")
	if err != nil {
		return nil, err
	}
	link, err := absolute(req.Link)
	if err != nil {
		return nil, err
	}
	if c.opts.LocalRoots {
		link, err = store.AddRoot(ctx, c.store, link, req.Path)
	} else {
		link, err = r.AddPermRoot(ctx, req.Path, link)
	}
	return &protocol.AddPermRootReply{Link: link}, err
}

func (c *conn) findRoots(ctx context.Context, _ *protocol.FindRootsRequest) (*protocol.FindRootsReply, error) {
	r, err := c.rooter("Garbage collection")
	if err != nil {
		return nil, err
	}
	roots, err := r.FindRoots(ctx)
	if err != nil || c.privileged {
		return &protocol.FindRootsReply{Roots: roots}, err
	}
	shown, seen := make([]store.Root, 0, len(roots)), make(map[store.Root]bool)
	for _, root := range roots {
		if isOthers(root) {
			root.Link = "{censored}"
		}
		if !seen[root] {
			seen[root] = true
			shown = append(shown, root)
		}
	}
	return &protocol.FindRootsReply{Roots: shown}, nil
}

// isOthers reports whether a root is one of a process, which is nobody else's business.
func isOthers(root store.Root) bool {
	return strings.HasPrefix(root.Link, "{") || strings.HasPrefix(root.Link, "/proc/")
}

func (c *conn) collectGarbage(ctx context.Context, req *protocol.CollectGarbageRequest) (*protocol.CollectGarbageReply, error) {
	g, ok := store.As[store.Collector](c.store)
	if !ok {
		return nil, fmt.Errorf("Garbage collection not supported by this store: %w", errors.ErrUnsupported)
	}
	result, err := g.CollectGarbage(ctx, req.GCOptions)
	if err != nil {
		return nil, err
	}
	return &protocol.CollectGarbageReply{GCResult: *result}, nil
}

// syncWithGC does nothing, as in Nix since 2.4.
func (c *conn) syncWithGC(context.Context, *protocol.SyncWithGCRequest) (*protocol.Ack, error) {
	return new(protocol.Ack), nil
}

func (c *conn) optimiseStore(ctx context.Context, _ *protocol.OptimiseStoreRequest) (*protocol.Ack, error) {
	if o, ok := store.As[store.Optimiser](c.store); ok {
		return new(protocol.Ack), o.OptimiseStore(ctx)
	}
	return new(protocol.Ack), nil
}

// verifyStore finds nothing wrong in a store that cannot look.
func (c *conn) verifyStore(ctx context.Context, req *protocol.VerifyStoreRequest) (*protocol.VerifyStoreReply, error) {
	v, ok := store.As[store.Verifier](c.store)
	if !ok {
		return new(protocol.VerifyStoreReply), nil
	}
	remain, err := v.VerifyStore(ctx, req.CheckContents, req.Repair)
	return &protocol.VerifyStoreReply{Errors: remain}, err
}

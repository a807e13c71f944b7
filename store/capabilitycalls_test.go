package store_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// bareStore has no capabilities.
type bareStore struct{ store.Store }

// A store without a capability returns an error that matches errors.ErrUnsupported and has no words of Go.
func TestCallsWithoutCapability(t *testing.T) {
	s := bareStore{memstore.New(nil)}
	path, err := store.AddText(t.Context(), s.Store, "x", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(context.Context) error{
		"PathFromHashPart":       func(ctx context.Context) error { _, err := store.PathFromHashPart(ctx, s, path.HashPart()); return err },
		"SubstitutablePathInfos": func(ctx context.Context) error { _, err := store.SubstitutablePathInfos(ctx, s, nil); return err },
		"Listing":                func(ctx context.Context) error { _, err := store.Listing(ctx, s, path); return err },
		"AddBuildLog":            func(ctx context.Context) error { return store.AddBuildLog(ctx, s, path, strings.NewReader("")) },
		"BuildLog":               func(ctx context.Context) error { _, err := store.BuildLog(ctx, s, path); return err },
		"BuildDerivation":        func(ctx context.Context) error { _, err := store.BuildDerivation(ctx, s, path, nil, 0); return err },
		"EnsurePath":             func(ctx context.Context) error { return store.EnsurePath(ctx, s, path) },
		"AddPermRoot":            func(ctx context.Context) error { _, err := store.AddPermRoot(ctx, s, path, "/x"); return err },
		"AddScanning": func(ctx context.Context) error {
			_, err := store.AddScanning(ctx, s, "x", storepath.NAR, nixhash.SHA256, nil)
			return err
		},
		"SubmitOutput": func(ctx context.Context) error { return store.SubmitOutput(ctx, s, nil, "out") },
		"AddPath":      func(ctx context.Context) error { _, err := store.AddPath(ctx, s, "x", "/", nil, nil); return err },
	} {
		if err := call(t.Context()); !errors.Is(err, errors.ErrUnsupported) || strings.Contains(err.Error(), "unsupported operation") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := store.CompletePaths(t.Context(), s, []storepath.Path{path, path}); len(got) != 1 || err != nil {
		t.Errorf("CompletePaths: %v, %v", got, err)
	}
	if info, err := store.RefreshPathInfo(t.Context(), s, path); err != nil || info.Path != path {
		t.Errorf("RefreshPathInfo: %v, %v", info, err)
	}
}

func TestCapabilityCalls(t *testing.T) {
	s := memstore.New(nil)
	path, err := store.AddText(t.Context(), s, "x", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store.PathFromHashPart(t.Context(), s, path.HashPart()); got != path || err != nil {
		t.Errorf("PathFromHashPart: %s, %v", got, err)
	}
	if l, err := store.Listing(t.Context(), s, path); err != nil || l.Size != 4 {
		t.Errorf("Listing of an archive: %+v, %v", l, err)
	}
	if err := store.EnsurePath(t.Context(), s, path); err != nil {
		t.Errorf("EnsurePath: %v", err)
	}
	if err := store.AddBuildLog(t.Context(), s, path, strings.NewReader("log")); err != nil {
		t.Fatal(err)
	}
	r, err := store.BuildLog(t.Context(), s, path)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); string(text) != "log" || err != nil {
		t.Errorf("BuildLog: %q, %v", text, err)
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

const hello storepath.Path = "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt"

// A texts is a minimal store that adds texts.
type texts map[storepath.Path]bool

func (s texts) Dir() storepath.Dir { return storepath.DefaultDir }
func (s texts) Close() error       { return nil }

func (s texts) IsValidPath(_ context.Context, path storepath.Path) (bool, error) {
	return s[path], nil
}

func (s texts) QueryValidPaths(_ context.Context, paths []storepath.Path, _ bool) (valid []storepath.Path, _ error) {
	for _, p := range paths {
		if s[p] {
			valid = append(valid, p)
		}
	}
	return valid, nil
}

func (s texts) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	if !s[path] {
		return nil, &store.NotFoundError{Path: path}
	}
	return &store.PathInfo{Path: path}, nil
}

func (s texts) AddTextToStore(_ context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	s[hello] = true
	return hello, nil
}

// A wrapper is a store that only wraps another.
type wrapper struct{ store.Store }

func (w wrapper) Unwrap() store.Store { return w.Store }

func ExampleAddText() {
	ctx := context.Background()
	s := wrapper{texts{}}
	path, err := store.AddText(ctx, s, "hello.txt", "hello world", nil)
	fmt.Println(path, err)
	_, err = store.OutputMap(ctx, s, path)
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt <nil>
	// true
}

func TestNotFound(t *testing.T) {
	_, err := texts{}.QueryPathInfo(t.Context(), hello)
	var missing *store.NotFoundError
	if !errors.Is(err, store.ErrNotFound) || !errors.As(err, &missing) || missing.Path != hello {
		t.Errorf("%v", err)
	}
}

func TestBuildError(t *testing.T) {
	drv := derivation.Built{Drv: derivation.Opaque{Path: hello}, Outputs: derivation.AllOutputs()}
	why := errors.New("no space left")
	err := &store.BuildError{Paths: []derivation.DerivedPath{drv, drv, drv, drv, drv}, Err: why}
	if !errors.Is(err, why) || !strings.Contains(err.Error(), string(hello)+"^*") || !strings.Contains(err.Error(), "2 more") {
		t.Errorf("%v", err)
	}
}

func TestStatus(t *testing.T) {
	succeeded := 0
	for s := store.Built; s <= store.NoSubstituters; s++ {
		if s.Succeeded() {
			succeeded++
		}
		if strings.Contains(s.String(), "(") {
			t.Errorf("status %d has no name", s)
		}
	}
	if succeeded != 4 || store.BuildStatus(99).String() != "BuildStatus(99)" || store.BuildMode(9).String() != "BuildMode(9)" {
		t.Error("a status or a name is wrong")
	}
}

package binarycache_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// If a server refuses one object, the others are added. If it accepts no uploads, nothing else is tried.
func TestAddRefusedObject(t *testing.T) {
	src := memstore.New(nil)
	var paths []storepath.Path
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		path, err := src.AddTextToStore(t.Context(), name, "text "+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	bad := paths[2].HashPart() + ".narinfo"
	for status, suffix := range map[int]string{403: bad, 409: bad, 422: bad, 413: bad, 401: ".nar.zst"} {
		cache := newRecorder()
		cache.set(func(w http.ResponseWriter, r *http.Request) bool {
			refused := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, suffix)
			if refused {
				w.WriteHeader(status)
			}
			return refused
		})
		s := cache.open(t, "", binarycache.HTTPOptions{})
		copied, err := store.Copy(t.Context(), s, src, paths, nil)
		if status == http.StatusUnauthorized {
			if errors.As(err, new(*store.CopyError)) || err == nil {
				t.Errorf("status %d: %v", status, err)
			}
			continue
		}
		var failed *store.CopyError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Path != paths[2] || failed.Err != nil || len(copied) != 4 {
			t.Errorf("status %d: %d were copied, %v", status, len(copied), err)
		}
	}
}

package cacheserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pix/cacheserver"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
)

// fillDisk writes a file until the disk is full, and then cuts it, so that a number of pages are free. It returns the name.
func fillDisk(t *testing.T, dir string, free int64) string {
	t.Helper()
	const page = 4096
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	written := int64(0)
	for err == nil {
		var n int
		n, err = f.Write(make([]byte, page))
		written += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, written-free*page)); err != nil {
		t.Fatal(err)
	}
	return name
}

// A notingStore notes the errors of additions.
type notingStore struct {
	store.Store
	errs []error
}

// Unwrap returns the store with all other capabilities.
func (s *notingStore) Unwrap() store.Store { return s.Store }

func (s *notingStore) Session(context.Context) (store.Store, error) { return s, nil }

func (s *notingStore) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	err := store.AddNAR(ctx, s.Store, info, archive, opts)
	s.errs = append(s.errs, err)
	return err
}

// If the disk of the store is full at any point of an addition, also in the database, the upload is refused with 507. Nothing of the
// object is visible, and the server goes on. When there is space, the same upload succeeds.
func TestUploadToFullDisk(t *testing.T) {
	spool := t.TempDir() // on another disk
	testenv.OnSmallDisk(t, "24m", func(t *testing.T, dir string) {
		local, err := localstore.Open(t.Context(), &localstore.Options{Root: filepath.Join(dir, "store")})
		if err != nil {
			t.Fatal(err)
		}
		defer local.Close()
		key, s := newKey(t, "test-1"), &notingStore{Store: local}
		h := newHandler(t, &cacheserver.Options{
			TrustedKeys: signature.NewKeySet(key.Public()),
			Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: spool},
		}, s)
		first := newPushed(t, "first", fileArchive("first"), nil, key)
		if status, text := first.push(t, h, testToken); status != http.StatusCreated {
			t.Fatalf("%d, %s", status, text)
		}
		refused := 0
		for free := int64(0); free < 12; free++ {
			ballast := fillDisk(t, dir, free)
			object := newPushed(t, fmt.Sprint("object-", free), fileArchive(strings.Repeat("contents", 100)+fmt.Sprint(free)), nil, key)
			status, text := object.push(t, h, testToken)
			visible := ask(h, http.MethodGet, "/"+narinfo.FileName(object.n.Path)).Code
			switch {
			case status == http.StatusCreated && visible == http.StatusOK:
			case status == http.StatusInsufficientStorage && visible == http.StatusNotFound && !strings.Contains(text, dir):
				refused++
			default:
				t.Errorf("with %d free pages: %d, the narinfo has the status %d: %s; %v", free, status, visible, text, s.errs[len(s.errs)-1])
			}
			if r := ask(h, http.MethodGet, archiveURLOf(t, h, first.n.Path)); r.Code != http.StatusOK {
				t.Errorf("with %d free pages: an older archive has the status %d", free, r.Code)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if status, text := object.push(t, h, testToken); status != http.StatusCreated && (status != http.StatusOK || visible != http.StatusOK) {
				t.Errorf("after %d pages: with free space: %d, %s", free, status, text)
			}
		}
		checkFullErrors(t, s, refused)
		valid, err := store.AllValidPaths(t.Context(), local)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.VerifyPaths(t.Context(), local, valid, nil, func(v *store.PathVerdict) {
			if wrong := errors.Join(v.Err, v.Modified); wrong != nil {
				t.Error(wrong)
			}
		}); err != nil {
			t.Error(err)
		}
	})
}

// checkFullErrors fails unless some additions have failed in the database, and some elsewhere.
func checkFullErrors(t *testing.T, s *notingStore, refused int) {
	t.Helper()
	inDatabase, elsewhere := 0, 0
	for _, err := range s.errs {
		switch {
		case err == nil:
		case errors.As(err, new(*localstore.DatabaseError)):
			inDatabase++
		default:
			elsewhere++
		}
	}
	t.Logf("%d additions were refused, %d by the database, %d elsewhere", refused, inDatabase, elsewhere)
	if inDatabase == 0 || elsewhere == 0 {
		t.Errorf("%d additions have failed in the database, and %d elsewhere", inDatabase, elsewhere)
	}
}

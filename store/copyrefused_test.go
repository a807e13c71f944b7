package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// An object whose info a destination refuses does not keep the others from being copied.
func TestCopyRefusedInfos(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 40, 100)
	for fault, spoil := range map[string]func(*store.PathInfo){
		"claims an address": func(info *store.PathInfo) { info.CA = mustCA(t, info.NARHash) },
		"other hash": func(info *store.PathInfo) {
			info.NARHash = nixhash.Sum(nixhash.SHA512, nil)
			info.CA = storepath.ContentAddress{}
		},
		"lost reference": func(info *store.PathInfo) {
			info.References = []storepath.Path{lost}
			info.CA = storepath.ContentAddress{}
		},
		"other directory": func(info *store.PathInfo) { info.Deriver = "/other/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x.drv" },
	} {
		for name, dst := range destinations(t) {
			t.Run(fault+"/"+name, func(t *testing.T) {
				var infos []*store.PathInfo
				for i, path := range roots {
					info, err := mem.QueryPathInfo(t.Context(), path)
					if err != nil {
						t.Fatal(err)
					}
					if i == 7 {
						spoil(info)
					}
					infos = append(infos, info)
				}
				err := store.CopyObjects(t.Context(), dst, mem, infos, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
				valid, queryErr := dst.QueryValidPaths(t.Context(), roots, false)
				if queryErr != nil || len(valid) < len(roots)-1 {
					t.Errorf("%d are valid, %v, %v", len(valid), queryErr, err)
				}
				var failed *store.CopyError
				if len(valid) < len(roots) && (!errors.As(err, &failed) || failed.Err != nil || len(failed.Failed) != 1 || failed.Failed[0].Path != roots[7]) {
					t.Error(err)
				}
			})
		}
	}
}

// The number of attempts with a destination that refuses everything is limited.
func TestCopyAllRefused(t *testing.T) {
	mem := memstore.New(nil)
	for i := range 60 {
		text := mustText(t, mem, fmt.Sprint("text-", i))
		text.CA, text.Path = storepath.ContentAddress{}, storepath.Path(fmt.Sprintf("/nix/store/%032d-unsigned", i))
		archive, err := mem.NARFromPath(t.Context(), mustText(t, mem, fmt.Sprint("text-", i)).Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := mem.AddToStoreNAR(t.Context(), text, archive, &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
	}
	for name, dst := range destinations(t) {
		if name != "daemon" && name != "old daemon" { // the others do not check signatures
			continue
		}
		src := newSpoiled(mem)
		var infos []*store.PathInfo
		for i := range 60 {
			info, err := mem.QueryPathInfo(t.Context(), storepath.Path(fmt.Sprintf("/nix/store/%032d-unsigned", i)))
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
		err := store.CopyObjects(t.Context(), dst, src, infos, nil)
		if err == nil || src.reads() > 6*60 {
			t.Errorf("%s: %d archives were read, %v", name, src.reads(), err)
		}
	}
}

func mustText(t *testing.T, s *memstore.Store, name string) *store.PathInfo {
	t.Helper()
	path, err := s.AddTextToStore(t.Context(), name, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

const lost = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-lost")

func mustCA(t *testing.T, hash nixhash.Hash) storepath.ContentAddress {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, hash)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Contents that do not match the method of their content address concern no other object.
func TestCopyContentsOfOtherKind(t *testing.T) {
	mem := memstore.New(nil)
	roots := manyTexts(t, mem, "text", 40, 100)
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Target: "/x"})
	w.Close()
	ca := mustCA(t, nixhash.Sum(nixhash.SHA256, []byte("x")))
	link, err := storepath.DefaultDir.FixedOutputPath("link", ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	src := &withLink{mem, link, archive.Bytes()}
	infos := []*store.PathInfo{{Path: link, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()), CA: ca}}
	for _, path := range roots {
		info, err := mem.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	for name, dst := range destinations(t) {
		if name == "binary cache" { // it does not check content addresses
			continue
		}
		err := store.CopyObjects(t.Context(), dst, src, infos, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
		var failed *store.CopyError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Path != link || len(failed.Copied) != len(roots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A withLink store also has the archive of a symlink.
type withLink struct {
	*memstore.Store
	link    storepath.Path
	archive []byte
}

func (s *withLink) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path == s.link {
		return io.NopCloser(bytes.NewReader(s.archive)), nil
	}
	return s.Store.NARFromPath(ctx, path)
}

package localstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// dummyPart stands for the hash part of an object whose path is not known yet.
var dummyPart = strings.Repeat("0", storepath.HashPartLen)

// selfObject returns an object with this text as its contents, in which dummyPart stands for its own hash part.
// offsets says whether the content address covers the offsets of the self-references.
func selfObject(t testing.TB, text string, offsets bool) (*store.PathInfo, []byte) {
	t.Helper()
	archive := fileNAR(text)
	h := sha256.New()
	h.Write(bytes.ReplaceAll(archive, []byte(dummyPart), make([]byte, len(dummyPart))))
	for at := 0; offsets; at += len(dummyPart) {
		next := bytes.Index(archive[at:], []byte(dummyPart))
		if next < 0 {
			break
		}
		at += next
		fmt.Fprintf(h, "|%d", at)
	}
	return withPath(t, nixhash.FromHash(nixhash.SHA256, h), archive)
}

// withPath returns an archive with its path in place of dummyPart.
func withPath(t testing.TB, hash nixhash.Hash, archive []byte) (*store.PathInfo, []byte) {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.NAR, hash)
	if err != nil {
		t.Fatal(err)
	}
	path, err := storepath.DefaultDir.FixedOutputPath("self", ca, storepath.References{Self: true})
	if err != nil {
		t.Fatal(err)
	}
	archive = bytes.ReplaceAll(archive, []byte(dummyPart), []byte(path.HashPart()))
	return &store.PathInfo{
		Path: path, CA: ca, NARSize: uint64(len(archive)), NARHash: nixhash.Sum(nixhash.SHA256, archive),
		References: []storepath.Path{path},
	}, archive
}

// eachStore runs a test with an empty embedded store and with an empty store in memory.
func eachStore(t *testing.T, keys signature.KeySet, test func(t *testing.T, s store.Store)) {
	t.Run("localstore", func(t *testing.T) { test(t, open(t, Options{Root: t.TempDir(), TrustedKeys: keys})) })
	t.Run("memstore", func(t *testing.T) { test(t, memstore.New(&memstore.Options{TrustedKeys: keys})) })
}

const selfText = "I am " // and self-references of the object

// The content address of a self-referential object has two forms. The one without offsets needs a signature or a
// trusted user.
func TestSelfReference(t *testing.T) {
	secret, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	keys := signature.NewKeySet(secret.Public())
	text := selfText + dummyPart + " and\n" + dummyPart + dummyPart + "."
	strong, strongNAR := selfObject(t, text, true)
	weak, weakNAR := selfObject(t, text, false)
	signed := *weak
	if err := signed.Sign(secret); err != nil {
		t.Fatal(err)
	}
	trusted := func(*store.PathInfo) bool { return true }
	for _, c := range []struct {
		name  string
		info  *store.PathInfo
		nar   []byte
		opts  *store.AddOptions
		taken bool
	}{
		{"strong", strong, strongNAR, nil, true},
		{"weak", weak, weakNAR, nil, false},
		{"weak, signed", &signed, weakNAR, nil, true},
		{"weak, signatures not needed", weak, weakNAR, &store.AddOptions{NoSignatures: true}, true},
		{"weak, from a trusted user", weak, weakNAR, &store.AddOptions{Vouched: trusted}, true},
		{"weak, not vouched for", weak, weakNAR, &store.AddOptions{NoSignatures: true, Vouched: func(*store.PathInfo) bool { return false }}, false},
		{"weak, wrong key", &signed, weakNAR, &store.AddOptions{TrustedKeys: signature.NewKeySet()}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachStore(t, keys, func(t *testing.T, s store.Store) {
				for _, add := range []func() error{
					func() error { return store.AddNAR(t.Context(), s, c.info, bytes.NewReader(c.nar), c.opts) },
					func() error { return store.AddMultiple(t.Context(), s, 1, oneImport(c.info, c.nar), c.opts) },
				} {
					err := add()
					var untrusted *store.UntrustedError
					if c.taken != (err == nil) || err != nil && (!errors.As(err, &untrusted) || !untrusted.Weak || untrusted.Path != c.info.Path) {
						t.Fatal(err)
					}
				}
				if valid, err := s.IsValidPath(t.Context(), c.info.Path); err != nil || valid != c.taken {
					t.Errorf("valid: %v, %v", valid, err)
				}
				if referrers, err := store.Referrers(t.Context(), s, c.info.Path); c.taken && (err != nil || !slices.Equal(referrers, []storepath.Path{c.info.Path})) {
					t.Errorf("%v, %v", referrers, err)
				}
			})
		})
	}
}

// An untrusted user must not be able to add other contents under the same path, with self-references replaced by NUL
// bytes, or NUL bytes by self-references.
func TestSelfReferenceCollisions(t *testing.T) {
	nuls := strings.Repeat("\x00", len(dummyPart))
	text := selfText + dummyPart + " and " + dummyPart
	weak, weakNAR := selfObject(t, text, false)
	strong, strongNAR := selfObject(t, text, true)
	one := func(archive []byte, info *store.PathInfo, n int) []byte {
		return bytes.Replace(archive, []byte(info.Path.HashPart()), []byte(nuls), n)
	}
	plainNAR := fileNAR("a program with " + nuls + " in it")
	ca, err := storepath.NewContentAddress(storepath.NAR, nixhash.Sum(nixhash.SHA256, plainNAR))
	if err != nil {
		t.Fatal(err)
	}
	plainPath, err := storepath.DefaultDir.FixedOutputPath("plain", ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	plain := &store.PathInfo{Path: plainPath, CA: ca}
	for name, c := range map[string]struct {
		info    store.PathInfo
		archive []byte
	}{
		"one mention less":         {*weak, one(weakNAR, weak, 1)},
		"no mention":               {*weak, one(weakNAR, weak, -1)},
		"strong, one mention less": {*strong, one(strongNAR, strong, 1)},
		"strong, no mention":       {*strong, one(strongNAR, strong, -1)},
		"a mention more":           {*plain, bytes.ReplaceAll(plainNAR, []byte(nuls), []byte(plainPath.HashPart()))},
	} {
		t.Run(name, func(t *testing.T) {
			c.info.NARHash, c.info.NARSize = nixhash.Sum(nixhash.SHA256, c.archive), uint64(len(c.archive))
			eachStore(t, nil, func(t *testing.T, s store.Store) {
				if err := store.AddNAR(t.Context(), s, &c.info, bytes.NewReader(c.archive), nil); err == nil {
					t.Error("the object was accepted")
				}
			})
		})
	}
	plain.NARHash, plain.NARSize = nixhash.Sum(nixhash.SHA256, plainNAR), uint64(len(plainNAR))
	eachStore(t, nil, func(t *testing.T, s store.Store) {
		if err := store.AddNAR(t.Context(), s, plain, bytes.NewReader(plainNAR), nil); err != nil {
			t.Error(err)
		}
	})
}

package substitute_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

const absent = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")

// A substituter is a store in memory that can be made to misbehave.
type substituter struct {
	*memstore.Store

	mu    sync.Mutex
	hook  func(ctx context.Context, path storepath.Path) error // before an archive is given
	query func(ctx context.Context, path storepath.Path) error // before a question is answered
	alter func(archive []byte) []byte
	given map[storepath.Path]int // how often an archive was asked for
}

func newSubstituter() *substituter {
	return &substituter{Store: memstore.New(nil), given: make(map[storepath.Path]int)}
}

func (s *substituter) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if s.query != nil {
		if err := s.query(ctx, path); err != nil {
			return nil, err
		}
	}
	return s.Store.QueryPathInfo(ctx, path)
}

func (s *substituter) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	s.given[path]++
	s.mu.Unlock()
	if s.hook != nil {
		if err := s.hook(ctx, path); err != nil {
			return nil, err
		}
	}
	archive, err := s.Store.NARFromPath(ctx, path)
	if err != nil || s.alter == nil {
		return archive, err
	}
	b, err := io.ReadAll(archive)
	return io.NopCloser(bytes.NewReader(s.alter(b))), err
}

func (s *substituter) times(path storepath.Path) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given[path]
}

// newKey returns a key whose public half the stores of tests trust, if it is the first.
func newKey(t testing.TB, name string) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// put gives an object to a substituter, whose path does not follow from its contents.
func (s *substituter) put(t testing.TB, path storepath.Path, key *signature.SecretKey, refs ...storepath.Path) storepath.Path {
	t.Helper()
	contents := "this is " + string(path)
	for _, ref := range refs {
		contents += " and needs " + string(ref)
	}
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.Close()
	info := &store.PathInfo{
		Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()), References: refs,
	}
	if key != nil {
		if err := info.Sign(*key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddToStoreNAR(t.Context(), info, &archive, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return path
}

// named returns a store path for tests.
func named(t testing.TB, name string) storepath.Path {
	t.Helper()
	hash := strings.TrimPrefix(nixhash.Sum(nixhash.SHA256, []byte(name)).WithNix32(), "sha256:")
	path, err := storepath.DefaultDir.Parse("/nix/store/" + hash[:storepath.HashPartLen] + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// local returns an embedded store with substituters.
func local(t testing.TB, settings *substitute.Settings) *substitute.Store {
	t.Helper()
	below, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	return over(t, below, settings)
}

// over returns a store with substituters.
func over(t testing.TB, below store.Store, settings *substitute.Settings) *substitute.Store {
	s := substitute.New(below, &substitute.Options{
		Settings: func(context.Context) (*substitute.Settings, error) { return settings, nil },
	})
	t.Cleanup(func() { s.Close() })
	return s
}

// from returns settings with these substituters, in their order, and a trusted key.
func from(key signature.SecretKey, subs ...*substituter) *substitute.Settings {
	settings := &substitute.Settings{TrustedKeys: signature.NewKeySet(key.Public())}
	for i, s := range subs {
		settings.Substituters = append(settings.Substituters, substitute.Substituter{
			Store: s, URI: "test://" + string(rune('a'+i)), Priority: i, WantMassQuery: true,
		})
	}
	return settings
}

// A listener keeps what is told. It fails the test when it is told two things at once.
type listener struct {
	t    testing.TB
	mu   sync.Mutex
	told []activity.Event
}

func (l *listener) HandleEvent(e activity.Event) {
	if !l.mu.TryLock() {
		l.t.Error("two events at once")
		return
	}
	defer l.mu.Unlock()
	l.told = append(l.told, e)
}

// lines returns the lines that were told, those of activities too.
func (l *listener) lines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, e := range l.told {
		switch e := e.(type) {
		case activity.Log:
			lines = append(lines, e.Text)
		case activity.Start:
			if e.Text != "" && e.Type != activity.QueryPathInfo {
				lines = append(lines, e.Text)
			}
		}
	}
	return strings.Join(lines, "\n")
}

// listen returns a context whose handler listens.
func listen(t testing.TB) (context.Context, *listener) {
	l := &listener{t: t}
	return activity.WithHandler(t.Context(), l), l
}

func opaque(paths ...storepath.Path) (derived []derivation.DerivedPath) {
	for _, p := range paths {
		derived = append(derived, derivation.Opaque{Path: p})
	}
	return derived
}

// build builds paths and returns how each ended.
func build(t testing.TB, ctx context.Context, s store.Store, paths ...derivation.DerivedPath) []store.KeyedBuildResult {
	t.Helper()
	results, err := store.BuildPathsWithResults(ctx, s, paths, store.BuildNormal)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func checkValid(t testing.TB, s store.Store, want bool, paths ...storepath.Path) {
	t.Helper()
	for _, p := range paths {
		if valid, err := s.IsValidPath(t.Context(), p); err != nil || valid != want {
			t.Errorf("%s is valid: %t, %v; want %t", p, valid, err, want)
		}
	}
}

var errBroken = errors.New("it is broken")

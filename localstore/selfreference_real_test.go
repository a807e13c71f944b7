package localstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Every Nix makes self-referential objects content-addressed as store.MakeContentAddressed does by the rules of its
// version. pix reads the objects that Nix has made. Nix accepts the objects that pix has made by the rules of its
// version, and refuses the others.
func TestRealSelfReference(t *testing.T) {
	for suite, rules := range map[string]store.Rules{
		"bookworm": store.Rules236, // Nix 2.8 has the form that 2.35 uses again
		"trixie":   store.Rules234,
		"sid":      store.Rules234,
	} {
		t.Run(suite, func(t *testing.T) {
			d := realnix.Start(t, realnix.Get(t, suite), &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations"}})
			nix, err := daemon.Dial(t.Context(), d.Socket, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer nix.Close()
			roots := addSelfReferences(t, nix)
			args := []string{"nix", "store", "make-content-addressed", "--json"}
			for _, p := range roots {
				args = append(args, string(p))
			}
			var theirs struct {
				Rewrites map[storepath.Path]storepath.Path `json:"rewrites"`
			}
			if err := json.Unmarshal([]byte(d.MustRun(t, args...)), &theirs); err != nil {
				t.Fatal(err)
			}
			ours, err := store.MakeContentAddressed(t.Context(), open(t, Options{Root: t.TempDir()}), nix, roots, rules)
			if err != nil || len(ours) != 4 {
				t.Fatal(ours, err)
			}
			for old, path := range theirs.Rewrites { // of the roots
				if ours[old] != path {
					t.Fatalf("'%s' became '%s', in Nix '%s'", old, ours[old], path)
				}
			}

			// Objects of Nix are copied, with a signature or trust if the address is weak.
			var copied []storepath.Path
			for _, p := range theirs.Rewrites {
				copied = append(copied, p)
			}
			if len(copied) != len(roots) {
				t.Fatal(theirs)
			}
			_, err = store.Copy(t.Context(), open(t, Options{Root: t.TempDir()}), nix, copied, nil)
			var untrusted *store.UntrustedError
			if weak := errors.As(err, &untrusted) && untrusted.Weak; weak != (rules == store.Rules234) || err != nil && !weak {
				t.Error(err)
			}
			trusting := &store.CopyOptions{AddOptions: store.AddOptions{Vouched: func(*store.PathInfo) bool { return true }}}
			s := open(t, Options{Root: t.TempDir()})
			if _, err = store.Copy(t.Context(), s, nix, copied, trusting); err != nil {
				t.Error(err)
			}
			if bad, err := s.VerifyStore(t.Context(), true, false); err != nil || bad {
				t.Errorf("errors remain: %v, %v", bad, err)
			}

			checkOtherNix(t, suite, nix, roots, ours, rules)
		})
	}
}

// checkOtherNix checks that another Nix accepts the objects that pix makes content-addressed by the rules of its
// version, and refuses those by other rules.
func checkOtherNix(t *testing.T, suite string, nix store.Store, roots []storepath.Path, want map[storepath.Path]storepath.Path, rules store.Rules) {
	t.Helper()
	d := realnix.Start(t, realnix.Get(t, suite), nil)
	empty, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, err := store.MakeContentAddressed(t.Context(), empty, nix, roots, store.Rules236-rules); err == nil || !strings.Contains(err.Error(), "ca hash mismatch") {
		t.Errorf("by the rules of another version: %v", err)
	}
	if got, err := store.MakeContentAddressed(t.Context(), empty, nix, roots, rules); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// addSelfReferences adds objects that refer to themselves and to each other, and returns the roots.
func addSelfReferences(t *testing.T, s store.Store) []storepath.Path {
	t.Helper()
	add := func(name, text string, self bool, references ...storepath.Path) storepath.Path {
		path, err := storepath.DefaultDir.MakePath("output:out", nixhash.Sum(nixhash.SHA256, []byte(name)), name)
		if err != nil {
			t.Fatal(err)
		}
		archive := fileNAR(strings.ReplaceAll(text, "SELF", string(path)))
		if self {
			references = append(references, path)
		}
		info := &store.PathInfo{Path: path, References: references, NARSize: uint64(len(archive)), NARHash: nixhash.Sum(nixhash.SHA256, archive)}
		if err := store.AddNAR(t.Context(), s, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := add("plain", "nothing", false)
	one := add("one", "SELF and "+strings.Repeat("-", 70<<10)+"SELFSELF, "+string(plain)+".", true, plain)
	// Nix replaces whole paths, and not only the hash part.
	two := add("two", string(one)+string(plain)+" "+plain.HashPart()+" "+string(one)+"/bin", false, one, plain)
	three := add("three", "SELF"+string(two)+string(one), true, one, two)
	return []storepath.Path{three, two}
}

package profile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/store"
	"pix/storepath"
)

func TestSetSwitchRollback(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.Generations(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a profile that does not exist: %v", err)
	}
	a, b := w.set("a"), w.set("b")
	if again := w.set("b"); a.Number != 1 || b.Number != 2 || again.Number != 2 || !again.Current {
		t.Errorf("generations %d, %d, %d", a.Number, b.Number, again.Number)
	}
	w.set("a") // only the newest generation is used again
	w.expect("1 2 3*")
	if g, err := w.Rollback(ctx); err != nil || g.Number != 2 || !g.Current {
		t.Error(g, err)
	}
	if g, err := w.Switch(ctx, 1); err != nil || g.Number != 1 {
		t.Error(g, err)
	}
	w.expect("1* 2 3")
	want := []string{
		"profile -> profile-1-link", "profile-1-link -> " + string(a.Path),
		"profile-2-link -> " + string(b.Path), "profile-3-link -> " + string(a.Path),
	}
	if got := files(t, w.dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	var none *GenerationError
	if _, err := w.Rollback(ctx); !errors.As(err, &none) || err.Error() != "profile '"+w.Link()+"' has no generation before the current one, 1" {
		t.Error(err)
	}
	if _, err := w.Switch(ctx, 9); !errors.As(err, &none) || none.Number != 9 {
		t.Error(err)
	}
	w.set("b") // the newest generation points to a, so this is a new one, also after a rollback
	w.expect("1 2 3 4*")
	roots, err := w.store.FindRoots(ctx)
	roots = slices.DeleteFunc(roots, func(r store.Root) bool { return r.Link == "{temp}" })
	if err != nil || len(roots) != 4 {
		t.Errorf("roots %v, %v", roots, err)
	}
}

func TestSetRefuses(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const absent storepath.Path = "/nix/store/00000000000000000000000000000000-absent"
	if _, err := w.Set(ctx, w.store, absent); err == nil || len(files(t, w.dir)) != 0 {
		t.Error(err, files(t, w.dir))
	}
	file := filepath.Join(w.dir, "profile")
	if err := os.WriteFile(file, []byte("important"), 0o666); err != nil {
		t.Fatal(err)
	}
	var link *LinkError
	if _, err := w.Set(ctx, w.store, w.path("a")); !errors.As(err, &link) || len(files(t, w.dir)) != 1 {
		t.Error(err, files(t, w.dir))
	}
	w.link("/etc/passwd", "profile")
	if _, err := w.Set(ctx, w.store, w.path("a")); !errors.As(err, &link) || len(files(t, w.dir)) != 1 {
		t.Error(err, files(t, w.dir))
	}
	for _, name := range []string{"", "/", "/nix/store/profile", "/nix/store/a/b"} {
		if _, err := New(w.store.Dir(), name); !errors.As(err, &link) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	resolve := func(name string) string {
		p, err := Resolve(w.store.Dir(), filepath.Join(w.dir, name))
		if err != nil {
			return err.Error()
		}
		return strings.TrimPrefix(p.Link(), w.dir+"/")
	}
	w.link("profile", ".nix-profile")
	if got := resolve(".nix-profile"); got != "profile" {
		t.Errorf("before there is a profile: %s", got)
	}
	w.set("a")
	w.link(w.dir+"/.nix-profile", "indirect")
	w.link(w.dir+"/profile-1-link", "profile") // an absolute name
	w.link(string(w.path("a")), "direct")
	w.link("loop-b", "loop-a")
	w.link("loop-a", "loop-b")
	w.link("self", "self")
	w.link("/etc/passwd", "file")
	for name, want := range map[string]string{
		".nix-profile": "profile", "indirect": "profile", "profile": "profile", "direct": "direct", "absent": "absent",
		"loop-a": "loop of symlinks", "self": "loop of symlinks", "file": "points to '/etc/passwd', which is no profile",
	} {
		if got := resolve(name); got != want && !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	w.expect("1*")
}

func TestDelete(t *testing.T) {
	for _, test := range []struct {
		sel           Selection
		deleted, left string
	}{
		{Selection{}, "", "1 2 3 4 5 6* 7 8"},
		{Numbers(2, 7, 99), "2 7", "1 3 4 5 6* 8"},
		{Old(), "1 2 3 4 5 7 8", "6*"},
		{KeepLast(1), "1 2 3 4 5", "6* 7 8"},
		{KeepLast(3), "1 2 3", "4 5 6* 7 8"},
		{KeepLast(6), "", "1 2 3 4 5 6* 7 8"},
		{KeepLast(1 << 31), "", "1 2 3 4 5 6* 7 8"},
		{OlderThan(time.Now().Add(-45 * 24 * time.Hour)), "1 2 3", "4 5 6* 7 8"}, // 4 was in use then
		{OlderThan(time.Now().Add(-1000 * 24 * time.Hour)), "", "1 2 3 4 5 6* 7 8"},
		{OlderThan(time.Now().Add(time.Hour)), "1 2 3 4 5 7", "6* 8"},
	} {
		w := newWorld(t)
		for _, name := range strings.Split("abcdefgh", "") {
			w.set(name)
		}
		for n := range 8 {
			w.age(uint64(n+1), 80-10*n)
		}
		if _, err := w.Switch(t.Context(), 6); err != nil {
			t.Fatal(err)
		}
		selected, err := w.Select(t.Context(), test.sel)
		w.expect("1 2 3 4 5 6* 7 8")
		deleted, deleteErr := w.Delete(t.Context(), test.sel)
		if err != nil || deleteErr != nil || numbers(deleted) != test.deleted || numbers(selected) != test.deleted {
			t.Errorf("deleted %s, selected %s, want %s: %v, %v", numbers(deleted), numbers(selected), test.deleted, err, deleteErr)
		}
		w.expect(test.left)
	}
}

// The current generation is not deleted, and nothing is if it is not known.
func TestDeleteKeepsCurrent(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.set("a")
	w.set("b")
	var current *CurrentError
	if _, err := w.Delete(ctx, Numbers(1, 2)); !errors.As(err, &current) || current.Number != 2 {
		t.Error(err)
	}
	if _, err := w.Delete(ctx, KeepLast(0)); err == nil {
		t.Error("KeepLast(0) deletes")
	}
	all := []Selection{Old(), KeepLast(1), OlderThan(time.Now().Add(time.Hour))}
	for target, sels := range map[string][]Selection{
		"profile-9-link":            all,
		"/elsewhere/profile-1-link": append(all, Numbers(1)),
		"other":                     append(all, Numbers(1)),
	} {
		w.link(target, "profile")
		for _, sel := range sels {
			var none *GenerationError
			if deleted, err := w.Delete(ctx, sel); !errors.As(err, &none) || len(deleted) > 0 {
				t.Errorf("%s: deleted %s: %v", target, numbers(deleted), err)
			}
		}
	}
	w.expect("1 2")
	// The directory has another name.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(w.dir, other); err != nil {
		t.Fatal(err)
	}
	w.link(other+"/profile-1-link", "profile")
	w.expect("1* 2")
}

func TestParseSelection(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		words string
		want  Selection
	}{
		{"old", Old()}, {"30d", OlderThan(now.Add(-30 * 24 * time.Hour))}, {"+5", KeepLast(5)}, {"3 4", Numbers(3, 4)}, {"0", Numbers(0)},
	} {
		got, err := ParseSelection(strings.Fields(test.words), now)
		if err != nil || got.kind != test.want.kind || got.keep != test.want.keep || !got.before.Equal(test.want.before) || !slices.Equal(got.numbers, test.want.numbers) {
			t.Errorf("%s: %+v, %v", test.words, got, err)
		}
	}
	for _, words := range []string{
		"+0", "+", "0d", "d", "-1d", "1.5d", "99999999999d", "106752d", "4294967296", "18446744073709551616", "-1", "03", "+05", "old 3", "3 old", "30d 3", "x", "30h", "٣",
	} {
		if got, err := ParseSelection(strings.Fields(words), now); err == nil {
			t.Errorf("%s: %+v", words, got)
		}
	}
}

package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pix/storepath"
)

// links creates symlinks below a directory, and the directories for them.
func links(t *testing.T, dir string, targets map[string]string) {
	t.Helper()
	for name, target := range targets {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, file); err != nil {
			t.Fatal(err)
		}
	}
}

// names returns the names of profiles relative to a directory, sorted.
func names(profiles []*Profile, dir string) string {
	var all []string
	for _, p := range profiles {
		all = append(all, strings.TrimPrefix(p.Link(), dir+"/"))
	}
	slices.Sort(all)
	return fmt.Sprintf("%q", all)
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat("d/", maxDepth)
	links(t, dir, map[string]string{
		"a": "a-1-link", "missing": "missing-7-link", "per-user/ann/b": "b-1-link", "odd\nname": "odd\nname-1-link",
		"absolute": dir + "/absolute-1-link", "slow": "/net/far/slow-1-link", "other": "a-1-link", "elsewhere": "../elsewhere-1-link",
		"direct": "/nix/store/x", "self": "self", "to-dir": "per-user", "up": "..", "root": "/", deep + "c": "c-1-link", deep + "d/c": "c-1-link",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo-1-link"), 0o666); err != nil {
		t.Fatal(err)
	}
	found, err := Find(t.Context(), storepath.DefaultDir, dir)
	if got, want := names(found, dir), fmt.Sprintf("%q", []string{"a", "absolute", deep + "c", "missing", "odd\nname", "per-user/ann/b"}); got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	found, err = FindIn(t.Context(), storepath.DefaultDir, dir)
	if got, want := names(found, dir), `["a" "absolute" "missing" "odd\nname"]`; got != want || err != nil {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	for _, none := range []string{dir + "/none", dir + "/none/none"} {
		if found, err := Find(t.Context(), storepath.DefaultDir, none); len(found) > 0 || err != nil {
			t.Error(names(found, dir), err)
		}
	}
}

// The owner of a directory can delete it while it is read. The walk goes on with the next directory.
func TestFindDeletedDirectory(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := openDir(gone, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	w := finder{storeDir: storepath.DefaultDir, root: gone}
	if err := w.walk(t.Context(), d, ".", 1); err != nil {
		t.Error(err)
	}
}

func TestLocations(t *testing.T) {
	dir := t.TempDir()
	root := Locations{StateDir: dir + "/var", Home: dir + "/root", StateHome: dir + "/root/state", User: "root", Root: true}
	ann := Locations{StateDir: dir + "/var", Home: dir + "/ann", StateHome: dir + "/ann/state", User: "ann"}
	xdg := Locations{StateDir: dir + "/var", Home: dir + "/bob", StateHome: dir + "/bob/state", User: "bob", XDG: true}
	own := Locations{StateDir: dir + "/own", StateHome: dir + "/ann/state", User: "ann"}
	for _, test := range []struct {
		l                     *Locations
		link, profile, search string
	}{
		{&root, "/root/.nix-profile", "/var/profiles/per-user/root/profile", "/var/profiles"},
		{&ann, "/ann/.nix-profile", "/ann/state/profiles/profile", "/var/profiles /ann/state/profiles"},
		{&xdg, "/bob/state/profile", "/bob/state/profiles/profile", "/var/profiles /bob/state/profiles"},
		{&own, "", "/own/profiles/per-user/ann/profile", "/own/profiles"},
	} {
		for _, when := range []string{"before", "after"} { // its symlinks were created
			p, err := test.l.Default(storepath.DefaultDir)
			if err != nil || p.Link() != dir+test.profile {
				t.Errorf("%s: %v, %v; want %s", when, p, err, test.profile)
			}
			link := strings.TrimPrefix(test.l.UserLink(), dir)
			if search := strings.ReplaceAll(strings.Join(test.l.Search(), " "), dir, ""); search != test.search || link != test.link {
				t.Errorf("%s and %s, want %s and %s", search, link, test.search, test.link)
			}
			if err := test.l.CreateLinks(); err != nil {
				t.Error(err)
			}
		}
	}
	if target, err := os.Readlink(dir + "/var/profiles/default"); target != dir+"/var/profiles/per-user/root/profile" {
		t.Error(target, err)
	}
	if _, err := os.Lstat(dir + "/own"); err == nil {
		t.Error("symlinks were created for a store without a home directory")
	}
	// An older Nix, or a user, has made the symlink point to another profile.
	old := Locations{StateDir: dir + "/var", Home: dir + "/old", StateHome: dir + "/old/state", User: "old"}
	links(t, dir, map[string]string{"old/.nix-profile": dir + "/var/profiles/per-user/old/profile"})
	if p, err := old.Default(storepath.DefaultDir); err != nil || p.Link() != dir+"/var/profiles/per-user/old/profile" {
		t.Error(p, err)
	}
	nobody := Locations{StateDir: dir + "/var"}
	if p, err := nobody.Default(storepath.DefaultDir); err == nil {
		t.Error(p.Link())
	}
}

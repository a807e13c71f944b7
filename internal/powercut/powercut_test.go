package powercut

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// childDir is the environment variable of the recorded process.
const childDir = "PIX_TEST_POWERCUT"

// change performs each kind of operation.
func change(t *testing.T, dir string) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sync := func(name string) {
		f, err := os.Open(filepath.Join(dir, name))
		check(err)
		check(errors.Join(f.Sync(), f.Close()))
	}
	check(os.Mkdir(filepath.Join(dir, "d"), 0o755))
	sync(".")
	Mark("made")
	check(os.WriteFile(filepath.Join(dir, "d/new"), []byte("contents"), 0o644))
	Mark("written")
	sync("d/new")
	Mark("file synced")
	check(os.Rename(filepath.Join(dir, "d/new"), filepath.Join(dir, "old")))
	Mark("renamed")
	check(os.Link(filepath.Join(dir, "old"), filepath.Join(dir, "second")))
	check(os.Symlink("second", filepath.Join(dir, "third")))
	check(os.Chmod(filepath.Join(dir, "old"), 0o555))
	check(os.Remove(filepath.Join(dir, "old")))
	Mark("removed")
	sync(".")
	sync("second")
	sync("d")
	Mark("end")
}

func TestRecord(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		change(t, dir)
		return
	}
	if err := Available(); err != nil {
		t.Skip("strace is missing: ", err)
	}
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRecord$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	r, err := Record(cmd, dir)
	if err != nil {
		t.Fatal(err)
	}
	// after restores the directory after a mark, without any pending operation if drop is true.
	after := func(mark string, drop bool) string {
		t.Helper()
		n, ok := r.Marked(mark)
		if !ok {
			t.Fatalf("no mark %q", mark)
		}
		var lost []int
		if drop {
			lost = r.Pending(n)
		}
		to := filepath.Join(t.TempDir(), "restored")
		if err := r.Restore(to, n, lost...); err != nil {
			t.Fatal(err)
		}
		return to
	}
	type files map[string]string
	for _, c := range []struct {
		mark string
		drop bool
		want files
	}{
		{"made", true, files{"old": "before", "d": "dir"}},
		{"written", false, files{"old": "before", "d/new": "contents"}},
		{"written", true, files{"old": "before", "d/new": ""}},
		{"file synced", true, files{"old": "before", "d/new": ""}}, // its name was not synced
		{"renamed", false, files{"old": "contents", "d/new": ""}},
		{"renamed", true, files{"old": "before", "d/new": ""}},
		{"removed", false, files{"old": "", "second": "contents", "third": "contents"}},
		{"removed", true, files{"old": "before", "second": "", "third": ""}},
		{"end", true, files{"old": "", "second": "contents", "third": "contents"}},
	} {
		to := after(c.mark, c.drop)
		for name, want := range c.want {
			switch got, err := os.ReadFile(filepath.Join(to, name)); {
			case want == "dir":
				if info, err := os.Stat(filepath.Join(to, name)); err != nil || !info.IsDir() {
					t.Errorf("%s, %v: '%s' is not a directory: %v", c.mark, c.drop, name, err)
				}
			case want == "" && !errors.Is(err, fs.ErrNotExist):
				t.Errorf("%s, %v: '%s' exists: %q, %v", c.mark, c.drop, name, got, err)
			case string(got) != want:
				t.Errorf("%s, %v: '%s' has %q, want %q (%v)", c.mark, c.drop, name, got, want, err)
			}
		}
	}
	if n := len(r.Pending(r.Len())); n != 0 {
		t.Errorf("after all syncs %d operations are pending:\n%s", n, r.Describe(r.Pending(r.Len())...))
	}
	info, err := os.Stat(filepath.Join(after("end", true), "second"))
	if err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("the mode of 'second' is %v, %v", info.Mode(), err)
	}
	// The file was renamed without its contents: the rename alone is durable.
	n, _ := r.Marked("renamed")
	to := filepath.Join(t.TempDir(), "restored")
	var lost []int
	for _, i := range r.Pending(n) {
		if r.ops[i].kind != opRename {
			lost = append(lost, i)
		}
	}
	if err := r.Restore(to, n, lost...); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, "old")); err != nil || string(got) != "contents" {
		t.Errorf("after the rename alone 'old' has %q, %v", got, err)
	}
}

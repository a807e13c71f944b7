package localstore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pix/activity"
	"pix/internal/realnix"
	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// addTree adds a directory with files of all kinds, many of them equal, with Nix.
func addTree(t *testing.T, d *realnix.Daemon, name string) storepath.Path {
	t.Helper()
	dir := d.HostPath("/tmp/" + name)
	for _, sub := range []string{"sub/deep", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, mode := range map[string]fs.FileMode{
		"a": 0o644, "sub/a": 0o644, "sub/deep/a": 0o644, "run": 0o755, "sub/run": 0o755, "nothing": 0o644, "sub/nothing": 0o644,
	} {
		text := "the same"
		if strings.HasSuffix(file, "nothing") {
			text = ""
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, file), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "own"), []byte(name), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"link", "sub/link"} {
		if err := os.Symlink("the same", filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := storepath.Parse(strings.TrimSpace(runLocal(t, d, "nix-store", "--add", "/tmp/"+name)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// listing describes all that lies in a store directory, and which names are the same file.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	first := make(map[uint64]string)
	var lines []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		name = strings.TrimPrefix(name, dir)
		line := fmt.Sprintf("%s %v", name, info.Mode())
		if !entry.IsDir() {
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			line += fmt.Sprintf(" %d names, as %s", st.Nlink, first[st.Ino])
		}
		if name != "" && name != "/.links" {
			line += fmt.Sprintf(" %d", info.ModTime().Unix())
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

func difference(got, want []string) string {
	var b strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	return b.String()
}

// collectLines puts the log lines of calls into lines.
func collectLines(lines *[]string) activity.HandlerFunc {
	return func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			*lines = append(*lines, line)
		}
	}
}

// We make the same files one as Nix does, and Nix goes on where we ended.
func TestOptimiseReal(t *testing.T) {
	eachShared(t, func(t *testing.T, ours *realnix.Daemon, l layout) {
		theirs := realnix.Start(t, ours.Suite, nil)
		for _, d := range []*realnix.Daemon{ours, theirs} {
			tree := addTree(t, d, "one")
			addTree(t, d, "two")
			addFile(t, d, "three", "the same")
			// What is writable is suspicious, a corrupted link is replaced.
			if err := os.Chmod(filepath.Join(d.HostPath(string(tree)), "own"), 0o644); err != nil {
				t.Fatal(err)
			}
			hash, _, err := nar.HashPath(t.Context(), filepath.Join(d.HostPath(string(tree)), "a"), nixhash.SHA256, nil)
			if err != nil {
				t.Fatal(err)
			}
			corrupt := filepath.Join(d.HostPath("/nix/store/.links"), hash.Nix32())
			if err := os.WriteFile(corrupt, []byte("other"), 0o444); err != nil {
				t.Fatal(err)
			}
		}
		var events []activity.Event
		var lines []string
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			events = append(events, e)
			collectLines(&lines)(e)
		}))
		s := open(t, Options{Root: ours.HostPath("/")})
		if err := s.OptimiseStore(ctx); err != nil {
			t.Fatal(err)
		}
		_, stderr, err := tryLocal(t, theirs, "nix-store", "--optimise")
		if err != nil {
			t.Fatal(err, stderr)
		}
		if diff := difference(listing(t, l.storeDir), listing(t, theirs.HostPath("/nix/store"))); diff != "" {
			t.Errorf("ours (+) and Nix's (-):\n%s", diff)
		}
		says := lines[len(lines)-1]
		if ours.Suite.Name == "sid" && !strings.Contains(stderr, says) {
			t.Errorf("we say %q, Nix %q", lines, stderr)
		}
		start, stop := events[0].(activity.Start), events[len(events)-1].(activity.Stop)
		if start.Type != activity.OptimiseStore || stop.ID != start.ID {
			t.Errorf("events %v … %v", start, stop)
		}
		linked := 0
		for _, e := range events {
			if r, ok := e.(activity.Result); ok && r.Type == activity.FileLinked {
				linked++
			}
		}
		if !strings.HasSuffix(says, fmt.Sprintf("by hard-linking %d files", linked)) || linked == 0 {
			t.Errorf("%d files were linked, and we say %q", linked, says)
		}

		// Objects that are added are linked to what is there.
		auto := open(t, Options{Root: ours.HostPath("/"), AutoOptimise: true})
		p, err := auto.AddTextToStore(t.Context(), "text", "the same", nil)
		if err != nil {
			t.Fatal(err)
		}
		st, err := objects.Lstat(l.object(p))
		if err != nil || st.Nlink < 3 {
			t.Errorf("a text that was added: %+v, %v", st, err)
		}
		if _, stderr, err := tryLocal(t, ours, "nix-store", "--verify", "--check-contents"); err != nil {
			t.Errorf("nix-store --verify: %v\n%s", err, stderr)
		}
		before := listing(t, l.storeDir)
		runLocal(t, ours, "nix-store", "--optimise")
		if err := s.OptimiseStore(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := difference(listing(t, l.storeDir), before); diff != "" {
			t.Errorf("optimised again:\n%s", diff)
		}
	})
}

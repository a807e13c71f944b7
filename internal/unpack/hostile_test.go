package unpack

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// A hard link counts as a copy of its file, because a Nix archive has the contents for each name.
func TestHardLinksCount(t *testing.T) {
	entries := []entry{{name: "a", mode: 0o644, text: strings.Repeat("x", 1000)}}
	for i := range 9 {
		entries = append(entries, entry{name: fmt.Sprint("link", i), text: "a", hard: true})
	}
	archive := tarOf(t, entries...)
	if got, err := unpackBytes(t.Context(), t, archive, Limits{Size: 10_000}); err != nil || len(got) != 10 {
		t.Errorf("10 names of 1000 bytes: %v, files %q", err, got)
	}
	_, err := unpackBytes(t.Context(), t, archive, Limits{Size: 9_999})
	if limit, ok := errors.AsType[*LimitError](err); !ok || limit.What != "bytes" {
		t.Errorf("10 names of 1000 bytes with a limit of 9999: %v", err)
	}
}

// Directories that an archive does not list count as entries, since each takes an inode.
func TestUnlistedDirectoriesCount(t *testing.T) {
	deep := strings.Repeat("d/", 10)
	entries := []entry{{name: "a/" + deep + "f", mode: 0o644}, {name: "b/" + deep + "f", mode: 0o644}}
	for format, archive := range map[string][]byte{"tar": tarOf(t, entries...), "zip": zipOf(t, entries...)} {
		if _, err := unpackBytes(t.Context(), t, archive, Limits{Entries: 24}); err != nil {
			t.Errorf("%s: 2 files in 22 directories: %v", format, err)
		}
		_, err := unpackBytes(t.Context(), t, archive, Limits{Entries: 23})
		if limit, ok := errors.AsType[*LimitError](err); !ok || limit.What != "entries" {
			t.Errorf("%s: 2 files in 22 directories with a limit of 23 entries: %v", format, err)
		}
	}
}

// Names and targets that a file system or a Nix archive cannot have are errors, and no file is replaced through a link.
func TestOddMembers(t *testing.T) {
	file := func(name, text string) entry { return entry{name: name, mode: 0o644, text: text} }
	hard := func(name, target string) entry { return entry{name: name, text: target, hard: true} }
	link := func(name, target string) entry { return entry{name: name, mode: fs.ModeSymlink | 0o777, text: target} }
	dir := func(name string) entry { return entry{name: name, mode: fs.ModeDir | 0o755} }
	for name, test := range map[string]struct {
		entries []entry
		want    string // the files; "" for an error
	}{
		"hard link to itself":          {[]entry{file("a", "x"), hard("a", "a")}, "a x"},
		"hard link replaced by a file": {[]entry{file("a", "x"), hard("b", "a"), file("b", "y")}, "a x,b y"},
		"file replaced, link remains":  {[]entry{file("a", "x"), hard("b", "a"), file("a", "y")}, "a y,b x"},
		"hard link to a symlink":       {[]entry{link("l", "../canary"), hard("b", "l"), file("b", "y")}, "b y,l -> ../canary"},
		"hard link to a directory":     {[]entry{dir("d"), hard("b", "d")}, ""},
		"hard link to nothing":         {[]entry{hard("b", "a")}, ""},
		"hard link through a symlink":  {[]entry{link("l", "."), file("a", "x"), hard("b", "l/a")}, ""},
		"directory to a symlink":       {[]entry{dir("d"), link("d", ".."), file("d/canary", "evil")}, ""},
		"symlink to a directory":       {[]entry{link("d", ".."), dir("d"), file("d/canary", "evil")}, "d/,d/canary evil"},
		"file to a directory":          {[]entry{file("d", "x"), file("d/a", "y")}, ""},
		"full directory to a file":     {[]entry{file("d/a", "y"), file("d", "x")}, ""},
		"long part":                    {[]entry{file(strings.Repeat("n", 256), "x")}, ""},
		"names that differ in case":    {[]entry{file("a", "x"), file("A", "y")}, "A y,a x"},
		"dots":                         {[]entry{file("./././a", "x"), file("...", "y")}, "... y,a x"},
	} {
		got, err := unpackBytes(t.Context(), t, tarOf(t, test.entries...), Limits{})
		if test.want == "" && err == nil || test.want != "" && (err != nil || strings.Join(got, ",") != test.want) {
			t.Errorf("%s: %v, files %q, want %q", name, err, got, test.want)
		}
	}
}
